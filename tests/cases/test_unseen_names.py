"""F19: names of characters that nobody sees, and characters that turn a text round. A label without a name, a mail that reads otherwise."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from saga.core.connector import Call
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Order, broken_rules
from saga.fulfilment.return_order import refund_payment
from saga.fulfilment.returns import RefundRequest, ReturnOrder, ReturnPrice
from saga.fulfilment.texts import BLANK, TURNING, has_seen
from saga.runtime.readback import read_kept
from saga.surfaces.cancelling import CancelRequest
from saga.surfaces.taking_back import ReturnRequest

UNSEEN = {
    "blanks": " \u00a0\u3000\u1680",
    "zero width space": "\u200b",
    "word joiner": "\u2060",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "Hangul filler": "\u3164",
    "half width Hangul filler": "\uffa0",
    "Hangul jamo fillers": "\u115f\u1160",
    "empty braille": "\u2800",
    "grapheme joiner": "\u034f",
    "variation selectors": "\ufe0f\U000e0100",
    "tags": "\U000e0020\U000e007f",
    "joiners": "\u200c\u200d",
    "marks of direction": "\u200e\u200f\u061c",
    "an accent alone": "\u0301",
    "Mongolian vowel separator": "\u180e",
    "invisible times": "\u2062",
    "a note without a head": "\U0001d159",
    "private use": "\ue000",
}
SEEN = [
    "Ada",
    "李",
    "٣",
    "\u0646\u06cc\u0645\u200c\u0641\u0627",
    "क्\u200dष",
    "👩\u200d👩\u200d👧",
    "❤\ufe0f",
    "…",
    "é",
    "e\u0301",
    "שלום\u200e!",
    "\u200bAda",
]
VALUES: dict[str, Any] = {
    "order_id": "SO-1",
    "customer_id": "C7",
    "currency": "GBP",
    "country": "United Kingdom",
    "address": {"name": "Zoë", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA", "region": "Kent"},
    "lines": [{"sku": "A", "quantity": 1, "unit_price": 50}],
    "payment_method": "pm_card",
}
RESULTS: dict[str, dict[str, Any]] = {
    "calculate_tax": {"tax_amount": 70, "currency": "GBP"},
    "quote_shipping": {"amount": 495, "currency": "GBP", "carrier": "DHL"},
    "reserve_inventory": {"reservation_id": "r1"},
    "price_order": {"goods": 50, "tax": 70, "freight": 495, "total": 615, "currency": "GBP"},
    "book_shipment": {"shipment_id": "s1", "tracking": "T1", "carrier": "DHL"},
    "authorize_payment": {"authorization_id": "a1", "amount": 615, "currency": "GBP"},
}
IN_ADDRESS = ["name", "street", "city", "region"]


def with_address(**changes: str) -> str:
    return json.dumps(VALUES | {"address": VALUES["address"] | changes})


def refusal(text: str) -> str:
    with pytest.raises(ValidationError) as refused:
        Order.model_validate_json(text)
    return broken_rules(refused.value)


@pytest.mark.parametrize("text", UNSEEN.values(), ids=UNSEEN)
@pytest.mark.parametrize("field", IN_ADDRESS)
def test_what_nobody_sees_is_no_name(text: str, field: str) -> None:
    """Refused with its field, whatever it is made of, and whatever of it stands together."""
    for unseen in (text, "".join(UNSEEN.values())):
        assert refusal(with_address(**{field: unseen})).startswith(
            f"address.{field}: needs a character that can be seen"
        )


@pytest.mark.parametrize("text", SEEN)
def test_what_somebody_sees_is_a_name(text: str) -> None:
    """Every script, emoji and sign; the joiners that Persian and Indic names are written with stay, to the letter."""
    order = Order.model_validate_json(with_address(name=text))
    assert order.address.name == text
    assert Order.model_validate_json(order.model_dump_json()) == order


@pytest.mark.parametrize("letter", sorted(TURNING), ids=ascii)
def test_what_turns_the_text_round_is_refused(letter: str) -> None:
    """An override in a street makes the label say another one to the driver than the one that was checked."""
    for field in (*IN_ADDRESS, "postcode"):
        said = refusal(with_address(**{field: f"1{letter}2"}))
        assert said == (
            f"address.{field}: character 2 is U+{ord(letter):04X}, which turns the text around it for a reader; leave it out"
        )
    assert refusal(json.dumps(VALUES | {"country": f"F{letter}"})).startswith("country: character 2 is")


@pytest.mark.parametrize("text", ["\u200b", "\u3164", "a\u202eb"])
def test_reasons_are_texts_too(text: str) -> None:
    """Whoever reads a journal reads them."""
    for model in (CancelRequest, ReturnRequest):
        with pytest.raises(ValidationError):
            model.model_validate_json(json.dumps({"reason": text}))
    with pytest.raises(ValidationError):
        CancelRequest(reason="asked", actor=text)


def test_an_order_that_was_taken_before_the_rule_goes_on() -> None:
    """Its journal reads, and each step asks for what it asked for; the rule is one for what comes from outside."""
    address = {"name": "\u200b", "street": "\u202a1 High Street\u202c", "city": "\u2800", "region": "\u3164"}
    taken = json.loads(with_address(**address))
    texts = {None: json.dumps(taken)} | {name: json.dumps(it) for name, it in RESULTS.items()}
    asked = {}
    for step in fulfil_order.order:
        sources = zip(step.takes.sources, step.takes.models, strict=True)
        if all(model is not None for model in step.takes.models):
            assert callable(step.action)
            call = step.action(*(read_kept(model, texts[source]) for source, model in sources if model is not None))
            if isinstance(call, Call):
                asked[step.name] = json.loads(call.request.model_dump_json())
    assert asked["book_shipment"]["address"] == taken["address"] | {"country": "United Kingdom"}
    assert asked["calculate_tax"]["region"] == "\u3164"
    assert len(asked) == 11
    back = {
        "return_id": "R1",
        "order_id": "SO-1",
        "customer_id": "C7",
        "currency": "GBP",
        "country": "United Kingdom",
        "capture_id": "c",
        "shipment_id": "s",
        "lines": VALUES["lines"],
        "tax": 0,
        "reason": "\u200b",
    }
    taken_back = read_kept(ReturnOrder, json.dumps(back))
    asked_back = refund_payment(taken_back, ReturnPrice.of(taken_back)).request
    assert isinstance(asked_back, RefundRequest)
    assert asked_back.reason == "\u200b"
    with pytest.raises(ValidationError):
        ReturnOrder.model_validate_json(json.dumps(back))


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6))
def test_every_text_is_seen_or_not_by_category(text: str) -> None:
    """By category alone, but for the listed blanks: no letter, digit, sign or symbol is left out."""
    shown = [it for it in text if not any(low <= ord(it) <= high for low, high in BLANK)]
    assert has_seen(text) == any(unicodedata.category(it)[0] in "LNPS" for it in shown)
