"""Nothing that a customer, a shop or a participant writes becomes a header, a recipient or a command of its own."""

from typing import Any

import pytest
from pydantic import ValidationError

from saga.errors import Rejected
from saga.fulfilment.mailbox import confirmation
from saga.fulfilment.models import Order, OrderPrice, Shipment

KEY = "a2345678b2345678c2345678d2345678"
PRICE = OrderPrice(goods=350, tax=70, freight=495, total=915, currency="GBP")
SHIPMENT = Shipment(shipment_id="s1", tracking="T-1", carrier="DHL")
BREAKS = ["\n", "\r", "\r\n", "\x0b", "\x85", "\u2028", "\x00"]
ORDER: dict[str, Any] = {
    "order_id": "SO-1",
    "customer_id": "C7",
    "currency": "GBP",
    "country": "United Kingdom",
    "address": {"name": "Zoë", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"},
    "lines": [{"sku": "A", "quantity": 7, "unit_price": 50}],
    "payment_method": "pm_card",
    "email": "zoe@example.org",
}


@pytest.mark.parametrize("end", BREAKS)
@pytest.mark.parametrize("field", ["order_id", "customer_id", "email"])
def test_an_order_with_a_line_break_is_no_order(field: str, end: str) -> None:
    """The models are the first wall: no field that goes into the mail takes one."""
    with pytest.raises(ValidationError, match=field):
        Order.model_validate({**ORDER, field: f"{ORDER[field]}{end}Bcc: eve@example.org"})


@pytest.mark.parametrize("field", ["tracking", "carrier"])
def test_an_answer_with_a_line_break_is_no_answer(field: str) -> None:
    """A participant cannot end the mail with a lone dot and go on with commands."""
    with pytest.raises(ValidationError, match=field):
        Shipment.model_validate({**SHIPMENT.model_dump(), field: "T\r\n.\r\nMAIL FROM:<eve@example.org>"})


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x85", "\u2028"])
@pytest.mark.parametrize("field", ["order_id", "customer_id", "email"])
def test_a_header_takes_no_line_break_even_from_a_model_that_was_not_checked(field: str, end: str) -> None:
    """The second wall: values that came round the models are refused by the mail itself."""
    facts = {**ORDER, "email": None} if field == "customer_id" else ORDER
    unchecked = Order.model_construct(**{**facts, "lines": Order.model_validate(ORDER).lines})
    object.__setattr__(unchecked, field, f"{ORDER[field]}{end}Bcc: eve@example.org")
    with pytest.raises((ValueError, Rejected), match=r"linefeed or carriage return|CR or LF|unusable_address"):
        confirmation(unchecked, PRICE, SHIPMENT, KEY)


@pytest.mark.parametrize(
    "address", ["zoe@example.org, eve@example.org", "zoe@example.org>", "<zoe@example.org", "zoe @example.org", "zoe"]
)
def test_an_address_is_one_address(address: str) -> None:
    """A list, a bracket or a blank would tell the server something else than the header says."""
    with pytest.raises(ValidationError, match="email"):
        Order.model_validate({**ORDER, "email": address})


def test_a_mail_has_each_header_once() -> None:
    """And none that nobody wrote here."""
    message = confirmation(Order.model_validate(ORDER), PRICE, SHIPMENT, KEY)
    assert sorted(message.keys()) == [
        "Auto-Submitted",
        "Content-Transfer-Encoding",
        "Content-Type",
        "Date",
        "From",
        "MIME-Version",
        "Message-ID",
        "Subject",
        "To",
    ]


def test_the_id_hangs_on_the_key_alone() -> None:
    """A setting that changes between two attempts must not make two mails of one."""
    order = Order.model_validate(ORDER)
    mails = [confirmation(order, PRICE, SHIPMENT, KEY, it) for it in ("a@shop.example", "Other <b@else.example>")]
    assert {mail["Message-ID"] for mail in mails} == {f"<{KEY}@shop.invalid>"}
    assert [mail["From"] for mail in mails] == ["a@shop.example", "Other <b@else.example>"]
