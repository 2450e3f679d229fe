"""Due sagas that this process took from the due index and has nothing to do for: their nodes are on queues of others, or it is
too early.

To take a due saga is to hold it back from everybody for a while. A process that then only hints at another would hide the
saga from that other whenever the hint is lost, so it hands the saga back, due at once, and does not take it again itself for
some seconds. Thread-safe: hints come from the thread that drives, the rest from the rescuer's.
"""

import threading
from collections.abc import Callable, Iterable
from datetime import datetime

from saga.clock import monotonic
from saga.store.port import DueSaga, Rest, Store

LEAVE_S, LEAVE_CAP_S = 1.0, 60.0
"""How long a saga that was handed back is left to the others: doubling with every look in a row after which nobody moved it."""
REMEMBER_S = 60.0
"""How long a hint counts as the answer to having taken the saga."""


class Foreign:
    """What one process took, and what of it was not for it."""

    def __init__(self, store: Store, now: Callable[[], float] = monotonic) -> None:
        self._store = store
        self._now = now
        self._lock = threading.Lock()
        self._taken: dict[str, tuple[float, DueSaga]] = {}
        self._resting: dict[str, Rest] = {}
        self._waiting: dict[str, int] = {}
        self._left_until: dict[str, float] = {}

    def took(self, due: Iterable[DueSaga]) -> None:
        """These came out of the due index."""
        now = self._now()
        with self._lock:
            self._taken = {saga_id: it for saga_id, it in self._taken.items() if now - it[0] < REMEMBER_S}
            self._taken.update({it.saga_id: (now, it) for it in due})

    def hinted(self, saga_ids: Iterable[str]) -> None:
        """Somebody else has something to do for these; those that were taken are to be handed back."""
        with self._lock:
            for saga_id in saga_ids:
                if (taken := self._taken.pop(saga_id, None)) is not None:
                    self._waiting[saga_id] = taken[1].pushes

    def rests(self, rests: Iterable[tuple[str, datetime]]) -> None:
        """These were looked at too early; of those that were taken the due index is told when to look again."""
        with self._lock:
            for saga_id, due_at in rests:
                if (taken := self._taken.pop(saga_id, None)) is not None:
                    self._resting[saga_id] = Rest(saga_id, taken[1].until, due_at)

    def hand_back(self) -> tuple[str, ...]:
        """Hand back what waits for it, and say what not to take now. What fails is tried again with the next call."""
        now = self._now()
        with self._lock:
            waiting, resting = dict(self._waiting), dict(self._resting)
        if resting:
            self._store.rest(list(resting.values()))
            with self._lock:
                self._resting = {saga_id: it for saga_id, it in self._resting.items() if resting.get(saga_id) is not it}
        if waiting:
            self._store.hand_back(sorted(waiting))
        with self._lock:
            self._waiting = {saga_id: pushes for saga_id, pushes in self._waiting.items() if saga_id not in waiting}
            self._left_until = {saga_id: until for saga_id, until in self._left_until.items() if until > now}
            for saga_id, pushes in waiting.items():
                self._left_until[saga_id] = now + min(LEAVE_CAP_S, LEAVE_S * 2.0 ** min(pushes, 10))
            return tuple(self._left_until)
