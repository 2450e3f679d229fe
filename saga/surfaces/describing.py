"""What OpenAPI cannot read off the code of the order API: the body that is read as bytes, problems, headers, an example."""

from typing import Any

from fastapi import FastAPI

from saga.fulfilment.models import Order
from saga.surfaces.problems import CODES, MEDIA_TYPE, Problem

KEY_HEADER = "Idempotency-Key"

EXAMPLE = {
    "order_id": "SO-10412",
    "customer_id": "C-17850",
    "currency": "GBP",
    "country": "United Kingdom",
    "address": {"name": "Zoë Müller", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"},
    "lines": [{"sku": "85123A", "quantity": 6, "unit_price": 255}],
    "payment_method": "pm_card",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem documents that a route may answer with, for OpenAPI."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        codes = [f"`{code}`: {title}" for code, (known, title) in CODES.items() if known == status]
        found[status] = {"description": "; ".join(codes), "content": content}
    return found


def accepted_headers() -> dict[int | str, dict[str, Any]]:
    """What the 202 of an order carries besides its body."""
    described = {
        "Location": "the order",
        "Retry-After": "seconds until asking is worth it",
        "Idempotency-Replayed": "`true` when this is the kept answer of an earlier request",
    }
    headers = {name: {"description": what, "schema": {"type": "string"}} for name, what in described.items()}
    return {202: {"description": "Durable", "headers": headers}}


ORDER_REQUEST: dict[str, Any] = {
    "parameters": [
        {
            "name": KEY_HEADER,
            "in": "header",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
            "example": "SO-10412-1",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/Order"},
                "examples": {"one line": {"value": EXAMPLE}},
            }
        },
    },
}


class DescribedApi(FastAPI):
    """FastAPI with the two schemas that it does not meet itself: the body that is read as bytes, and the problem."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            schemas = super().openapi().setdefault("components", {}).setdefault("schemas", {})
            for model in (Order, Problem):
                described = model.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas |= described.pop("$defs", {})
                schemas[model.__name__] = described
        return super().openapi()
