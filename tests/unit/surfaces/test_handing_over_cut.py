"""A file whose taker goes away in the middle: every order is counted once, and the command says how to go on."""

import json
import threading
from pathlib import Path

import pytest

from saga.errors import StoreUnavailable
from saga.fulfilment.models import Order
from saga.fulfilment.order_files import read_orders
from saga.surfaces.cli.submitting import _text_of
from saga.surfaces.submit import THREADS, Receipt, hand_over
from saga.surfaces.tally import Tally

ORDERS, TAKEN = 200, 30
TIMEOUT_S = 0.5


class Cut:
    """Takes so many orders, then none. It lets the first ones begin together, so that some are on their way at the cut."""

    def __init__(self) -> None:
        self._lock, self._together = threading.Lock(), threading.Barrier(THREADS)
        self.taken: list[str] = []
        self.asked = 0

    def submit(self, order: Order) -> Receipt:
        with self._lock:
            self.asked += 1
            number = self.asked
        if number <= THREADS:
            self._together.wait(10)
        with self._lock:
            if len(self.taken) < TAKEN:
                self.taken.append(order.order_id)
                return Receipt(f"s-{order.order_id}", is_known=False)
        threading.Event().wait(TIMEOUT_S)  # as long as whoever asks needs to see the first failure
        raise StoreUnavailable("no answer")


class Broken:
    """Fails at one order in a way that nobody foresaw."""

    def submit(self, order: Order) -> Receipt:
        if order.order_id == "SO-7":
            raise ValueError("unforeseen")
        return Receipt(f"s-{order.order_id}", is_known=False)


def test_a_failure_that_nobody_foresaw_loses_no_count(tmp_path: Path) -> None:
    """It is raised once all others are counted."""
    path, tally = tmp_path / "orders.jsonl", Tally()
    path.write_text("\n".join(_line(f"SO-{n}") for n in range(ORDERS)))
    with pytest.raises(ValueError, match="unforeseen"):
        hand_over(read_orders(path), Broken(), tally=tally)
    assert tally.submitted == len(tally.saga_ids) >= 7
    assert tally.submitted + tally.not_handed_over == tally.orders
    assert tally.not_handed_over >= 1


def _line(order_id: str) -> str:
    address = {"name": "A Person", "street": "1 Way", "city": "Berlin", "postcode": "10115"}
    line = {"sku": "MUG", "quantity": 2, "unit_price": 450}
    values = {"order_id": order_id, "customer_id": "C-1", "currency": "GBP", "country": "Germany", "address": address}
    return json.dumps({**values, "lines": [line], "payment_method": "pm_card"})


def test_a_cut_is_counted(tmp_path: Path) -> None:
    """Taken and not handed over add up to the orders that were read, a repeat of one that was not taken is not there, and
    nothing begins after the first failure."""
    path = tmp_path / "orders.jsonl"
    path.write_text("\n".join([_line("SO-0"), *(_line(f"SO-{n}") for n in range(ORDERS))]))
    cut, tally = Cut(), Tally()
    with pytest.raises(StoreUnavailable, match="no answer"):
        hand_over(read_orders(path), cut, tally=tally)
    assert sorted(tally.saga_of) == sorted(cut.taken), "each that was taken is counted"
    assert tally.submitted == TAKEN
    assert tally.submitted + tally.already + tally.not_handed_over == tally.orders + len(tally.repeats)
    assert cut.asked <= TAKEN + 2 * THREADS, "what had not begun was called off"
    assert f"not handed over {tally.not_handed_over}, nor what comes after" in _text_of(tally, with_ends=False)
    assert tally.as_json(with_ends=False)["not_handed_over"] == tally.not_handed_over > 0
