"""Due sagas that this process took from the due index and has nothing to do for: their nodes are on queues of others.

To take a due saga is to hold it back from everybody for a while. A process that then only hints at another would hide the
saga from that other whenever the hint is lost, so it hands the saga back, due at once, and does not take it again itself for
some seconds. Thread-safe: hints come from the thread that drives, the rest from the rescuer's.
"""

import threading
from collections.abc import Iterable

from saga.clock import monotonic
from saga.store.port import DueSaga, Store

LEAVE_S, LEAVE_CAP_S = 1.0, 60.0
"""How long a saga that was handed back is left to the others: doubling with every look in a row after which nobody moved it."""
REMEMBER_S = 60.0
"""How long a hint counts as the answer to having taken the saga."""


class Foreign:
    """What one process took, and what of it was not for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._taken: dict[str, tuple[float, int]] = {}
        """When, and how often in a row nobody had moved it."""
        self._waiting: dict[str, int] = {}
        self._left_until: dict[str, float] = {}

    def took(self, due: Iterable[DueSaga]) -> None:
        """These came out of the due index."""
        now = monotonic()
        with self._lock:
            self._taken = {saga_id: it for saga_id, it in self._taken.items() if now - it[0] < REMEMBER_S}
            self._taken.update({it.saga_id: (now, it.pushes) for it in due})

    def hinted(self, saga_ids: Iterable[str]) -> None:
        """Somebody else has something to do for these; those that were taken are to be handed back."""
        with self._lock:
            for saga_id in saga_ids:
                if (taken := self._taken.pop(saga_id, None)) is not None:
                    self._waiting[saga_id] = taken[1]

    def left_s(self, saga_id: str) -> float:
        """For how much longer this saga is left to the others."""
        with self._lock:
            return max(0.0, self._left_until.get(saga_id, 0.0) - monotonic())

    def hand_back(self) -> tuple[str, ...]:
        """Hand back what waits for it, and say what not to take now. What fails is tried again with the next call."""
        now = monotonic()
        with self._lock:
            waiting = dict(self._waiting)
        if waiting:
            self._store.hand_back(sorted(waiting))
        with self._lock:
            self._waiting = {saga_id: pushes for saga_id, pushes in self._waiting.items() if saga_id not in waiting}
            self._left_until = {saga_id: until for saga_id, until in self._left_until.items() if until > now}
            for saga_id, pushes in waiting.items():
                self._left_until[saga_id] = now + min(LEAVE_CAP_S, LEAVE_S * 2.0 ** min(pushes, 10))
            return tuple(self._left_until)
