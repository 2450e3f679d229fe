"""What a process that died had claimed is taken over by a worker that was told nothing."""

import threading
from collections.abc import Iterator, Sequence

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, readonly
from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.states import SagaStatus
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.work import Limits
from saga.runtime.worker import Worker
from saga.store.memory import MemoryStore
from saga.store.port import ANYTHING, DueSaga, Wanted, WorkerRow
from tests.simulation.sagas import Order, begin, line
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


class _Watched(MemoryStore):
    """A store that counts who looks, and notes what is handed back."""

    def __init__(self) -> None:
        super().__init__()
        self.sweep_count = self.look_count = 0
        self.back: list[str] = []

    def sweep_due(self, limit: int, push_s: float, wanted: Wanted = ANYTHING) -> list[DueSaga]:
        self.sweep_count += 1
        return super().sweep_due(limit, push_s, wanted)

    def dead_workers(self) -> list[str]:
        self.look_count += 1
        return super().dead_workers()

    def hand_back(self, saga_ids: Sequence[str]) -> None:
        self.back += saga_ids
        super().hand_back(saga_ids)


class _Held:
    """A worker of two slots in which a step of one saga waits for the gate: the one slot that actions may have is taken."""

    def __init__(self) -> None:
        self.store = _Watched()
        self.gate, self.began = threading.Event(), threading.Event()

        def waits(_order: Order) -> None:
            self.began.set()
            self.gate.wait(40)

        held = Saga("held", version=1, input=Order, entity=lambda order: order.order_id, steps=[readonly(waits)])
        self.definitions = Definitions([held, line])
        limits = Limits(slots=2, threads=2)
        executor = Executor(str, self.store.clock)
        self.worker = Worker(self.store, self.definitions, executor, queues=frozenset({"saga"}), limits=limits)
        self.worker.start()
        begin(self.store, held, "SO-held")
        assert self.began.wait(10)


@pytest.fixture
def held() -> Iterator[_Held]:
    made = _Held()
    yield made
    made.gate.set()
    made.worker.stop(5)


@pytest.mark.timeout(60)
def test_a_worker_that_drains_takes_nothing_more_from_the_due_index(held: _Held) -> None:
    """What it took it would not run, and would hide from the others for seconds; it still looks for dead ones."""
    stopper = threading.Thread(target=held.worker.stop, args=(30,))
    stopper.start()
    looks = held.store.look_count
    wait_until(lambda: held.store.look_count > looks, 10)
    sweeps = held.store.sweep_count
    wait_until(lambda: held.store.look_count > looks + 2, 10)
    assert held.store.sweep_count == sweeps
    held.gate.set()
    stopper.join(20)


@pytest.mark.timeout(60)
def test_a_rollback_that_is_not_for_this_worker_is_handed_back_though_its_slots_are_taken(held: _Held) -> None:
    """It takes rollbacks beyond its slots for actions; one whose queue is another's must not be hidden from that other."""
    store = held.store
    saga_id = begin(store, line, "SO-turned")
    other = Process(store, held.definitions, "forward", queues={"saga"})
    other.wake(saga_id)
    other.settle()
    other.finish(other.call("a"))
    other.settle()
    other.finish(other.call("b"), Outcome(OutcomeCode.REJECTED, "no"))
    other.settle()
    wait_until(lambda: saga_id in store.back, 20)
