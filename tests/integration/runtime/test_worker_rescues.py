"""What a process that died had claimed is taken over by a worker that was told nothing."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, readonly
from saga.core.states import SagaStatus
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.worker import Worker
from saga.store.memory import MemoryStore
from saga.store.port import WorkerRow
from tests.simulation.sagas import Order, begin
from tests.simulation.stepping import Process, state_of
from tests.waiting import wait_until


class Done(BaseModel):
    ok: bool = True


def work(_order: Order) -> Done:
    return Done()


saga = Saga("rescued", version=1, input=Order, entity=lambda order: order.order_id, steps=[readonly(work)])
DEFINITIONS = Definitions([saga])


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def worker(store: MemoryStore) -> Iterator[Worker]:
    worker = Worker(store, DEFINITIONS, Executor(str, store.clock))
    worker.start()
    yield worker
    worker.stop(5)


def test_a_lease_that_ran_out_is_closed_and_its_work_taken_over(store: MemoryStore, worker: Worker) -> None:
    """Long before the deadline of the attempt that was open, and at the next epoch."""
    store.register_worker(WorkerRow("dead", "elsewhere", 1, (), lease_ttl_s=0.2))
    dead = Process(store, DEFINITIONS, "dead")
    saga_id = begin(store, saga, "SO-1")
    dead.wake(saga_id)
    dead.settle()
    assert dead.call("work").epoch == 1
    wait_until(lambda: state_of(store, DEFINITIONS, saga_id).status is SagaStatus.COMPLETED, 8)
    node = state_of(store, DEFINITIONS, saga_id).node("work:a")
    assert (node.epoch, node.owner, node.suspect_count) == (2, worker.worker_id, 1)
