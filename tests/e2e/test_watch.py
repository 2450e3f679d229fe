"""`saga watch` as a person reads it: what happens to a saga, line by line, and the exit code of its end."""

import json
import signal
from pathlib import Path

import pytest

from tests.e2e.commands import Place, stop
from tests.e2e.orders import json_lines, order


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A home of one's own."""
    return Place(tmp_path, tmp_path / "home")


def test_orders_are_watched_to_their_end(place: Place) -> None:
    """A completed order is 0 with each try and the end; a declined one is 1 with the cause, the plan in its order and each
    undo; -o jsonl is one change a line under run and number, -o json one array of the same."""
    given = json_lines([order("SO-1"), order("SO-2", payment_method="pm_declined")])
    with place.running(["dev"], "ready") as dev:
        assert place.run("orders", "submit", "-", "--provision", given=given).code == 0
        done = place.run("watch", "SO-1", "--timeout", "60")
        assert done.code == 0, done.out + done.err
        assert "COMPLETED" in done.out.splitlines()[-1]
        assert any("capture_payment" in line and "try 1 succeeded" in line for line in done.out.splitlines())
        declined = place.run("watch", "SO-2", "--timeout", "60")
        assert stop(dev) == 0
    assert declined.code == 1, declined.err
    lines = declined.out.splitlines()
    said = [next(place for place, line in enumerate(lines) if text in line) for text in
            ("accepted", "authorize_payment rejected", "1. book_shipment  2. reserve_inventory", "undo book_shipment",
             "undo reserve_inventory", "COMPENSATED")]  # fmt: skip
    assert said == sorted(said)
    assert all(len(line) < 160 for line in lines)
    jsonl = place.run("watch", "SO-2", "-o", "jsonl")
    changes = [json.loads(line) for line in jsonl.out.splitlines()]
    assert {one["run"] for one in changes} == {1}
    assert [one["seq"] for one in changes] == sorted({one["seq"] for one in changes})
    assert (changes[0]["kind"], changes[-1]["kind"], changes[-1]["status"]) == ("accepted", "compensated", "failed")
    assert json.loads(place.run("watch", "SO-2", "-o", "json").out) == changes


def test_a_saga_that_nobody_runs(place: Place) -> None:
    """With a bound the command ends with 1 and asks for a worker; ctrl-C ends it before; an unknown one is 3."""
    assert place.run("orders", "submit", "-", given=json_lines([order("SO-1")])).code == 0
    done = place.run("watch", "SO-1", "--timeout", "0.2")
    assert (done.code, "is a worker running?" in done.err) == (1, True), done.err
    with place.running(["watch", "SO-1"], "accepted") as watching:
        assert stop(watching, signal.SIGINT) == 130
    unknown = place.run("watch", "NOPE")
    assert (unknown.code, "NOPE" in unknown.err) == (3, True)


def test_a_halt_for_a_person_is_the_end_of_watching(place: Place) -> None:
    """Nobody knows when a person comes: the last line says why it stands and that it waits; exit code 1."""
    (place.directory / "shop.py").write_text(
        "from pydantic import BaseModel\n"
        "from saga.core.definition import Saga, pivot\n"
        "class Order(BaseModel):\n    order_id: str\n"
        "def pay(order: Order) -> None:\n    raise ValueError('no such till')\n"
        "place = Saga('place', version=1, input=Order, entity=lambda order: order.order_id,"
        " steps=[pivot(pay, keys='serialise')])\n"
    )
    with place.running(["dev", "shop:place"], "ready") as dev:
        assert place.run("start", "shop:place", '{"order_id": "SO-1"}').code == 0
        done = place.run("watch", "SO-1", "--timeout", "60")
        assert stop(dev) == 0
    assert done.code == 1, done.err
    assert "HALTED" in done.out.splitlines()[-1]
    assert "waits for a person" in done.out.splitlines()[-1]
