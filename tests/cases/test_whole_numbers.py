"""H: `1250.0` for an integer. JSON knows one kind of number, and JavaScript, PHP and spreadsheets write it either way; a
participant that did halted orders after their money was taken."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from saga.core.outcomes import EffectChange, OutcomeCode
from saga.fulfilment import models as m
from saga.fulfilment import returns as r
from saga.fulfilment.connectors import payment
from saga.fulfilment.fields import Whole
from saga.runtime.classify import Answer, classify
from saga.surfaces.taking_back import ReturnRequest
from services.payment.models import AuthorizeRequest
from services.payment.service import SERVICE as PAYMENT
from services.skeleton import fields
from tests.integration.services.asking import asked

ORDER = """{"order_id":"M-1","customer_id":"C-1","currency":"GBP","country":"United Kingdom",
 "address":{"name":"Ada","street":"S 1","city":"Leeds","postcode":"LS1 1AA"},
 "lines":[{"sku":"LAMP","quantity":%s,"unit_price":%s}],"payment_method":"pm_card"}"""
WHOLE = {"1250": 1250, "1250.0": 1250, "1.25e3": 1250, "-0.0": 0, "9007199254740991.0": 2**53 - 1}
NONE = ['"7"', "true", "7.5", "NaN", "Infinity", "1e400", "9007199254740992.0", "null", "[1]"]


@pytest.mark.parametrize("kind", [Whole, fields.Whole], ids=["saga", "services"])
def test_an_integral_number_is_the_integer(kind: Any) -> None:
    """Product and services agree on what an integer is, and what is kept is an `int`, so it reads back as itself."""
    numbers = TypeAdapter(kind)
    for text, value in WHOLE.items():
        found = numbers.validate_json(text, strict=True)
        assert (type(found), found) == (int, value), text
    for text in NONE:
        with pytest.raises(ValidationError):
            numbers.validate_json(text, strict=True)
    assert numbers.json_schema() == {"type": "integer"}


def test_the_bounds_stay_in_the_schemas() -> None:
    """The documents and the fingerprint of a definition say integer and both bounds, as they did."""
    line = m.OrderLine.model_json_schema()["properties"]
    assert line["quantity"] == {"type": "integer", "minimum": 1, "maximum": 10**6, "title": "Quantity"}
    asked_for = AuthorizeRequest.model_json_schema()["properties"]["amount"]
    assert asked_for == {"type": "integer", "minimum": 0, "maximum": 10**13, "title": "Amount"}


def test_an_order_is_the_same_order_either_way() -> None:
    """Equal, and the same bytes: a repeat in the other way of writing is no second request under its key."""
    plain, pointed = (m.Order.model_validate_json(ORDER % it) for it in (("6", "1250"), ("6.0", "1.25e3")))
    assert plain == pointed
    assert plain.model_dump_json() == pointed.model_dump_json()
    assert '"quantity":6,"unit_price":1250}' in pointed.model_dump_json()


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (m.TaxQuote, {"tax_amount": 1250.0, "currency": "GBP", "lines": [{"sku": "A", "tax_amount": 1250.0}]}),
        (m.ShippingQuote, {"amount": 1250.0, "currency": "GBP", "carrier": "x"}),
        (m.Authorization, {"authorization_id": "A", "amount": 1250.0, "currency": "GBP"}),
        (m.Capture, {"capture_id": "C", "amount": 1250.0, "currency": "GBP"}),
        (r.Refund, {"refund_id": "F", "amount": 1250.0, "currency": "GBP"}),
        (ReturnRequest, {"lines": [{"sku": "A", "quantity": 2.0}], "reason": "broken"}),
    ],
)
def test_answers_and_returns_too(model: type[BaseModel], values: dict[str, Any]) -> None:
    """Each integer of what is read from outside; it reads back equal."""
    read = model.model_validate_json(json.dumps(values))
    assert model.model_validate_json(read.model_dump_json()) == read
    assert ".0" not in read.model_dump_json()


def test_a_capture_that_answers_1250_0_has_succeeded() -> None:
    """The money was taken: an order must not halt over how its sum is written."""
    effect = '{"kind":"money","unit":"GBP","quantity":1.25e3,"sign":1.0}'
    body = f'{{"capture_id":"C-1","amount":1250.0,"currency":"GBP","effects":[{effect}]}}'.encode()
    found = classify(Answer(201, {"content-type": "application/json"}, body), payment, m.Capture)
    assert found.code is OutcomeCode.SUCCEEDED
    assert found.effects == (EffectChange("money", "GBP", 1250, 1),)
    assert [type(number) for number in (found.effects[0].quantity, found.effects[0].sign)] == [int, int]


def test_a_service_takes_both_for_one_request(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The same key with the other way of writing is a repeat, answered from what is kept, and no other request."""
    body = {"order_id": "SO-1", "amount": 1250, "currency": "GBP", "payment_method": "pm_card"}
    with asked(PAYMENT, "sqlite", request, tmp_path) as service:
        first = service.post("/v1/authorizations", "k1", {**body, "amount": 1250.0})
        again = service.post("/v1/authorizations", "k1", body)
        odd = service.post("/v1/authorizations", "k2", {**body, "amount": 1250.5})
    assert (first.status, first.body["amount"], again.is_replayed, odd.code) == (201, 1250, True, "invalid")
