"""A lost answer whose undo needs the result, through the production driver and the codec: asked again, undone, compensated."""

from saga.core.connector import Call
from saga.core.definition import Saga, compensatable, pivot
from saga.core.events import CancelAsked
from saga.core.outcomes import Outcome, OutcomeCode, Payload
from saga.core.states import EntryState, SagaStatus
from saga.runtime.engine import Definitions, tell
from saga.store.codec import decode
from saga.store.memory import MemoryStore
from saga.surfaces.rollbacks import plan_faults
from tests.simulation.sagas import A, Asked, B, Order, barrier, begin, do_a, do_b
from tests.simulation.stepping import Process, state_of

give_back = barrier.post("/a/give-back", A, B)


def hold(order: Order) -> Call[A]:
    return do_a(Asked(order_id=order.order_id, step="hold"))


def free(held: A) -> Call[B]:
    return give_back(held)


def pay(order: Order) -> Call[B]:
    return do_b(Asked(order_id=order.order_id, step="pay"))


by_result = Saga(
    "by_result", version=1, input=Order, entity=lambda order: order.order_id,
    steps=[compensatable(hold, compensation=free), pivot(pay)],
)  # fmt: skip
DEFINITIONS = Definitions([by_result])
LOST = Outcome(OutcomeCode.UNKNOWN, "read time-out")
HELD = Outcome(OutcomeCode.SUCCEEDED, result=Payload('{"ref":"hold-1"}'), effects=())


def lost_and_cancelled(store: MemoryStore) -> tuple[Process, str]:
    """The answer of the hold is lost, then the order is cancelled."""
    saga_id = begin(store, by_result, "SO-1")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    worker.finish(worker.call("hold"), LOST)
    worker.settle()
    tell(store, DEFINITIONS, saga_id, CancelAsked(store.clock(), "clerk", "customer called"), actor="clerk")
    worker.wake(saga_id)
    worker.settle()
    return worker, saga_id


def test_the_hold_is_asked_for_again_and_given_back_with_its_result() -> None:
    """The same bytes under the same key; the give-back names what the answer named; the audit finds the plan followed."""
    store = MemoryStore()
    worker, saga_id = lost_and_cancelled(store)
    again = worker.call("hold")
    first = state_of(store, DEFINITIONS, saga_id).node("hold:a")
    assert (again.epoch, again.wire_key, again.request) == (2, first.wire_key, first.request)
    worker.finish(again, HELD)
    worker.settle()
    undo = worker.call("hold:c")
    assert undo.request is not None
    assert undo.request.body.data == '{"ref":"hold-1"}'
    worker.finish(undo)
    worker.settle()
    state = state_of(store, DEFINITIONS, saga_id)
    assert (state.status, [it.mode for it in state.plan or ()]) == (SagaStatus.COMPENSATED, ["repeat"])
    journal = [it for entry in store.load([saga_id])[saga_id] for it in decode(entry.body)]
    assert list(plan_faults(by_result, journal)) == []


def test_another_process_goes_on_with_the_repeat() -> None:
    """The one that began it is gone: the journal alone says what is to be done, and a "no" ends it without an undo."""
    store = MemoryStore()
    _, saga_id = lost_and_cancelled(store)
    store.close_worker("w1")
    other = Process(store, DEFINITIONS, "w2")
    other.wake(saga_id)
    other.settle()
    assert other.call("hold").epoch == 3
    other.finish(other.call("hold"), Outcome(OutcomeCode.REJECTED, "no"))
    other.settle()
    state = state_of(store, DEFINITIONS, saga_id)
    assert (state.status, [it.state for it in state.plan or ()]) == (SagaStatus.COMPENSATED, [EntryState.NULL])
    assert other.calls == []
