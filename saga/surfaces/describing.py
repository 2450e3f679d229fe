"""What OpenAPI cannot read off the code of the order API: the body that is read as bytes, problems, headers, an example."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from saga.fulfilment.models import Order
from saga.surfaces.cancelling import CancelRequest
from saga.surfaces.changes import Change, ChangeKind
from saga.surfaces.contract import URN
from saga.surfaces.problems import CODES, MEDIA_TYPE, Problem
from saga.surfaces.streaming import EVENT_ID, EVENT_ID_MAX
from saga.surfaces.taking_back import ReturnRequest

KEY_HEADER = "Idempotency-Key"
SCHEMAS = "#/components/schemas/"

CANCEL_EXAMPLE = {"reason": "customer called", "actor": "support:anna"}
RETURN_EXAMPLE = {"lines": [{"sku": "85123A", "quantity": 1}], "reason": "broken handle"}
RETURN_ALL_EXAMPLE = {"lines": [], "reason": "does not fit"}
EXAMPLE = {
    "order_id": "SO-10412",
    "customer_id": "C-17850",
    "currency": "GBP",
    "country": "United Kingdom",
    "address": {"name": "Zoë Müller", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"},
    "lines": [{"sku": "85123A", "quantity": 6, "unit_price": 255}],
    "payment_method": "pm_card",
}


ALWAYS = ("internal", "store_unavailable")
BODY = ("not_json", "too_slow", "too_large", "not_offered_type")
JOURNAL = ("journal_unreadable",)
"""Problems that go together: of every route, of a body, of a journal that is folded."""
_DETAILS = {
    "duplicate_order": "SO-10412 already has saga 0193f2c4-…; only a compensated one may be started again",
    "past_no_return": "the payment of SO-10412 was taken; the order goes forward only",
    "waits_for_person": "SO-10412 waits for a person (defect): nothing is undone now, the cancel is kept, and no command of this release moves it",
    "cancel_instead": "SO-10412 is processing and can be cancelled; nothing was stored",
    "not_completed": "SO-10412 is paid and goes forward only; ask again once it has completed",
    "return_waits": "R1.SO-10412 waits for a person (defect), so no more of SO-10412 comes back: see  saga show R1.SO-10412",
    "too_many_returns": "SO-10412 has had 200 returns; an order has at most 200",
    "rolled_back": "SO-10412 is cancelled: nothing is held, charged or sent",
    "worth_nothing": "lines: what comes back cost nothing",
    "exceeds_sold": "lines: 7 of 85123A come back, and SO-10412 has 6",
    "invalid": "1 rule is broken; nothing was stored",
    "not_found": "no saga with id or order 'SO-1'",
    "backlog": "nothing was stored; send the same request again later",
}


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The problem documents that a route may answer with, for OpenAPI, each with an example."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status, title = CODES[code]
        content = {"schema": {"$ref": f"{SCHEMAS}Problem"}, "examples": {}}
        described = found.setdefault(status, {"description": "", "content": {MEDIA_TYPE: content}})
        described["description"] += f"{'; ' if described['description'] else ''}`{code}`: {title}"
        example = {"type": URN + code, "title": title, "status": status, "code": code}
        example["detail"] = _DETAILS.get(code, title)
        described["content"][MEDIA_TYPE]["examples"][code] = {"value": example}
        if status == 503:
            described["headers"] = _headers(**{"Retry-After": "seconds until another try is worth it"})
    return found


def _headers(**described: str) -> dict[str, Any]:
    return {name: {"description": what, "schema": {"type": "string"}} for name, what in described.items()}


def answer(status: int, description: str, **headers: str) -> dict[int | str, dict[str, Any]]:
    """An answer that is no problem, with the headers that it may carry."""
    return {status: {"description": description, "headers": _headers(**headers)}}


TAG = {"ETag": "changes with every entry of the journal, of an order also with its returns, and with nothing else"}
APPLIED = {"Preference-Applied": "`wait=N` when the server waited"}
ACCEPTED = {
    "Location": "the order",
    "Retry-After": "seconds until asking is worth it",
    "Idempotency-Replayed": "`true` when this is the kept answer of an earlier request",
    **APPLIED,
}

STARTED = {"Location": "the saga", **{name: ACCEPTED[name] for name in ("Retry-After", "Idempotency-Replayed")}}
RETURNING = {
    "Location": "the saga of the return",
    "Retry-After": ACCEPTED["Retry-After"],
    "Idempotency-Replayed": ACCEPTED["Idempotency-Replayed"],
}
LINK = '`<...>; rel="next"` when there is another page'
CANCELLED = {"Location": "the order", "Retry-After": "seconds until asking is worth it", **TAG}


def events() -> dict[int | str, dict[str, Any]]:
    """The stream of an order's changes."""
    shown = 'id: 1-7\nevent: step\ndata: {"run":1,"seq":7,"kind":"step","status":"processing"}\n\n'
    what = (
        "Server-sent events: `id` is the run and the journal's number, `event` the kind of a `Change`, "
        "`data` the `Change` as JSON"
    )
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"$ref": f"{SCHEMAS}Change"}}
    event = {
        "type": "object",
        "required": ["id", "event", "data"],
        "properties": {
            "id": {"type": "string", "pattern": EVENT_ID.pattern},
            "event": {"type": "string", "enum": [kind.value for kind in ChangeKind]},
            "data": data,
        },
    }
    content = {"text/event-stream": {"schema": event, "examples": {"a step": {"value": shown}}}}
    return {200: {"description": what, "content": content}}


def header(name: str, description: str, example: str, *, required: bool = False, **schema: Any) -> dict[str, Any]:
    """A header of a request."""
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string", **schema},
        "example": example,
    }


KEY_SCHEMA: dict[str, Any] = {"minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
KEY = header(
    KEY_HEADER, "a new one for each order, the same one for each repeat", "SO-10412-1", required=True, **KEY_SCHEMA
)
OPTIONAL_KEY = header(KEY_HEADER, "not needed: a second cancel is the same cancel", "SO-10412-c", **KEY_SCHEMA)
RETURN_KEY = header(
    KEY_HEADER, "a new one for each return, the same one for each repeat", "SO-10412-r", required=True, **KEY_SCHEMA
)
PREFER = header(
    "Prefer", "`wait=N`: hold the answer back until the order has ended, at most N seconds (RFC 7240)", "wait=5"
)
IF_NONE_MATCH = header("If-None-Match", "ETags; 304 when one of them is the present one", '"0193f2c4-7"')
IF_MATCH = header("If-Match", "ETags; 412 unless one of them is the present one", '"0193f2c4-7"')
LAST_EVENT_ID = header(
    "Last-Event-ID",
    "the stream begins behind this event; with one of another run, anew",
    "1-7",
    pattern=EVENT_ID.pattern,
    maxLength=EVENT_ID_MAX,
)


def request_of(*headers: dict[str, Any], body: str = "", **examples: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI cannot see of a request: headers, and the model of a body that is read as bytes."""
    described: dict[str, Any] = {"parameters": list(headers)} if headers else {}
    if body:
        shown = {name.replace("_", " "): {"value": value} for name, value in examples.items()}
        content = {"schema": {"$ref": f"{SCHEMAS}{body}"}, "examples": shown}
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    return described


class DescribedApi(FastAPI):
    """FastAPI with the schemas that it does not meet itself: bodies that are read as bytes, events, and the problem."""

    read_as_bytes: tuple[type[BaseModel], ...] = (Order, CancelRequest, ReturnRequest, Change, Problem)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            schemas = super().openapi().setdefault("components", {}).setdefault("schemas", {})
            for model in self.read_as_bytes:
                described = model.model_json_schema(ref_template=SCHEMAS + "{model}")
                schemas |= described.pop("$defs", {})
                schemas[model.__name__] = described
        return super().openapi()
