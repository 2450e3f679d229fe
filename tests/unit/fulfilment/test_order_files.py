"""A file of orders is told by its first character, and each line of JSON is an order or a refusal."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from saga.errors import UsageError
from saga.fulfilment.intake import Refused, Repeated
from saga.fulfilment.models import Order
from saga.fulfilment.order_files import read_orders, stock_needed
from saga.fulfilment.text_files import LINE_MAX


def order_text(order_id: str, **changes: Any) -> str:
    values = {
        "order_id": order_id,
        "customer_id": "C7",
        "currency": "GBP",
        "country": "United Kingdom",
        "address": {"name": "Zoë", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"},
        "lines": [{"sku": "B", "quantity": 2, "unit_price": 100}, {"sku": "A", "quantity": 1, "unit_price": 50}],
        "payment_method": "pm_card",
    }
    return json.dumps(values | changes)


def test_json_lines_are_orders_or_refusals(tmp_path: Path) -> None:
    """Bad lines name line, field and rule, and stop nothing; an order keeps its place."""
    path = tmp_path / "orders.jsonl"
    path.write_text("\n".join([order_text("SO-1"), "", order_text(" S2"), "{", order_text("SO-3")]), encoding="utf-8")
    first, second, third, fourth = read_orders(path)
    assert isinstance(first, Order)
    assert isinstance(second, Refused)
    assert second.reference == "line 3"
    assert second.reason.startswith("order_id: must not begin or end with a blank")
    assert isinstance(third, Refused)
    assert third.reason.startswith("the line: Invalid JSON")
    assert isinstance(fourth, Order)
    assert (first.order_id, fourth.order_id) == ("SO-1", "SO-3")


def test_an_id_that_stands_in_two_lines(tmp_path: Path) -> None:
    """With another content the later line is refused with the number of the earlier; with the same it is a repeat, and no
    second order. A refused line takes no id."""
    path = tmp_path / "orders.jsonl"
    lines = [order_text("SO-1", currency="pounds"), *[order_text("SO-1")] * 2, order_text("SO-1", country="France")]
    path.write_text("\n".join(lines), encoding="utf-8")
    _, second, third, fourth = read_orders(path)
    assert isinstance(second, Order)
    assert third == Repeated("line 3", "SO-1")
    assert fourth == Refused("line 4", "order_id: line 4 repeats the id SO-1 of line 2, with another content")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x7fELF\x02\xff\xff", "is no text that can be read: byte 5 is not UTF-8; a file in another encoding"),
        ("order_id".encode("utf-16-le"), "is no text that can be read: byte 1 is NUL"),
        (b"PK\x03\x04\x00\x00", "is no zip that can be read"),
        (gzip.compress(b"\xff\xff", mtime=0), "is no text that can be read: byte 0 is not UTF-8"),
        (b"\x1f\x8b\x08\x00 no more", "cannot be read"),
        (b"a" * 500, "it is 'a{80}' …$"),
        (b'\xef\xbb\xbf [{"order_id": "SO-1"}]', "is a JSON array; write one JSON object a line"),
        (gzip.compress(b"[\n", mtime=0), "is a JSON array; write one JSON object a line"),
    ],
)
def test_a_file_that_is_no_text(tmp_path: Path, data: bytes, says: str) -> None:
    """One line that names the file and what is wrong, and does not print the file."""
    path = tmp_path / "orders"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=says) as raised:
        list(read_orders(path))
    assert str(raised.value).startswith(f"{path}: ")


def test_a_line_that_is_no_text_is_refused_alone(tmp_path: Path) -> None:
    """The lines around it are orders."""
    path = tmp_path / "orders"
    path.write_bytes(b'{"order_id": "caf\xe9"}\n' + order_text("SO-1").encode())
    first, second = read_orders(path)
    why = "the line: byte 17 is not UTF-8; a file in another encoding is read with --encoding, as in --encoding latin-1"
    assert first == Refused("line 1", why)
    assert isinstance(second, Order)


def test_an_empty_file_holds_no_order(tmp_path: Path) -> None:
    """Nothing is found in nothing, and it is no error."""
    path = tmp_path / "orders"
    path.write_bytes(b"\n \n")
    assert list(read_orders(path)) == []


def test_the_retail_layout_is_found_by_its_header(tmp_path: Path) -> None:
    """What does not begin with a brace must be the layout that is known."""
    path = tmp_path / "orders"
    path.write_text(
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n1,A,a,1,2010,1.0,1.0,France\n"
    )
    (order,) = read_orders(path)
    assert isinstance(order, Order)
    path.write_text("order_id;sku\n")
    with pytest.raises(UsageError, match="the first line must be"):
        list(read_orders(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The person reads which file, not a traceback."""
    with pytest.raises(UsageError, match="nowhere"):
        list(read_orders(tmp_path / "nowhere"))


def test_the_stock_that_orders_need_is_added_up_by_sku() -> None:
    """What provisioning adds is exactly what the reservations will take."""
    orders = [Order.model_validate_json(order_text(f"SO-{number}")) for number in range(3)]
    assert list(stock_needed(orders).items()) == [("A", 3), ("B", 6)]
    assert stock_needed([]) == {}


def test_a_line_without_an_end_is_refused_and_not_kept(tmp_path: Path) -> None:
    """A line longer than the bound is cut while it is read, and the line behind it is an order."""
    path = tmp_path / "orders.jsonl"
    path.write_text("{" + " " * LINE_MAX + "\n" + order_text("SO-2"), encoding="utf-8")
    first, second = read_orders(path)
    assert first == Refused("line 1", "the line: longer than a line may be")
    assert isinstance(second, Order)
