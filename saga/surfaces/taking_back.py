"""Takes pieces of an order back: one way for the HTTP API, the command line and files, safe beside any number of others.

Protocol
--------
1. What is kept under the caller's key is the answer to its repeat, whatever became of the order since.
2. Only a completed order is returned; what stands in the way of another one is a `Standing`.
3. The returns of an order are numbered without a gap: number n is the entity `Rn.<order>` of `return_order`, accepted once for
   good. All of them are read, those under way too, and the next number is asked for with what is left. Of two callers who read
   the same the database takes one (the unique key over the entity and its run); the other reads again. A number that is
   taken stays taken after a rollback, or a caller who has slept since could take it with a sum of long ago. An order has at most
   `RETURNS_MAX` numbers.
4. What is refused is refused only after a second look under the key: an equal request may have been accepted meanwhile.

So what comes back is never more than was sold, and no lock is held anywhere. A return that somebody starts by another way
(`saga start` with an id of his own) is not numbered and not counted here; the payment service still refunds no more than was
captured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from shlex import quote
from typing import Annotated, Any

from pydantic import Field

from saga.core.definition import Saga
from saga.core.fold import SagaState
from saga.core.plan import has_reached_no_return
from saga.core.states import Effect, HaltReason, SagaStatus
from saga.errors import CodecError, ConcurrencyError, DataRefused, DuplicateOrder, KeyReused, SagaNotFound
from saga.fulfilment.fields import Id, Integral, Text
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import LINES_MAX, QUANTITY_MAX, Given
from saga.fulfilment.return_order import return_order
from saga.fulfilment.returns import (
    MoreThanLeft,
    NotAnOrder,
    NotCompleted,
    NotStorable,
    ReturnOrder,
    ReturnWaits,
    TooManyReturns,
    WorthNothing,
    payload_of,
    return_of,
)
from saga.runtime.engine import fold, is_readable
from saga.runtime.starting import Starter, first_hints, hash_of
from saga.runtime.work import Hint
from saga.store.journal import Journal
from saga.store.port import (
    SagaFilter,
    SagaRow,
    Store,
)

ROUNDS = 64
RUNS_SEEN = 100
RETURNS_MAX = 200
REFUND = "refund_payment:a"
SHOWN_MAX = 20
BATCH, PAGE = 50, 200
ID_MAX = 64


class WantedLine(Given):
    """So many pieces of one SKU."""

    sku: Id
    quantity: Annotated[int, Field(ge=1, le=QUANTITY_MAX), Integral]


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

    HELD = "held"
    """It waits for a person: neither a cancel nor time brings it further."""
    CANCELLABLE = "cancellable"
    """It has not come to its point of no return: cancel it."""
    ON_ITS_WAY = "on its way"
    """It is at its point of no return or past it: it ends, and can be returned then."""
    ROLLED_BACK = "rolled back"
    """Nothing is held, charged or sent, or will be soon."""


@dataclass(frozen=True, slots=True)
class Returned:
    """One return of an order: what it asked for, and how far it is."""

    wanted: ReturnOrder
    state: SagaState
    is_readable: bool
    """Whether this release may decide by its journal."""
    is_damaged: bool = False
    """Whether its journal lacks what its saga row remembers."""

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
    return _of_order(store, order_id, return_rows(store, environment, tenant, order_id))


def latest_returns(store: Store, environment: str, tenant: str, order_id: str) -> tuple[list[Returned], int]:
    """The latest returns of an order in the order of their numbers, and how many came before them."""
    rows = return_rows(store, environment, tenant, order_id)
    return _of_order(store, order_id, rows[-SHOWN_MAX:]), max(0, len(rows) - SHOWN_MAX)


def return_rows(store: Store, environment: str, tenant: str, order_id: str) -> list[SagaRow]:
    """Numbers 1, 2, … up to the first that nobody has, `BATCH` with one look; of a number that was started again the latest run."""
    rows: list[SagaRow] = []
    while True:
        ids = [return_id_of(order_id, number) for number in range(len(rows) + 1, len(rows) + BATCH + 1)]
        found = _latest_runs(
            store, SagaFilter(return_order.name, entities=tuple(ids), environment=environment, tenant=tenant)
        )
        for return_id in ids:
            if return_id not in found:
                return rows
            rows.append(found[return_id])


def _latest_runs(store: Store, wanted: SagaFilter) -> dict[str, SagaRow]:
    """Entity → its latest run, of all pages of `wanted`."""
    found: dict[str, SagaRow] = {}
    while page := store.find(wanted, PAGE):
        for row in page:
            if row.entity not in found or row.run > found[row.entity].run:
                found[row.entity] = row
        if len(page) < PAGE:
            break
        wanted = replace(wanted, before=(page[-1].accepted_at, page[-1].saga_id))
    return found


def _of_order(store: Store, order_id: str, rows: Sequence[SagaRow]) -> list[Returned]:
    """With their journals, all of them read at once. A number may be another order's return: of an order whose id is the digest of
    a longer one, or started by hand."""
    journals = store.load([row.saga_id for row in rows]) if rows else {}
    found = [_returned_from(row.saga_id, journals.get(row.saga_id, Journal())) for row in rows]
    return [one for one in found if one.wanted.order_id == order_id]


def standing_of(definition: Saga[Any], state: SagaState) -> Standing:
    """What stands in the way of a return of an order that is not completed."""
    if state.cause is not None or state.status is SagaStatus.COMPENSATED:
        return Standing.ROLLED_BACK
    if state.halt is not None and not state.halt.heals_itself:
        return Standing.HELD
    return Standing.ON_ITS_WAY if has_reached_no_return(definition, state) else Standing.CANCELLABLE


def latest_order(store: Store, environment: str, tenant: str, order_id: str) -> SagaState:
    """The latest run of an order. Raises `SagaNotFound`, of something that is no order as `NotAnOrder`, or `CodecError` when this
    release must leave its journal alone."""
    wanted = SagaFilter(fulfil_order.name, entity=order_id, environment=environment, tenant=tenant)
    rows = store.find(wanted, RUNS_SEEN)
    if not rows:
        raise _no_order(store, environment, tenant, order_id)
    saga_id = max(rows, key=lambda row: row.run).saga_id
    entries = store.load([saga_id]).get(saga_id, ())
    if not entries:
        raise SagaNotFound(saga_id)
    _check_readable(saga_id, is_readable(entries))
    return fold(entries)[0]


def _no_order(store: Store, environment: str, tenant: str, name: str) -> SagaNotFound:
    """What to say of a name that no order has: whether a saga of another definition has it, or it is the id of a saga."""
    named = store.find(SagaFilter(entity=name, environment=environment, tenant=tenant), 1)
    row = named[0] if named else store.row(name)
    if row is None or (row.environment, row.tenant) != (environment, tenant):
        return SagaNotFound(name)
    return NotAnOrder(name, row.definition, row.entity if row.definition == fulfil_order.name else "")


def take_back(
    store: Store, starter: Starter, definition: Saga[Any], order_id: str, request: ReturnRequest, *, key: str | None
) -> TakenBack:
    """Start the return of pieces of an order; durable on return. `definition` is the `return_order` to run.

    Raises `SagaNotFound`, `NotCompleted`, `MoreThanLeft`, `WorthNothing`, `TooManyReturns`, `ReturnWaits`, `NotStorable` or
    `KeyReused` (nothing stored), `ConcurrencyError` after a crowd on one order, `CodecError` or `IllegalTransition` for a journal that
    cannot be read, or what `Starter.start` raises.
    """
    asked = f"{order_id}\n{request.model_dump_json()}"

    def kept() -> TakenBack | None:
        """What was answered under the key."""
        found = None if key is None else store.request(starter.environment, starter.tenant, key)
        if key is None or found is None:
            return None
        if found.request_hash != hash_of(definition, asked):
            raise KeyReused(key, found.saga_id)
        return TakenBack(_returned(store, found.saga_id), True, ())

    if (answer := kept()) is not None:
        return answer
    try:
        return _started(store, starter, definition, order_id, request, key, asked)
    except (NotCompleted, MoreThanLeft, WorthNothing, TooManyReturns, ReturnWaits):
        # An equal request may have been accepted since, and have taken what this one was refused.
        if (answer := kept()) is not None:
            return answer
        raise


def _started(
    store: Store,
    starter: Starter,
    definition: Saga[Any],
    order_id: str,
    request: ReturnRequest,
    key: str | None,
    asked: str,
) -> TakenBack:
    scope = starter.environment, starter.tenant
    order = latest_order(store, *scope, order_id)
    if order.status is not SagaStatus.COMPLETED:
        raise NotCompleted(order_id, order.status)
    for _ in range(ROUNDS):
        numbered = return_rows(store, *scope, order_id)
        if len(numbered) >= RETURNS_MAX:
            raise TooManyReturns(f"{order_id} has had {len(numbered)} returns; an order has at most {RETURNS_MAX}")
        earlier = _of_order(store, order_id, numbered)
        for one in earlier:
            _check_readable(one.state.saga_id, one.is_readable)
            _check_free(order_id, one)
        counted = [one.wanted for one in earlier if one.is_counted]
        return_id = return_id_of(order_id, len(numbered) + 1)
        wanted = return_of(order, return_id, request.pieces, reason=request.reason, returned=counted)
        try:
            started = starter.start(definition, wanted, request_key=key, asked=asked, is_once=True)
        except DuplicateOrder:
            continue  # somebody took this number, and perhaps what was left
        except (CodecError, DataRefused) as error:
            raise NotStorable("the database cannot hold this return; nothing was stored") from error
        hints = () if started.is_replayed else tuple(first_hints(definition, started.saga_id))
        return TakenBack(_returned(store, started.saga_id), started.is_replayed, hints)
    raise ConcurrencyError(order.saga_id, 0)


def _check_free(order_id: str, earlier: Returned) -> None:
    """Whether it is known of an earlier return what was paid for it, or will be."""
    halt, refund, return_id = earlier.state.halt, earlier.state.node(REFUND), earlier.wanted.return_id
    is_open = earlier.state.is_held or earlier.is_damaged or refund.effect is Effect.UNKNOWN
    if is_open and (earlier.is_damaged or (halt is not None and not halt.heals_itself)):
        why = HaltReason.JOURNAL_DAMAGED if earlier.is_damaged or halt is None else halt.reason
        raise ReturnWaits(
            f"{return_id} waits for a person ({why}), so no more of {order_id} comes back: see  saga show {quote(return_id)}"
        )


def _check_readable(saga_id: str, is_readable_here: bool) -> None:
    if not is_readable_here:
        raise CodecError(f"saga {saga_id}: a newer release wrote an entry; this one leaves the saga alone")


def _returned(store: Store, saga_id: str) -> Returned:
    return _returned_from(saga_id, store.load([saga_id]).get(saga_id, Journal()))


def _returned_from(saga_id: str, journal: Journal) -> Returned:
    if not journal:
        raise SagaNotFound(saga_id)
    state = fold(journal)[0]
    return Returned(
        payload_of(ReturnOrder, state, state.input), state, is_readable(journal), is_damaged=journal.lacks is not None
    )
