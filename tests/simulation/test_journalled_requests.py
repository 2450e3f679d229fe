"""What is sent stands in the journal before it is sent, and stays the same; what comes too late is not sent at all."""

import json
from datetime import timedelta
from itertools import count

from pydantic import BaseModel

from saga.core.connector import Call as Asked
from saga.core.definition import Saga, readonly
from saga.core.outcomes import Outcome, OutcomeCode, Payload, Request
from saga.core.states import HaltReason
from saga.core.transitions import AttemptStarted
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.store.codec import decode
from saga.store.memory import MemoryStore
from tests.simulation.sagas import SAGAS, E, Order, ask_f, begin, line
from tests.simulation.sagas import Asked as Question
from tests.simulation.stepping import Process, state_of

DEFINITIONS = Definitions(SAGAS)


def test_the_request_stands_in_the_journal_with_its_claim() -> None:
    """Method, path, body and key are durable when the call is handed out, and are what is handed out."""
    store = MemoryStore()
    saga_id = begin(store, line, "SO-1")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    call = worker.call("a")
    [started] = decode(store.load([saga_id])[saga_id][-1].body)
    assert isinstance(started, AttemptStarted)
    assert started.request == call.request == Request("POST", "/a", Payload('{"order_id":"SO-1","step":"a"}'))
    assert started.wire_key == call.wire_key != ""


def test_an_undo_names_the_key_of_its_action() -> None:
    """It has a key of its own, and in its body the one that the action was sent under."""
    store = MemoryStore()
    saga_id = begin(store, line, "SO-1")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    key = worker.call("a").wire_key
    worker.finish(worker.call("a"))
    worker.settle()
    worker.finish(worker.call("b"), Outcome(OutcomeCode.REJECTED, "no"))
    worker.settle()
    undo = worker.call("a:c")
    assert undo.request is not None
    assert (undo.request.path, json.loads(undo.request.body.data)) == ("/a/undo", {"undoes": key})
    assert undo.wire_key != key


def test_a_step_that_is_not_pure_is_a_defect_before_anything_is_sent() -> None:
    """Run twice on the same facts it asks for two things: no attempt is made, and a person is told why."""
    numbers = count(1)

    def impure(order: Order) -> Asked[E]:
        return ask_f(Question(order_id=order.order_id, step=str(next(numbers))))

    saga = Saga("impure", version=1, input=Order, entity=lambda order: order.order_id, steps=[readonly(impure)])
    store, definitions = MemoryStore(), Definitions([saga])
    saga_id = begin(store, saga, "SO-1")
    worker = Process(store, definitions, "w1")
    worker.wake(saga_id)
    worker.settle()
    halt = state_of(store, definitions, saga_id).halt
    assert halt is not None
    assert (halt.reason, "pure function" in halt.detail, worker.calls) == (HaltReason.DEFECT, True, [])


class Done(BaseModel):
    ok: bool = True


def test_a_call_that_waited_too_long_for_its_thread_is_not_sent() -> None:
    """Its deadline would pass while it runs, and then somebody else may have taken it over."""
    ran: list[str] = []

    def work(order: Order) -> Done:
        ran.append(order.order_id)
        return Done()

    saga = Saga("late", version=1, input=Order, entity=lambda order: order.order_id, steps=[readonly(work)])
    store, definitions = MemoryStore(), Definitions([saga])
    worker = Process(store, definitions, "w1")
    worker.wake(begin(store, saga, "SO-1"))
    worker.settle()
    call = worker.call("work")
    late = Executor(str, lambda: call.deadline_at - timedelta(seconds=1))
    assert (late.perform(call).code, ran) == (OutcomeCode.NOT_SENT, [])
    late.close()
    in_time = Executor(str, store.clock)
    assert (in_time.perform(call).code, ran) == (OutcomeCode.SUCCEEDED, ["SO-1"])
    in_time.close()
