"""What a store keeps of restored backups, and sagas that are held and let go, on each of the three stores."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import create_engine, text

from saga.core.connector import Call, Connector
from saga.core.definition import Saga, pivot, readonly
from saga.core.events import CancelAsked
from saga.core.states import HaltReason, SagaStatus
from saga.errors import JournalDamaged, SagaNotFound, UsageError
from saga.runtime.engine import Definitions, fold, tell
from saga.runtime.holding import hold, let_go
from saga.runtime.starting import answer, new_saga
from saga.store.memory import MemoryStore
from saga.store.port import Append, AppendResult, SagaRow, Store
from saga.store.restoring import Restoration, Settled
from saga.surfaces.ledgers import Ledgers, Movement
from saga.surfaces.restoring import Books, held, reconciled, restored
from tests.conformance.building import mark_damaged
from tests.simulation.stepping import Process

BY: dict[str, Any] = {"actor": "ops", "reason": "the disk died"}
LATE_S = 120.0
"""Books that were read so late show what was not done as well."""


class Order(BaseModel):
    order_id: str


class Charged(BaseModel):
    ref: str


bank = Connector("payment", keys="ignored", rejected={402: "declined"})
take_money = bank.post("/charges", Order, Charged)


def look(order: Order) -> None:
    """Asks nobody."""


def charge(order: Order) -> Call[Charged]:
    return take_money(order)


pay = Saga(
    "pay", version=1, input=Order, entity=lambda order: order.order_id,
    steps=[readonly(look, timeout_s=1.0), pivot(charge, on_unknown="halt")],
)  # fmt: skip
DEFINITIONS = Definitions([pay])


def begun(store: Store, order_id: str) -> str:
    new = new_saga(pay, Order(order_id=order_id), store, environment="test", tenant="shop")
    return answer(new, store.accept([new])[0]).saga_id


def row_of(store: Store, saga_id: str) -> SagaRow:
    row = store.row(saga_id)
    assert row is not None
    return row


def ledgers(*keys: str) -> Ledgers:
    """The bank's books, with something under these keys."""
    books = Ledgers(frozenset({"payment"}))
    for number, key in enumerate(keys):
        at = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
        books.add(Movement("payment", number, at, "POST /charges", key, "SO-1", "EUR", "holds", "merchant", 5))
    return books


def test_restorations_and_settled_entities_are_kept(store: Store) -> None:
    """In order; what was said first of an entity stands."""
    now = store.now().replace(microsecond=0)
    later = Restoration("r-2", now, now + timedelta(seconds=1), "ops", "again")
    first = Restoration("r-1", now - timedelta(hours=1), now, "ops", "disk")
    for it in (later, first):
        store.restored(it)
    assert store.restorations() == [first, later]
    one = Settled("test", "shop", "SO-1", now, "ops", "refunded")
    store.settle([one])
    store.settle([Settled("test", "shop", "SO-1", now, "eve", "another story"), one])
    assert store.settled() == [one]


def test_everything_that_had_not_ended_is_held_and_goes_on_when_it_is_let_go(store: Store) -> None:
    """Actor and reason stand in the journal; nobody is due while it is held; a second time changes nothing."""
    ids = [begun(store, f"SO-{number}") for number in range(3)]
    moved = restored(store, DEFINITIONS, restored_to=store.now(), **BY)
    assert (moved.count, moved.left) == (3, [])
    assert restored(store, DEFINITIONS, restored_to=store.now(), **BY).count == 0
    rows = held(store)
    assert sorted(row.saga_id for row in rows) == sorted(ids)
    assert {(row.status, row.halt_reason, row.due_at) for row in rows} == {
        (SagaStatus.HALTED, HaltReason.RESTORED, None)
    }
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(*ids)
    assert (worker.appends, worker.calls) == ([], [])
    assert let_go(store, DEFINITIONS, ids[0], **BY)
    entry = store.load([ids[0]])[ids[0]][-1]
    assert (entry.actor, entry.reason, entry.min_reader_version) == ("ops", "the disk died", 1)
    assert "restored to" in str(store.load([ids[0]])[ids[0]][-2].reason)
    row = row_of(store, ids[0])
    assert (row.status, row.due_at is not None) == (SagaStatus.RUNNING, True)
    assert not let_go(store, DEFINITIONS, ids[0], **BY), "it was not held any more"
    worker.wake(ids[0])
    assert len(worker.appends) == 1


def test_what_is_younger_than_the_backup_is_no_part_of_it(store: Store) -> None:
    """A first time with such a saga is refused: the backup was not restored, or the instant is wrong. Told once more for the same
    instant, what was accepted meanwhile stays free."""
    begun(store, "SO-1")
    at = store.now()
    begun(store, "SO-2")
    with pytest.raises(UsageError, match=r"the database holds SO-2, accepted at .* without the -wal and -shm files"):
        restored(store, DEFINITIONS, restored_to=at, **BY)
    assert (store.restorations(), held(store)) == ([], [])
    later = store.now()
    assert restored(store, DEFINITIONS, restored_to=later, **BY).count == 2
    begun(store, "SO-3")
    assert restored(store, DEFINITIONS, restored_to=later, **BY).count == 0


def test_an_instant_that_was_too_late_can_be_corrected(store: Store) -> None:
    """Also when orders have come since it was told; not to one of before an order of the backup."""
    begun(store, "SO-1")
    backup = store.now()
    assert restored(store, DEFINITIONS, restored_to=store.now(), **BY).count == 1
    begun(store, "SO-2")
    assert restored(store, DEFINITIONS, restored_to=backup, **BY).count == 0
    assert [it.restored_to for it in store.restorations()][1:] == [backup]
    with pytest.raises(UsageError, match="the database holds SO-1"):
        restored(store, DEFINITIONS, restored_to=backup - timedelta(hours=1), **BY)


def test_what_cannot_be_held_is_named(store: Store) -> None:
    """A definition that is not at hand; an instant that has not come yet."""
    begun(store, "SO-1")
    moved = restored(store, Definitions([]), restored_to=store.now(), **BY)
    assert (moved.count, [it.row.entity for it in moved.left]) == (0, ["SO-1"])
    assert "-d MODULE:NAME" in moved.left[0].why
    with pytest.raises(UsageError, match="later than now"):
        restored(store, DEFINITIONS, restored_to=store.now() + timedelta(hours=1), **BY)


def test_a_charge_that_may_have_been_sent_is_looked_up_in_the_books(store: Store) -> None:
    """Not in the books: let go. In the books, or no books: held, and it says what has to be found out."""
    saga_id = begun(store, "SO-1")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    worker.finish(worker.call("look"))
    worker.settle()
    key = worker.call("charge").wire_key
    restored(store, DEFINITIONS, restored_to=store.now(), **BY)
    for books, words in ((Ledgers(), "payment has no ledger"), (ledgers(key), f"payment has key {key}")):
        moved = reconciled(store, DEFINITIONS, Books(books, store.now() + timedelta(seconds=LATE_S)), **BY)
        assert (moved.count, len(moved.left)) == (0, 1)
        assert words in moved.left[0].why
    late = store.now() + timedelta(seconds=LATE_S)
    assert reconciled(store, Definitions([]), Books(ledgers(), late), **BY).count == 0
    assert reconciled(store, DEFINITIONS, Books(ledgers("another"), late), **BY).count == 1
    assert held(store) == []


def test_the_key_of_a_charge_that_the_backup_does_not_know_is_derived(store: Store) -> None:
    """The backup is of before its claim; the books are asked for the key that it would have."""
    saga_id = begun(store, "SO-1")
    restored(store, DEFINITIONS, restored_to=store.now(), **BY)
    probe = MemoryStore()
    twin = begun(probe, "SO-1")
    worker = Process(probe, DEFINITIONS, "w1")
    worker.wake(twin)
    worker.settle()
    worker.finish(worker.call("look"))
    worker.settle()
    key = worker.call("charge").wire_key
    assert reconciled(store, DEFINITIONS, Books(ledgers(key), store.now() + timedelta(seconds=LATE_S)), **BY).count == 0
    assert row_of(store, saga_id).status is SagaStatus.HALTED


def test_an_event_from_outside_meets_the_mark_and_not_the_limit(store: Store) -> None:
    """The row was marked after it had been read: nobody was first, so the tail is empty, and what is told is why."""
    saga_id = begun(store, "SO-1")

    class Late:
        """Marks the row before the first append."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def append(self, group: Sequence[Append]) -> list[AppendResult]:
            mark_damaged(store, saga_id)
            return store.append(group)

    late: Any = Late()
    asked = CancelAsked(store.now(), "anna", "customer called")
    with pytest.raises(JournalDamaged, match="its saga row says that it was damaged"):
        tell(late, DEFINITIONS, saga_id, asked, actor="cli")


def shortened(store: Store, request: pytest.FixtureRequest, saga_id: str) -> None:
    """Takes the last entry away."""
    last = store.load([saga_id])[saga_id][-1].seq
    if isinstance(store, MemoryStore):
        del store._sagas[saga_id].journal[last - 1 :]
        return
    kind = request.node.callspec.params["open_another"]
    engine = create_engine(
        request.getfixturevalue(f"store_{kind}_url").replace("postgresql://", "postgresql+psycopg://")
    )
    table = "saga.journal" if kind == "postgres" else "journal"
    with engine.begin() as connection:
        connection.execute(
            text(f"DELETE FROM {table} WHERE saga_id = :id AND seq = :seq"), {"id": saga_id, "seq": last}
        )
    engine.dispose()


def test_a_damaged_journal_goes_on_only_when_somebody_answers_for_it(
    store: Store, request: pytest.FixtureRequest
) -> None:
    """From then on the journal itself says what it lacks, and row and journal agree again."""
    saga_id = begun(store, "SO-1")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    shortened(store, request, saga_id)
    with pytest.raises(JournalDamaged, match="saga db let-go"):
        hold_and_raise(store, saga_id)
    assert hold(store, DEFINITIONS, saga_id, **BY)
    assert row_of(store, saga_id).halt_reason is HaltReason.JOURNAL_DAMAGED
    with pytest.raises(UsageError, match="-d MODULE:NAME"):
        let_go(store, Definitions([]), saga_id, **BY)
    assert let_go(store, DEFINITIONS, saga_id, **BY)
    journal = store.load([saga_id])[saga_id]
    assert (journal.lacks, len(journal), journal[-1].min_reader_version) == (None, 2, 2)
    assert fold(journal)[0].status is row_of(store, saga_id).status is SagaStatus.RUNNING
    other = Process(store, DEFINITIONS, "w2")
    other.wake(saga_id)
    assert len(other.appends) == 1


def hold_and_raise(store: Store, saga_id: str) -> None:
    """What every event from outside meets at a damaged journal."""
    tell(store, DEFINITIONS, saga_id, CancelAsked(store.clock(), "clerk", "no more"), actor="clerk")


def test_a_saga_that_is_not_there_or_has_no_entry_left_cannot_be_let_go(
    store: Store, request: pytest.FixtureRequest
) -> None:
    """Each says what would help."""
    with pytest.raises(SagaNotFound):
        let_go(store, DEFINITIONS, "s-unknown", **BY)
    saga_id = begun(store, "SO-1")
    shortened(store, request, saga_id)
    with pytest.raises(UsageError, match="no entry of its journal is left"):
        let_go(store, DEFINITIONS, saga_id, **BY)
