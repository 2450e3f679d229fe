"""The first thing that a newcomer types."""

import json
from pathlib import Path

from saga.core.states import SagaStatus
from saga.settings import Settings
from saga.store.port import SagaFilter
from saga.surfaces.demo import Asked, Run, demonstrate
from saga.surfaces.invariants import Invariant
from saga.surfaces.submit import session
from tests.e2e.commands import Place


def test_demo_is_green_and_repeatable(tmp_path: Path) -> None:
    """Orders complete and roll back, faults fire, nothing is halted, no invariant is broken; the same seed again, on the
    same home, gives the same ends."""
    place = Place(tmp_path, tmp_path / "home")
    first = place.run("demo", "--orders", "40", "--seed", "11", "-o", "json", timeout_s=100)
    again = place.run("demo", "--orders", "40", "--seed", "11", "-o", "json", timeout_s=100)
    one, two = json.loads(first.out), json.loads(again.out)
    assert (first.code, again.code) == (0, 0), first.err
    assert (one["orders"], one["halted"], one["violations"]) == (40, 0, 0)
    assert one["completed"] + one["compensated"] == 40
    assert one["compensated"] == sum(one["causes"].values()) > 0
    assert sum(one["faults"].values()) > 0
    ends = ("completed", "compensated", "causes")
    assert [one[name] for name in ends] == [two[name] for name in ends]
    assert "accepted 40" in first.err


def test_demo_for_people(tmp_path: Path) -> None:
    """Without -o the audit's page and how to see it again go to stdout."""
    done = Place(tmp_path, tmp_path / "home").run("demo", "--orders", "5", timeout_s=60)
    assert done.code == 0, done.err
    assert "0 violations" in done.out
    assert "again: saga demo --orders 5 --seed 7" in done.out


class Spoiling:
    """Watches, and spoils the books at the end: money is held that no order asked for, and an order that completed is said to
    have been cancelled."""

    def begin(self, run: Run) -> None: ...

    def look(self, run: Run) -> None:
        run.finishing.wait(0.1)

    def end(self, run: Run) -> None:
        completed = run.stack.store.find(SagaFilter(statuses=(SagaStatus.COMPLETED,)), 1)
        self.claimed = completed[0].entity
        run.cancelled.add(self.claimed)
        hold = {"order_id": "STRAY-1", "amount": 4200, "currency": "GBP", "payment_method": "pm_card"}
        url, headers = f"{run.stack.urls['payment']}/v1/authorizations", {"Idempotency-Key": "stray"}
        # A fault of the script may meet it; under its key it is done once however often it is sent.
        sent = [session().post(url, json=hold, headers=headers, timeout=5).status_code for _ in range(3)]
        assert set(sent) & {200, 201}, sent


def test_the_audit_of_a_demonstration_is_not_blind(tmp_path: Path) -> None:
    """A hold that nobody asked for, and an order whose end is not the one that is claimed, are violations, each by its name;
    the run is not right."""
    spoiling = Spoiling()
    done = demonstrate(Settings(home=tmp_path), Asked(orders=5, seed=3), spoiling)
    found = {(it.invariant, it.order_id) for it in done.report.violations}
    assert (Invariant.ORACLE, spoiling.claimed) in found
    assert any(invariant is Invariant.ONCE and "STRAY" in order_id for invariant, order_id in found), found
    assert not done.is_right
