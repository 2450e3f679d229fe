"""The first thing that a newcomer types."""

import json
from pathlib import Path

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
