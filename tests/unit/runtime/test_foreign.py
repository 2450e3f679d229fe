"""What is handed back, and for how long it is left to the others."""

from collections.abc import Sequence

from saga.runtime.foreign import LEAVE_CAP_S, Foreign
from saga.store.memory import MemoryStore
from saga.store.port import DueSaga


class _Noting(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.back: list[list[str]] = []

    def hand_back(self, saga_ids: Sequence[str]) -> None:
        self.back.append(list(saga_ids))


def due(saga_id: str, pushes: int = 0) -> DueSaga:
    return DueSaga(saga_id, "d", 1, pushes)


def test_only_what_was_taken_and_hinted_is_handed_back_once() -> None:
    """A hint after steady progress hands nothing back: it would be a write for each step."""
    store = _Noting()
    foreign = Foreign(store)
    foreign.took([due("a"), due("b")])
    foreign.hinted(["a", "c"])
    assert foreign.hand_back() == ("a",)
    assert foreign.hand_back() == ("a",)
    assert store.back == [["a"]]


def test_what_nobody_moves_is_left_longer_each_time() -> None:
    """A queue that nobody consumes must not be looked at every second for ever."""
    foreign = Foreign(MemoryStore())
    left_s = []
    for pushes in (0, 1, 3, 50):
        foreign.took([due("a", pushes)])
        foreign.hinted(["a"])
        foreign.hand_back()
        left_s.append(foreign.left_s("a"))
    assert [round(it) for it in left_s] == [1, 2, 8, round(LEAVE_CAP_S)]
