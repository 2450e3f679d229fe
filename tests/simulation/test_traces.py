"""The traces that a reviewer would try, dealt by hand to the production driver on every store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from saga.core.events import CancelAsked
from saga.core.outcomes import Outcome, OutcomeCode, Payload
from saga.core.states import Effect, EntryState, HaltReason, NodePhase, SagaStatus
from saga.core.transitions import READER_VERSION, EvidenceKept
from saga.runtime.engine import Definitions, tell
from saga.store.codec import encode
from saga.store.journal import JournalEntry
from saga.store.memory import MemoryStore
from saga.store.opening import open_store
from saga.store.port import (
    Append,
    AppendResult,
    Store,
)
from saga.store.schema import upgrade
from tests.simulation.sagas import SAGAS, begin, fork, line
from tests.simulation.stepping import DONE, Process, kinds, state_of
from tests.simulation.world import Participant

DEFINITIONS = Definitions(SAGAS)
REJECTED = Outcome(OutcomeCode.REJECTED, "no")
UNKNOWN = Outcome(OutcomeCode.UNKNOWN, "no answer")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    url = (
        f"sqlite:///{tmp_path}/trace.db" if request.param == "sqlite" else request.getfixturevalue("empty_postgres_url")
    )
    upgrade(url)
    opened = open_store(url)
    yield opened
    opened.close()


def test_outcome_survives_a_cancel_that_took_its_number(store: Store) -> None:
    """A cancel is appended between a call and its outcome: the outcome is decided again, kept, and then rolled back."""
    saga_id = begin(store, line, "SO-cancel")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    call = worker.call("a")
    tell(store, DEFINITIONS, saga_id, CancelAsked(store.clock(), "clerk", "customer called"), actor="clerk")
    worker.finish(call)
    assert worker.commit() == [AppendResult.CONFLICT]
    worker.finish_all()
    state = state_of(store, DEFINITIONS, saga_id)
    assert state.status is SagaStatus.COMPENSATED
    assert state.node("a:a").effect is Effect.APPLIED
    assert [(entry.step, entry.state) for entry in state.plan or ()] == [("a", EntryState.COMPENSATED)]
    assert state.cause is not None
    assert state.cause.cause == "cancelled"


def test_outcome_survives_a_sibling_that_took_its_number(store: Store) -> None:
    """The sibling branch's outcome is appended first by another process: ours is decided again and not dropped."""
    saga_id = begin(store, fork, "SO-sibling")
    left, right = (
        Process(store, DEFINITIONS, "wl", queues={"left"}),
        Process(store, DEFINITIONS, "wr", queues={"right"}),
    )
    left.wake(saga_id)
    left.settle()
    right.wake(saga_id)
    right.settle()
    left.finish(left.call("a"))
    right.finish(right.call("b"))
    assert right.commit() == [AppendResult.APPENDED]
    assert left.commit() == [AppendResult.CONFLICT]
    left.settle()
    state = state_of(store, DEFINITIONS, saga_id)
    assert state.node("a:a").phase is NodePhase.DONE
    assert state.node("b:a").phase is NodePhase.DONE


@pytest.mark.parametrize("first", ["left", "right"])
def test_join_is_not_lost(store: Store, first: str) -> None:
    """Two branches finish at the same moment in two workers: whoever is second sees both and starts the join's step,
    or hints at who can."""
    saga_id = begin(store, fork, f"SO-join-{first}")
    both = {name: Process(store, DEFINITIONS, f"w-{name}", queues={name}) for name in ("left", "right")}
    for process in both.values():
        process.wake(saga_id)
        process.settle()
    both["left"].finish(both["left"].call("a"))
    both["right"].finish(both["right"].call("b"))
    second = {"left": "right", "right": "left"}[first]
    both[first].settle()
    both[second].settle()
    if both["left"].calls:
        assert both["left"].call("c").epoch == 1
    else:
        assert [hint.task for hint in both["right"].hints if hint.saga_id == saga_id][-1] == "fork.c"
        both["left"].wake(saga_id)
    both["left"].finish_all()
    assert state_of(store, DEFINITIONS, saga_id).status is SagaStatus.COMPLETED


def test_zombie_at_an_old_epoch_is_fenced(store: Store) -> None:
    """A process that was declared dead comes back with an answer: no state changes, and the answer is kept as evidence."""
    saga_id = begin(store, line, "SO-zombie")
    zombie = Process(store, DEFINITIONS, "zombie")
    zombie.wake(saga_id)
    zombie.settle()
    late = zombie.call("a")
    assert store.close_worker("zombie") >= 1
    heir = Process(store, DEFINITIONS, "heir")
    heir.wake(saga_id)
    heir.settle()
    assert heir.call("a").epoch == late.epoch + 1
    assert heir.call("a").request == late.request
    assert heir.call("a").wire_key == late.wire_key
    zombie.finish(late, REJECTED)
    zombie.settle()
    state = state_of(store, DEFINITIONS, saga_id)
    assert state.status is SagaStatus.RUNNING
    assert state.node("a:a").owner == "heir"
    assert state.node("a:a").phase is NodePhase.OPEN
    assert kinds(store, saga_id)[-1] == "evidence_kept"
    assert not zombie.calls
    heir.finish_all()
    assert state_of(store, DEFINITIONS, saga_id).status is SagaStatus.COMPLETED


def test_delayed_first_attempt_after_a_later_rejection(store: Store) -> None:
    """Attempt 1 is lost on the way, attempt 2 is rejected, attempt 1 may still arrive: the effect stays unknown, and the
    plan compensates the step, which leaves a tombstone for the late copy."""
    saga_id = begin(store, line, "SO-late")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    worker.finish(worker.call("a"))
    worker.settle()
    worker.finish(worker.call("b"), UNKNOWN)
    worker.settle()
    worker.late_s = 5.0
    worker.wake(saga_id)
    worker.settle()
    worker.finish(worker.call("b"), REJECTED)
    worker.settle()
    state = state_of(store, DEFINITIONS, saga_id)
    assert state.node("b:a").effect is Effect.UNKNOWN
    assert [(entry.step, entry.mode) for entry in state.plan or ()] == [("b", "compensate"), ("a", "compensate")]
    worker.finish_all()
    assert state_of(store, DEFINITIONS, saga_id).status is SagaStatus.COMPENSATED


def test_restored_to_before_its_cancel_it_hears_that_it_was_undone(store: Store) -> None:
    """A and B were done, cancelled and undone; then the journal is the one from before. The participant holds nothing any
    more, so A is not answered from what it kept: the saga rolls back, and the pivot is never asked."""
    bank = Participant(rejects=set())
    saga_id = begin(store, line, "SO-restored")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    for step in ("a", "b"):
        worker.settle()
        call = worker.call(step)
        worker.finish(call, bank.handle(call))
    tell(store, DEFINITIONS, saga_id, CancelAsked(store.clock(), "a", "customer called"), actor="test")
    worker.wake(saga_id)
    answer_all(worker, bank)
    assert state_of(store, DEFINITIONS, saga_id).status is SagaStatus.COMPENSATED
    undone = list(bank.ledger)
    assert [what for what, _, _ in undone] == ["applied", "applied", "undone", "undone"]

    restored = MemoryStore()
    again = begin(restored, line, "SO-restored")
    worker = Process(restored, DEFINITIONS, "w1")
    worker.wake(again)
    answer_all(worker, bank)
    state = state_of(restored, DEFINITIONS, again)
    assert (state.status, state.cause and state.cause.detail) == (SagaStatus.COMPENSATED, "tombstoned")
    assert bank.ledger == undone


def answer_all(worker: Process, bank: Participant) -> None:
    worker.settle()
    while worker.calls:
        call = worker.calls[0]
        worker.finish(call, bank.handle(call))
        worker.settle()


def test_one_nul_in_a_group_of_64(store: Store) -> None:
    """One answer of 64 holds a NUL: 63 go on, exactly one saga halts, with its effect known to be unknown."""
    ids = [begin(store, line, f"SO-nul-{number}") for number in range(64)]
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(*ids)
    worker.settle()
    assert len(worker.calls) == 64
    bad = worker.calls[7].state.saga_id
    for call in list(worker.calls):
        poisoned = Outcome(OutcomeCode.SUCCEEDED, result=Payload('{"ref":"\x00"}'))
        worker.finish(call, poisoned if call.state.saga_id == bad else DONE)
    worker.finish_all()
    states = [state_of(store, DEFINITIONS, saga_id) for saga_id in ids]
    assert [it.saga_id for it in states if it.status is not SagaStatus.COMPLETED] == [bad]
    halted = state_of(store, DEFINITIONS, bad)
    assert halted.halt is not None
    assert halted.halt.reason is HaltReason.DEFECT
    assert halted.node("a:a").effect is Effect.UNKNOWN


def test_worker_lost_before_its_claim_is_durable_sends_nothing(store: Store) -> None:
    """A claim that was not committed hands out no call, and the saga is as it was."""
    saga_id = begin(store, line, "SO-claim")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    assert worker.appends
    assert not worker.calls
    heir = Process(store, DEFINITIONS, "w2")
    heir.wake(saga_id)
    heir.settle()
    assert heir.call("a").epoch == 1
    assert worker.commit() == [AppendResult.CONFLICT]
    worker.settle()
    assert not worker.calls


def test_commit_of_unknown_outcome_is_looked_up_by_appending_again(store: Store) -> None:
    """The connection broke after COMMIT: the very same append again answers APPENDED and writes nothing twice."""
    saga_id = begin(store, line, "SO-commit")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    assert store.append(worker.appends) == [AppendResult.APPENDED]
    assert worker.commit() == [AppendResult.APPENDED]
    assert kinds(store, saga_id) == ["saga_accepted", "attempt_started"]
    assert worker.call("a").epoch == 1


def test_no_action_starts_after_the_saga_turned_round(store: Store) -> None:
    """A is in backoff when B is rejected: A is closed as it stands and never sent again (RELIABILITY 32)."""
    saga_id = begin(store, fork, "SO-backoff")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    worker.finish(worker.call("a"), UNKNOWN)
    worker.settle()
    worker.finish(worker.call("b"), REJECTED)
    worker.settle()
    worker.late_s = 60.0
    worker.wake(saga_id)
    worker.settle()
    assert [call.node for call in worker.calls] == ["a:c"]
    state = state_of(store, DEFINITIONS, saga_id)
    assert state.node("a:a").epoch == 1
    assert state.node("a:a").phase is NodePhase.CLOSED


def test_a_refused_answer_leaves_its_siblings_success_alone(store: Store) -> None:
    """A's success and B's answer with a NUL are decided together after a conflict: only B becomes a defect."""
    saga_id = begin(store, fork, "SO-nul-sibling")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    tell(store, DEFINITIONS, saga_id, CancelAsked(store.clock(), "clerk", "customer called"), actor="clerk")
    worker.finish(worker.call("a"))
    worker.finish(worker.call("b"), Outcome(OutcomeCode.SUCCEEDED, result=Payload('{"ref":"\x00"}')))
    worker.finish_all()
    state = state_of(store, DEFINITIONS, saga_id)
    assert (state.node("a:a").effect, state.node("a:a").phase) == (Effect.APPLIED, NodePhase.DONE)
    assert state.node("b:a").code is OutcomeCode.DEFECT
    plan = {entry.step: entry.state for entry in state.plan or ()}
    assert plan == {"a": EntryState.COMPENSATED, "b": EntryState.NULL}
    assert state.status is SagaStatus.COMPENSATED


def test_a_late_success_of_the_same_epoch_counts(store: Store) -> None:
    """The attempt was ended as unknown by its deadline, nobody attempted it since, and then its answer comes."""
    saga_id = begin(store, line, "SO-late-success")
    worker, other = Process(store, DEFINITIONS, "w1"), Process(store, DEFINITIONS, "w2")
    worker.wake(saga_id)
    worker.settle()
    call = worker.call("a")
    other.late_s = (call.deadline_at - store.clock()).total_seconds() + 3.0
    other.wake(saga_id)
    assert other.commit() == [AppendResult.APPENDED]
    state = state_of(store, DEFINITIONS, saga_id)
    assert (state.node("a:a").phase, state.node("a:a").effect) == (NodePhase.BACKOFF, Effect.UNKNOWN)
    worker.finish(call)
    worker.finish_all()
    state = state_of(store, DEFINITIONS, saga_id)
    assert state.node("a:a").epoch == 1
    assert state.status is SagaStatus.COMPLETED


def test_an_older_release_leaves_a_newer_journal_alone(store: Store) -> None:
    """A newer release appends while our call is out: its entry says that we must not read on, so nothing is appended."""
    saga_id = begin(store, line, "SO-newer")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    entries = store.load([saga_id])[saga_id]
    body = encode([EvidenceKept(store.clock(), "a:a", 0, OutcomeCode.SUCCEEDED, "newer")])
    newer = JournalEntry(
        3, store.clock(), "newer", "engine", None, body, entries[-1].hash, min_reader_version=READER_VERSION + 1
    )
    assert store.append([Append(saga_id, newer)]) == [AppendResult.APPENDED]
    worker.finish(worker.call("a"))
    worker.settle()
    assert [entry.writer for entry in store.load([saga_id])[saga_id]][2:] == ["newer"]
    assert any("newer release" in trouble for trouble in worker.troubles)


def test_a_claim_under_a_lease_that_was_lost_sends_nothing() -> None:
    """Between the decision to claim and its commit others closed the lease. The claim is durable under an id that anybody may
    take over from, so no call leaves: it ends as not sent, and the next attempt has the new id."""
    store = MemoryStore()
    saga_id = begin(store, line, "SO-1")
    worker = Process(store, DEFINITIONS, "old")
    worker.wake(saga_id)
    worker.rename("new")
    worker.settle()
    assert worker.calls == []
    node = state_of(store, DEFINITIONS, saga_id).node("a:a")
    assert (node.owner, node.code, node.tries, node.suspect_count) == ("old", OutcomeCode.NOT_SENT, 0, 0)
