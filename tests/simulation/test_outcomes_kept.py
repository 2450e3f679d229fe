"""The outcome of a call that was made is written, or the log says what was not; a slot that was taken is given back."""

from collections.abc import Sequence

import pytest

from saga.core.events import Start
from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.states import HaltReason, NodePhase, SagaStatus
from saga.core.transitions import READER_VERSION, EvidenceKept
from saga.errors import SagaError
from saga.runtime.driver import Driver
from saga.runtime.engine import CONFLICT_LIMIT, Definitions
from saga.runtime.loop import messages_for
from saga.runtime.work import Limits
from saga.store.codec import encode
from saga.store.journal import JournalEntry
from saga.store.memory import MemoryStore
from saga.store.port import (
    Append,
    AppendResult,
)
from tests.simulation.sagas import SAGAS, begin, fork, line
from tests.simulation.stepping import DONE, Process, kinds, state_of

DEFINITIONS = Definitions(SAGAS)


def _in_call(store: MemoryStore, order_id: str = "SO-1") -> tuple[Process, str]:
    """A process with the call of `a` in hand."""
    saga_id = begin(store, line, order_id)
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    return worker, saga_id


def _stranger_appends(store: MemoryStore, saga_id: str, reader_version: int = 1) -> None:
    """Somebody else appends an entry that changes nothing."""
    entries = store.load([saga_id])[saga_id]
    body = encode([EvidenceKept(store.clock(), "b:a", 0, OutcomeCode.SUCCEEDED, "x")])
    last = entries[-1]
    entry = JournalEntry(
        last.seq + 1, store.clock(), "other", "engine", None, body, last.hash, min_reader_version=reader_version
    )
    assert store.append([Append(saga_id, entry)]) == [AppendResult.APPENDED]


def test_an_outcome_outlives_any_number_of_conflicts() -> None:
    """Each conflict means that somebody else got further; the outcome is decided again for as long as that goes on."""
    store = MemoryStore()
    worker, saga_id = _in_call(store)
    worker.finish(worker.call("a"))
    for _ in range(CONFLICT_LIMIT + 10):
        _stranger_appends(store, saga_id)
        assert worker.commit() == [AppendResult.CONFLICT]
    worker.settle()
    assert state_of(store, DEFINITIONS, saga_id).node("a:a").phase is NodePhase.DONE


class _Lying(MemoryStore):
    """A store that says conflict and has nothing new to show."""

    lies = False

    def append(self, group: Sequence[Append]) -> list[AppendResult]:
        return [AppendResult.CONFLICT for _ in group] if self.lies else super().append(group)


def test_an_outcome_waits_for_a_look_where_a_store_only_says_no() -> None:
    """What is in memory is dropped and the outcome kept; the next look writes it, and the call is not made again."""
    store = _Lying()
    worker, saga_id = _in_call(store)
    store.lies = True
    worker.finish(worker.call("a"))
    worker.commit()
    assert (worker.appends, worker.behind) == ([], [saga_id])
    store.lies = False
    worker.wake(saga_id)
    worker.settle()
    node = state_of(store, DEFINITIONS, saga_id).node("a:a")
    assert (node.phase, node.epoch) == (NodePhase.DONE, 1)


def test_an_outcome_that_nobody_here_may_write_is_named() -> None:
    """A newer release took the journal over: the log has the node, the attempt and the code, and the saga is let go."""
    store = MemoryStore()
    worker, saga_id = _in_call(store)
    _stranger_appends(store, saga_id, reader_version=READER_VERSION + 1)
    worker.finish(worker.call("a"))
    worker.settle()
    assert [it for it in worker.troubles if "newer release" in it and "not written: a:a attempt 1 succeeded" in it]
    assert worker.driver.free_count == Process(store, DEFINITIONS, "w2").driver.free_count


def test_a_claim_is_given_back_when_the_decision_breaks_behind_it() -> None:
    """`a` was claimed, then something raised at `b`: nothing was written, so the slots are free for another saga."""
    store = MemoryStore()
    bad, good = begin(store, fork, "SO-bad"), begin(store, line, "SO-good")

    def runs(saga: str, start: Start) -> bool:
        if saga == "fork" and start.node == "b:a":
            raise SagaError("who runs b?")
        return True

    driver = Driver("w1", limits=Limits(slots=1, threads=1), runs=runs)
    work = driver.step(store.clock(), messages=messages_for(store, DEFINITIONS, [bad]))
    assert (work.appends, len(work.troubles)) == ([], 1)
    work = driver.step(store.clock(), messages=messages_for(store, DEFINITIONS, [good]))
    assert [it.saga_id for it in work.appends] == [good]


def test_a_saga_that_breaks_while_it_waits_for_a_slot_leaves_the_others_alone() -> None:
    """It had its turn when a slot came free: told, forgotten, and the one behind it gets the slot."""
    store = MemoryStore()
    ids = [begin(store, line, f"SO-{number}") for number in range(3)]
    is_broken = False

    def runs(_saga: str, _start: Start) -> bool:
        if is_broken:
            raise SagaError("who runs this?")
        return True

    worker = Process(store, DEFINITIONS, "w1")
    worker.driver = Driver("w1", limits=Limits(slots=1, threads=1), runs=runs)
    worker.wake(*ids)
    worker.settle()
    is_broken = True
    worker.finish(worker.calls[0], Outcome(OutcomeCode.REJECTED, "no"))
    assert [it.split(":")[0] for it in worker.troubles] == [ids[1]]
    is_broken = False
    worker.finish_all()
    assert state_of(store, DEFINITIONS, ids[2]).status is SagaStatus.COMPLETED, "the one behind it got the slot"
    worker.wake(ids[1])
    worker.finish_all()
    ends = [state_of(store, DEFINITIONS, it).status for it in ids]
    assert ends == [SagaStatus.COMPENSATED, SagaStatus.COMPLETED, SagaStatus.COMPLETED]


class _RefusingStarts(MemoryStore):
    """A store that refuses the data of every first attempt of `b`, unless it is stale anyway."""

    def append(self, group: Sequence[Append]) -> list[AppendResult]:
        is_bad = any('"t":"attempt_started"' in it.entry.body and '"node":"b:a"' in it.entry.body for it in group)
        is_next = all(it.entry.seq == len(self.load([it.saga_id])[it.saga_id]) + 1 for it in group)
        return [AppendResult.REFUSED for _ in group] if is_bad and is_next else super().append(group)


@pytest.mark.parametrize("refused_before", [0, 1, 2])
def test_a_refused_claim_does_not_taint_an_outcome_that_came_meanwhile(refused_before: int) -> None:
    """The claim of `b` is refused, then in conflict, while the answer of `a` arrives: `a` keeps its result, `b` halts."""
    store = _RefusingStarts()
    saga_id = begin(store, fork, "SO-1")
    queues = {"left"}
    worker = Process(store, DEFINITIONS, "w1", queues=queues)
    worker.wake(saga_id)
    worker.settle()
    call = worker.call("a")
    queues.add("right")
    worker.wake(saga_id)
    refusals = [worker.commit() for _ in range(refused_before)]
    assert refusals == [[AppendResult.REFUSED]] * refused_before
    waiting = list(worker.appends)
    worker.finish(call, DONE)
    assert worker.appends == waiting, "the outcome waits for the append in flight"
    _stranger_appends(store, saga_id)
    assert worker.commit() == [AppendResult.CONFLICT]
    worker.settle()
    state = state_of(store, DEFINITIONS, saga_id)
    assert (state.node("a:a").phase, state.node("a:a").code) == (NodePhase.DONE, OutcomeCode.SUCCEEDED)
    assert state.halt is not None
    assert (state.halt.reason, state.halt.node) == (HaltReason.DEFECT, "b:a")
    assert kinds(store, saga_id).count("step_broke") == 1
