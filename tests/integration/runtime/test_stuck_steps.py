"""A step that never returns: it costs a thread each where it runs, and neither the other orders nor a death."""

import threading
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, readonly, retriable
from saga.core.fold import SagaState
from saga.core.outcomes import OutcomeCode
from saga.core.states import NodePhase, SagaStatus
from saga.core.transitions import AttemptEnded
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import answer, new_saga
from saga.runtime.work import Limits
from saga.runtime.worker import Worker
from saga.store.codec import decode
from saga.store.memory import MemoryStore
from tests.simulation.stepping import state_of
from tests.waiting import wait_until


class Order(BaseModel):
    order_id: str


class Bench:
    """One store, sagas of one step, and workers; the step of an order whose id begins with `hung` waits for the gate."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.gate = threading.Event()
        self.ran: list[str] = []
        self.workers: list[Worker] = []

        def step(order: Order) -> None:
            self.ran.append(order.order_id)
            if order.order_id.startswith("hung"):
                self.gate.wait(60)

        self.quick = Saga(
            "quick", version=1, input=Order, entity=lambda it: it.order_id, steps=[readonly(step, timeout_s=0.3)]
        )
        self.long = Saga(
            "long", version=1, input=Order, entity=lambda it: it.order_id, steps=[retriable(step, keys="serialise")]
        )
        self.definitions = Definitions([self.quick, self.long])

    def begin(self, order_id: str, saga: Saga[Order] | None = None) -> str:
        new = new_saga(saga or self.quick, Order(order_id=order_id), self.store, environment="test", tenant="test")
        return answer(new, self.store.accept([new])[0]).saga_id

    def worker(self, threads: int) -> Worker:
        limits = Limits(slots=threads, threads=threads)
        worker = Worker(self.store, self.definitions, Executor(str, self.store.clock), limits=limits)
        self.workers.append(worker)
        worker.start()
        return worker

    def state(self, saga_id: str) -> SagaState:
        return state_of(self.store, self.definitions, saga_id)

    def ends(self, saga_id: str) -> list[AttemptEnded]:
        entries = self.store.load([saga_id])[saga_id]
        return [it for entry in entries for it in decode(entry.body) if isinstance(it, AttemptEnded)]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.gate.set()
    for worker in made.workers:
        worker.stop(5)


@pytest.mark.timeout(60)
def test_a_hung_step_holds_one_thread_and_the_other_orders_go_on(bench: Bench) -> None:
    """Its attempt ends as unknown at its deadline and it may be tried again, by another process: here a copy of it runs
    already, and a copy a try would take thread after thread."""
    hung = bench.begin("hung")
    bench.worker(threads=4)
    wait_until(lambda: bench.state(hung).node("step:a").phase is NodePhase.BACKOFF, 20)
    good = [bench.begin(f"SO-{number}") for number in range(6)]
    wait_until(lambda: all(bench.state(it).status is SagaStatus.COMPLETED for it in good), 20)
    assert bench.ran.count("hung") == 1


@pytest.mark.timeout(90)
def test_an_order_that_hangs_here_is_found_by_others(bench: Bench) -> None:
    """However often the process in which it hangs has looked at it since, without being allowed to start it."""
    hung = bench.begin("hung")
    bench.worker(threads=4)
    wait_until(lambda: bench.state(hung).node("step:a").phase is NodePhase.BACKOFF, 20)
    bench.worker(threads=4)
    wait_until(lambda: bench.ran.count("hung") == 2, 40)


@pytest.mark.timeout(60)
def test_a_worker_whose_every_thread_hangs_gives_up(bench: Bench) -> None:
    """It would renew its lease and do nothing for ever."""
    for number in range(2):
        bench.begin(f"hung-{number}")
    worker = bench.worker(threads=2)
    wait_until(lambda: not bench.store.worker_is_open([worker.worker_id])[worker.worker_id], 30)


@pytest.mark.timeout(60)
def test_a_stop_that_cuts_a_step_off_is_no_death(bench: Bench) -> None:
    """Ended as unknown by the worker itself, and the saga is no suspect; an orderly deploy a day would make it poison."""
    saga_id = bench.begin("hung", bench.long)
    for number in range(3):
        worker = bench.worker(threads=2)
        wait_until(lambda: len(bench.ran) > number, 20)  # noqa: B023  # called before the next turn
        assert worker.stop(0.2) is False
    node = bench.state(saga_id).node("step:a")
    assert (node.epoch, node.suspect_count) == (3, 0)
    assert [(it.code, it.lost) for it in bench.ends(saga_id)] == [(OutcomeCode.UNKNOWN, False)] * 3
    assert "stopped before" in node.detail
