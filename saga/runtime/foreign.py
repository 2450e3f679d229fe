"""Due sagas that this process took from the due index and has nothing to do for: their nodes are on queues of others.

To take a due saga is to hold it back from everybody for a while. A process that then only hints at another would hide the
saga from that other whenever the hint is lost, so it hands the saga back, due at once, and does not take it again itself for
some seconds. Thread-safe: hints come from the thread that drives, the rest from the rescuer's.
"""

import threading
from collections.abc import Iterable

from saga.clock import monotonic
from saga.store.port import Store

LEAVE_S = 2.0
"""How long a saga that was handed back is left to the others."""
REMEMBER_S = 60.0
"""How long a hint counts as the answer to having taken the saga."""


class Foreign:
    """What one process took, and what of it was not for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._taken_at: dict[str, float] = {}
        self._waiting: set[str] = set()
        self._left_at: dict[str, float] = {}

    def took(self, saga_ids: Iterable[str]) -> None:
        """These came out of the due index."""
        now = monotonic()
        with self._lock:
            self._taken_at = {saga_id: at for saga_id, at in self._taken_at.items() if now - at < REMEMBER_S}
            self._taken_at.update(dict.fromkeys(saga_ids, now))

    def hinted(self, saga_ids: Iterable[str]) -> None:
        """Somebody else has something to do for these; those that were taken are to be handed back."""
        with self._lock:
            self._waiting |= {saga_id for saga_id in saga_ids if self._taken_at.pop(saga_id, None) is not None}

    def hand_back(self) -> tuple[str, ...]:
        """Hand back what waits for it, and say what not to take now. What fails is tried again with the next call."""
        now = monotonic()
        with self._lock:
            waiting = set(self._waiting)
        if waiting:
            self._store.hand_back(sorted(waiting))
        with self._lock:
            self._waiting -= waiting
            self._left_at = {saga_id: at for saga_id, at in self._left_at.items() if now - at < LEAVE_S}
            self._left_at.update(dict.fromkeys(waiting, now))
            return tuple(self._left_at)
