"""Workers that each consume one queue, and no hint that arrives: whoever takes a due saga that is not for him hands it back."""

from collections.abc import Callable

import pytest
from pydantic import BaseModel

from saga.clock import monotonic
from saga.core.definition import Saga, Step, readonly
from saga.core.states import SagaStatus
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import answer, new_saga
from saga.runtime.task import TaskWorker
from saga.runtime.worker import Worker
from saga.store.memory import MemoryStore
from tests.waiting import wait_until

QUEUES = ("inventory", "shipping", "payment")


class Order(BaseModel):
    order_id: str


def _step(name: str, queue: str) -> Step:
    def work(_order: Order) -> None: ...

    return readonly(work, name=name, queue=queue)


SPLIT = Saga(
    "split",
    version=1,
    input=Order,
    entity=lambda it: it.order_id,
    steps=[_step(f"s{place}", queue) for place, queue in enumerate((*QUEUES, "inventory"))],
)


def _process_worker(store: MemoryStore, queue: str) -> Worker:
    return Worker(store, Definitions([SPLIT]), Executor(str, store.clock), queues=frozenset({queue}))


def _task_worker(store: MemoryStore, queue: str) -> TaskWorker:
    return TaskWorker(
        store,
        Definitions([SPLIT]),
        Executor(str, store.clock),
        queues=frozenset({queue}),
        publish=lambda _hints: None,
        broker_is_away=lambda: True,
    )


@pytest.mark.timeout(90)
@pytest.mark.parametrize("make", [_process_worker, _task_worker])
def test_orders_end_without_a_broker_where_each_worker_has_one_queue(
    make: Callable[[MemoryStore, str], Worker | TaskWorker],
) -> None:
    """20 orders of four steps over three workers; held back by whoever cannot run them they took half an hour."""
    store = MemoryStore()
    new = [
        new_saga(SPLIT, Order(order_id=f"SO-{number}"), store, environment="test", tenant="test")
        for number in range(20)
    ]
    for it in new:
        answer(it, store.accept([it])[0])
    workers = [make(store, queue) for queue in QUEUES]
    began = monotonic()
    for worker in workers:
        worker.start()
    try:
        wait_until(lambda: store.counts()[SagaStatus.COMPLETED] == len(new), 60)
    finally:
        for worker in workers:
            worker.stop()
    assert monotonic() - began < 45
