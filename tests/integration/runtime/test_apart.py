"""Workers of several environments and tenants on one database: each runs its own, and the wrong one never calls anybody."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from saga.clock import SystemClock
from saga.core.definition import Saga, readonly
from saga.core.events import CancelAsked
from saga.errors import SagaNotFound, UsageError
from saga.runtime.engine import Definitions, tell
from saga.runtime.executor import Executor
from saga.runtime.starting import Starter
from saga.runtime.task import TaskWorker
from saga.runtime.worker import Worker
from saga.scope import Scope
from saga.store import schema
from saga.store.memory import MemoryStore
from saga.store.port import Store
from saga.store.sqlite import SqliteStore
from tests.waiting import wait_until

SHOP, STAGING, OTHER = Scope("production", ("shop",)), Scope("staging", ("shop",)), Scope("production", ("other",))
OpenFor = Callable[[Scope], Store]


class Order(BaseModel):
    order_id: str


class Done(BaseModel):
    ok: bool = True


@dataclass
class Side:
    """A process that works for some: its store, its participants, and which orders came to them."""

    scope: Scope
    store: Store
    called: list[str] = field(default_factory=list)

    @property
    def saga(self) -> Saga[Any]:
        def charge(order: Order) -> Done:
            self.called.append(order.order_id)
            return Done()

        return Saga(
            "shop", version=1, input=Order, entity=lambda order: order.order_id, steps=[readonly(charge, queue="q")]
        )

    def start(self, order_id: str) -> str:
        """An order of the first of its tenants, due at once."""
        assert self.scope.environment is not None
        assert self.scope.tenants is not None
        starter = Starter(self.store, environment=self.scope.environment, tenant=self.scope.tenants[0])
        saga_id = starter.start(self.saga, Order(order_id=order_id)).saga_id
        starter.stop()
        self.store.hand_back([saga_id])
        return saga_id

    def has_ended(self, saga_id: str) -> bool:
        row = self.store.row(saga_id)
        return row is not None and row.ended_at is not None

    def worker(self, driver: str) -> Worker | TaskWorker:
        definitions, executor = Definitions([self.saga]), Executor(str, self.store.clock)
        if driver == "process":
            return Worker(self.store, definitions, executor)
        alone: dict[str, Any] = {"publish": lambda _hints: None, "broker_is_away": lambda: True}
        return TaskWorker(self.store, definitions, executor, queues=frozenset({"q"}), **alone)


@pytest.fixture(params=["memory", "sqlite"])
def open_for(request: pytest.FixtureRequest, sqlite_url: str) -> Iterator[OpenFor]:
    """One database, past its binding to an environment: the filters are what is looked at here."""
    opened: list[Store] = []
    shared = MemoryStore()
    if request.param == "sqlite":
        schema.upgrade(sqlite_url)

    def open_one(scope: Scope) -> Store:
        opened.append(shared.of(scope) if request.param == "memory" else SqliteStore(sqlite_url, scope=scope))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


def run(side: Side, driver: str, until: str, *, told: Sequence[str] = ()) -> None:
    """A worker of that side, until a saga of its own has ended; first it is told of some, as by messages on a queue that two
    environments share."""
    worker = side.worker(driver)
    worker.start()
    try:
        for saga_id in told:
            if isinstance(worker, Worker):
                worker.wake([saga_id])
            else:
                assert worker.run(saga_id, "shop", "charge:a") is None
        wait_until(lambda: side.has_ended(until), 20, what="its own order to end")
    finally:
        worker.stop()


@pytest.mark.parametrize("driver", ["process", "task"])
@pytest.mark.parametrize("wrong", [STAGING, OTHER], ids=str)
def test_a_worker_runs_its_own_alone(open_for: OpenFor, driver: str, wrong: Scope) -> None:
    """An order that is due, and that the wrong worker is told of, is left as it is, while its own order, which came later, ends;
    then the right worker ends it, at its own participants."""
    ours, theirs = Side(SHOP, open_for(SHOP)), Side(wrong, open_for(wrong))
    order, later = ours.start("SO-1"), theirs.start("SO-2")
    before = ours.store.load([order])
    run(theirs, driver, later, told=[order])
    assert (set(theirs.called), ours.store.load([order])) == ({"SO-2"}, before)
    run(ours, driver, order, told=[later])
    assert (set(theirs.called), set(ours.called)) == ({"SO-2"}, {"SO-1"})


def test_one_worker_may_run_several_tenants(open_for: OpenFor) -> None:
    """Of one environment: those that are named, or all; another environment's not."""
    sides = [Side(scope, open_for(scope)) for scope in (SHOP, OTHER, STAGING)]
    ids = [side.start("SO-1") for side in sides]
    both = Side(Scope("production"), open_for(Scope("production")))
    worker = both.worker("process")
    worker.start()
    try:
        wait_until(lambda: all(side.has_ended(it) for side, it in zip(sides[:2], ids[:2], strict=True)), 20)
    finally:
        worker.stop()
    assert len(sides[2].store.load([ids[2]])[ids[2]]) == 1


def test_nothing_is_told_to_a_saga_of_somebody_else(open_for: OpenFor) -> None:
    """A cancel by its id is of a saga that is not there, and nothing is written."""
    ours, theirs = Side(SHOP, open_for(SHOP)), Side(OTHER, open_for(OTHER))
    order = ours.start("SO-1")
    asked = CancelAsked(SystemClock().now(), "somebody", "by mistake")
    with pytest.raises(SagaNotFound):
        tell(theirs.store, Definitions([theirs.saga]), order, asked, actor="cli")
    assert len(ours.store.load([order])[order]) == 1


@pytest.mark.parametrize("owner", [("production", "other"), ("staging", "shop")], ids=str)
def test_no_saga_is_started_that_the_process_could_not_see(open_for: OpenFor, owner: tuple[str, str]) -> None:
    """A starter of another tenant or environment than its store: refused, nothing is stored."""
    store = open_for(SHOP)
    starter = Starter(store, environment=owner[0], tenant=owner[1])
    try:
        with pytest.raises(UsageError, match="this store was opened for environment production, tenant shop"):
            starter.start(Side(SHOP, store).saga, Order(order_id="SO-1"))
    finally:
        starter.stop()
    assert set(open_for(Scope(owner[0], owner[1:])).counts().values()) == {0}
