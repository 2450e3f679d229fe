"""The rescuer of the task driver: progress does not hang on a broker that takes messages and delivers none."""

import threading

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, readonly
from saga.core.outcomes import OutcomeCode
from saga.core.states import SagaStatus
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import answer, new_saga
from saga.runtime.task import TaskWorker
from saga.runtime.work import Hint
from saga.store.memory import MemoryStore
from saga.store.port import WorkerRow
from tests.simulation.stepping import state_of
from tests.waiting import wait_until


class Order(BaseModel):
    order_id: str


class Done(BaseModel):
    ok: bool = True


def first(_order: Order) -> Done:
    return Done()


def second(_order: Order) -> Done:
    return Done()


@pytest.mark.timeout(60)
def test_a_saga_that_no_hint_moves_is_run_by_the_rescuer() -> None:
    """Something between here and the broker cut the connection in silence: hints are sent and never arrive. The saga is
    hinted at once, and when nobody moved it, it is run here."""
    store, sent = MemoryStore(), list[Hint]()
    saga = Saga(
        "lost", version=1, input=Order, entity=lambda it: it.order_id, steps=[readonly(first), readonly(second)]
    )
    definitions = Definitions([saga])
    new = new_saga(saga, Order(order_id="SO-1"), store, environment="test", tenant="test")
    saga_id = answer(new, store.accept([new])[0]).saga_id
    worker = TaskWorker(store, definitions, Executor(str, store.clock), queues=frozenset({"saga"}), publish=sent.extend)
    worker.start()
    try:
        wait_until(lambda: state_of(store, definitions, saga_id).status is SagaStatus.COMPLETED, 30)
    finally:
        worker.stop()
    assert sent[0] == Hint(saga_id, "lost.first", "saga")


@pytest.mark.timeout(60)
def test_a_step_that_hangs_in_a_rescue_ends_no_rescue() -> None:
    """The looking goes on in a thread of its own: the next order is run, dead workers are closed, and a stop that cuts the
    hung step off is no death."""
    gate, store = threading.Event(), MemoryStore()

    def waits(order: Order) -> None:
        if order.order_id == "hung":
            gate.wait(40)

    saga = Saga(
        "hangs",
        version=1,
        input=Order,
        entity=lambda it: it.order_id,
        steps=[readonly(waits, name="only", timeout_s=30)],
    )
    definitions = Definitions([saga])
    ids = []
    for order_id in ("hung", "good"):
        new = new_saga(saga, Order(order_id=order_id), store, environment="test", tenant="test")
        ids.append(answer(new, store.accept([new])[0]).saga_id)
    worker = TaskWorker(
        store,
        definitions,
        Executor(str, store.clock),
        queues=frozenset({"saga"}),
        publish=lambda _hints: None,
        broker_is_away=lambda: True,
    )
    worker.start()
    try:
        wait_until(lambda: state_of(store, definitions, ids[1]).status is SagaStatus.COMPLETED, 20)
        wait_until(lambda: state_of(store, definitions, ids[0]).node("only:a").epoch == 1, 20)
        store.register_worker(WorkerRow("dead", "h", 1, (), lease_ttl_s=0.01))
        wait_until(lambda: not store.worker_is_open(["dead"])["dead"], 20)
        worker.stop(0.5)
        node = state_of(store, definitions, ids[0]).node("only:a")
        assert (node.code, node.suspect_count) == (OutcomeCode.UNKNOWN, 0)
    finally:
        gate.set()
        worker.stop()
