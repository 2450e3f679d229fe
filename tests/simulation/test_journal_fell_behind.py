"""Journals that lost their last entries: by a crash without durable commits, a fail-over, a restore, somebody's DELETE.

Where a repeat has one effect the saga goes on under the same keys; where a second send is money nobody goes on.
"""

from dataclasses import replace

import pytest
from pydantic import BaseModel

from saga.core.connector import Call, Connector
from saga.core.definition import Saga, compensatable, pivot, readonly
from saga.core.events import CancelAsked, LetGo
from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.states import HaltReason, SagaStatus
from saga.runtime.engine import Definitions, tell
from saga.runtime.holding import hold, let_go
from saga.store.memory import MemoryStore
from tests.simulation.sagas import Order, begin, line
from tests.simulation.stepping import DONE, Process, kinds, state_of


class Charged(BaseModel):
    """What the bank answers."""

    ref: str


bank = Connector("bank", keys="ignored", rejected={402: "declined"})
take_money = bank.post("/charges", Order, Charged)


def look(order: Order) -> None:
    """Asks nobody."""


def charge(order: Order) -> Call[Charged]:
    return take_money(order)


pay = Saga(
    "pay", version=1, input=Order, entity=lambda order: order.order_id,
    steps=[readonly(look, timeout_s=1.0), pivot(charge, on_unknown="halt")],
)  # fmt: skip
at_once = Saga(
    "at_once", version=1, input=Order, entity=lambda order: order.order_id, steps=[pivot(charge, on_unknown="halt")]
)
DEFINITIONS = Definitions([line, pay, at_once])


def cut(store: MemoryStore, saga_id: str, after_seq: int) -> None:
    """The rows behind this number are gone, and what the saga row says stays."""
    del store._sagas[saga_id].journal[after_seq:]


def crash(store: MemoryStore, saga_id: str, after_seq: int) -> None:
    """Commits that were not durable: the entries are gone, and what was written with them."""
    stored = store._sagas[saga_id]
    del stored.journal[after_seq:]
    stored.journal.reached = None


def reason_of(store: MemoryStore, saga_id: str) -> HaltReason | None:
    row = store.row(saga_id)
    assert row is not None
    return row.halt_reason


def charged(store: MemoryStore) -> tuple[Process, str]:
    """A worker whose charge is in hand; its claim is durable."""
    saga_id = begin(store, pay, "SO-1")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    worker.finish(worker.call("look"))
    worker.settle()
    worker.call("charge")
    return worker, saga_id


def at_second_call(store: MemoryStore) -> tuple[Process, str]:
    """A worker at a barrier: `a` is done, and the call of `b` is in hand."""
    saga_id = begin(store, line, "SO-1")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    worker.finish(worker.call("a"))
    worker.settle()
    return worker, saga_id


def at_the_ship(store: MemoryStore) -> tuple[Process, str]:
    """A worker whose step of no return is in hand."""
    worker, saga_id = at_second_call(store)
    worker.finish(worker.call("b"))
    worker.settle()
    return worker, saga_id


def rolling_back(store: MemoryStore) -> tuple[Process, str]:
    """A worker whose first undo is in hand, after a cancel."""
    worker, saga_id = at_second_call(store)
    tell(store, DEFINITIONS, saga_id, CancelAsked(store.clock(), "anna", "no more"), actor="api")
    worker.finish(worker.call("b"))
    worker.settle()
    return worker, saga_id


def test_a_lost_claim_of_a_charge_is_no_second_charge() -> None:
    """The claim and its outcome are cut out of the journal: whoever looks halts the saga, and nothing is sent."""
    store = MemoryStore()
    worker, saga_id = charged(store)
    before = len(store.load([saga_id])[saga_id])
    worker.finish(worker.call("charge"))
    cut(store, saga_id, before - 1)
    other = Process(store, DEFINITIONS, "w2")
    other.wake(saga_id)
    assert (other.calls, other.appends) == ([], [])
    assert reason_of(store, saga_id) is HaltReason.JOURNAL_DAMAGED


def test_a_claim_where_a_second_send_is_money_is_always_remembered() -> None:
    """The row knows of the claim before the request leaves; a claim that may be repeated moves no row."""
    store = MemoryStore()
    _, saga_id = charged(store)
    journal = store.load([saga_id])[saga_id]
    assert journal.reached is not None
    assert journal.reached.seq == len(journal)
    calm = begin(store, line, "SO-2")
    worker = Process(store, DEFINITIONS, "w2")
    worker.wake(calm)
    worker.settle()
    worker.finish(worker.call("a"))
    worker.settle()
    journal = store.load([calm])[calm]
    assert journal.reached is not None
    assert journal.reached.seq < len(journal)


def test_a_live_worker_that_is_ahead_drops_its_memory_and_goes_on() -> None:
    """At a barrier: the saga is read anew and ends; the answer that came meanwhile is kept as evidence."""
    store = MemoryStore()
    worker, saga_id = at_second_call(store)
    crash(store, saga_id, 1)
    worker.finish(worker.call("b"))
    worker.commit()
    assert worker.behind == [saga_id]
    worker.wake(saga_id)
    worker.finish_all()
    assert state_of(store, DEFINITIONS, saga_id).status is SagaStatus.COMPLETED
    assert "evidence_kept" in kinds(store, saga_id)


def test_a_cancel_after_the_fall_back_undoes_what_was_lost() -> None:
    """`a` and the claim of `b` are gone from the journal, and a cancel comes before they are sent again."""
    store = MemoryStore()
    worker, saga_id = at_second_call(store)
    crash(store, saga_id, 1)
    worker.finish(worker.call("b"))
    worker.commit()
    tell(store, DEFINITIONS, saga_id, CancelAsked(store.clock(), "anna", "called"), actor="api")
    plan = state_of(store, DEFINITIONS, saga_id).plan
    assert [entry.step for entry in plan or ()] == ["b", "a"]


def test_a_lost_step_of_no_return_is_not_rolled_back_over() -> None:
    """Its claim is gone from journal and row, and a cancel comes: too late, since it may have been done."""
    store = MemoryStore()
    worker, saga_id = at_the_ship(store)
    crash(store, saga_id, len(store.load([saga_id])[saga_id]) - 1)
    worker.finish(worker.call("d"))
    worker.commit()
    tell(store, DEFINITIONS, saga_id, CancelAsked(store.clock(), "anna", "called"), actor="api")
    worker.wake(saga_id)
    worker.finish_all()
    assert state_of(store, DEFINITIONS, saga_id).status is SagaStatus.COMPLETED


def test_a_worker_lets_no_saga_go_that_a_person_holds() -> None:
    """A backup was restored under it, and it was not stopped: it has no part in what the person answers for."""
    store = MemoryStore()
    worker, saga_id = at_second_call(store)
    crash(store, saga_id, 1)
    assert hold(store, DEFINITIONS, saga_id, actor="ops", reason="restored")
    worker.finish(worker.call("b"))
    worker.commit()
    assert worker.behind == [saga_id]
    assert state_of(store, DEFINITIONS, saga_id).is_held


def test_nothing_is_written_behind_the_end() -> None:
    """Another process has sent again what was lost, and the saga has completed."""
    store = MemoryStore()
    worker, saga_id = at_second_call(store)
    crash(store, saga_id, 1)
    other = Process(store, DEFINITIONS, "w2")
    other.wake(saga_id)
    other.finish_all()
    length = len(store.load([saga_id])[saga_id])
    worker.finish(worker.call("b"))
    worker.commit()
    assert worker.behind == [saga_id]
    assert (len(store.load([saga_id])[saga_id]), state_of(store, DEFINITIONS, saga_id).status) == (
        length,
        SagaStatus.COMPLETED,
    )


def test_a_live_worker_that_is_ahead_of_a_charge_halts_the_saga() -> None:
    """Row and journal lost it alike, and only this process knows that it was sent: it says so, and nobody sends again."""
    store = MemoryStore()
    worker, saga_id = charged(store)
    length = len(store.load([saga_id])[saga_id])
    crash(store, saga_id, length - 1)
    worker.finish(worker.call("charge"))
    worker.commit()
    assert worker.behind == [saga_id]
    assert reason_of(store, saga_id) is HaltReason.JOURNAL_DAMAGED
    worker.wake(saga_id)
    assert (worker.calls, worker.appends) == ([], [])


def test_a_live_worker_whose_whole_journal_is_gone_halts_the_saga() -> None:
    """Not even entry 1 is left."""
    store = MemoryStore()
    worker, saga_id = charged(store)
    crash(store, saga_id, 0)
    worker.finish(worker.call("charge"))
    worker.commit()
    assert reason_of(store, saga_id) is HaltReason.JOURNAL_DAMAGED


def test_one_damaged_journal_stops_no_other() -> None:
    """The scan goes on: its neighbour ends."""
    store = MemoryStore()
    damaged, good = begin(store, line, "SO-1"), begin(store, line, "SO-2")
    cut(store, damaged, 0)
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(damaged, good)
    worker.finish_all()
    assert reason_of(store, damaged) is HaltReason.JOURNAL_DAMAGED
    assert state_of(store, DEFINITIONS, good).status is SagaStatus.COMPLETED


def test_a_gap_and_a_broken_chain_are_damage_too() -> None:
    """A journal whose entries do not follow one another is not continued."""
    store = MemoryStore()
    ids = [begin(store, line, f"SO-{number}") for number in range(2)]
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(*ids)
    worker.settle()
    for call in list(worker.calls):
        worker.finish(call)
    worker.settle()
    journals = [store._sagas[it].journal for it in ids]
    del journals[0][1]
    journals[1][1], journals[1][2] = journals[1][2], journals[1][1]
    other = Process(store, DEFINITIONS, "w2")
    other.wake(*ids)
    assert [reason_of(store, it) for it in ids] == [HaltReason.JOURNAL_DAMAGED] * 2
    assert other.calls == []


@pytest.mark.parametrize("is_longer", [False, True])
def test_a_cancel_that_took_the_place_of_a_lost_claim_stops_the_saga(*, is_longer: bool) -> None:
    """As long as before or longer, and another story: the plan knows nothing of the send that was lost, so nobody goes on by
    himself."""
    store = MemoryStore()
    worker, saga_id = at_second_call(store)
    crash(store, saga_id, len(store.load([saga_id])[saga_id]) - 1)
    tell(store, DEFINITIONS, saga_id, CancelAsked(store.clock(), "anna", "no more"), actor="api")
    if is_longer:
        assert hold(store, DEFINITIONS, saga_id, actor="ops", reason="restored")
    worker.finish(worker.call("b"))
    worker.settle()
    assert (worker.calls, reason_of(store, saga_id)) == ([], HaltReason.JOURNAL_DAMAGED)
    assert let_go(store, DEFINITIONS, saga_id, actor="ops", reason="b was undone by hand")
    worker.wake(saga_id)
    worker.finish_all()
    assert state_of(store, DEFINITIONS, saga_id).status is SagaStatus.COMPENSATED


def test_whoever_read_a_journal_before_it_was_marked_goes_on_no_more() -> None:
    """A worker that read it after the loss holds it when another one says that a charge was sent: its next entry is refused."""
    store = MemoryStore()
    first, saga_id = charged(store)
    crash(store, saga_id, 1)
    second = Process(store, DEFINITIONS, "w2")
    second.wake(saga_id)
    second.settle()
    first.finish(first.call("charge"))
    first.commit()
    second.finish(second.call("look"))
    second.settle()
    assert (second.calls, reason_of(store, saga_id)) == ([], HaltReason.JOURNAL_DAMAGED)


def test_entries_that_were_put_back_are_answered_for() -> None:
    """The row still says that it was damaged, until somebody lets it go."""
    store = MemoryStore()
    worker, saga_id = charged(store)
    kept = list(store._sagas[saga_id].journal)
    cut(store, saga_id, len(kept) - 1)
    other = Process(store, DEFINITIONS, "w2")
    other.wake(saga_id)
    store._sagas[saga_id].journal[:] = kept
    assert let_go(store, DEFINITIONS, saga_id, actor="ops", reason="entries restored")
    assert reason_of(store, saga_id) is None
    worker.finish(worker.call("charge"))
    worker.settle()
    assert state_of(store, DEFINITIONS, saga_id).status is SagaStatus.COMPLETED


@pytest.mark.parametrize("code", [OutcomeCode.NOT_SENT, OutcomeCode.SUCCEEDED])
def test_a_claim_that_another_process_made_anew_is_not_mine(code: OutcomeCode) -> None:
    """A fail-over lost my claim, and another one claimed the same epoch: my outcome ends no attempt of his, and I claim nothing."""
    store = MemoryStore()
    saga_id = begin(store, at_once, "SO-1")
    mine = Process(store, DEFINITIONS, "w1")
    mine.wake(saga_id)
    mine.settle()
    call = mine.call("charge")
    crash(store, saga_id, 1)
    his = Process(store, DEFINITIONS, "w2")
    his.wake(saga_id)
    his.settle()
    his.call("charge")
    mine.finish(call, replace(DONE, code=code))
    mine.commit()
    mine.wake(saga_id)
    mine.settle()
    assert (mine.calls, reason_of(store, saga_id)) == ([], HaltReason.JOURNAL_DAMAGED)


@pytest.mark.parametrize("lost", [1, 2, 3, 4], ids=["the undo", "the plan", "an outcome", "the cancel"])
def test_a_rollback_that_a_worker_knows_of_is_not_gone_over(lost: int) -> None:
    """The customer was told that his order is cancelled, and nothing of that is left: it is rolled back all the same."""
    store = MemoryStore()
    worker, saga_id = rolling_back(store)
    [call] = worker.calls
    assert call.node == "b:c"
    crash(store, saga_id, len(store.load([saga_id])[saga_id]) - lost)
    worker.finish(call)
    worker.settle()
    worker.wake(saga_id)
    worker.finish_all()
    state = state_of(store, DEFINITIONS, saga_id)
    assert (state.status, state.cause and (state.cause.cause, state.cause.detail)) == (
        SagaStatus.COMPENSATED,
        ("cancelled", "no more"),
    )


@pytest.mark.parametrize("lost", [1, 2], ids=["the undo", "the no"])
def test_a_no_that_a_worker_knows_of_is_not_asked_for_again(lost: int) -> None:
    """The participant of `b` has said no and may say yes now: the saga has turned round, and an undo of it is on its way."""
    store = MemoryStore()
    worker, saga_id = at_second_call(store)
    worker.finish(worker.call("b"), Outcome(OutcomeCode.REJECTED, "no"))
    worker.settle()
    [call] = worker.calls
    assert call.node == "a:c"
    crash(store, saga_id, len(store.load([saga_id])[saga_id]) - lost)
    worker.finish(call)
    worker.settle()
    worker.wake(saga_id)
    worker.finish_all()
    state = state_of(store, DEFINITIONS, saga_id)
    assert (state.status, state.cause and state.cause.cause) == (SagaStatus.COMPENSATED, "rejected")


def test_what_was_never_sent_is_not_sent_to_be_undone() -> None:
    """The worker knows that the saga turned round before its charge: the card is not charged to be refunded."""
    store, charged = MemoryStore(), Connector("charged", keys="serialise", remembers_rejections=True)
    charges, refunds = charged.post("/c", Order, Charged), charged.post("/r", Charged, Charged)

    def take(order: Order) -> Call[Charged]:
        return charges(order)

    def give_back(it: Charged) -> Call[Charged]:
        return refunds(it)

    paid = replace(
        line, name="paid", steps=[*line.steps[:2], compensatable(take, compensation=give_back), line.steps[2]]
    )
    saga_id, definitions = begin(store, paid, "SO-1"), Definitions([paid])
    worker = Process(store, definitions, "w1")
    worker.wake(saga_id)
    for step in ("a",):
        worker.settle()
        worker.finish(worker.call(step))
    worker.settle()
    worker.finish(worker.call("b"), Outcome(OutcomeCode.REJECTED, "no"))
    worker.settle()
    [call] = worker.calls
    crash(store, saga_id, len(store.load([saga_id])[saga_id]) - 2)
    worker.finish(call)
    worker.settle()
    worker.late_s += 600.0  # its attempt of `b` is open again, as far as the journal knows
    worker.wake(saga_id)
    worker.settle()
    plan = state_of(store, definitions, saga_id).plan
    assert [entry.step for entry in plan or ()] == ["b", "a"]


def test_what_a_worker_was_told_of_the_ship_is_told_again() -> None:
    """Its journal had fallen behind before, so nobody knows whether it was shipped; it falls behind once more, and a cancel waits."""
    store = MemoryStore()
    worker, saga_id = at_the_ship(store)
    crash(store, saga_id, len(store.load([saga_id])[saga_id]) - 1)
    worker.finish(worker.call("d"))
    worker.settle()
    assert state_of(store, DEFINITIONS, saga_id).may_be_past_return
    worker.wake(saga_id)
    worker.settle()
    crash(store, saga_id, 3)
    worker.finish(worker.calls[0])
    worker.settle()
    assert state_of(store, DEFINITIONS, saga_id).may_be_past_return


def test_a_rollback_of_an_old_memory_does_not_go_over_what_another_was_told() -> None:
    """A worker that lost its place knows of a cancel; another has said since that the ship may have been sent."""
    store = MemoryStore()
    worker, saga_id = rolling_back(store)
    crash(store, saga_id, 1)
    hold(store, DEFINITIONS, saga_id, actor="ops", reason="restored")
    said = LetGo(store.clock(), "ops", may_be_past_return=True)
    let_go(store, DEFINITIONS, saga_id, actor="ops", reason="compared", books=said)
    worker.finish(worker.call("b:c"))
    worker.settle()
    assert reason_of(store, saga_id) is HaltReason.JOURNAL_DAMAGED


def test_a_cancel_that_waited_is_asked_anew() -> None:
    """It waits for the answer of the step of no return, which says no: the order is rolled back, as the customer was told."""
    store = MemoryStore()
    worker, saga_id = at_the_ship(store)
    tell(store, DEFINITIONS, saga_id, CancelAsked(store.clock(), "anna", "no more"), actor="api")
    worker.wake(saga_id)
    crash(store, saga_id, len(store.load([saga_id])[saga_id]) - 1)
    worker.finish(worker.call("d"), Outcome(OutcomeCode.THROTTLED, "HTTP 429"))
    worker.settle()
    state = state_of(store, DEFINITIONS, saga_id)
    assert state.cancel is not None
    assert (state.cancel.actor, state.cancel.reason) == ("anna", "no more")


def test_a_step_of_no_return_that_a_worker_has_as_done_was_done() -> None:
    """Its claim and outcome are gone, and a screen that is asked anew says no: it stands before a person, and is not rolled back."""
    store = MemoryStore()
    screened = replace(line, name="screened", steps=[*line.steps[:2], readonly(look), *line.steps[2:]])
    saga_id = begin(store, screened, "SO-1")
    definitions = Definitions([screened])
    worker = Process(store, definitions, "w1")
    worker.wake(saga_id)
    worker.settle()
    for step in ("a", "b", "look", "d"):
        worker.finish(worker.call(step))
        worker.settle()
    crash(store, saga_id, 3)
    worker.finish(worker.call("e"))
    worker.settle()
    worker.wake(saga_id)
    worker.settle()
    worker.finish(worker.call("b"))
    worker.settle()
    worker.finish(worker.call("look"), Outcome(OutcomeCode.REJECTED, "too many"))
    worker.settle()
    state = state_of(store, definitions, saga_id)
    assert (state.is_past_return, state.halt and state.halt.reason) == (True, HaltReason.RETRIABLE_REJECTED)


def test_a_rollback_that_was_gone_over_since_is_for_a_person() -> None:
    """Another process went forward to the step of no return on what was left of the journal."""
    store = MemoryStore()
    worker, saga_id = rolling_back(store)
    crash(store, saga_id, 1)
    other = Process(store, DEFINITIONS, "w2")
    other.wake(saga_id)
    for step in ("a", "b"):
        other.settle()
        other.finish(other.call(step))
    other.settle()
    assert [call.node for call in other.calls] == ["d:a"]
    worker.finish(worker.call("b:c"))
    worker.settle()
    assert reason_of(store, saga_id) is HaltReason.JOURNAL_DAMAGED


def test_a_lost_compensation_is_sent_again() -> None:
    """The plan names it and its key is the same, so a fail-over in a rollback waits for nobody."""
    store = MemoryStore()
    worker, saga_id = rolling_back(store)
    [call] = worker.calls
    assert call.node.endswith(":c")
    crash(store, saga_id, len(store.load([saga_id])[saga_id]) - 1)
    worker.finish(call)
    worker.commit()
    assert (worker.behind, reason_of(store, saga_id)) == ([saga_id], None)
    worker.wake(saga_id)
    worker.finish_all()
    assert state_of(store, DEFINITIONS, saga_id).status is SagaStatus.COMPENSATED
