"""G: addresses as shops have them: two lines of a street, a company, a phone; a domain of any script. Nobody else is asked for more."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from saga.fulfilment import models as m
from saga.fulfilment.email_address import mail_address
from saga.fulfilment.fulfil_order import book_shipment, screen_fraud, validate_address
from saga.fulfilment.mailbox import confirmation
from saga.fulfilment.models import Order, broken_rules
from services.shipping.addresses import delivered
from services.shipping.models import Address as ShippingAddress
from tests.cases.test_unseen_names import VALUES

MORE = {"street2": "Flat 3 / 2nd floor", "company": "Böcker & Co.", "phone": "+44 (0)113 496-0000 x7"}
FREIGHT = m.ShippingQuote(amount=1, currency="GBP", carrier="x")
DOMAINS = {
    "ada@bücher.example": "ada@xn--bcher-kva.example",
    "ada@BÜCHER.example": "ada@xn--bcher-kva.example",
    "ada@bu\u0308cher.example": "ada@xn--bcher-kva.example",
    "ada@例え.テスト": "ada@xn--r8jz45g.xn--zckzah",
    "ada@straße.example": "ada@xn--strae-oqa.example",
    "Ada@EXAMPLE.org": "Ada@EXAMPLE.org",
    "ada@under.a-b.example": "ada@under.a-b.example",
}
NO_ADDRESSES = {
    "zoë@example.org": "the part before the '@' holds a letter beyond ASCII, which needs SMTPUTF8",
    "ada@-ü.example": "the part behind the '@' is no name of a host",
    "ada@ü\u200b.example": "the part behind the '@' is no name of a host",
    "ada@ü..example": "the part behind the '@' is no name of a host",
    "ada@" + "ü" * 64 + ".example": "the part behind the '@' is no name of a host",
    "a" * 64 + "@" + ".".join(["ü" * 40] * 4) + ".example": None,
    "ada@bücher": "must be an address of letters, digits",
    "ada@a@bücher.example": "must be an address of letters, digits",
    "ada@bü cher.example": "the part behind the '@' is no name of a host",
    "ada@y.example\r\nBcc: x@ü.example": "must be an address of letters, digits",
    "=?utf-8?q?a?=@bücher.example": "must not hold '=?'",
}


def order(address: dict[str, Any] | None = None, **changes: Any) -> Order:
    return Order.model_validate_json(json.dumps(VALUES | {"address": VALUES["address"] | (address or {})} | changes))


def refusal(address: dict[str, Any] | None = None, **changes: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        order(address, **changes)
    return broken_rules(refused.value)


def test_all_of_an_address_reaches_the_label() -> None:
    """What is said is sent to be checked and booked, and stands in the normalised address; a company's sign is no markup."""
    said = order(MORE)
    assert Order.model_validate_json(said.model_dump_json()) == said
    for call in (validate_address(said), book_shipment(said, FREIGHT)):
        sent = json.loads(call.request.model_dump_json())
        address = sent.get("address", sent)
        assert {name: address[name] for name in MORE} == MORE
        label = delivered(ShippingAddress.model_validate(address))
        assert (label.street2, label.company, label.phone) == tuple(MORE.values())


def test_an_address_without_them_asks_for_nothing_more() -> None:
    """Neither in the journal, so an order is the same request over an upgrade, nor in what a shipping service of before is sent."""
    plain = order()
    for text in (plain.model_dump_json(), validate_address(plain).request.model_dump_json()):
        assert [name for name in MORE if name in text] == []
    label = delivered(ShippingAddress.model_validate(json.loads(validate_address(plain).request.model_dump_json())))
    assert (label.street2, label.company, label.phone) == ("", "", "")


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("street2", "\u200b", "needs a character that can be seen"),
        ("company", "a\u202eb", "character 2 is U+202E"),
        ("street2", "a\nb", "character 2 is U+000A"),
        ("company", "x" * 201, "String should have at most 200 characters"),
        ("phone", "call me", "must be digits with the signs"),
        ("phone", "+-()", "must be digits with the signs"),
        ("phone", "1" * 33, "String should have at most 32 characters"),
        ("phone", "", "String should have at least 1 character"),
        ("phone", "\uff11\uff12", "must be digits with the signs"),
    ],
)
def test_each_of_them_is_bounded(field: str, text: str, said: str) -> None:
    """Refused with the field and the rule."""
    assert refusal({field: text}).startswith(f"address.{field}: {said}")


@pytest.mark.parametrize(("address", "sent"), DOMAINS.items())
def test_a_domain_of_any_script(address: str, sent: str) -> None:
    """Kept as it was typed, sent as ASCII to the mail server, to the header and to the fraud screen, whose deny-list is of ASCII."""
    taken = order(email=address)
    assert taken.email == address
    assert mail_address(address) == sent
    price = m.OrderPrice(goods=50, tax=0, freight=1, total=51, currency="GBP")
    mail = confirmation(taken, price, m.Shipment(shipment_id="s", tracking="t", carrier="x"), "k")
    assert str(mail["To"]) == sent
    assert json.loads(screen_fraud(taken).request.model_dump_json())["email"] == sent


@pytest.mark.parametrize(("address", "said"), NO_ADDRESSES.items(), ids=ascii)
def test_what_is_no_address(address: str, said: str | None) -> None:
    """Refused where the order is taken, with a message that says what is wrong and does not repeat the address."""
    words = refusal(email=address)
    assert words.startswith(f"email: {said or ''}")
    assert address not in words
