"""A worker whose connections to the database are swallowed: nobody closes them and nothing comes back."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from pydantic import BaseModel

from saga.clock import monotonic
from saga.core.definition import Saga, readonly
from saga.core.states import SagaStatus
from saga.errors import StoreUnavailable
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import Starter
from saga.runtime.worker import Worker
from saga.store.opening import open_store
from saga.store.port import Store, WorkerRow
from saga.store.postgres_connections import PostgresConnections, Session
from saga.store.postgres_workers import PostgresWorkers
from saga.store.walls import Walled
from services.skeleton.database import Database
from tests.chaos.proxy import Proxy
from tests.integration.network.conftest import BOUNDS
from tests.waiting import wait_until

BOUND_S = 12.0
"""Of a worker with the bounds of these tests, on a machine with other work; the walls themselves are a second each."""
LEASE_S = float(BOUNDS["SAGA_LEASE_S"])
LOCK = b"saga worker"


class Order(BaseModel):
    order_id: str


class Done(BaseModel):
    ok: bool = True


class Bench:
    """Orders that are started on the direct way, and a worker that reaches the database through the proxy."""

    def __init__(self, direct_url: str, far_url: str) -> None:
        self.gate, self.began = threading.Event(), threading.Event()
        self.gate.set()
        self.ran: list[str] = []
        self.is_stopped = False

        def step(order: Order) -> Done:
            self.ran.append(order.order_id)
            self.began.set()
            self.gate.wait(30)
            return Done()

        def last(done: Done) -> Done:
            return done

        self.saga = Saga(
            "far", version=1, input=Order, entity=lambda it: it.order_id, steps=[readonly(step), readonly(last)]
        )
        self.definitions = Definitions([self.saga])
        self.near = open_store(direct_url)
        self.far = open_store(far_url)
        self.definitions.register(self.near)
        self.starter = Starter(self.near, environment="test", tenant="test")
        self.worker = Worker(self.far, self.definitions, Executor(str, self.far.clock))
        self.worker.start()

    def start(self, order_id: str) -> str:
        return self.starter.start(self.saga, Order(order_id=order_id)).saga_id

    def has_ended(self, saga_id: str) -> bool:
        row = self.near.row(saga_id)
        return row is not None and row.status is SagaStatus.COMPLETED

    def stop(self) -> bool:
        """Once: what did not end is waited for no second time."""
        self.is_stopped = True
        return self.worker.stop(1)

    def close(self) -> None:
        self.gate.set()
        if not self.is_stopped:
            self.stop()
        self.starter.stop()
        self.far.close()
        self.near.close()


@pytest.fixture
def bench(direct_url: str, far_url: str, proxy: Proxy) -> Iterator[Bench]:
    made = Bench(direct_url, far_url)
    yield made
    proxy.cut()  # nobody waits for what is swallowed while the worker ends
    proxy.heal()
    made.close()


@pytest.mark.timeout(60)
def test_a_worker_whose_connections_were_forgotten_goes_on_with_new_ones(bench: Bench, proxy: Proxy) -> None:
    """A firewall forgot every flow, in the middle of a step: its outcome is written, and later orders run, within the bound."""
    assert bench.has_ended(bench.start("SO-1")) or wait_until(lambda: len(bench.ran) == 1)
    bench.gate.clear()
    bench.began.clear()
    second = bench.start("SO-2")
    assert bench.began.wait(BOUND_S)
    assert proxy.swallow() >= 2
    bench.gate.set()
    third = bench.start("SO-3")
    wait_until(lambda: bench.has_ended(second) and bench.has_ended(third), BOUND_S, what="both orders to end")
    assert bench.ran.count("SO-2") == 1


@pytest.mark.timeout(60)
def test_a_worker_that_cannot_know_that_its_row_is_open_starts_nothing_and_says_so(
    bench: Bench, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """The database takes everything and answers nothing. One line says that the lease is not known, the process claims nothing,
    and when the database answers again it goes on by itself."""
    before = bench.worker.worker_id
    with caplog.at_level(logging.WARNING, "saga"):
        proxy.swallow(new=True)
        wait_until(lambda: "lease_unknown" in caplog.text, BOUND_S)
        saga_id = bench.start("SO-1")
        assert not bench.worker._consumes("far", None)  # type: ignore[arg-type]  # asked before its argument is looked at
        proxy.heal()
        wait_until(lambda: bench.has_ended(saga_id), BOUND_S)
    assert caplog.text.count("lease_unknown") == 1
    assert bench.ran == ["SO-1"]
    assert bench.worker.worker_id == before, (
        "nobody else was there to close its row, and the process did not close it itself"
    )
    assert bench.near.worker_is_open([before]) == {before: True}


@pytest.mark.timeout(60)
def test_a_dead_connection_of_the_lock_alone_costs_neither_the_lease_nor_the_id(bench: Bench, proxy: Proxy) -> None:
    """Only the flow that holds the advisory lock is forgotten: the lease is renewed on a new one in time, so nobody finds the
    process dead, and it goes on under its id."""
    before = bench.worker.worker_id
    assert proxy.swallow(containing=LOCK) == 1
    gone: list[str] = []
    ends_at = monotonic() + 4

    def watched() -> bool:
        gone.extend(bench.near.dead_workers())
        return monotonic() >= ends_at

    wait_until(watched, BOUND_S)
    assert gone == []
    saga_id = bench.start("SO-1")
    wait_until(lambda: bench.has_ended(saga_id), BOUND_S)
    assert bench.worker.worker_id == before


@pytest.mark.timeout(60)
def test_a_lost_lease_ends_what_the_old_connections_wait_for(
    far_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement may take a minute here, and two threads wait for answers that never come. Once a lease has passed without a
    renewal both waits are ended, and both have their answers on new connections as soon as there are any."""
    monkeypatch.setenv("SAGA_STATEMENT_S", "60")
    connections = PostgresConnections(far_url, 2)
    workers = PostgresWorkers(connections, lambda _now, _asked: None)
    workers.register(WorkerRow("ours", "host", 1, (), LEASE_S))
    two = threading.Barrier(2)

    def together(session: Session) -> None:
        two.wait(20)
        session.execute("SELECT 1")

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _number: connections.run(together, "make two connections"), range(2)))
        assert proxy.swallow(new=True) >= 2 + 1  # theirs and that of the lock
        waiting = [threads.submit(connections.run, _one, "wait") for _ in range(2)]
        ends_at = monotonic() + LEASE_S
        try:
            while monotonic() < ends_at:
                with pytest.raises(StoreUnavailable):
                    workers.renew("ours")
            proxy.heal()
            assert [it.result(BOUND_S) for it in waiting] == [1, 1]
            assert workers.renew("ours")
        finally:
            proxy.cut()  # a thread that waits yet does so no longer
    workers.close()
    connections.close()


def _one(session: Session) -> object:
    row = session.execute("SELECT 1").fetchone()
    return row and row[0]


def test_an_answer_that_comes_in_drops_is_cut_at_the_wall(direct_url: str) -> None:
    """Three tenths of a second between the rows of an answer that takes six seconds, each more than the server keeps back."""
    connection = Walled.connect(direct_url, autocommit=True)
    connection.wall_s = 1.0
    asked_at = monotonic()
    with pytest.raises(psycopg.OperationalError, match="no answer within 1 s"):
        connection.execute("SELECT repeat('x', 20000), pg_sleep(0.3) FROM generate_series(1, 20)")
    assert 1.0 <= monotonic() - asked_at < 4.0
    assert connection.closed


@pytest.mark.timeout(60)
def test_a_worker_is_stopped_in_its_time_although_the_database_does_not_answer(bench: Bench, proxy: Proxy) -> None:
    """With an outcome that cannot be written: the grace of a second, and ten more at most."""
    bench.gate.clear()
    bench.start("SO-1")
    assert bench.began.wait(BOUND_S)
    proxy.swallow(new=True)
    bench.gate.set()
    asked_at = monotonic()
    assert not bench.stop()
    assert monotonic() - asked_at < 1 + 10 + 1


CALLS: dict[str, Callable[[Store], object]] = {
    "hand back": lambda store: store.hand_back(["x"]),
    "counts": lambda store: store.counts(),
    "sweep": lambda store: store.sweep_due(1, 1.0),
    "dead": lambda store: store.dead_workers(),
    "renew": lambda store: store.renew_lease("nobody"),
    "now": lambda store: store.now(),
}


@pytest.mark.timeout(60)
def test_every_call_of_a_store_comes_back(far_url: str, proxy: Proxy) -> None:
    """Whatever is asked while nothing answers, old connection or new one: an error that says what to do, within the bound."""
    stores = {name: open_store(far_url) for name in CALLS}
    proxy.swallow(new=True)

    def takes_s(name: str) -> float:
        asked_at = monotonic()
        with pytest.raises(StoreUnavailable, match="may be repeated"):
            CALLS[name](stores[name])
        return monotonic() - asked_at

    with ThreadPoolExecutor(len(CALLS)) as threads:
        asked = {name: threads.submit(takes_s, name) for name in CALLS}
        try:
            took = {name: it.result(BOUND_S) for name, it in asked.items()}
        finally:
            proxy.cut()  # a thread that waits yet does so no longer
    assert max(took.values()) < 1 + 3 + 1 + 3, took
    for store in stores.values():
        store.close()


def test_the_kernel_and_the_server_have_the_bound_too(far_url: str) -> None:
    """A dead peer is given up by the kernel after SAGA_SILENCE_S, and the server ends what its client waits for no more."""
    connections = PostgresConnections(far_url, 1)

    def options(session: psycopg.Connection[tuple[object, ...]]) -> tuple[list[int], object]:
        shown = session.execute("SHOW statement_timeout").fetchone()
        assert shown is not None
        return kernel_bounds(session.fileno()), shown[0]

    assert connections.run(options, "look") == ([2000, 1, 1, 1], "900ms")
    connections.close()


def kernel_bounds(number: int) -> list[int]:
    """Of an open socket: how long it waits for a sign of life (ms), from when on and how often it asks (s), and whether it does."""
    with socket.socket(fileno=number) as mine:
        try:
            names = (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)
            facts = [mine.getsockopt(socket.IPPROTO_TCP, name) for name in names]
            return [*facts, mine.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)]
        finally:
            mine.detach()


def test_a_service_gives_a_dead_database_up_as_well(far_url: str) -> None:
    """Its connections have the kernel's bound, of ten seconds."""
    database = Database(far_url)
    bounds = database.read(lambda connection: kernel_bounds(connection.connection.driver_connection.fileno()))  # type: ignore[union-attr]
    assert bounds == [10_000, 5, 2, 1]
    database.close()
