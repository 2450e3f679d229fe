"""The rescuer of the task driver: progress does not hang on a broker that takes messages and delivers none."""

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, readonly
from saga.core.states import SagaStatus
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import answer, new_saga
from saga.runtime.task import TaskWorker
from saga.runtime.work import Hint
from saga.store.memory import MemoryStore
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
