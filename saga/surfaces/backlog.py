"""How many sagas are on their way, for an API that takes no more orders than its workers can bring to an end.

Rules of this file: the count may be a second old, plus what this process accepted since, so a burst does not slip through
between two counts; and it is taken by one caller at a time, while the others go by the last. Counting reads the whole index of
statuses, so it is taken at most so often that it costs one twentieth of one connection. Halted sagas are not counted: they wait
for a person or a participant, and refusing orders would not help either.
"""

import threading

from saga.clock import monotonic
from saga.core.states import SagaStatus
from saga.store.port import Store

FRESH_S = 1.0
COST_FACTOR = 20
LIVE = (SagaStatus.RUNNING, SagaStatus.COMPENSATING)


class Backlog:
    """The number of live sagas of a store against a bound; without a bound nothing is ever counted."""

    def __init__(self, store: Store, bound: int | None) -> None:
        self._store, self._bound = store, bound
        self._counting, self._gate = threading.Lock(), threading.Lock()
        self._counted, self._since, self._count_again_at = 0, 0, 0.0

    def is_full(self) -> bool:
        """Whether another order would exceed the bound. Raises `StoreUnavailable`."""
        if self._bound is None:
            return False
        if monotonic() >= self._count_again_at and self._counting.acquire(blocking=False):
            try:
                self._count()
            finally:
                self._counting.release()
        return self._counted + self._since >= self._bound

    def add(self) -> None:
        """An order was accepted here."""
        if self._bound is not None:
            with self._gate:
                self._since += 1

    def _count(self) -> None:
        with self._gate:
            accepted_before = self._since
        began = monotonic()
        counts = self._store.counts()
        took_s = monotonic() - began
        with self._gate:
            self._counted = sum(counts.get(status, 0) for status in LIVE)
            self._since -= accepted_before
        self._count_again_at = monotonic() + max(FRESH_S, COST_FACTOR * took_s)
