"""What the due index is told of a saga that sleeps, and that two bodies of one process never write one entry together."""

from datetime import timedelta

from saga.core.outcomes import Outcome, OutcomeCode
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.loop import messages_for
from saga.runtime.task import TaskWorker
from saga.store.memory import MemoryStore
from saga.store.port import Wanted
from tests.simulation.sagas import SAGAS, begin, line
from tests.simulation.stepping import Process
from tests.simulation.world import VirtualClock

DEFINITIONS = Definitions(SAGAS)


def test_a_saga_that_waits_for_a_day_is_not_looked_at_every_minute() -> None:
    """10,000 of them would be 170 journals a second, for nothing."""
    clock = VirtualClock()
    store = MemoryStore(clock)
    saga_id = begin(store, line, "SO-1")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    until = clock.now() + timedelta(hours=24)
    worker.finish(worker.call("a"), Outcome(OutcomeCode.PENDING, "3-D Secure", until_at=until))
    worker.settle()
    row = store.row(saga_id)
    assert row is not None
    assert row.due_at == until
    clock.pass_s(3600)
    assert store.sweep_due(10, 5.0, Wanted(DEFINITIONS.versions)) == []


def test_steady_progress_leaves_the_due_instant_alone() -> None:
    """Moving an indexed column with every entry is what the coarse steps are there to save."""
    clock = VirtualClock()
    store = MemoryStore(clock)
    saga_id = begin(store, line, "SO-1")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    first = store.row(saga_id)
    clock.pass_s(0.1)
    worker.finish(worker.call("a"))
    worker.settle()
    second = store.row(saga_id)
    assert first is not None
    assert second is not None
    assert first.due_at == second.due_at


def test_no_two_bodies_of_a_process_have_one_instant() -> None:
    """Two appends that are equal to the letter are one to the store, and each body would make the call."""
    store = MemoryStore(VirtualClock())
    worker = TaskWorker(store, DEFINITIONS, Executor(str, store.clock), queues=frozenset(), publish=lambda _hints: None)
    instants = [worker._now() for _ in range(3)]
    assert len(set(instants)) == 3
    assert sorted(instants) == instants


def test_a_node_that_hangs_here_is_said_to_be_for_others() -> None:
    """Its earlier attempt still takes a thread of this process: nothing starts here, and the saga is to be handed back."""
    clock = VirtualClock()
    store = MemoryStore(clock)
    saga_id = begin(store, line, "SO-1")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    hung = worker.call("a")
    said: list[str] = []
    for _ in range(2):  # past the deadline, then past the backoff
        clock.pass_s(120)
        store.renew_lease("w1")
        work = worker.driver.step(clock.now(), messages=messages_for(store, DEFINITIONS, [saga_id]))
        worker.appends += work.appends
        said = work.not_here
        worker.settle()
    assert worker.calls == [hung]
    assert said == [saga_id]
    worker.finish(hung)
    worker.settle()
    assert [call.node for call in worker.calls] == ["b:a"], "it came back before anybody else tried: its success counts"


def test_the_instants_of_a_process_come_back_from_a_clock_that_was_wrong() -> None:
    """An hour ahead once, because a database answered so, must not be an hour ahead for an hour: what is due would wait for it."""
    clock = VirtualClock()
    store = MemoryStore(clock)
    worker = TaskWorker(store, DEFINITIONS, Executor(str, store.clock), queues=frozenset(), publish=lambda _hints: None)
    clock.pass_s(3600)
    worker._now()
    clock.pass_s(-3600)
    assert worker._now() == clock.now()
