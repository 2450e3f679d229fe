"""Takes pieces of an order back: one way for the HTTP API, the command line and files, safe beside any number of others.

Protocol
--------
1. What is kept under the caller's key is the answer to its repeat, whatever became of the order since.
2. Only a completed order is returned; what stands in the way of another one is a `Standing`.
3. The returns of an order are numbered without a gap: number n is the entity `Rn.<order>` of `return_order`, accepted once for
   good. All of them are read, those under way too, and the next number is asked for with what is left. Of two callers who read
   the same the database takes one (the unique key over the entity and its run); the other reads again. A number that is
   taken stays taken after a rollback, or a caller who has slept since could take it with a sum of long ago.

So what comes back is never more than was sold, and no lock is held anywhere. A return that somebody starts by another way
(`saga start` with an id of his own) is not numbered and not counted here; the payment service still refunds no more than was
captured.
"""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from itertools import count
from typing import Annotated, Any

from pydantic import Field

from saga.core.definition import Saga
from saga.core.fold import SagaState
from saga.core.plan import has_reached_no_return
from saga.core.states import SagaStatus
from saga.errors import ConcurrencyError, DuplicateOrder, KeyReused, SagaNotFound
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import LINES_MAX, QUANTITY_MAX, Given, Id, Text
from saga.fulfilment.return_order import return_order
from saga.fulfilment.returns import NotCompleted, ReturnOrder, return_of
from saga.runtime.engine import fold
from saga.runtime.starting import Starter, first_hints, hash_of
from saga.runtime.work import Hint
from saga.store.port import SagaFilter, Store

ROUNDS = 64
RUNS_SEEN = 100
ID_MAX = 64


class WantedLine(Given):
    """So many pieces of one SKU."""

    sku: Id
    quantity: Annotated[int, Field(ge=1, le=QUANTITY_MAX)]


class ReturnRequest(Given):
    """What comes back, and why."""

    lines: Annotated[tuple[WantedLine, ...], Field(max_length=LINES_MAX, strict=False)] = Field(
        default=(), description="none: all that is left of the order"
    )
    reason: Text = Field(description="for people; the payment service is told", examples=["broken handle"])

    @property
    def pieces(self) -> dict[str, int]:
        """The quantity of each SKU over all lines."""
        sums: dict[str, int] = {}
        for line in self.lines:
            sums[line.sku] = sums.get(line.sku, 0) + line.quantity
        return sums


class Standing(StrEnum):
    """Why nothing of an order can come back now."""

    CANCELLABLE = "cancellable"
    """It has not come to its point of no return: cancel it."""
    ON_ITS_WAY = "on its way"
    """It is at its point of no return or past it: it ends, or waits for a person, and can be returned then."""
    ROLLED_BACK = "rolled back"
    """Nothing is held, charged or sent, or will be soon."""


@dataclass(frozen=True, slots=True)
class Returned:
    """One return of an order: what it asked for, and how far it is."""

    wanted: ReturnOrder
    state: SagaState

    @property
    def is_counted(self) -> bool:
        """Whether its pieces have come back or still may."""
        return self.state.status is not SagaStatus.COMPENSATED


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The return that was started, or the kept one of an earlier, equal request."""

    returned: Returned
    is_replayed: bool
    hints: tuple[Hint, ...]


def return_id_of(order_id: str, number: int) -> str:
    """The id of an order's return. Of an order whose id leaves no room for the number it has a digest of that."""
    return_id = f"R{number}.{order_id}"
    return return_id if len(return_id) <= ID_MAX else f"R{number}.{sha256(order_id.encode()).hexdigest()[:40]}"


def returns_of(store: Store, environment: str, tenant: str, order_id: str) -> list[Returned]:
    """Every return of an order, in the order of their numbers."""
    found = _numbered(store, environment, tenant, order_id)
    return [one for one in found if one.wanted.order_id == order_id]


def standing_of(definition: Saga[Any], state: SagaState) -> Standing:
    """What stands in the way of a return of an order that is not completed."""
    if state.cause is not None or state.status is SagaStatus.COMPENSATED:
        return Standing.ROLLED_BACK
    return Standing.ON_ITS_WAY if has_reached_no_return(definition, state) else Standing.CANCELLABLE


def latest_order(store: Store, environment: str, tenant: str, order_id: str) -> SagaState:
    """The latest run of an order. Raises `SagaNotFound`."""
    wanted = SagaFilter(fulfil_order.name, entity=order_id, environment=environment, tenant=tenant)
    rows = store.find(wanted, RUNS_SEEN)
    if not rows:
        raise SagaNotFound(order_id)
    saga_id = max(rows, key=lambda row: row.run).saga_id
    return fold(store.load([saga_id])[saga_id])[0]


def take_back(
    store: Store, starter: Starter, definition: Saga[Any], order_id: str, request: ReturnRequest, *, key: str | None
) -> TakenBack:
    """Start the return of pieces of an order; durable on return. `definition` is the `return_order` to run.

    Raises `SagaNotFound`, `NotCompleted`, `MoreThanLeft`, `WorthNothing` or `KeyReused` (nothing stored), `ConcurrencyError`
    after a crowd on one order, or what `Starter.start` raises.
    """
    scope = starter.environment, starter.tenant
    asked = f"{order_id}\n{request.model_dump_json()}"
    if key is not None and (kept := store.request(*scope, key)) is not None:
        if kept.request_hash != hash_of(definition, asked):
            raise KeyReused(key, kept.saga_id)
        return TakenBack(_returned(store, kept.saga_id), True, ())
    order = latest_order(store, *scope, order_id)
    if order.status is not SagaStatus.COMPLETED:
        raise NotCompleted(order_id, order.status)
    for _ in range(ROUNDS):
        numbered = _numbered(store, *scope, order_id)
        earlier = [one.wanted for one in numbered if one.is_counted and one.wanted.order_id == order_id]
        return_id = return_id_of(order_id, len(numbered) + 1)
        wanted = return_of(order, return_id, request.pieces, reason=request.reason, returned=earlier)
        try:
            started = starter.start(definition, wanted, request_key=key, asked=asked, is_once=True)
        except DuplicateOrder:
            continue  # somebody took this number, and perhaps what was left
        hints = () if started.is_replayed else tuple(first_hints(definition, started.saga_id))
        return TakenBack(_returned(store, started.saga_id), started.is_replayed, hints)
    raise ConcurrencyError(order.saga_id, 0)


def _numbered(store: Store, environment: str, tenant: str, order_id: str) -> list[Returned]:
    """Numbers 1, 2, … up to the first that nobody has. Two orders may share numbers when both ids are too long for one."""
    saga_ids: list[str] = []
    for number in count(1):
        wanted = SagaFilter(
            return_order.name, entity=return_id_of(order_id, number), environment=environment, tenant=tenant
        )
        rows = store.find(wanted, 1)
        if not rows:
            break
        saga_ids.append(rows[0].saga_id)
    return [_returned(store, saga_id) for saga_id in saga_ids]


def _returned(store: Store, saga_id: str) -> Returned:
    entries = store.load([saga_id]).get(saga_id)
    if not entries:
        raise SagaNotFound(saga_id)
    state = fold(entries)[0]
    return Returned(_wanted(state), state)


def _wanted(state: SagaState) -> ReturnOrder:
    return ReturnOrder.model_validate_json(state.input.data)
