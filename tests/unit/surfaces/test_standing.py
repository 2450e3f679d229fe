"""How all sagas stand, over a store in memory whose clock the test sets: who waits for whom, what halted, what today was."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from saga.core import transitions as t
from saga.core.definition import Saga, readonly
from saga.core.outcomes import OutcomeCode
from saga.core.states import Effect, HaltReason, NodePhase, SagaStatus
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Address, Order, OrderLine
from saga.fulfilment.orders_table import ORDERS
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.scope import Scope
from saga.store import schema
from saga.store.codec import encode
from saga.store.connecting import sqlite_path
from saga.store.journal import Journal, JournalEntry
from saga.store.memory import MemoryStore
from saga.store.opening import open_store
from saga.store.port import (
    Append,
    AppendResult,
    RowFilter,
    SagaColumns,
    Store,
    WorkerRow,
)
from saga.surfaces.defaults import LOOKED_AT
from saga.surfaces.standing import Standing, standing
from saga.surfaces.status_page import status_page

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)
DOWN = "HTTP 503"


class SetClock:
    """Stands where the test puts it."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def store(clock: SetClock) -> Iterator[Store]:
    made = MemoryStore(clock, Scope("test", ("default",)))
    yield made
    made.close()


def order(order_id: str, price: int = 1000) -> Order:
    return Order(
        order_id=order_id,
        customer_id="C-1",
        currency="GBP",
        country="Germany",
        address=Address(name="A Person", street="1 Way", city="Berlin", postcode="10115"),
        lines=(OrderLine(sku="MUG", quantity=1, unit_price=price),),
        payment_method="pm_card",
    )


def started(store: Store, order_id: str, price: int = 1000, definition: Saga[Order] = fulfil_order) -> str:
    starter = Starter(store, environment="test", tenant="default")
    try:
        return starter.start(definition, order(order_id, price)).saga_id
    finally:
        starter.stop()


def append(store: Store, saga_id: str, columns: SagaColumns, *facts: t.Transition) -> None:
    last = store.load([saga_id])[saga_id][-1]
    entry = JournalEntry(last.seq + 1, store.now(), "w1", "test", None, encode(facts), last.hash)
    assert store.append([Append(saga_id, entry, columns)]) == [AppendResult.APPENDED]


def waits(
    store: Store, saga_id: str, detail: str = DOWN, *, next_in_s: float = 2.0, node: str = "authorize_payment:a"
) -> None:
    """The node has been tried once, in vain."""
    now = store.now()
    then = now + timedelta(seconds=next_in_s)
    facts = (
        t.AttemptStarted(now, node, 1, "w1", now + timedelta(seconds=10)),
        t.AttemptEnded(now, node, 1, OutcomeCode.UNKNOWN, NodePhase.BACKOFF, Effect.UNKNOWN, detail, next_at=then),
    )
    append(store, saga_id, SagaColumns(SagaStatus.RUNNING, None, then), *facts)


def halts(store: Store, saga_id: str, reason: HaltReason, due_in_s: float | None = None) -> None:
    due_at = None if due_in_s is None else store.now() + timedelta(seconds=due_in_s)
    fact = t.SagaHalted(store.now(), reason, "capture_payment:a", "no answer")
    append(store, saga_id, SagaColumns(SagaStatus.HALTED, reason, due_at), fact)


def ends(store: Store, saga_id: str, status: SagaStatus) -> None:
    fact = t.SagaCompleted(store.now()) if status is SagaStatus.COMPLETED else t.SagaCompensated(store.now())
    append(store, saga_id, SagaColumns(status, None, None, store.now()), fact)


def looked(store: Store, *more: Saga[Order], looked_at: int | None = LOOKED_AT) -> Standing:
    return standing(store, Definitions([fulfil_order, *more]), looked_at=looked_at)


def test_orders_wait_for_the_same_participant(store: Store, clock: SetClock) -> None:
    """They are one group with the last answer and the next try; another step is another group."""
    for number in range(7):
        waits(store, started(store, f"SO-{number}"))
    clock.at += timedelta(seconds=1)
    waits(store, started(store, "SO-7"), "HTTP 500", next_in_s=9)
    waits(store, started(store, "SO-8"), node="reserve_inventory:a")
    found = looked(store)
    assert [(it.participant, it.step, it.count, it.order_count) for it in found.waiting] == [
        ("payment", "authorize_payment", 8, 8),
        ("inventory", "reserve_inventory", 1, 1),
    ]
    group = found.waiting[0]
    assert (group.last_detail, group.next_in_s, len(group.entities)) == ("HTTP 500", 1.0, 5)
    page = status_page(found)
    assert "… payment: 8 orders wait at authorize_payment, last answer HTTP 500, next try in 1.0 s" in page
    assert "SO-0, SO-1, SO-2, SO-3, SO-4 and 3 more" in page
    assert "inventory: 1 order waits at reserve_inventory" in page


def test_without_its_definition_the_participant_is_not_known(store: Store) -> None:
    """The step stands in the journal, whom it calls in the definition."""
    waits(store, started(store, "SO-1"))
    [group] = standing(store, Definitions([])).waiting
    assert (group.participant, group.step) == (None, "authorize_payment")


def test_halted_by_reason_with_their_money(store: Store, clock: SetClock) -> None:
    """The goods of an order stand for its total as long as it has no price; what heals itself says when it is looked at."""
    for number, price in enumerate((1000, 250)):
        halts(store, started(store, f"SO-{number}", price), HaltReason.PIVOT_UNRESOLVED)
    halts(store, started(store, "SO-9"), HaltReason.PARTICIPANT_DOWN, 60)
    found = looked(store)
    down, pivot = sorted(found.halted_groups, key=lambda it: it.count)
    assert (pivot.reason, pivot.count, pivot.money_minor) == (HaltReason.PIVOT_UNRESOLVED, 2, {"GBP": 1250})
    assert (pivot.heals_itself, pivot.next_look_at) == (False, None)
    assert (down.count, down.heals_itself, down.next_look_at) == (1, True, clock.at + timedelta(seconds=60))
    page = status_page(found)
    assert "✗ halted 2 pivot_unresolved: SO-0, SO-1   £12.50" in page
    assert "saga list --status halted --reason pivot_unresolved" in page
    assert "✗ halted 1 participant_down, looked at again by itself at 03:01:00.000: SO-9" in page
    assert (found.counts[SagaStatus.HALTED], found.live_count) == (3, 3)


def test_a_saga_that_is_no_order_has_no_money(store: Store) -> None:
    """Neither a sum nor a zero."""
    other = Saga("other", version=1, input=Order, entity=lambda it: it.order_id, steps=[readonly(_look)])
    halts(store, started(store, "X-1", definition=other), HaltReason.DEFECT)
    [group] = looked(store, other).halted_groups
    assert group.money_minor == {}
    assert "X-1\n" in status_page(looked(store, other))


def _look(order: Order) -> Address:
    return order.address


def test_the_oldest_and_where_it_waits(store: Store, clock: SetClock) -> None:
    """Whether it moves or is halted, the one that was accepted first, with its age."""
    clock.at = NOW - timedelta(days=6, hours=4)
    halts(store, started(store, "SO-OLD"), HaltReason.PIVOT_UNRESOLVED)
    clock.at = NOW
    waits(store, started(store, "SO-NEW"))
    oldest = looked(store).oldest
    assert oldest is not None
    assert (oldest.entity, oldest.waits_at, oldest.age_s) == ("SO-OLD", "capture_payment", 6 * 86_400 + 4 * 3_600)
    assert "oldest 6 d 04 h  SO-OLD (capture_payment)" in status_page(looked(store))
    assert standing(MemoryStore(clock), Definitions([])).oldest is None


def test_today_and_the_seven_days_before(store: Store, clock: SetClock) -> None:
    """The day is of UTC; what was accepted earlier is the usual; without any day before there is none."""
    assert looked(store).today.usual_percent is None
    assert "0 compensated (–, usual –)" in status_page(looked(store))
    clock.at = NOW - timedelta(days=1)
    for number in range(4):
        ends(store, started(store, f"Y-{number}"), SagaStatus.COMPENSATED if number == 0 else SagaStatus.COMPLETED)
    clock.at = NOW - timedelta(days=8)
    ends(store, started(store, "LONG-AGO"), SagaStatus.COMPENSATED)
    clock.at = NOW
    ends(store, started(store, "T-1"), SagaStatus.COMPENSATED)
    ends(store, started(store, "T-2"), SagaStatus.COMPLETED)
    today = looked(store).today
    assert (today.accepted, today.completed, today.compensated) == (2, 1, 1)
    assert (today.compensated_percent, today.usual_percent, today.is_whole) == (50.0, 25.0, True)
    assert "today   2 accepted   1 completed   1 compensated (50.0 %, usual 25.0 %)" in status_page(looked(store))


def test_how_far_it_was_looked_is_said(store: Store, clock: SetClock) -> None:
    """With more sagas than are looked at, those that ended are counted as far as it looked, which the page says, and what looks
    further; one that was halted before is there all the same."""
    halts(store, started(store, "SO-OLD"), HaltReason.DEFECT)
    for number in range(3):
        clock.at += timedelta(seconds=1)
        ends(store, started(store, f"SO-{number}"), SagaStatus.COMPLETED)
    found = looked(store, looked_at=2)
    assert (found.counts[SagaStatus.COMPLETED], found.today.is_whole) == (2, False)
    assert [group.entities for group in found.halted_groups] == [["SO-OLD"]]
    page = status_page(found)
    assert "today   at least 2 accepted" in page
    assert "(of today: those accepted since 03:00:02; all of it: saga status --all)" in page
    whole = looked(store, looked_at=None)
    assert (whole.counts[SagaStatus.COMPLETED], whole.today.is_whole) == (3, True)
    assert "--all" not in status_page(whole)


def test_no_reason_hides_another(store: Store, clock: SetClock) -> None:
    """Of many halted sagas more are of one reason than are read: all are counted, the few that were accepted before have their
    line, the oldest is the oldest, and the money says of how many it is."""
    for number in range(2):
        halts(store, started(store, f"OLD-{number}"), HaltReason.DEFECT)
    clock.at += timedelta(seconds=1)
    for number in range(8):
        halts(store, started(store, f"SO-{number}"), HaltReason.PIVOT_UNRESOLVED)
    found = standing(store, Definitions([fulfil_order]), halted_read=6)
    assert [(it.reason, it.count, it.read_count) for it in found.halted_groups] == [
        (HaltReason.DEFECT, 2, 2),
        (HaltReason.PIVOT_UNRESOLVED, 8, 6),
    ]
    assert (found.counts[SagaStatus.HALTED], found.oldest and found.oldest.entity) == (10, "OLD-0")
    page = status_page(found)
    assert "✗ halted 2 defect: OLD-0, OLD-1   £20.00\n" in page
    assert "✗ halted 8 pivot_unresolved: SO-0, SO-1, SO-2, SO-3, SO-4 and 3 more   £60.00 (of the first 6)" in page


def test_a_journal_that_is_gone_or_newer_hides_no_other(sqlite_url: str) -> None:
    """A live saga without any entry, one without its first and one that a newer release wrote are unreadable; the rest of the
    screen stands."""
    schema.upgrade(sqlite_url)
    store = open_store(sqlite_url)
    ids = [started(store, f"SO-{number}") for number in range(4)]
    for saga_id in ids:
        waits(store, saga_id)
    with sqlite3.connect(sqlite_path(sqlite_url)) as database:
        database.execute("DELETE FROM journal WHERE saga_id = ?", (ids[0],))
        database.execute("DELETE FROM journal WHERE saga_id = ? AND seq = 1", (ids[1],))
        database.execute("UPDATE journal SET min_reader_version = 99 WHERE saga_id = ?", (ids[2],))
    database.close()
    found = looked(store)
    store.close()
    assert (found.unreadable_count, [it.entities for it in found.waiting]) == (3, [["SO-3"]])
    assert found.oldest is not None
    assert (found.oldest.entity, found.oldest.waits_at) == ("SO-0", None)
    assert "✗ 3 live sagas whose journal cannot be read" in status_page(found)


class Forgetful(MemoryStore):
    """Answers with empty journals."""

    def load(self, saga_ids: Sequence[str]) -> Mapping[str, Journal]:
        return {saga_id: Journal() for saga_id in saga_ids}


def test_an_empty_journal(clock: SetClock) -> None:
    """A store that answers with one: its saga is counted as one that cannot be read."""
    store = Forgetful(clock)
    started(store, "SO-1")
    assert looked(store).unreadable_count == 1


def test_a_journal_that_cannot_be_read_hides_no_other(store: Store) -> None:
    """It is counted and told; the rest of the screen stands."""
    waits(store, started(store, "SO-1"))
    broken = started(store, "SO-2")
    append(store, broken, SagaColumns(SagaStatus.RUNNING, None, NOW), t.SagaResumed(NOW))
    found = looked(store)
    assert (found.unreadable_count, len(found.waiting)) == (1, 1)
    assert "✗ 1 live saga whose journal cannot be read → saga audit" in status_page(found)


def test_workers(store: Store, clock: SetClock) -> None:
    """A kill -9 leaves a row open: the page says since when its worker is gone; a live fleet without one says what to type."""
    started(store, "SO-1")
    assert "✗ no worker: type  saga worker  or  saga drain" in status_page(looked(store))
    store.register_worker(WorkerRow("w1", "vm", 7, ("tax", "payment", "payment.rollback")))
    assert "✓ worker vm pid 7, queues tax, payment and their rollbacks" in status_page(looked(store))
    clock.at += timedelta(seconds=17)
    page = status_page(looked(store))
    assert "✗ worker vm pid 7, gone since 12.0 s, not yet closed" in page
    assert "✗ no worker" in page


def test_a_worker_that_lacks_is_asked_for_by_definition(store: Store) -> None:
    """`saga worker` as it stands runs what is at hand: of another definition the name is said, and with it of all that wait."""
    version = f"fulfil_order v{fulfil_order.version}"
    waits(store, started(store, "SO-1"), next_in_s=60.0)
    found = standing(store, Definitions([]))
    command = "type  saga worker MODULE:SAGA  or  saga drain MODULE:SAGA  with"
    assert f"✗ no worker, and {version} waits: {command} its definition" in status_page(found)
    assert (found.moving, found.not_at_hand, found.unserved) == ([version], [version], ["default"])
    other = Saga("ship", version=2, input=Order, entity=lambda it: it.order_id, steps=[readonly(_look)])
    started(store, "SO-1", definition=other)
    both = standing(store, Definitions([fulfil_order]))
    assert f"✗ no worker, and {version}, ship v2 wait: {command} each definition" in status_page(both)
    assert (both.moving, both.not_at_hand) == ([version, "ship v2"], ["ship v2"])


def test_nothing_to_do_has_no_cross(store: Store) -> None:
    """A halted fleet that waits for a person needs no worker; an empty one has nothing that somebody should read."""
    assert "✗" not in status_page(looked(store))
    halts(store, started(store, "SO-1"), HaltReason.DEFECT)
    assert "✗ no worker" not in status_page(looked(store))
    assert store.rows(ORDERS, _all_rows(), 5), "the order has its row"


def _all_rows() -> RowFilter:
    return RowFilter(order=("order_id",))
