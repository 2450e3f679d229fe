"""What becomes of the cancellations of a file: an order that can still be rolled back is cancelled, from another one pieces
are returned.

Rules of this file
------------------
- Which orders a cancellation is about is a pure function of the file (`saga.fulfilment.cancellations`), so the same file
  handed over again asks for the same things, and every one of them has a key: nothing is cancelled or returned twice.
- Only an order that comes back whole is cancelled, when its cancellation is read; the machine says whether it is too late.
- A return stands on what its order's journal says, so it begins when the order has completed. An order that was rolled back
  holds nothing that could be returned. One that is halted in front of a person is not waited for.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from saga.clock import monotonic, sleep
from saga.core.definition import Saga
from saga.core.events import CancelAsked
from saga.core.fold import SagaState
from saga.core.states import SagaStatus
from saga.errors import SagaNotFound
from saga.fulfilment.cancellations import Match, Sold
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.intake import Cancelled
from saga.fulfilment.models import Order
from saga.fulfilment.return_order import return_order
from saga.fulfilment.returns import return_of
from saga.runtime.engine import Definitions, fold, tell
from saga.runtime.starting import Starter, first_hints
from saga.runtime.work import Hint
from saga.store.port import Store
from saga.surfaces.draining import is_over

THREADS = 8
POLL_S = 0.1
ACTOR = "customer"


@dataclass(slots=True)
class ReturnTally:
    """What became of the cancellations of a file."""

    cancellations: int = 0
    cancelled: int = 0
    """Orders that came back whole and could still be rolled back."""
    returned: int = 0
    """Returns of pieces of an order that had completed."""
    already: int = 0
    nothing_held: int = 0
    """The order was rolled back for another reason, so nothing of it can come back."""
    waiting: int = 0
    """The order is halted or did not end in time."""
    unmatched_lines: int = 0
    saga_ids: list[str] = field(default_factory=list)
    """Of the returns that were started, now or before."""

    def as_json(self) -> dict[str, Any]:
        names = ("cancellations", "cancelled", "returned", "already", "nothing_held", "waiting", "unmatched_lines")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One order of one cancellation."""

    reference: str
    match: Match
    saga_id: str

    @property
    def return_id(self) -> str:
        return f"{self.reference}.{self.match.order_id}"


class Returning:
    """Takes the orders and cancellations of a file in its order; `finish` starts the returns of orders that completed."""

    def __init__(self, store: Store, starter: Starter, publish: Callable[[list[Hint]], None], sold: Sold) -> None:
        self._store, self._starter, self._publish, self._sold = store, starter, publish, sold
        self._definitions = Definitions([fulfil_order])
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="returning")
        self._wanted: list[_Wanted] = []
        self._cancels: list[tuple[_Wanted, Future[bool]]] = []
        self.tally = ReturnTally()

    def sold(self, order: Order) -> None:
        """An order of the file; a later cancellation may be about it."""
        self._sold.add(order)

    def cancelled(self, it: Cancelled, saga_of: Callable[[str], str | None]) -> None:
        """A cancellation of the file. `saga_of` gives the saga of an order that was handed over, or None."""
        self.tally.cancellations += 1
        matches, short = self._sold.match(it)
        self.tally.unmatched_lines += short
        for match in matches:
            saga_id = saga_of(match.order_id)
            if saga_id is None:
                self.tally.unmatched_lines += len(match.pieces)
                continue
            wanted = _Wanted(it.reference, match, saga_id)
            self._wanted.append(wanted)
            if match.is_whole:
                self._cancels.append((wanted, self._pool.submit(self._cancel, wanted)))

    def finish(self, *, bound_s: float | None = None) -> bool:
        """Start what is to be returned, as orders end; False when `bound_s` seconds were not enough for all of them."""
        asked = {wanted.return_id: future.result() for wanted, future in self._cancels}
        give_up_at = None if bound_s is None else monotonic() + bound_s
        for wanted in self._wanted:
            state = self._ended(wanted.saga_id, give_up_at)
            if state is None:
                self.tally.waiting += 1
            elif state.status is SagaStatus.COMPLETED:
                self._return(wanted, state)
            elif state.cause is not None and state.cause.cause == "cancelled" and wanted.return_id in asked:
                self.tally.cancelled += asked[wanted.return_id]
                self.tally.already += not asked[wanted.return_id]
            else:
                self.tally.nothing_held += 1
        self._pool.shutdown()
        return give_up_at is None or monotonic() <= give_up_at

    def _cancel(self, wanted: _Wanted) -> bool:
        """Whether this call asked for it; the machine decides whether it still could."""
        event = CancelAsked(self._store.clock(), ACTOR, f"cancellation {wanted.reference}")
        decision = tell(self._store, self._definitions, wanted.saga_id, event, actor=ACTOR)
        return bool(decision.transitions)

    def _ended(self, saga_id: str, give_up_at: float | None) -> SagaState | None:
        """The saga once nobody but a person can move it; None when that is a person's, or not in time."""
        while True:
            row = self._store.row(saga_id)
            if row is None:
                raise SagaNotFound(saga_id)
            if is_over(row):
                break
            if give_up_at is not None and monotonic() > give_up_at:
                return None
            sleep(POLL_S)
        state, _, _ = fold(self._store.load([saga_id])[saga_id])
        return state if state.ended_at is not None else None

    def _return(self, wanted: _Wanted, order: SagaState) -> None:
        definition: Saga[Any] = return_order
        made = return_of(order, wanted.return_id, wanted.match.pieces, reason=f"cancellation {wanted.reference}")
        started = self._starter.start(definition, made, request_key=f"orders-submit:return:{wanted.return_id}")
        if started.is_replayed:
            self.tally.already += 1
        else:
            self._publish(first_hints(definition, started.saga_id))
            self.tally.returned += 1
        self.tally.saga_ids.append(started.saga_id)
