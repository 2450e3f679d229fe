"""A saga that is looked at too early is looked at again when its journal says, and not later with every look."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from saga.core.definition import Saga, readonly
from saga.core.machine import due_at
from saga.core.outcomes import Outcome, OutcomeCode
from saga.errors import Throttled
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.foreign import Foreign
from saga.runtime.starting import answer, new_saga
from saga.runtime.task import TaskWorker
from saga.runtime.worker import Worker
from saga.store.memory import MemoryStore
from saga.store.port import Wanted
from tests.simulation.sagas import SAGAS, Order, begin, line
from tests.simulation.stepping import Process, state_of
from tests.simulation.world import VirtualClock
from tests.waiting import wait_until

DEFINITIONS = Definitions(SAGAS)
PUSH_S = 5.0


def throttled(_order: Order) -> None:
    raise Throttled(55.0)


SLOW = Saga("slow", version=1, input=Order, entity=lambda it: it.order_id, steps=[readonly(throttled, timeout_s=0.1)])


def _process_worker(store: MemoryStore) -> Worker:
    return Worker(store, Definitions([SLOW]), Executor(str, store.clock))


def _task_worker(store: MemoryStore) -> TaskWorker:
    return TaskWorker(
        store,
        Definitions([SLOW]),
        Executor(str, store.clock),
        queues=frozenset({"saga"}),
        publish=lambda _hints: None,
        broker_is_away=lambda: True,
    )


def test_one_look_in_vain_is_all() -> None:
    """The row fires early because steady progress leaves it alone; then it says what the fold says, and no look is in vain.
    It was pushed further each time: looks at 8, 13, 23, 43 and 83 s, for a deadline at 47."""
    clock = VirtualClock()
    store = MemoryStore(clock)
    saga_id = begin(store, line, "SO-1")
    worker, foreign = Process(store, DEFINITIONS, "w"), Foreign(store)
    worker.wake(saga_id)
    worker.settle()
    worker.finish(worker.call("a"), Outcome(OutcomeCode.THROTTLED, retry_after_s=55.0))
    worker.settle()
    row = store.row(saga_id)
    assert row is not None
    assert row.due_at is not None
    until = due_at(line, state_of(store, DEFINITIONS, saga_id), clock.now())
    assert until is not None
    looks = []
    for _ in range(200):
        clock.pass_s(0.5)
        due = store.sweep_due(10, PUSH_S, Wanted(DEFINITIONS.versions))
        if due:
            looks.append(clock.now())
            foreign.took(due)
            worker.rests.clear()
            worker.wake(saga_id)
            foreign.rests(worker.rests)
        foreign.hand_back()
        if worker.appends:
            break
    assert len(looks) <= 2
    assert looks[-1] - until <= timedelta(seconds=1)


def test_what_somebody_wrote_since_stays() -> None:
    """A cancel made it due at once while the look was under way; the look's answer is out of date."""
    clock = VirtualClock()
    store = MemoryStore(clock)
    saga_id = begin(store, line, "SO-1")
    clock.pass_s(3)
    foreign = Foreign(store)
    [due] = store.sweep_due(10, PUSH_S, Wanted(DEFINITIONS.versions))
    foreign.took([due])
    foreign.rests([(saga_id, clock.now() + timedelta(hours=1))])
    store.hand_back([saga_id])
    foreign.hand_back()
    row = store.row(saga_id)
    assert row is not None
    assert row.due_at == clock.now()


def test_a_look_that_nobody_took_says_nothing() -> None:
    """A hint made the process look; the due index is not its affair."""
    store = MemoryStore()
    saga_id = begin(store, line, "SO-1")
    before = store.row(saga_id)
    foreign = Foreign(store)
    foreign.rests([(saga_id, store.now() + timedelta(hours=1))])
    foreign.hand_back()
    assert store.row(saga_id) == before


def test_a_saga_that_somebody_has_open_is_looked_at_again_soon() -> None:
    """Its holder believes what the row said before and leaves it so for his next, shorter step; a look in vain must not hide that
    until the deadline of the step that is open now."""
    clock = VirtualClock()
    store = MemoryStore(clock)
    saga_id = begin(store, line, "SO-1")
    worker, looker = Process(store, DEFINITIONS, "w"), Process(store, DEFINITIONS, "l")
    worker.wake(saga_id)
    worker.settle()
    looker.wake(saga_id)
    [(_, due)] = looker.rests
    assert due - clock.now() == timedelta(seconds=5)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("make", [_process_worker, _task_worker])
def test_a_worker_corrects_the_row_of_what_it_looked_at_too_early(
    make: Callable[[MemoryStore], Worker | TaskWorker],
) -> None:
    """The step is throttled for a minute; the row says the deadline of its attempt until somebody looked."""
    store = MemoryStore()
    new = new_saga(SLOW, Order(order_id="SO-1"), store, environment="test", tenant="test")
    saga_id = answer(new, store.accept([new])[0]).saga_id
    worker = make(store)
    worker.start()

    def due_in_s() -> float:
        row = store.row(saga_id)
        assert row is not None
        return (row.due_at - store.now()).total_seconds() if row.due_at else 0.0

    try:
        wait_until(lambda: due_in_s() > 25, 40)
    finally:
        worker.stop(5)
