"""A saga that comes to stand in front of a person is named in the log of the worker that halted it."""

import logging
from collections.abc import Callable

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, readonly
from saga.core.states import SagaStatus
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import answer, new_saga
from saga.runtime.task import TaskWorker
from saga.runtime.worker import Worker
from saga.store.memory import MemoryStore
from tests.waiting import wait_until


class Order(BaseModel):
    order_id: str
    customer: str


def breaks(order: Order) -> None:
    raise KeyError(order.customer)


SAGA = Saga("breaking", version=1, input=Order, entity=lambda it: it.order_id, steps=[readonly(breaks)])


def _process_worker(store: MemoryStore) -> Worker:
    return Worker(store, Definitions([SAGA]), Executor(str, store.clock))


def _task_worker(store: MemoryStore) -> TaskWorker:
    return TaskWorker(
        store,
        Definitions([SAGA]),
        Executor(str, store.clock),
        queues=frozenset({"saga"}),
        publish=lambda _hints: None,
        broker_is_away=lambda: True,
    )


@pytest.mark.parametrize("make", [_process_worker, _task_worker])
def test_a_halt_is_told_once_with_its_reason_and_without_what_it_was_about(
    make: Callable[[MemoryStore], Worker | TaskWorker], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody looks at a journal that nobody speaks of; the detail may hold personal data and stays there."""
    caplog.set_level(logging.INFO, "saga")
    store = MemoryStore()
    new = new_saga(SAGA, Order(order_id="SO-1", customer="Ada"), store, environment="test", tenant="test")
    saga_id = answer(new, store.accept([new])[0]).saga_id
    worker = make(store)
    worker.start()
    try:
        wait_until(lambda: store.counts().get(SagaStatus.HALTED) == 1, 20)
        told = "saga_halted"
        wait_until(lambda: any(told in it.getMessage() for it in caplog.records), 10)
    finally:
        worker.stop()
    lines = [it.getMessage() for it in caplog.records if told in it.getMessage()]
    assert lines == [f"saga_halted entity=SO-1 node=breaks:a reason=defect saga_id={saga_id}"]
    assert "Ada" not in caplog.text
