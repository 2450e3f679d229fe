"""Journals that lost entries under a live worker, in both drivers as they run in production: threads, loader, committer."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, pivot, readonly
from saga.core.states import HaltReason, SagaStatus
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import answer, new_saga
from saga.runtime.task import TaskWorker
from saga.runtime.worker import Worker
from saga.store.memory import MemoryStore
from tests.simulation.test_journal_fell_behind import crash, reason_of
from tests.waiting import wait_until


class Order(BaseModel):
    order_id: str


class Done(BaseModel):
    ok: bool = True


class Till:
    """A shop whose only effect waits at a gate when the order is SO-1; it keeps the orders that it was asked for."""

    def __init__(self) -> None:
        self.began, self.gate = threading.Event(), threading.Event()
        self.charged: list[str] = []
        steps = [readonly(self.look), readonly(self.look_again), pivot(self.charge, on_unknown="halt", timeout_s=60)]
        self.saga = Saga("till", version=1, input=Order, entity=lambda it: it.order_id, steps=steps)
        self.definitions, self.store = Definitions([self.saga]), MemoryStore()

    def look(self, _order: Order) -> None: ...

    def look_again(self, _order: Order) -> None: ...

    def charge(self, order: Order) -> Done:
        self.charged.append(order.order_id)
        if order.order_id == "SO-1":
            self.began.set()
            self.gate.wait(30)
        return Done()

    def begin(self, order_id: str) -> str:
        new = new_saga(self.saga, Order(order_id=order_id), self.store, environment="test", tenant="test")
        return answer(new, self.store.accept([new])[0]).saga_id

    def has_completed(self, saga_id: str) -> bool:
        row = self.store.row(saga_id)
        return row is not None and row.status is SagaStatus.COMPLETED


@contextmanager
def process_driver(till: Till) -> Iterator[None]:
    worker = Worker(till.store, till.definitions, Executor(str, till.store.clock))
    worker.start()
    yield
    assert worker.stop()


@contextmanager
def task_driver(till: Till) -> Iterator[None]:
    worker = TaskWorker(
        till.store,
        till.definitions,
        Executor(str, till.store.clock),
        queues=frozenset({"saga"}),
        publish=lambda _hints: None,
        broker_is_away=lambda: True,
    )
    worker.start()
    yield
    worker.stop()


@pytest.fixture
def till() -> Iterator[Till]:
    made = Till()
    yield made
    made.gate.set()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("driver", [process_driver, task_driver])
def test_a_charge_whose_claim_was_lost_is_not_made_again(till: Till, driver: Callable[[Till], Iterator[None]]) -> None:
    """The claim is gone from journal and row while the charge is in flight: the saga stands in front of a person."""
    with driver(till):  # type: ignore[attr-defined]
        saga_id = till.begin("SO-1")
        assert till.began.wait(20)
        crash(till.store, saga_id, len(till.store.load([saga_id])[saga_id]) - 1)
        till.gate.set()
        wait_until(lambda: reason_of(till.store, saga_id) is HaltReason.JOURNAL_DAMAGED, 20)
        other = till.begin("SO-2")
        wait_until(lambda: till.has_completed(other), 20)
    assert till.charged == ["SO-1", "SO-2"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("driver", [process_driver, task_driver])
def test_a_journal_with_a_hole_stops_no_neighbour(till: Till, driver: Callable[[Till], Iterator[None]]) -> None:
    """Nobody can say what is gone, so it is damaged; the threads of the process live on."""
    with driver(till):  # type: ignore[attr-defined]
        saga_id = till.begin("SO-1")
        assert till.began.wait(20)
        stored = till.store._sagas[saga_id]
        crash(till.store, saga_id, len(stored.journal) - 1)
        del stored.journal[1]
        till.gate.set()
        wait_until(lambda: reason_of(till.store, saga_id) is HaltReason.JOURNAL_DAMAGED, 20)
        other = till.begin("SO-2")
        wait_until(lambda: till.has_completed(other), 20)
    assert till.charged == ["SO-1", "SO-2"]
