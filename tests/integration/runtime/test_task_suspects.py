"""A suspect runs alone under the task driver as well: in a thread pool several messages are worked on at once."""

import threading
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, readonly
from saga.core.fold import SagaState
from saga.core.outcomes import Outcome
from saga.core.states import SagaStatus
from saga.core.transitions import AttemptStarted
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import answer, new_saga
from saga.runtime.task import TaskWorker
from saga.store.codec import decode
from saga.store.memory import MemoryStore
from tests.simulation.stepping import Process, state_of


class Order(BaseModel):
    order_id: str


class Done(BaseModel):
    ok: bool = True


class Pool:
    """A process with as many threads as messages; each order's step runs until its gate is opened."""

    def __init__(self, *, quiet_s: float) -> None:
        self.gates: dict[str, threading.Event] = {}
        self.began: dict[str, threading.Event] = {}
        self.beside: dict[str, set[str]] = {}
        """Which other orders were running when this one's step began."""
        self.running: set[str] = set()
        self.threads: list[threading.Thread] = []
        self.said: dict[str, Outcome | None] = {}
        self.ids: dict[str, str] = {}
        self.store = MemoryStore()

        def step(order: Order) -> Done:
            self.beside[order.order_id] = set(self.running)
            self.running.add(order.order_id)
            self.began[order.order_id].set()
            self.gates[order.order_id].wait(20)
            self.running.discard(order.order_id)
            return Done()

        self.saga = Saga("pool", version=1, input=Order, entity=lambda order: order.order_id, steps=[readonly(step)])
        self.definitions = Definitions([self.saga])
        executor = Executor(str, self.store.clock)
        self.worker = TaskWorker(
            self.store,
            self.definitions,
            executor,
            queues=frozenset({"saga"}),
            publish=lambda _hints: None,
            quiet_s=quiet_s,
        )

    def begin(self, name: str, *, deaths: int = 0) -> None:
        """An order whose step was open in so many processes that died."""
        self.gates[name], self.began[name] = threading.Event(), threading.Event()
        new = new_saga(self.saga, Order(order_id=name), self.store, environment="test", tenant="test")
        self.ids[name] = answer(new, self.store.accept([new])[0]).saga_id
        for number in range(deaths):
            dying = Process(self.store, self.definitions, f"dead-{name}-{number}")
            dying.wake(self.ids[name])
            dying.settle()
            self.store.close_worker(dying.worker_id)

    def message(self, name: str) -> threading.Thread:
        """One message for this order, worked on by a thread of its own."""

        def body() -> None:
            self.said[name] = self.worker.run(self.ids[name], "pool", "step:a")

        thread = threading.Thread(target=body)
        self.threads.append(thread)
        thread.start()
        return thread

    def state(self, name: str) -> SagaState:
        return state_of(self.store, self.definitions, self.ids[name])

    def starts(self, name: str) -> list[bool]:
        """Whether each attempt was to run alone."""
        entries = self.store.load([self.ids[name]])[self.ids[name]]
        return [it.alone for entry in entries for it in decode(entry.body) if isinstance(it, AttemptStarted)]


@pytest.fixture
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    made = Pool(quiet_s=getattr(request, "param", 15.0))
    made.worker._lease.open()
    yield made
    made.worker._lease.close()
    for gate in made.gates.values():
        gate.set()
    for thread in made.threads:
        thread.join(20)


def test_a_suspect_waits_for_its_company_to_end_and_the_others_wait_for_it(pool: Pool) -> None:
    """One message each is enough: none is dropped, the suspect begins with nobody beside it, and nobody begins beside it."""
    pool.begin("SO-slow")
    pool.begin("SO-suspect", deaths=2)
    pool.begin("SO-late")
    pool.message("SO-slow")
    assert pool.began["SO-slow"].wait(10)
    pool.message("SO-suspect")
    pool.gates["SO-slow"].set()
    assert pool.began["SO-suspect"].wait(10)
    late = pool.message("SO-late")
    pool.gates["SO-late"].set()
    pool.gates["SO-suspect"].set()
    late.join(10)
    for thread in pool.threads:
        thread.join(10)
    assert pool.beside["SO-suspect"] == set()
    assert "SO-suspect" not in pool.beside["SO-late"]
    assert {pool.state(name).status for name in pool.ids} == {SagaStatus.COMPLETED}
    assert pool.starts("SO-suspect") == [False, False, True]


def test_nobody_begins_while_a_suspect_waits(pool: Pool) -> None:
    """Or in a pool that is never empty it would wait for ever: the next order begins behind it and not before it."""
    pool.begin("SO-slow")
    pool.begin("SO-suspect", deaths=2)
    pool.message("SO-slow")
    assert pool.began["SO-slow"].wait(10)
    pool.message("SO-suspect")
    names = (f"SO-{number}" for number in range(20))
    assert any(not begins(pool, name) for name in names), "each order began beside the suspect that waits"
    pool.gates["SO-slow"].set()
    assert pool.began["SO-suspect"].wait(10)
    for gate in pool.gates.values():
        gate.set()
    for thread in pool.threads:
        thread.join(15)
    assert pool.beside["SO-suspect"] == set()
    assert {pool.state(name).status for name in pool.ids} == {SagaStatus.COMPLETED}


def begins(pool: Pool, name: str) -> bool:
    """Whether a new order begins within a second; one that does is let end."""
    pool.begin(name)
    pool.message(name)
    has_begun = pool.began[name].wait(1)
    if has_begun:
        pool.gates[name].set()
    return has_begun


@pytest.mark.parametrize("pool", [0.2], indirect=True)
def test_a_suspect_gives_way_when_its_company_does_not_end(pool: Pool) -> None:
    """The due index brings it back; meanwhile the process is not held up by one order."""
    pool.begin("SO-slow")
    pool.begin("SO-suspect", deaths=2)
    pool.begin("SO-late")
    pool.message("SO-slow")
    assert pool.began["SO-slow"].wait(10)
    pool.message("SO-suspect").join(10)
    assert pool.said["SO-suspect"] is None
    assert not pool.began["SO-suspect"].is_set(), "the suspect ran beside another step"
    pool.message("SO-late")
    assert pool.began["SO-late"].wait(10)
    assert pool.beside["SO-late"] == {"SO-slow"}
