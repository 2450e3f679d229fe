"""Which orders a cancellation is about."""

from typing import Any

from saga.fulfilment.cancellations import Match, Sold
from saga.fulfilment.intake import Cancelled
from saga.fulfilment.models import Order

ADDRESS = {"name": "n", "street": "s", "city": "c", "postcode": "p"}


def order(order_id: str, pieces: dict[str, int], customer: str = "1") -> Order:
    values: dict[str, Any] = {
        "order_id": order_id,
        "customer_id": customer,
        "currency": "GBP",
        "country": "Norway",
        "address": ADDRESS,
        "lines": [{"sku": sku, "quantity": quantity, "unit_price": 100} for sku, quantity in pieces.items()],
        "payment_method": "pm_card",
    }
    return Order.model_validate(values)


def sold(*orders: Order) -> Sold:
    made = Sold()
    for one in orders:
        made.add(one)
    return made


def test_the_latest_order_that_has_pieces_left_is_meant() -> None:
    """Back from the latest to the earliest, never more than is left of each."""
    stock = sold(order("1", {"A": 5}), order("2", {"A": 2, "B": 1}))
    assert stock.match(Cancelled("C1", "1", {"A": 4})) == (
        [Match("1", {"A": 2}, False), Match("2", {"A": 2}, False)],
        0,
    )
    assert stock.match(Cancelled("C2", "1", {"A": 4})) == ([Match("1", {"A": 3}, False)], 1)
    assert stock.match(Cancelled("C3", "1", {"A": 1})) == ([], 1)


def test_an_order_that_comes_back_to_the_last_piece_is_whole() -> None:
    """Only when one cancellation names all of it."""
    stock = sold(order("1", {"A": 2, "B": 1}), order("2", {"A": 1}))
    assert stock.match(Cancelled("C1", "1", {"A": 3, "B": 1})) == (
        [Match("1", {"A": 2, "B": 1}, True), Match("2", {"A": 1}, True)],
        0,
    )
    stock = sold(order("1", {"A": 2}))
    assert [it.is_whole for name in ("C1", "C2") for it in stock.match(Cancelled(name, "1", {"A": 1}))[0]] == [
        False,
        False,
    ]


def test_customers_are_kept_apart_and_nobody_in_particular_is_not_matched() -> None:
    """A guest has no number, so any guest's pieces would do; and lines that could not be read count as unmatched."""
    stock = sold(order("1", {"A": 2}, "1"), order("2", {"A": 2}, "guest"))
    assert stock.match(Cancelled("C1", "2", {"A": 1})) == ([], 1)
    assert stock.match(Cancelled("C2", "guest", {"A": 1}, unreadable_count=2)) == ([], 3)


def test_only_what_a_cancellation_can_be_about_is_kept() -> None:
    """A file of half a million lines has some thousand pairs that come back; an order is whole by all its pieces."""
    stock = Sold({("1", "A")})
    for one in (order("1", {"A": 1, "B": 1}), order("2", {"B": 1}), order("3", {"A": 1})):
        stock.add(one)
    assert stock.match(Cancelled("C1", "1", {"A": 2, "B": 1})) == (
        [Match("1", {"A": 1}, False), Match("3", {"A": 1}, True)],
        1,
    )
