"""A whole worker: its lease while it drains, its threads when something unforeseen happens, its name when it was lost."""

import sys
import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import pytest
from pydantic import BaseModel

from saga.core.connector import Call as ProviderCall
from saga.core.connector import Connector
from saga.core.definition import Saga, compensatable, readonly
from saga.core.events import CancelAsked
from saga.core.fold import SagaState
from saga.core.outcomes import Outcome, OutcomeCode, Payload
from saga.core.states import HaltReason, SagaStatus
from saga.core.transitions import Transition
from saga.errors import StoreUnavailable
from saga.runtime.engine import Definitions, known, tell
from saga.runtime.executor import Executor
from saga.runtime.loop import Around, plain
from saga.runtime.starting import answer, new_saga
from saga.runtime.work import Limits
from saga.runtime.worker import Worker
from saga.settings import LEASE_S
from saga.store.codec import decode
from saga.store.journal import Journal
from saga.store.memory import MemoryStore
from saga.store.port import (
    Append,
    AppendResult,
)
from tests.simulation.stepping import Process
from tests.waiting import wait_until


class Order(BaseModel):
    order_id: str


class Done(BaseModel):
    ok: bool = True


class Bench:
    """Sagas of one step whose work a test gives, and workers on one in-memory store."""

    def __init__(self, store: MemoryStore, work: Callable[[Order], Done]) -> None:
        self.store = store

        def step(order: Order) -> Done:
            return work(order)

        saga = Saga("bench", version=1, input=Order, entity=lambda order: order.order_id, steps=[readonly(step)])
        self.saga, self.definitions = saga, Definitions([saga])
        self.workers: list[Worker] = []

    def begin(self, order_id: str) -> str:
        new = new_saga(self.saga, Order(order_id=order_id), self.store, environment="test", tenant="test")
        return answer(new, self.store.accept([new])[0]).saga_id

    def worker(self, around: Around = plain, slots: int = 4, broken: Callable[[], None] = lambda: None) -> Worker:
        executor = Executor(str, self.store.clock)
        worker = Worker(
            self.store, self.definitions, executor, limits=Limits(slots=slots, threads=4), around=around, broken=broken
        )
        worker.start()
        self.workers.append(worker)
        return worker

    def state(self, saga_id: str) -> SagaState:
        loaded = known(self.definitions, self.store.load([saga_id])[saga_id])
        assert loaded is not None
        return loaded.state

    def transitions(self, saga_id: str) -> list[Transition]:
        return [it for entry in self.store.load([saga_id])[saga_id] for it in decode(entry.body)]

    def has_ended(self, saga_id: str) -> bool:
        return self.state(saga_id).status is SagaStatus.COMPLETED


@pytest.fixture
def benches() -> Iterator[list[Bench]]:
    made: list[Bench] = []
    yield made
    for bench in made:
        for worker in bench.workers:
            worker.stop(5)


@pytest.mark.timeout(60)
def test_a_step_longer_than_a_lease_is_not_taken_over_while_its_worker_drains(benches: list[Bench]) -> None:
    """SIGTERM in the middle of a long step, another worker beside: the step runs once and its outcome counts."""
    began, gate, runs = threading.Event(), threading.Event(), []

    def long(order: Order) -> Done:
        runs.append(order.order_id)
        began.set()
        gate.wait(40)
        return Done()

    bench = Bench(MemoryStore(), long)
    benches.append(bench)
    first = bench.worker()
    saga_id = bench.begin("SO-1")
    assert began.wait(10)
    bench.worker()
    stopper = threading.Thread(target=first.stop, args=(30,))
    stopper.start()
    threading.Event().wait(LEASE_S + 2)
    gate.set()
    stopper.join()
    wait_until(lambda: bench.has_ended(saga_id), 15)
    assert runs == ["SO-1"]
    assert bench.state(saga_id).node("step:a").epoch == 1


def test_sys_exit_in_a_step_is_a_defect_of_that_order(benches: list[Bench]) -> None:
    """More such orders than there are threads: each halts by itself, and an innocent one still runs."""

    def leaves(order: Order) -> Done:
        if order.order_id != "SO-good":
            sys.exit(3)
        return Done()

    bench = Bench(MemoryStore(), leaves)
    benches.append(bench)
    bench.worker()
    bad = [bench.begin(f"SO-{number}") for number in range(6)]
    wait_until(lambda: all(bench.state(it).halt is not None for it in bad), 20)
    assert {halt.reason for it in bad if (halt := bench.state(it).halt)} == {HaltReason.DEFECT}
    good = bench.begin("SO-good")
    wait_until(lambda: bench.has_ended(good), 10)


class _Buggy(MemoryStore):
    """A store whose append has a bug, once; or whose clock has one, for the thread that drives."""

    has_bug = False
    has_clock_bug = False

    def clock(self) -> datetime:
        if self.has_clock_bug and threading.current_thread().name == "saga-driver":
            raise RuntimeError("a bug")
        return super().clock()

    def append(self, group: Sequence[Append]) -> list[AppendResult]:
        if self.has_bug:
            self.has_bug = False
            raise RuntimeError("a bug")
        return super().append(group)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_with_a_dead_thread_gives_its_sagas_up(benches: list[Bench]) -> None:
    """A lease that is renewed by a process that does nothing would hold its sagas for ever."""
    store = _Buggy()
    bench = Bench(store, lambda _order: Done())
    benches.append(bench)
    broken = bench.worker()
    store.has_bug = True
    saga_id = bench.begin("SO-1")
    wait_until(lambda: not store.worker_is_open([broken.worker_id])[broken.worker_id], 15)
    later = bench.begin("SO-2")
    broken.wake([later])
    bench.worker()
    wait_until(lambda: bench.has_ended(saga_id) and bench.has_ended(later), 15)
    assert bench.state(later).node("step:a").owner != broken.worker_id, "claimed without a lease"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_whose_driver_died_does_not_stop_clean(benches: list[Bench]) -> None:
    """What it had claimed is left behind, and `stop` says so and does not wait for the thread that runs it."""
    store = _Buggy()
    gate, began = threading.Event(), threading.Event()

    def waits(_order: Order) -> Done:
        began.set()
        gate.wait(20)
        return Done()

    bench = Bench(store, waits)
    benches.append(bench)
    worker = bench.worker()
    bench.begin("SO-1")
    assert began.wait(10)
    store.has_clock_bug = True
    wait_until(lambda: not store.worker_is_open([worker.worker_id])[worker.worker_id], 15)
    assert worker.stop(10) is False
    assert not gate.is_set()
    gate.set()


@pytest.mark.parametrize("error", [SystemExit(3), CancelledError("the event loop went"), KeyboardInterrupt()])
def test_whatever_a_pure_step_raises_is_a_defect_of_its_order(error: BaseException, benches: list[Bench]) -> None:
    """A call step's function runs in the thread that drives all sagas: that thread must survive it."""

    def breaks(order: Order) -> ProviderCall[Done]:
        if order.order_id != "SO-good":
            raise error
        return ask(order)

    ask = Connector("nobody", keys="serialise", remembers_rejections=True, rejected={}).query("/ask", Order, Done)
    bench = Bench(MemoryStore(), lambda _order: Done())
    benches.append(bench)
    broken = Saga("breaking", version=1, input=Order, entity=lambda order: order.order_id, steps=[readonly(breaks)])
    bench.definitions = Definitions([bench.saga, broken])
    bench.worker()
    new = new_saga(broken, Order(order_id="SO-bad"), bench.store, environment="test", tenant="test")
    bad = answer(new, bench.store.accept([new])[0]).saga_id
    wait_until(lambda: bench.state(bad).halt is not None, 15)
    halt = bench.state(bad).halt
    assert halt is not None
    assert (halt.reason, type(error).__name__ in halt.detail) == (HaltReason.DEFECT, True)
    good = bench.begin("SO-good")
    wait_until(lambda: bench.has_ended(good), 10)


def test_a_worker_that_was_declared_dead_goes_on_under_another_name(benches: list[Bench]) -> None:
    """Claims under the old name would be taken over at once, each while it runs."""
    gate = threading.Event()

    def waits(_order: Order) -> Done:
        gate.wait(20)
        return Done()

    bench = Bench(MemoryStore(), waits)
    benches.append(bench)
    worker = bench.worker()
    old = worker.worker_id
    bench.store.close_worker(old)
    wait_until(lambda: worker.worker_id != old, 10)
    saga_id = bench.begin("SO-1")
    wait_until(lambda: bench.state(saga_id).node("step:a").epoch == 1, 10)
    assert bench.state(saga_id).node("step:a").owner == worker.worker_id
    gate.set()
    wait_until(lambda: bench.has_ended(saga_id), 10)
    assert bench.state(saga_id).node("step:a").epoch == 1


def test_a_rollback_has_a_slot_that_slow_actions_cannot_take(benches: list[Bench]) -> None:
    """Every slot that actions may have is held by slow ones; a saga that turned round elsewhere is undone all the same."""
    gate, undone = threading.Event(), threading.Event()

    def slow(_order: Order) -> Done:
        gate.wait(30)
        return Done()

    def reserve(_order: Order) -> Done:
        return Done()

    def release(_done: Done) -> None:
        undone.set()

    bench = Bench(MemoryStore(), slow)
    benches.append(bench)
    steps = [compensatable(reserve, compensation=release, keys="serialise"), readonly(slow, name="after")]
    turning = Saga("turning", version=1, input=Order, entity=lambda order: order.order_id, steps=steps)
    bench.definitions = Definitions([bench.saga, turning])
    new = new_saga(turning, Order(order_id="SO-turned"), bench.store, environment="test", tenant="test")
    turned = answer(new, bench.store.accept([new])[0]).saga_id
    hand = Process(bench.store, bench.definitions, "by-hand")
    hand.wake(turned)
    hand.settle()
    hand.finish(hand.call("reserve"), Outcome(OutcomeCode.SUCCEEDED, result=Payload('{"ok":true}')))
    hand.settle()
    ids = [bench.begin(f"SO-{number}") for number in range(8)]
    bench.worker()
    wait_until(lambda: sum(bench.state(it).node("step:a").epoch for it in ids) == 3, 10)
    cancel = CancelAsked(bench.store.clock(), "clerk", "customer called")
    tell(bench.store, bench.definitions, turned, cancel, actor="clerk")
    bench.store.close_worker("by-hand")
    wait_until(undone.is_set, 10)
    assert not gate.is_set()
    gate.set()


class _Forgetful(MemoryStore):
    """A store that does not answer when journals are loaded, once it is away."""

    is_away = False

    def load(self, saga_ids: Sequence[str]) -> Mapping[str, Journal]:
        if self.is_away:
            raise StoreUnavailable("away")
        return super().load(saga_ids)


def test_a_stop_while_the_database_is_away_does_not_wait_for_it(benches: list[Bench]) -> None:
    """What waits to be loaded has no outcome that could be lost."""
    store = _Forgetful()
    bench = Bench(store, lambda _order: Done())
    benches.append(bench)
    worker = bench.worker()
    store.is_away = True
    worker.wake([bench.begin("SO-1")])
    stopper = threading.Thread(target=worker.stop, args=(1.0,), daemon=True)
    stopper.start()
    stopper.join(15)
    is_waiting, store.is_away = stopper.is_alive(), False
    assert not is_waiting


def test_a_rollback_passes_by_actions_that_turned_slow(benches: list[Bench]) -> None:
    """They were claimed while calls were fast and wait for threads; the compensation has a thread that they cannot have."""
    gate, undone, is_slow = threading.Event(), threading.Event(), threading.Event()

    def work(_order: Order) -> Done:
        if is_slow.is_set():
            gate.wait(30)
        return Done()

    def reserve(_order: Order) -> Done:
        return Done()

    def release(_done: Done) -> None:
        undone.set()

    bench = Bench(MemoryStore(), work)
    benches.append(bench)
    steps = [compensatable(reserve, compensation=release, keys="serialise"), readonly(work, name="after")]
    turning = Saga("turning", version=1, input=Order, entity=lambda order: order.order_id, steps=steps)
    bench.definitions = Definitions([bench.saga, turning])
    worker = bench.worker(slots=32)
    warm = [bench.begin(f"warm-{number}") for number in range(80)]
    worker.wake(warm)
    wait_until(lambda: all(bench.has_ended(it) for it in warm), 20)
    is_slow.set()
    new = new_saga(turning, Order(order_id="SO-turned"), bench.store, environment="test", tenant="test")
    turned = answer(new, bench.store.accept([new])[0]).saga_id
    hand = Process(bench.store, bench.definitions, "by-hand")
    hand.wake(turned)
    hand.settle()
    hand.finish(hand.call("reserve"), Outcome(OutcomeCode.SUCCEEDED, result=Payload('{"ok":true}')))
    hand.settle()
    slow = [bench.begin(f"SO-{number}") for number in range(12)]
    worker.wake(slow)
    wait_until(lambda: all(bench.state(it).node("step:a").epoch == 1 for it in slow), 10)
    cancel = CancelAsked(bench.store.clock(), "clerk", "customer called")
    tell(bench.store, bench.definitions, turned, cancel, actor="clerk")
    bench.store.close_worker("by-hand")
    worker.wake([turned])
    wait_until(undone.is_set, 15)
    assert not gate.is_set()
    gate.set()
