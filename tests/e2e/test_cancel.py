"""`saga cancel` as a person types it: before and after the point of no return, over the database alone."""

import json
import os
from pathlib import Path

import pytest

from tests.e2e.commands import Place, stop
from tests.e2e.orders import json_lines, order
from tests.waiting import wait_until

MODEL = """
from pathlib import Path
from pydantic import BaseModel
from saga.core.definition import Saga, compensatable, pivot

class Order(BaseModel):
    order_id: str

class Held(BaseModel):
    hold_id: str

class Paid(BaseModel):
    pay_id: str

def hold(order: Order) -> Held:
    return Held(hold_id=order.order_id)

def let_go(held: Held) -> None: ...

def pay(order: Order, held: Held) -> Paid:
    Path("paying").touch()
    Path("may-pay").read_text()  # a pipe: until somebody writes
    return Paid(pay_id=held.hold_id)

place = Saga("place", version=1, input=Order, entity=lambda order: order.order_id, steps=[
    compensatable(hold, compensation=let_go, keys="serialise"), pivot(pay, keys="serialise")])
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A directory with a saga whose payment waits for somebody to write into a pipe."""
    (tmp_path / "shop.py").write_text(MODEL)
    os.mkfifo(tmp_path / "may-pay")
    return Place(tmp_path, tmp_path / "home")


def started(place: Place, order_id: str) -> str:
    """A saga that nobody runs yet."""
    done = place.run("start", "shop:place", json.dumps({"order_id": order_id}))
    assert done.code == 0, done.err
    return done.out.strip()


def test_before_anything_happened_it_is_over_at_once(place: Place) -> None:
    """No worker is needed: the plan is empty. A second cancel is the same and is 0 too; actor and reason are kept."""
    saga_id = started(place, "SO-1")
    command = ("cancel", "SO-1", "-d", "shop:place", "--reason", "ordered twice", "--actor", "anna")
    done = place.run(*command, "-o", "json")
    assert done.code == 0, done.err
    value = json.loads(done.out)
    assert (value["saga_id"], value["cancel"], value["status"], value["plan"]) == (saga_id, "done", "compensated", [])
    again = place.run(*command, "--wait")
    assert (again.code, "compensated" in again.out) == (0, True)
    shown = json.loads(place.run("show", "SO-1", "-o", "json").out)
    assert (shown["cancel"]["actor"], shown["cancel"]["reason"]) == ("anna", "ordered twice")


def test_in_flight_it_is_pending_and_then_refused(place: Place) -> None:
    """While the payment is in flight the cancel is written down and 0; with --wait it is 1 once the payment was taken, and
    from then on a cancel is refused with 1."""
    cancel = ("cancel", "SO-1", "-d", "shop:place", "--reason", "too late")
    with place.running(["dev", "shop:place"], "ready") as dev:
        started(place, "SO-1")
        wait_until((place.directory / "paying").exists, 20, what="the payment in flight")
        pending = place.run(*cancel, "-o", "json")
        assert (pending.code, json.loads(pending.out)["cancel"]) == (0, "pending"), pending.err
        (place.directory / "may-pay").write_text("now")
        waited = place.run(*cancel, "--wait", "--timeout", "30", "-o", "json")
        assert waited.code == 1, waited.err
        assert [json.loads(waited.out)[name] for name in ("cancel", "status")] == ["refused", "completed"]
        assert stop(dev) == 0
    refused = place.run(*cancel)
    assert (refused.code, "point of no return" in refused.out) == (1, True), refused.err


def test_an_order_is_rolled_back_and_waited_for(place: Place) -> None:
    """An order that stands halted before a payment service that is down is rolled back by the cancel, with nothing left."""
    order_place = Place(place.directory, place.home, {"SAGA_SHIPPING_URL": "http://127.0.0.1:9"})
    with order_place.running(["dev"], "ready") as dev:
        given = json_lines([order("SO-1")])
        assert order_place.run("orders", "submit", "-", "--provision", given=given).code == 0
        done = order_place.run(
            "cancel", "SO-1", "--reason", "customer called", "--wait", "--timeout", "60", "-o", "json"
        )
        assert (done.code, json.loads(done.out)["status"]) == (0, "compensated"), done.err
        shown = json.loads(order_place.run("show", "SO-1", "-o", "json").out)
        assert (shown["cause"]["cause"], shown["net_effects"]) == ("cancelled", [])
        assert stop(dev) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["NOPE", "--reason", "x"], 3, "NOPE"),
        (["SO-1"], 2, "--reason"),
        (["SO-1", "--reason", ""], 2, "reason"),
        (["SO-1", "--reason", "a\nb"], 2, "reason"),
        (["SO-1", "--reason", "x", "--actor", "y" * 101], 2, "actor"),
        (["SO-1", "--reason", "x"], 2, "which this process does not have"),
    ],
)
def test_what_cannot_be_cancelled(place: Place, arguments: list[str], code: int, says: str) -> None:
    """Each kind of mistake has its exit code and one line that names it, and nothing is written."""
    saga_id = started(place, "SO-1")
    done = place.run("cancel", *arguments)
    assert (done.code, says in done.err, "Traceback" in done.err) == (code, True, False), done.err
    assert json.loads(place.run("show", saga_id, "-o", "json").out)["seq"] == 1


def test_a_saga_of_another_tenant_is_not_cancelled(place: Place) -> None:
    """It is not found, by its order id and by its saga id, and the message says where was looked."""
    saga_id = started(place, "SO-1")
    other = Place(place.directory, place.home, {"SAGA_TENANT": "other"})
    for reference in ("SO-1", saga_id):
        done = other.run("cancel", reference, "-d", "shop:place", "--reason", "x")
        assert (done.code, "in environment development, tenant other" in done.err) == (3, True), done.err
    assert json.loads(place.run("show", saga_id, "-o", "json").out)["seq"] == 1


def test_of_two_tenants_with_the_same_order_each_cancels_its_own(place: Place) -> None:
    """The other's saga began later and stays as it is."""
    first = started(place, "SO-1")
    second = started(Place(place.directory, place.home, {"SAGA_TENANT": "other"}), "SO-1")
    done = place.run("cancel", "SO-1", "-d", "shop:place", "--reason", "ordered twice", "-o", "json")
    assert (done.code, json.loads(done.out)["saga_id"]) == (0, first), done.err
    every = [place.run("show", saga_id, "--all-tenants", "-o", "json").out for saga_id in (first, second)]
    shown = [json.loads(one)["status"] for one in every]
    assert shown == ["compensated", "running"]
