"""How many sagas are on their way, for an API that takes no more orders than its workers can bring to an end.

Rules of this file
------------------
- A place is taken before the transaction that accepts an order and settled after it, so a burst in one process does not slip
  through, neither between two counts nor beside a transaction. Other processes are seen at the next count, up to a second
  later: so many each may slip through as they accept in that time.
- A count is taken by one caller at a time, while the others go by the last; the first one is waited for. An order that is
  accepted while it is taken may be counted twice until the next, never not at all. After one that failed orders go by the last
  for a second; the accept itself says whether the database is there.
- Counting reads the whole index of statuses, so it is taken at most so often that it costs one twentieth of one connection.
- Halted sagas are not counted: they wait for a person or a participant, and refusing orders would not help either.
"""

import threading
from collections.abc import Callable

from saga.clock import monotonic
from saga.core.states import SagaStatus
from saga.store.port import Store

FRESH_S = 1.0
COST_FACTOR = 20
LIVE = (SagaStatus.RUNNING, SagaStatus.COMPENSATING)


class Backlog:
    """The number of live sagas of a store against a bound; without a bound nothing is ever counted. `seconds` is a clock that
    only goes forward."""

    def __init__(self, store: Store, bound: int | None, *, seconds: Callable[[], float] = monotonic) -> None:
        self._store, self._bound, self._seconds = store, bound, seconds
        self._counting, self._gate = threading.Lock(), threading.Lock()
        self._counted: int | None = None
        self._since, self._entering, self._count_again_at = 0, 0, 0.0

    def enter(self, *, is_forced: bool = False) -> bool:
        """Take a place for an order that is about to be accepted, and `settle` it afterwards; False when there is none and it is
        not `is_forced`, which takes one in any case. Raises `StoreUnavailable`."""
        if self._bound is None:
            return True
        self._refresh()
        with self._gate:
            if not is_forced and (self._counted or 0) + self._since + self._entering >= self._bound:
                return False
            self._entering += 1
            return True

    def settle(self, *, is_new: bool) -> None:
        """What became of a place that was taken: whether a new saga is on its way."""
        if self._bound is not None:
            with self._gate:
                self._entering -= 1
                self._since += is_new

    def _refresh(self) -> None:
        if self._seconds() < self._count_again_at or not self._counting.acquire(blocking=self._counted is None):
            return
        try:
            if self._seconds() >= self._count_again_at:  # else somebody else took the first one meanwhile
                self._count()
        finally:
            self._counting.release()

    def _count(self) -> None:
        with self._gate:
            accepted_before = self._since
        began = self._seconds()
        self._count_again_at = (
            began + FRESH_S
        )  # also when it fails: whoever waited does not fail in turn, one after the other
        counts = self._store.counts()
        took_s = self._seconds() - began
        with self._gate:
            self._counted = sum(counts.get(status, 0) for status in LIVE)
            self._since -= accepted_before
        self._count_again_at = self._seconds() + max(FRESH_S, COST_FACTOR * took_s)
