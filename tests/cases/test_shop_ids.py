"""G: ids and SKUs as shops have them, and wherever an id goes: paths, keys, mails, commands, cursors. What looks like another id is none."""

import re
import shlex
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from saga.fulfilment.fields import ID, Id
from saga.fulfilment.mailbox import SENDER, confirmation, put
from saga.fulfilment.models import Order, OrderLine, OrderPrice, Shipment
from saga.fulfilment.return_mail import refund_notice
from saga.fulfilment.returns import ReturnLabel, ReturnOrder, ReturnPrice
from saga.segments import order_path
from saga.store.memory import MemoryStore
from saga.surfaces.audit_mails import read_mails
from saga.surfaces.mails import mails_about
from saga.surfaces.paging import next_link, position
from saga.surfaces.request_keys import request_key, return_key
from saga.surfaces.taking_back import return_id_of
from services.skeleton.fields import Id as IdOfServices
from tests.ids import IDS, ODD, is_id
from tests.integration.api.serving import opened, problem

NONE = {
    "empty": "", "too long": "a" * 65, "this folder": ".", "the folder above": "..", "an option": "-x", "a blank before": " a",
    "a blank behind": "a ", "two blanks": "a  b", "a line break": "a\nb", "NUL": "a\0b", "escape": "a\x1bb", "no-break space": "a\u00a0b",
    "ideographic space": "a\u3000b", "zero width": "a\u200bb", "joiner": "a\u200db", "soft hyphen": "a\u00adb", "override": "a\u202eb",
    "filler": "a\u3164", "tag": "a\U000e0041", "private": "a\ue000", "surrogate": "a\ud800", "not NFC": "e\u0301", "Angstrom": "\u212b",
    "an accent first": "\u0323a", "an encoded word": "=?utf-8?q?=0A?=",
}  # fmt: skip
PRICE, BACK = (
    OrderPrice(goods=350, tax=70, freight=495, total=915, currency="GBP"),
    ReturnPrice(goods=350, tax=0, total=350, currency="GBP"),
)
LINES = (OrderLine(sku="A", quantity=1, unit_price=350),)


@pytest.mark.parametrize("text", NONE.values(), ids=NONE)
def test_what_is_no_id(text: str) -> None:
    """Not printable, not seen, not bounded, or like another id: two orders would look like one."""
    assert not is_id(text)


@pytest.mark.parametrize("text", ODD)
def test_what_shops_call_an_order(text: str) -> None:
    """Each is an id, for the product and for the services."""
    assert TypeAdapter(Id).validate_python(text) == text
    assert TypeAdapter(IdOfServices).validate_python(text) == text


@given(IDS)
def test_the_schema_and_the_services_take_every_id(text: str) -> None:
    """The pattern of the document refuses nothing that is taken, and an order that passes the door passes the services'."""
    schema = TypeAdapter(Id).json_schema()
    assert (schema["minLength"], schema["maxLength"], schema["pattern"]) == (1, 64, ID)
    assert re.search(ID, text)
    assert TypeAdapter(IdOfServices).validate_python(text) == text
    assert is_id(return_id_of(text, 1))
    assert is_id(return_id_of(text, 199))


@given(st.lists(IDS, min_size=2, max_size=2, unique=True))
def test_a_key_is_visible_and_its_own(ids: list[str]) -> None:
    """Two ids have two keys, each of what a header takes; of an id that was one before it is the key that it was."""
    keys = [request_key(it) for it in ids] + [return_key("C-1", it) for it in ids]
    assert all(re.fullmatch("[!-~]{1,255}", it) for it in keys)
    assert len(set(keys)) == 4
    assert (request_key("SO-1"), return_key("C/1", "SO-1")) == ("orders-submit:SO-1", "orders-submit:return:C/1.SO-1")


@given(IDS)
def test_a_cursor_brings_the_id_back(text: str) -> None:
    """A page that ends with an order of any id is followed by the next one."""
    at = datetime(2026, 11, 29, tzinfo=UTC)
    link = next_link("/v1/orders", {}, at, text)
    assert link.isascii()
    cursor = re.fullmatch(r"</v1/orders\?cursor=([^>]*)>; rel=\"next\"", link)
    assert cursor is not None
    assert len(cursor[1]) <= 600
    assert position("/v1/orders", cursor[1].replace("%3D", "=")) == (at, text)


def confirmed(order_id: str) -> EmailMessage:
    values: dict[str, Any] = {
        "order_id": order_id,
        "customer_id": "C7",
        "currency": "GBP",
        "country": "United Kingdom",
        "lines": LINES,
        "address": {"name": "Zoë", "street": "S 1", "city": "Leeds", "postcode": "LS1 1AA"},
        "payment_method": "pm_card",
    }
    parcel = Shipment(shipment_id="s1", tracking="T-1", carrier="DHL")
    return confirmation(Order.model_validate(values), PRICE, parcel, "a")


def refunded(order_id: str, return_id: str) -> EmailMessage:
    about: dict[str, Any] = {
        "return_id": return_id,
        "order_id": order_id,
        "customer_id": "C7",
        "email": None,
        "currency": "GBP",
    }
    label = ReturnLabel(return_label_id="L", tracking="0099")
    return refund_notice(ReturnOrder.model_construct(**about, lines=LINES), BACK, label, "b", SENDER)


@settings(deadline=None)
@given(IDS, IDS)
@example("#1001", "0" + "\U0001d400" * 8 + " ¡ ¡")
@example("0" * 23, "#1001")
def test_a_mail_names_the_order_and_the_return(order_id: str, return_id: str) -> None:
    """Whatever its id, a person and the audit read it out of the mail as it is, and not another one."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        put(folder, "a", confirmed(order_id))
        put(folder, "b", refunded(order_id, return_id))
        found = {(mail.order, mail.return_id) for mail in mails_about(folder, order_id)}
        told = read_mails(folder)
    assert found == {(order_id, None), (order_id, return_id)}
    assert (list(told.orders), list(told.returns), told.nameless) == ([order_id], [return_id], [])


@settings(deadline=None, max_examples=50)
@given(IDS)
def test_a_path_brings_the_id_back(text: str) -> None:
    """The links of an answer work: the order is shown, watched, cancelled under them, and no other one is."""
    with opened(MemoryStore()) as shop:
        accepted = shop.post(order_values_of(text), key="k")
        links = accepted.json()["links"]
        assert accepted.headers["location"] == links["order"] == order_path(text)
        assert links["order"].isascii()
        shown = shop.client.get(links["order"])
        assert (shown.status_code, shown.json()["order_id"]) == (200, text)
        assert shop.client.head(links["order"]).status_code == 200
        cancelled = shop.client.post(links["cancel"], json={"reason": "asked"})
        assert (cancelled.status_code, cancelled.json()["order_id"]) == (200, text)
        problem(
            shop.client.post(links["returns"], json={"reason": "x"}, headers={"Idempotency-Key": "r"}),
            409,
            "rolled_back",
        )
        problem(shop.client.get(f"{links['order']}x"), *((404, "not_found") if len(text) < 64 else (422, "invalid")))
        assert [it["order_id"] for it in shop.client.get("/v1/orders").json()["items"]] == [text]


def order_values_of(order_id: str) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "customer_id": "C 7",
        "currency": "GBP",
        "country": "United Kingdom",
        "address": {"name": "Zoë", "street": "S 1", "city": "Leeds", "postcode": "LS1 1AA"},
        "lines": [{"sku": "X/1 #2", "quantity": 1, "unit_price": 5}],
        "payment_method": "pm_card",
    }


@given(IDS)
def test_a_command_that_is_advised_can_be_typed(text: str) -> None:
    """What is printed for a person goes through a shell as one word."""
    assert shlex.split(f"saga show {shlex.quote(text)}") == ["saga", "show", text]
