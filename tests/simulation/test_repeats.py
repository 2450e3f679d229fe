"""A lost answer whose compensation is no undo by key, through the production driver and the codec: asked again, undone."""

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


class Warehouse:
    """What a function does its work in: a key holds one piece, once, whatever is asked under it and when."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.held_count = 0

    def hold(self, key: str) -> None:
        self.held_count += key not in self.keys
        self.keys.add(key)

    def free(self) -> None:
        self.held_count -= self.held_count > 0


def hold_piece(order: Order) -> None:
    """Own work; `Warehouse` stands for it."""


def free_piece(order: Order) -> None:
    """Asks for no result: there is none."""


by_order = Saga(
    "by_order", version=1, input=Order, entity=lambda order: order.order_id,
    steps=[compensatable(hold_piece, compensation=free_piece, keys="serialise"), pivot(pay)],
)  # fmt: skip
DEFINITIONS = Definitions([by_result, by_order])
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


def test_a_function_that_was_paused_holds_nothing_when_its_order_was_cancelled() -> None:
    """Its process was taken for dead before it did anything, and wakes up when the order is compensated. Undone blind, nothing
    would be freed, and then the piece would be held for good."""
    store, warehouse = MemoryStore(), Warehouse()
    saga_id = begin(store, by_order, "SO-1")
    paused, other = Process(store, DEFINITIONS, "w1"), Process(store, DEFINITIONS, "w2")
    paused.wake(saga_id)
    paused.settle()
    asleep = paused.call("hold_piece")
    store.close_worker("w1")
    tell(store, DEFINITIONS, saga_id, CancelAsked(store.clock(), "clerk", "customer called"), actor="clerk")
    other.wake(saga_id)
    other.settle()
    again = other.call("hold_piece")
    warehouse.hold(again.wire_key)
    other.finish(again, Outcome(OutcomeCode.SUCCEEDED))
    other.settle()
    warehouse.free()
    other.finish(other.call("hold_piece:c"), Outcome(OutcomeCode.SUCCEEDED))
    other.settle()
    warehouse.hold(asleep.wire_key)
    paused.finish(asleep, Outcome(OutcomeCode.SUCCEEDED))
    paused.settle()
    state = state_of(store, DEFINITIONS, saga_id)
    assert (state.status, [it.mode for it in state.plan or ()]) == (SagaStatus.COMPENSATED, ["repeat"])
    assert warehouse.held_count == 0
