"""What is handed back, and for how long it is left to the others."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from saga.runtime.foreign import LEAVE_CAP_S, Foreign
from saga.store.memory import MemoryStore
from saga.store.port import DueSaga

NOW = datetime(2026, 11, 21, tzinfo=UTC)


class _Noting(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.back: list[list[str]] = []

    def hand_back(self, saga_ids: Sequence[str]) -> None:
        self.back.append(list(saga_ids))


def due(saga_id: str, pushes: int = 0) -> DueSaga:
    return DueSaga(saga_id, "d", 1, pushes, NOW)


def test_only_what_was_taken_and_hinted_is_handed_back_once() -> None:
    """A hint after steady progress hands nothing back: it would be a write for each step."""
    store = _Noting()
    foreign = Foreign(store)
    foreign.took([due("a"), due("b")])
    foreign.hinted(["a", "c"])
    assert foreign.hand_back() == ("a",)
    assert foreign.hand_back() == ("a",)
    assert store.back == [["a"]]


@pytest.mark.parametrize(("pushes", "left_s"), [(0, 1.0), (1, 2.0), (3, 8.0), (50, LEAVE_CAP_S)])
def test_what_nobody_moves_is_left_longer_each_time(pushes: int, left_s: float) -> None:
    """A queue that nobody consumes must not be looked at every second for ever."""
    clock_s = 100.0
    foreign = Foreign(MemoryStore(), lambda: clock_s)
    foreign.took([due("a", pushes)])
    foreign.hinted(["a"])
    assert foreign.hand_back() == ("a",)
    clock_s += left_s - 0.1
    assert foreign.hand_back() == ("a",)
    clock_s += 0.2
    assert foreign.hand_back() == ()
