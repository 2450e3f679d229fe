"""The rescuer of the task driver: progress does not hang on a broker that takes messages and delivers none."""

import threading
from collections.abc import Iterator, Mapping, Sequence

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, readonly, retriable
from saga.core.fold import NodeState
from saga.core.outcomes import OutcomeCode
from saga.core.states import ENDED, SagaStatus
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import answer, new_saga
from saga.runtime.task import BUSY_PUSHES, BUSY_SWEEP_LIMIT, RESCUE_LIMIT, SWEEP_LIMIT, THREAD_LIMIT, TaskWorker
from saga.runtime.work import Hint
from saga.store.journal import Journal
from saga.store.memory import MemoryStore
from saga.store.port import (
    ANYTHING,
    DueSaga,
    Wanted,
    WorkerRow,
)
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


class _Endless(MemoryStore):
    """A store in which something is due whenever somebody looks."""

    look_count = 0

    def sweep_due(self, limit: int, push_s: float, wanted: Wanted = ANYTHING) -> list[DueSaga]:
        return [DueSaga("nobody", "lost", 1, 0, self.now())]

    def dead_workers(self) -> list[str]:
        self.look_count += 1
        return super().dead_workers()


def test_endless_due_work_does_not_hide_the_dead() -> None:
    """A fleet with a backlog sweeps without a pause; what a process that died held is found all the same."""
    store = _Endless()
    worker = TaskWorker(store, Definitions([]), Executor(str, store.clock), queues=frozenset(), publish=lambda _h: None)
    worker.start()
    try:
        wait_until(lambda: store.look_count >= 3, 15)
    finally:
        worker.stop()


class _Watched(MemoryStore):
    """A store in which one saga is due at every look, hinted at so often before; it notes how much was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: list[int] = []
        self.saga_id, self.pushes = "", 0

    def sweep_due(self, limit: int, push_s: float, wanted: Wanted = ANYTHING) -> list[DueSaga]:
        self.limits.append(limit)
        return [DueSaga(self.saga_id, "lost", 1, self.pushes, self.now())]


@pytest.mark.timeout(60)
def test_while_messages_arrive_the_rescuer_leaves_the_backlog_to_them() -> None:
    """A long queue is no lost hint: a hint more for each of 5,000 sagas, and running them beside their messages, cost the
    task driver two thirds of its speed. What nobody moved after many hints is run all the same."""
    store = _Watched()
    saga = Saga("lost", version=1, input=Order, entity=lambda it: it.order_id, steps=[readonly(first)])
    definitions = Definitions([saga])
    new = new_saga(saga, Order(order_id="SO-1"), store, environment="test", tenant="test")
    store.saga_id = answer(new, store.accept([new])[0]).saga_id
    store.pushes = BUSY_PUSHES - 1
    worker = TaskWorker(
        store, definitions, Executor(str, store.clock), queues=frozenset({"saga"}), publish=lambda _h: None
    )

    def has_looked(count: int) -> bool:
        worker.run("nobody", "lost", "first:a")
        return len(store.limits) >= count

    has_looked(0)
    worker.start()
    try:
        wait_until(lambda: has_looked(4), 20)
        assert set(store.limits) == {BUSY_SWEEP_LIMIT}
        assert state_of(store, definitions, store.saga_id).nodes == {}
        store.pushes = BUSY_PUSHES
        wait_until(lambda: has_looked(0) and state_of(store, definitions, store.saga_id).status in ENDED, 10)
        wait_until(lambda: SWEEP_LIMIT in store.limits, 10)
    finally:
        worker.stop()


class _Hanging:
    """Task workers whose broker is away, on sagas of one step; the step of an order whose id begins with `hung` never ends."""

    def __init__(self, step_timeout_s: float) -> None:
        self.store, self.gate = MemoryStore(), threading.Event()
        self.gave_up = threading.Event()

        def waits(order: Order) -> None:
            if order.order_id.startswith("hung"):
                self.gate.wait(90)

        step = retriable(waits, name="only", keys="serialise", timeout_s=step_timeout_s)
        self.saga = Saga("hangs", version=1, input=Order, entity=lambda it: it.order_id, steps=[step])
        self.definitions = Definitions([self.saga])
        self.worker = TaskWorker(
            self.store,
            self.definitions,
            Executor(str, self.store.clock),
            queues=frozenset({"saga"}),
            publish=lambda _hints: None,
            broker_is_away=lambda: True,
            broken=self.gave_up.set,
        )

    def begin(self, order_id: str) -> str:
        new = new_saga(self.saga, Order(order_id=order_id), self.store, environment="test", tenant="test")
        return answer(new, self.store.accept([new])[0]).saga_id


@pytest.fixture
def hanging() -> Iterator[_Hanging]:
    made = _Hanging(step_timeout_s=0.3)
    yield made
    made.gate.set()
    made.worker.stop(1)


@pytest.mark.timeout(90)
def test_as_many_hung_steps_as_rescues_end_no_rescue(hanging: _Hanging) -> None:
    """Their attempts end as unknown at their deadlines, what hangs holds no place any more, and a good order is run."""
    hung = [hanging.begin(f"hung-{number}") for number in range(RESCUE_LIMIT)]
    hanging.worker.start()

    def nodes() -> list[NodeState]:
        return [state_of(hanging.store, hanging.definitions, it).node("only:a") for it in hung]

    wait_until(lambda: all(it.epoch == 1 for it in nodes()), 20)
    good = hanging.begin("good")
    wait_until(lambda: state_of(hanging.store, hanging.definitions, good).status is SagaStatus.COMPLETED, 30)
    wait_until(lambda: all(it.code is OutcomeCode.UNKNOWN for it in nodes()), 20)


@pytest.mark.timeout(120)
def test_a_process_full_of_hung_steps_gives_up(hanging: _Hanging) -> None:
    """Not for ever one thread more: it says so, gives its lease back, and whoever runs the process is told."""
    for number in range(THREAD_LIMIT + RESCUE_LIMIT):
        hanging.begin(f"hung-{number}")
    hanging.worker.start()
    wait_until(hanging.gave_up.is_set, 90)
    assert not hanging.store.worker_is_open([hanging.worker.worker_id])[hanging.worker.worker_id]


def test_once_it_is_to_stop_it_starts_nothing(hanging: _Hanging) -> None:
    """A message that arrives after SIGTERM leaves its saga to the due index."""
    saga_id = hanging.begin("good")
    hanging.worker.request_stop()
    hanging.worker.start()
    assert hanging.worker.run(saga_id, "hangs", "only:a") is None
    assert state_of(hanging.store, hanging.definitions, saga_id).nodes == {}


class _CutOff(MemoryStore):
    """A store that is away for the first load; meanwhile others find the lease run out and close it."""

    def __init__(self) -> None:
        super().__init__()
        self.worker: TaskWorker | None = None

    def load(self, saga_ids: Sequence[str]) -> Mapping[str, Journal]:
        worker, self.worker = self.worker, None
        if worker is not None:
            before = worker.worker_id
            self.close_worker(before)
            wait_until(lambda: worker.worker_id != before, 10)
        return super().load(saga_ids)


def test_a_body_does_not_claim_under_an_id_that_others_have_closed() -> None:
    """It would be taken over while it runs, and the step be charged with a death."""
    store = _CutOff()
    saga = Saga("lost", version=1, input=Order, entity=lambda it: it.order_id, steps=[readonly(first)])
    definitions = Definitions([saga])
    new = new_saga(saga, Order(order_id="SO-1"), store, environment="test", tenant="test")
    saga_id = answer(new, store.accept([new])[0]).saga_id
    worker = TaskWorker(
        store, definitions, Executor(str, store.clock), queues=frozenset({"saga"}), publish=lambda _h: None
    )
    worker.start()
    try:
        store.worker = worker
        outcome = worker.run(saga_id, "lost", "first:a")
    finally:
        worker.stop()
    assert outcome is not None
    assert outcome.code is OutcomeCode.SUCCEEDED
    assert state_of(store, definitions, saga_id).node("first:a").owner == worker.worker_id
