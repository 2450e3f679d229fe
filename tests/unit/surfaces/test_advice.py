"""Each advice of `saga show` is followed, and does what it says; a cancel that nothing follows says so. Over every reason to
halt, at each place where a saga can stand, on the real driver."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from saga.core import transitions as t
from saga.core.connector import Connector
from saga.core.definition import Saga, compensatable, pivot, retriable
from saga.core.outcomes import OutcomeCode, Payload
from saga.core.states import ENDED, HELD, SELF_HEALING, Effect, HaltReason, NodePhase, SagaStatus
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.scope import Scope
from saga.store.codec import encode
from saga.store.journal import JournalEntry
from saga.store.memory import MemoryStore
from saga.store.port import Append, AppendResult, SagaColumns, SagaFilter, SagaRow, WorkerRow
from saga.surfaces.cancelling import Cancelled, CancelRequest, CancelStanding, cancel, held_words, who_must_run
from saga.surfaces.restoring import released
from saga.surfaces.saga_page import saga_page
from saga.surfaces.showing import look_at
from saga.surfaces.taking_back import Standing, standing_of
from tests.conformance.building import mark_damaged
from tests.simulation.stepping import Process, kinds, state_of


class Order(BaseModel):
    order_id: str


class Ref(BaseModel):
    ref: str


class Booked(BaseModel):
    ref: str


class Paid(BaseModel):
    ref: str


def hold(order: Order) -> Ref:
    return Ref(ref=order.order_id)


def let_go(held: Ref) -> None:
    """Nothing is really held."""


def unbook(booked: Booked) -> None:
    """Of a step whose keys are ignored: it needs what was booked."""


def book(order: Order) -> Booked:
    return Booked(ref=order.order_id)


shelf = Connector("shelf", keys="serialise", remembers_rejections=True, rejected={409: "none"})
book_by_key = shelf.post("/bookings", Order, Booked)
unbook_by_key = shelf.undo("/bookings/undo", of=book_by_key)


def pay(order: Order) -> Paid:
    return Paid(ref=order.order_id)


def send(order: Order) -> None:
    """Nothing is really sent."""


PLACE: Saga[Any] = Saga(
    "place",
    version=1,
    input=Order,
    entity=lambda order: order.order_id,
    steps=[
        compensatable(hold, compensation=let_go, keys="serialise"),
        compensatable(book_by_key, name="book", compensation=unbook_by_key),
        pivot(pay, keys="serialise"),
        retriable(send, keys="serialise"),
    ],
)
DEFINITIONS = Definitions([PLACE])
NODES = {"before": "book:a", "at": "pay:a", "past": "send:a", "back": "hold:c"}
CODES = {HaltReason.DEFECT: OutcomeCode.DEFECT, HaltReason.RETRIABLE_REJECTED: OutcomeCode.REJECTED}
BY: dict[str, Any] = {"actor": "ops", "reason": "looked into the books"}
TOLD = [it for it in HaltReason if it is not HaltReason.JOURNAL_DAMAGED]
"""The reasons that a journal tells; of a damaged one its row does."""
CASES = list(product(NODES, [None, *TOLD]))


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    made = MemoryStore()
    yield made
    made.close()


def stands(store: MemoryStore, place: str, reason: HaltReason | None) -> SagaRow:
    """A saga that stands there: halted for this reason, or with a step that waits for another try."""
    starter = Starter(store, environment="test", tenant="default")
    saga_id = starter.start(PLACE, Order(order_id="B1")).saga_id
    starter.stop()
    now, facts = store.clock(), list[t.Transition]()

    def ended(node: str, code: OutcomeCode, phase: NodePhase) -> None:
        effect = Effect.APPLIED if code is OutcomeCode.SUCCEEDED else Effect.UNKNOWN
        result = Payload('{"ref":"r"}') if code is OutcomeCode.SUCCEEDED else None
        facts.append(
            t.AttemptStarted(now, node, 1, "gone", now + timedelta(seconds=1), key=node, wire_key=node, request=None)
        )
        facts.append(
            t.AttemptEnded(
                now, node, 1, code, phase, effect, "said", now if phase is NodePhase.BACKOFF else None, result
            )
        )

    before = ["hold:a", "book:a", "pay:a", "send:a"]
    done = before[: before.index(NODES[place])] if place != "back" else ["hold:a"]
    for node in done:
        ended(node, OutcomeCode.SUCCEEDED, NodePhase.DONE)
    if place == "back":
        facts += [
            t.RollbackRequested(now, "cancelled", None, "x"),
            t.PlanFrozen(now, (t.PlannedEntry("hold", "compensate"),)),
        ]
    is_moving = reason is None or reason in SELF_HEALING
    code = CODES.get(reason, OutcomeCode.UNKNOWN) if reason else OutcomeCode.NOT_SENT
    ended(NODES[place], code, NodePhase.BACKOFF if is_moving else NodePhase.FAILED)
    if reason is not None:
        facts.append(t.SagaHalted(now, reason, NODES[place], "said"))
    last = store.load([saga_id])[saga_id][-1]
    entry = JournalEntry(2, now, "gone", "test", None, encode(facts), last.hash)
    status = SagaStatus.HALTED if reason else SagaStatus.COMPENSATING if place == "back" else SagaStatus.RUNNING
    columns = SagaColumns(status, reason, now if is_moving else None)
    assert store.append([Append(saga_id, entry, columns)]) == [AppendResult.APPENDED]
    return store.find(SagaFilter(), 1)[0]


def run_all(store: MemoryStore, saga_id: str) -> SagaStatus:
    """A worker that is there from now on, at which every call succeeds."""
    process = Process(store, DEFINITIONS, "w1")
    process.wake(saga_id)
    process.finish_all()
    return state_of(store, DEFINITIONS, saga_id).status


def cancelled(store: MemoryStore, saga_id: str) -> Cancelled:
    return cancel(store, DEFINITIONS, saga_id, CancelRequest(reason="called"), surface="cli")


def advised(store: MemoryStore, row: SagaRow) -> str:
    return saga_page(look_at(store, row, [PLACE], Path("none")))


@pytest.mark.parametrize(("place", "reason"), CASES)
def test_what_show_advises_does_what_it_says(store: MemoryStore, place: str, reason: HaltReason | None) -> None:
    """Where the page says `roll back  saga cancel B1`, that rolls it back. Where it says `saga db let-go B1`, a cancel and a worker
    do nothing, that lets it go, and nothing else does. Where it says that no command moves it, no cancel, worker or let-go does.
    Where it says that it is tried again by itself, a worker brings it to its end."""
    row = stands(store, place, reason)
    page = advised(store, row)
    if 'roll back  saga cancel B1 --reason "…"' in page:
        assert cancelled(store, row.saga_id).standing in (CancelStanding.ACCEPTED, CancelStanding.DONE)
        assert run_all(store, row.saga_id) is SagaStatus.COMPENSATED
    elif 'saga db let-go B1 --reason "…"' in page:
        assert ("saga db reconcile  compares" in page) == (reason is HaltReason.RESTORED)
        assert reason in HELD
        cancelled(store, row.saga_id)
        assert run_all(store, row.saga_id) is SagaStatus.HALTED
        assert released(store, DEFINITIONS, [row], None, **BY).count == 1
        assert not state_of(store, DEFINITIONS, row.saga_id).is_held
        assert "db let-go" not in advised(store, store.find(SagaFilter(), 1)[0])
    elif "no command of this release moves it" in page:
        cancelled(store, row.saga_id)
        assert run_all(store, row.saga_id) is SagaStatus.HALTED
        assert released(store, DEFINITIONS, [row], None, **BY).count == 0
    else:
        assert reason is None or "tried again by itself" in page
        assert run_all(store, row.saga_id) in ENDED
    assert ("saga cancel" in page) is (place == "before" and (reason is None or reason in SELF_HEALING))


@pytest.mark.parametrize(("place", "reason"), CASES)
def test_what_a_cancel_says_is_what_becomes_of_it(store: MemoryStore, place: str, reason: HaltReason | None) -> None:
    """Accepted is rolled back, pending ends, refused and held stay; only what is held is also written down for later."""
    row = stands(store, place, reason)
    found = cancelled(store, row.saga_id)
    end = run_all(store, row.saga_id)
    is_held = reason is not None and reason not in SELF_HEALING
    match found.standing:
        case CancelStanding.ACCEPTED | CancelStanding.DONE:
            assert end is SagaStatus.COMPENSATED
        case CancelStanding.PENDING:
            assert (place, end in ENDED) == ("at", True)
        case CancelStanding.REFUSED:
            assert (place, end is SagaStatus.COMPENSATED) == ("past", False)
        case CancelStanding.HELD:
            assert (is_held, end) == (True, SagaStatus.HALTED)
            assert held_words(found.state).count("waits for a person") == 1
            assert ("saga db let-go B1" in held_words(found.state)) is (reason in HELD)
    assert (found.standing is CancelStanding.HELD) is (is_held and place != "past")
    is_written = "cancel_requested" in kinds(store, row.saga_id)
    assert is_written is (place in ("before", "at"))
    assert cancelled(store, row.saga_id).state.cancel == (found.state.cancel if place != "back" else None)


@pytest.mark.parametrize("is_marked", [False, True], ids=["nobody looked yet", "marked"])
def test_a_damaged_journal_says_what_its_row_says(store: MemoryStore, is_marked: bool) -> None:
    """Once it was looked at the row is halted, which the journal cannot say: so does the page. What is missing and what to type
    stand on a line each, and that lets it go."""
    row = stands(store, "before", None)
    del store._sagas[row.saga_id].journal[-1:]
    if is_marked:
        mark_damaged(store, row.saga_id)
    page = advised(store, row)
    head = page.splitlines()[0]
    assert ("HALTED   journal_damaged: its saga row remembers entry 2" in head, "RUNNING" in head) == (
        is_marked,
        not is_marked,
    )
    assert "✗ its saga row remembers entry 2, and the journal has 1" in page.splitlines()
    assert (
        'go on      saga db let-go B1 --reason "…"  lets it go on, if nothing was done that its journal lacks'
        in page.splitlines()
    )
    assert "saga audit" not in page, "there is no other fault"
    assert released(store, DEFINITIONS, [row], None, **BY).count == 1
    assert "RUNNING" in advised(store, row).splitlines()[0]


def test_a_gap_in_a_journal_is_not_let_go(store: MemoryStore) -> None:
    """Nobody can go on behind it, and the page does not say that somebody could."""
    row = stands(store, "before", None)
    del store._sagas[row.saga_id].journal[0]
    mark_damaged(store, row.saga_id)
    page = advised(store, store.find(SagaFilter(), 1)[0])
    assert "HALTED   journal_damaged" in page.splitlines()[0]
    assert "go on      no command of this release moves it; its entries from a backup do" in page.splitlines()
    assert released(store, DEFINITIONS, [row], None, **BY).count == 0


def test_a_late_answer_moves_a_held_saga_backward(store: MemoryStore) -> None:
    """The one fact that ends such a halt today: the page names it, and the cancel that was kept counts then."""
    process, starter = Process(store, DEFINITIONS, "w1"), Starter(store, environment="test", tenant="default")
    once = Saga("once", version=1, input=Order, entity=lambda it: it.order_id, steps=[
        compensatable(hold, compensation=let_go, keys="serialise"),
        compensatable(book, compensation=unbook, keys="ignored", on_unknown="halt"), pivot(pay, keys="serialise")])  # fmt: skip
    process.definitions = Definitions([once])
    saga_id = starter.start(once, Order(order_id="B1")).saga_id
    starter.stop()
    process.wake(saga_id)
    process.settle()
    process.finish(process.call("hold"))
    process.settle()
    late = process.call("book")
    process.late_s = 1_000.0
    process.wake(saga_id)
    process.settle()
    row = store.find(SagaFilter(), 1)[0]
    assert row.halt_reason is HaltReason.UNRESOLVED_EFFECT
    page = saga_page(look_at(store, row, [once], Path("none")))
    assert "no command of this release moves it; a late answer to book does, if one comes" in page
    found = cancel(store, process.definitions, saga_id, CancelRequest(reason="called"), surface="cli")
    assert found.standing is CancelStanding.HELD
    process.finish(late)
    process.finish_all()
    assert state_of(store, process.definitions, saga_id).status is SagaStatus.COMPENSATED


@pytest.mark.parametrize("place", NODES)
def test_a_return_does_not_send_to_a_cancel_that_does_nothing(store: MemoryStore, place: str) -> None:
    """`saga return` and the API name the cancel only where it is one."""
    for reason in (None, *HaltReason):
        own = MemoryStore()
        row = stands(own, place, reason)
        standing = standing_of(PLACE, state_of(own, DEFINITIONS, row.saga_id))
        assert (standing is Standing.CANCELLABLE) is ("saga cancel" in advised(own, row)), reason


def test_a_cancel_that_nobody_carries_out_says_who_must_run(store: MemoryStore) -> None:
    """No worker, one for other queues, one of another tenant; and nothing where one is there, or nothing is left to do."""
    row = stands(store, "before", None)
    found = cancelled(store, row.saga_id)
    assert who_must_run(store, found, ["shop:place"]) == (
        "no worker runs, so nothing moves until one does: type  saga worker shop:place  or  saga drain shop:place"
    )
    store.register_worker(WorkerRow("w0", "h", 1, ("other",), lease_ttl_s=60.0))
    assert (who_must_run(store, found) or "").startswith(f"no worker takes {', '.join(sorted(found.queues))}, so")
    store.register_worker(WorkerRow("w1", "h", 1, (*found.queues, "other"), lease_ttl_s=60.0))
    assert who_must_run(store, found) is None
    store.close_worker("w0")
    store.close_worker("w1")
    store.register_worker(WorkerRow("w2", "h", 1, (), 60.0, Scope("test", ("acme",))))
    own = store.of(Scope(row.environment, (row.tenant,)))
    assert (who_must_run(own, found) or "").startswith("no worker runs, so")
    run_all(store, row.saga_id)
    assert who_must_run(MemoryStore(), cancelled(store, row.saga_id)) is None
