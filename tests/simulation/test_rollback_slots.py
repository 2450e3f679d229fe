"""Who gets a slot that falls free: a rollback takes one that no action may have."""

from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.states import SagaStatus
from saga.runtime.engine import Definitions
from saga.store.memory import MemoryStore
from tests.simulation.sagas import SAGAS, begin, line
from tests.simulation.stepping import Process, state_of

DEFINITIONS = Definitions(SAGAS)
NO = Outcome(OutcomeCode.REJECTED, "no")


def turned(store: MemoryStore, order_id: str) -> str:
    """A saga whose second step was rejected, where nobody who runs compensations was at hand."""
    saga_id = begin(store, line, order_id)
    forward_only = Process(store, DEFINITIONS, f"forward-{order_id}", queues={"saga"})
    forward_only.wake(saga_id)
    forward_only.settle()
    forward_only.finish(forward_only.call("a"))
    forward_only.settle()
    forward_only.finish(forward_only.call("b"), NO)
    forward_only.settle()
    assert state_of(store, DEFINITIONS, saga_id).status is SagaStatus.COMPENSATING
    return saga_id


def test_a_rollback_that_waits_for_a_slot_does_not_wait_for_the_actions() -> None:
    """Of two slots one is for compensations alone: the second rollback begins when the first has ended, beside an action
    that holds the other slot as long as it likes."""
    store = MemoryStore()
    first, second = turned(store, "SO-1"), turned(store, "SO-2")
    slow = begin(store, line, "SO-slow")
    worker = Process(store, DEFINITIONS, "w", slots=2)
    worker.wake(slow)
    worker.settle()
    assert worker.call("a", slow).epoch == 1
    worker.wake(first)
    worker.wake(second)
    worker.settle()
    assert [it.node for it in worker.calls] == ["a:a", "a:c"]
    worker.finish(worker.call("a:c", first))
    worker.settle()
    assert worker.call("a:c", second).epoch == 1
