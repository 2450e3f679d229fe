"""What a barrier participant is held to: the mocks keep it, and one that breaks a rule is found out.

The four services are held to the same scenarios in `tests/integration/services/test_all_four.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from saga.core.connector import Connector
from saga.surfaces.mocks import Mock, Reply, serve_mock
from saga.testing import participant as rules
from saga.testing.participant import SCENARIOS, Participant, Scenario

HOLD, CHARGE = "/holds", "/charges"


class Ask(BaseModel):
    card: str


class Answer(BaseModel):
    ref: str


bank = Connector("bank", keys="serialise", remembers_rejections=True, rejected={402: "declined"})
hold, charge = bank.post(HOLD, Ask, Answer), bank.post(CHARGE, Ask, Answer)


@dataclass(slots=True)
class Refusing(Mock):
    """A mock that can be told to say no once."""

    says_no: bool = False

    def _rejection(self, request: dict[str, Any]) -> tuple[int, str] | None:
        is_no, self.says_no = self.says_no, False
        return (402, "declined") if is_no else Mock._rejection(self, request)


class Reopens(Refusing):
    """Forgets that it undid."""

    def _remember(self, row: dict[str, Any]) -> None:
        super()._remember(row)
        self._tombstones.clear()


class SecondUndoFindsNothing(Refusing):
    """Says of what another undo took back that it was never applied."""

    def _undo(self, path: str, key: str, request: dict[str, Any]) -> Reply:
        is_again = request["undoes"] in self._tombstones and key not in self._kept
        reply = super()._undo(path, key, request)
        return replace(reply, body={**reply.body, "undone": False}) if is_again else reply


class TakesAnyOperation(Refusing):
    """Undoes whatever stands under the key."""

    def _undo(self, path: str, key: str, request: dict[str, Any]) -> Reply:
        if request["undoes"] in self._kept:
            self._kept[request["undoes"]]["path"] = self.undos[path].of.path
        return super()._undo(path, key, request)


class ForgetsRejections(Refusing):
    """Does under a rejected key what it was asked for the second time."""

    def _write(self, row: dict[str, Any]) -> None:
        if row["outcome"] != "rejected":
            super()._write(row)


class ActsEveryTime(Refusing):
    """Does nothing with the key of an action."""

    def _act(self, path: str, key: str, request: dict[str, Any], request_hash: str) -> Reply:
        if key not in self._tombstones:
            self._kept.pop(key, None)
        return super()._act(path, key, request, request_hash)


@contextmanager
def participant(kind: type[Refusing], folder: Path) -> Iterator[Participant]:
    """A mock of this kind on a port of its own."""
    mock = kind(bank, folder / "bank.jsonl", {HOLD: hold, CHARGE: charge}, {f"{HOLD}/undo": bank.undo(HOLD, of=hold)})

    def held(key: str) -> int:
        done = [row for row in mock.ledger if row["key"] == key and row["outcome"] == "applied"]
        undone = [it for it in mock.ledger if it["outcome"] == "undone" and it["request"]["undoes"] == key]
        return len(done) - len(undone)

    def reject(_key: str) -> None:
        mock.says_no = True

    served = serve_mock(mock)
    body, other = {"card": "4242"}, {"card": "5555"}
    try:
        yield Participant(
            served.url, HOLD, body=body, other_body=other, held=held, reject=reject, stranger=(CHARGE, body)
        )
    finally:
        served.stop()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.__name__)
def test_a_mock_keeps_the_rules(scenario: Scenario, tmp_path: Path) -> None:
    """The stand-in of a participant that serialises keys is one."""
    with participant(Refusing, tmp_path) as it:
        scenario(it, "k")


@pytest.mark.parametrize(("kind", "scenario"), [
    (ActsEveryTime, rules.an_action_twice_is_one_effect),
    (SecondUndoFindsNothing, rules.an_undo_twice_is_one_undo),
    (Reopens, rules.an_undo_before_its_action_closes_the_key),
    (Reopens, rules.an_undo_after_its_action_closes_the_key),
    (ForgetsRejections, rules.a_rejection_is_kept_until_it_is_undone),
    (Reopens, rules.a_rejection_is_kept_until_it_is_undone),
    (TakesAnyOperation, rules.an_undo_takes_its_own_operation_only),
    (ActsEveryTime, rules.equal_requests_at_once_are_one_effect),
    (Reopens, rules.an_action_and_its_undo_at_once_leave_nothing),
])  # fmt: skip
def test_who_breaks_a_rule_is_found_out(kind: type[Refusing], scenario: Scenario, tmp_path: Path) -> None:
    """Each scenario has a participant that fails it, and says which key was asked and what the answer must be."""
    with participant(kind, tmp_path) as it, pytest.raises(AssertionError, match=r"under k.*must be|is in force"):
        scenario(it, "k")
