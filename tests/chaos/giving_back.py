"""The cancellations of a file while its orders run: what is still before its pivot is cancelled, from the rest pieces come back.

A cancellation is handed over when almost as many orders have ended as stand before it in the file, so some of its orders
have not begun, some are under way, and most have been shipped. Which it is for an order is a race, and each end of it is
legal only with its own trace: an order that was asked to be cancelled may end as cancelled, no other may.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from saga.clock import monotonic
from saga.core.states import ENDED, SagaStatus
from saga.fulfilment.cancellations import Sold
from saga.fulfilment.intake import Cancelled
from saga.fulfilment.models import Order
from saga.fulfilment.return_order import return_order
from saga.runtime.engine import fold
from saga.runtime.starting import Starter
from saga.store.port import SagaFilter, Store
from saga.surfaces.lookup import pages
from saga.surfaces.returning import DirectDesk, Returning
from saga.testing.oracle import LegalEnd
from tests.waiting import wait_until

AHEAD = 300
"""So many orders before its own end is a cancellation handed over: about as many as are under way."""
CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class _NotingDesk(DirectDesk):
    """Notes which orders it was asked to cancel."""

    asked: dict[str, str] = field(default_factory=dict)

    def cancel(self, order_id: str, saga_id: str, reason: str) -> bool:
        self.asked[order_id] = saga_id
        return DirectDesk.cancel(self, order_id, saga_id, reason)


class GivingBack:
    """Hands the cancellations over as the run goes on; `finish` asks for what is left and waits for every return."""

    def __init__(
        self,
        store: Store,
        starter: Starter,
        orders: Sequence[Order],
        cancellations: Sequence[tuple[int, Cancelled]],
        saga_of: Mapping[str, str],
    ) -> None:
        self._store, self._orders, self._saga_of = store, orders, saga_of
        self._left = list(reversed(cancellations))
        self._desk = _NotingDesk(store, starter, lambda _hints: None)
        self._returning = Returning(self._desk, Sold())
        self._read_count = 0

    def look(self, ended_count: int) -> None:
        """Hand over what is about orders of which almost all have ended."""
        while self._left and self._left[-1][0] <= ended_count + AHEAD:
            behind, cancelled = self._left.pop()
            for order in self._orders[self._read_count : behind]:
                self._returning.sold(order)
            self._read_count = max(self._read_count, behind)
            self._returning.cancelled(cancelled, self._saga_of.get)

    def finish(self, bound_s: float) -> dict[str, object]:
        """What became of them all, as values for the report."""
        began = monotonic()
        self.look(len(self._orders))
        self._returning.finish(bound_s=bound_s)
        tally = self._returning.tally
        wait_until(lambda: self._ended_count() == len(tally.saga_ids), bound_s)
        completed = sum(row.status is SagaStatus.COMPLETED for row in pages(self._store, _RETURNS))
        facts = {**tally.as_json(), "completed": completed, "seconds": round(monotonic() - began, 1)}
        return {"returns": facts, "returns_not_completed": len(tally.saga_ids) - completed}

    def legal_ends(self, scripted: Mapping[str, LegalEnd]) -> dict[str, LegalEnd]:
        """The ends of the script, and for each order that was asked to be cancelled the one that its journal proves."""
        ends = dict(scripted)
        for order_id, saga_id in self._desk.asked.items():
            state, _, _ = fold(self._store.load([saga_id])[saga_id])
            if state.cause is not None and state.cause.cause == CANCELLED:
                ends[order_id] = LegalEnd(SagaStatus.COMPENSATED, CANCELLED)
        return ends

    def _ended_count(self) -> int:
        return sum(row.status in ENDED for row in pages(self._store, _RETURNS))


_RETURNS = SagaFilter(return_order.name)
