"""What a barrier participant is held to: the rules of `saga.barrier`, asked over HTTP, whoever wrote the participant.

A connector that says `keys="serialise"` claims that these rules hold. Hold yours to them in your own tests:

    @pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.__name__)
    def test_stock_keeps_the_rules(scenario: Scenario) -> None:
        scenario(Participant(url, "/reservations", body={"sku": "mug"}, other_body={"sku": "tin"}), new_key())

Rules of this file: each scenario takes a key that nobody used and makes others by adding a letter and a number to it; it
raises `AssertionError` with what was asked, what was answered and what must be answered. Nothing is taken back at the end:
use a participant that may keep what a test leaves.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests

TIMEOUT_S = 20.0
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Said:
    """One answer, and what was asked."""

    asked: str
    status: int
    body: Mapping[str, Any]

    @property
    def is_done(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Participant:
    """One undoable operation of a participant, and how to ask it.

    `body` must succeed under every new key, and `other_body` differs from it and is well-formed. `held(key)` counts how
    often the work of the action `key` is in force, from the participant's own books; without it only answers are judged.
    `reject(key)` makes the participant say no to the next action under `key`. `stranger` is the path and the body of
    another operation there, whose key this undo must not take.
    """

    url: str
    path: str
    body: Mapping[str, Any]
    other_body: Mapping[str, Any]
    undo_path: str = ""
    """`<path>/undo` when it is empty."""
    key_header: str = "Idempotency-Key"
    held: Callable[[str], int] | None = None
    reject: Callable[[str], None] | None = None
    stranger: tuple[str, Mapping[str, Any]] | None = None

    def act(self, key: str) -> Said:
        return self._post(self.path, key, self.body)

    def act_otherwise(self, key: str) -> Said:
        """Another request under the same key."""
        return self._post(self.path, key, self.other_body)

    def act_strangely(self, key: str) -> Said:
        """Another operation."""
        assert self.stranger is not None
        return self._post(self.stranger[0], key, self.stranger[1])

    def undo(self, key: str, undoes: str) -> Said:
        return self._post(self.undo_path or f"{self.path}/undo", key, {"undoes": undoes})

    def _post(self, path: str, key: str, body: Mapping[str, Any]) -> Said:
        answer = requests.post(self.url + path, json=body, headers={self.key_header: key}, timeout=TIMEOUT_S)
        return Said(f"POST {path} under {key}", answer.status_code, answer.json())

    def holds(self, key: str, count: int) -> None:
        """Assert how often the action under `key` is in force."""
        if self.held is not None:
            found = self.held(key)
            assert found == count, f"the action under {key} is in force {found} times and must be {count} times"


Scenario = Callable[[Participant, str], None]


def an_action_twice_is_one_effect(it: Participant, key: str) -> None:
    """The repeat hears the kept answer; another request under the key is refused and changes nothing."""
    first = _done(it.act(key))
    _same(it.act(key), first)
    _refused(it.act_otherwise(key), 422, "key_reused")
    _same(it.act(key), first)
    it.holds(key, 1)


def an_undo_twice_is_one_undo(it: Participant, key: str) -> None:
    """Repeated under its key it hears the kept answer; under another key it is undone already."""
    _done(it.act(key))
    first = _undone(it.undo(f"{key}u1", key), was_applied=True)
    _same(it.undo(f"{key}u1", key), first)
    further = _undone(it.undo(f"{key}u2", key), was_applied=True)
    assert further.body["effects"] == [], f"{further.asked}: nothing was left to move back: {further.body}"
    it.holds(key, 0)


def an_undo_before_its_action_closes_the_key(it: Participant, key: str) -> None:
    """Nothing to undo is a success, and the action that comes afterwards does nothing, for ever."""
    first = _undone(it.undo(f"{key}u1", key), was_applied=False)
    _tombstoned(it, key)
    _same(it.undo(f"{key}u1", key), first)
    _undone(it.undo(f"{key}u2", key), was_applied=False)
    _tombstoned(it, key)


def an_undo_after_its_action_closes_the_key(it: Participant, key: str) -> None:
    """The kept answer says that something is held, and nothing is any more: a caller who heard it would go forward."""
    _done(it.act(key))
    first = _undone(it.undo(f"{key}u1", key), was_applied=True)
    _tombstoned(it, key)
    _same(it.undo(f"{key}u1", key), first)
    _tombstoned(it, key)


def a_rejection_is_kept_until_it_is_undone(it: Participant, key: str) -> None:
    """A "no" is a "no" to every copy. An undo finds nothing to take back, and closes the key like any other."""
    if it.reject is None:
        return
    it.reject(key)
    first = it.act(key)
    assert 400 <= first.status < 500, f"{first.asked}: must be rejected, and is {first.status} {first.body}"
    _same(it.act(key), first)
    it.holds(key, 0)
    _undone(it.undo(f"{key}u1", key), was_applied=False)
    _tombstoned(it, key)


def an_undo_takes_its_own_operation_only(it: Participant, key: str) -> None:
    """The key of another operation is refused, and so is the key of an undo that named another action; nothing moves."""
    _done(it.act(key))
    _undone(it.undo(f"{key}u1", f"{key}never"), was_applied=False)
    _refused(it.undo(f"{key}u1", key), 422, "key_reused")
    it.holds(key, 1)
    if it.stranger is not None:
        first = _done(it.act_strangely(f"{key}strange"))
        _refused(it.undo(f"{key}u2", f"{key}strange"), 422, "key_reused")
        _same(it.act_strangely(f"{key}strange"), first)


def equal_requests_at_once_are_one_effect(it: Participant, key: str) -> None:
    """Copies of an action hear one answer; undos under keys of their own all succeed, and take back once."""
    first, *copies = _at_once([partial(it.act, key)] * AT_ONCE)
    _done(first)
    for copy in copies:
        _same(copy, first)
    it.holds(key, 1)
    undos = _at_once([partial(it.undo, f"{key}u{number}", key) for number in range(AT_ONCE)])
    moved = [len(_undone(one, was_applied=True).body["effects"]) for one in undos]
    assert sum(map(bool, moved)) <= 1, f"{undos[0].asked} and {AT_ONCE - 1} more: {moved} effects, of one undo at most"
    it.holds(key, 0)


def an_action_and_its_undo_at_once_leave_nothing(it: Participant, key: str) -> None:
    """Whichever of the two is first, the other sees it; and afterwards the key is closed."""
    pairs = [f"{key}p{number}" for number in range(AT_ONCE // 2)]
    said = _at_once([call for one in pairs for call in (partial(it.act, one), partial(it.undo, f"{one}u1", one))])
    for place, one in enumerate(pairs):
        action, undo = said[2 * place : 2 * place + 2]
        if action.is_done:
            _undone(undo, was_applied=True)
        else:
            _refused(action, 409, "tombstoned")
            _undone(undo, was_applied=False)
        _tombstoned(it, one)


SCENARIOS: tuple[Scenario, ...] = (
    an_action_twice_is_one_effect,
    an_undo_twice_is_one_undo,
    an_undo_before_its_action_closes_the_key,
    an_undo_after_its_action_closes_the_key,
    a_rejection_is_kept_until_it_is_undone,
    an_undo_takes_its_own_operation_only,
    equal_requests_at_once_are_one_effect,
    an_action_and_its_undo_at_once_leave_nothing,
)


def _at_once(calls: list[Callable[[], Said]]) -> list[Said]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [waiting.result() for waiting in [pool.submit(call) for call in calls]]


def _done(said: Said) -> Said:
    assert said.is_done, f"{said.asked}: must be done, and is {said.status} {said.body}"
    return said


def _same(said: Said, first: Said) -> None:
    is_same = (said.status, said.body) == (first.status, first.body)
    assert is_same, f"{said.asked}: must be {first.status} {first.body}, and is {said.status} {said.body}"


def _refused(said: Said, status: int, code: str) -> None:
    is_refused = said.status == status and said.body.get("code") == code
    assert is_refused, f"{said.asked}: must be {status} with the code {code}, and is {said.status} {said.body}"


def _undone(said: Said, *, was_applied: bool) -> Said:
    is_right = said.status == 200 and said.body.get("undone") is was_applied
    assert is_right, f"{said.asked}: must be 200 with undone {was_applied}, and is {said.status} {said.body}"
    return said


def _tombstoned(it: Participant, key: str) -> None:
    """The key is closed: to the same request, to another one, and nothing is in force."""
    _refused(it.act(key), 409, "tombstoned")
    _refused(it.act_otherwise(key), 409, "tombstoned")
    it.holds(key, 0)
