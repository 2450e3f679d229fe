"""The rows of the table `orders` held against the journal: what differs, and writing them again from it.

Rules of this file
------------------
- The journal is the truth (P4): a row is computed again from the fold of its order's latest run and compared, column by
  column. A row whose order no saga knows is a stray.
- Row and journal are two reads. What differs is read again, and counts when the journal has stood still meanwhile.
- `rebuild` writes only what differs, each row only while its journal stands where the row was made from
  (`Store.rewrite`), so it may run beside workers, twice, and again after it was killed. It holds one page in memory.
- A row that somebody holds a lock on is left as it is, counted and named; the others are written.
- Sagas are taken a page at a time, the latest accepted first: what arrives meanwhile is written by its own decisions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from saga.core.fold import SagaState
from saga.core.projection import ProjectedRow, Value, projected
from saga.errors import CodecError, IllegalTransition
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.orders_table import ORDERS
from saga.runtime.engine import fold, is_readable
from saga.store.journal import JournalEntry
from saga.store.port import (
    Rewrite,
    RowChange,
    RowFilter,
    SagaFilter,
    SagaRow,
    Store,
)

PAGE = 200
LOOKS = 5

Row = Mapping[str, Value]
OrderKey = tuple[Value, ...]


@dataclass(slots=True)
class Rebuilt:
    """What became of the rows."""

    right: int = 0
    written: int = 0
    dropped: int = 0
    moving: int = 0
    """The journal moved on in each look; its own decisions write the row."""
    unreadable: list[str] = field(default_factory=list)
    """Orders whose journal cannot be read; their rows are left alone."""
    busy: list[str] = field(default_factory=list)
    """Orders whose row says something else, and somebody held a lock on it."""

    @property
    def orders(self) -> int:
        """Orders that were looked at."""
        return self.right + self.written + self.moving + len(self.unreadable) + len(self.busy)


def row_faults(state: SagaState, row: Row | None) -> list[str]:
    """What the row says otherwise than the fold of the journal."""
    if row is None:
        return ["there is no row"]
    wanted = _wanted(state)
    return [
        f"{name} is {_shown(row[name])} and must be {_shown(value)}"
        for name, value in zip(ORDERS.names, wanted.values, strict=True)
        if row[name] != value
    ]


def key_of(state: SagaState) -> OrderKey:
    """Which row is this order's."""
    return state.environment, state.tenant, state.entity


def rows_of(store: Store, keys: Sequence[OrderKey]) -> dict[OrderKey, Row]:
    """The rows of these orders; one that is missing is missing."""
    by_owner: dict[tuple[Value, Value], list[str]] = {}
    for environment, tenant, order_id in keys:
        by_owner.setdefault((environment, tenant), []).append(str(order_id))
    found: dict[OrderKey, Row] = {}
    for (environment, tenant), ids in by_owner.items():
        owner = {"environment": environment, "tenant": tenant}
        wanted = RowFilter(("order_id",), owner, {"order_id": tuple(dict.fromkeys(ids))})
        found |= {_key(row): row for row in store.rows(ORDERS, wanted, len(ids))}
    return found


def faults_of(store: Store, states: Sequence[SagaState]) -> Iterator[tuple[SagaState, str]]:
    """The orders among these whose row says otherwise than their journal, and what. A journal that moves in each look is left
    to the decisions that move it."""
    rows = rows_of(store, [key_of(state) for state in states])
    for state in states:
        if row_faults(state, rows.get(key_of(state))) and (faults := _settled_faults(store, state)):
            yield state, "; ".join(faults)


def _settled_faults(store: Store, state: SagaState) -> list[str]:
    key = key_of(state)
    if _latest_run(store, *key) > state.run:
        return []
    for _ in range(LOOKS):
        folded = _folded(store.load([state.saga_id]).get(state.saga_id, []))
        if folded is None:
            return []
        row = rows_of(store, [key]).get(key)
        if row is not None and row["saga_id"] != state.saga_id and store.row(str(row["saga_id"])) is None:
            return ["its saga is not there"] if _is_of_nobody(store, row) else []  # a later run whose saga row is lost
        faults = row_faults(folded[0], row)
        if not faults or not store.tail(state.saga_id, folded[1]):
            return faults
    return []


def strays(store: Store, is_known: Callable[[Row], bool] = lambda _row: False) -> Iterator[Row]:
    """Every row whose order no saga knows, a page at a time; `is_known` saves the question."""
    before: tuple[Value, ...] | None = None
    while page := store.rows(ORDERS, RowFilter(ORDERS.key, before=before), PAGE):
        for row in page:
            if not is_known(row) and _is_of_nobody(store, row) and not _latest_run(store, *_key(row)):
                yield row
        before = _key(page[-1])


def rebuild(store: Store, progress: Callable[[Rebuilt], None] = lambda _done: None) -> Rebuilt:
    """Make the table say what the journal says."""
    done, before = Rebuilt(), None
    while page := store.find(SagaFilter(fulfil_order.name, before=before), PAGE):
        before = (page[-1].accepted_at, page[-1].saga_id)
        _rebuild_page(store, page, done)
        progress(done)
    for row in strays(store):
        change = store.drop_row(ORDERS, row, str(row["saga_id"]))
        done.dropped += change is RowChange.MADE
        done.busy += [str(row["order_id"])] if change is RowChange.BUSY else []
        progress(done)
    return done


def _rebuild_page(store: Store, sagas: Sequence[SagaRow], done: Rebuilt) -> None:
    left = [saga.saga_id for saga in sagas]
    entities = {saga.saga_id: saga.entity for saga in sagas}
    for look in range(LOOKS):
        states = _states(store, left)
        if look == 0:
            done.unreadable += [entities[saga_id] for saga_id in left if saga_id not in states]
        rows = rows_of(store, [key_of(state) for state, _ in states.values()])
        wrong = []
        for saga_id, (state, seq) in states.items():
            if not row_faults(state, rows.get(key_of(state))):
                done.right += 1
            elif _latest_run(store, *key_of(state)) <= state.run:  # the row of an earlier run is that of the latest
                wrong.append(Rewrite(saga_id, seq, _wanted(state)))
        left = _write(store, wrong, done)
        if not left:
            return
    done.moving += len(left)


def _write(store: Store, rewrites: list[Rewrite], done: Rebuilt) -> list[str]:
    """The ids of those that could not be written, because their journals moved on."""
    changes = list(zip(rewrites, store.rewrite(rewrites), strict=True))
    done.written += sum(change is RowChange.MADE for _, change in changes)
    done.busy += [str(it.row.key[-1]) for it, change in changes if change is RowChange.BUSY]
    return [it.saga_id for it, change in changes if change is RowChange.STALE]


def _states(store: Store, saga_ids: Sequence[str]) -> dict[str, tuple[SagaState, int]]:
    found: dict[str, tuple[SagaState, int]] = {}
    for saga_id, entries in store.load(saga_ids).items() if saga_ids else ():
        folded = _folded(entries)
        if folded is not None:
            found[saga_id] = folded
    return found


def _folded(entries: Sequence[JournalEntry]) -> tuple[SagaState, int] | None:
    if not entries or not is_readable(entries):
        return None
    try:
        state, seq, _ = fold(entries)
        _wanted(state)
    except (CodecError, IllegalTransition, KeyError, ValueError):  # what the audit tells in full
        return None
    return state, seq


def _is_of_nobody(store: Store, row: Row) -> bool:
    """Whether neither a saga row nor a journal is there. A saga that lost its row alone is damage of another kind, and its
    row here may be all that still shows the order."""
    saga_id = str(row["saga_id"])
    return store.row(saga_id) is None and not store.load([saga_id]).get(saga_id)


def _latest_run(store: Store, environment: Value, tenant: Value, order_id: Value) -> int:
    """The number of the order's latest run; 0 when no saga knows it."""
    owner = SagaFilter(fulfil_order.name, entity=str(order_id), environment=str(environment), tenant=str(tenant))
    return max((row.run for row in store.find(owner, PAGE)), default=0)


def _wanted(state: SagaState) -> ProjectedRow:
    return projected(ORDERS, state)


def _key(row: Row) -> OrderKey:
    return tuple(row[name] for name in ORDERS.key)


def _shown(value: Value) -> str:
    return "nothing" if value is None else str(value)[:60]
