"""A restart of the database under two live workers costs time and nothing else."""

import threading
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, readonly
from saga.core.states import SagaStatus
from saga.core.transitions import AttemptEnded, AttemptStarted
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import Starter
from saga.runtime.worker import Worker
from saga.store.codec import decode
from saga.store.opening import open_store
from saga.store.port import WorkerRow
from saga.store.postgres_workers import RENEWAL_SHARE
from saga.store.schema import upgrade
from tests.integration.network.own_server import OwnServer, own_server
from tests.waiting import wait_until

LEASES = 2
LONG_S = 6.0
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
def server() -> Iterator[OwnServer]:
    """Restarting the one on the default port would hit every other test."""
    with own_server() as running:
        yield running


@pytest.mark.timeout(110)
def test_restart_of_the_database_under_two_live_workers(server: OwnServer, short_bounds: dict[str, str]) -> None:
    """Steps are in flight in two workers when the database stops for two leases and comes back. The workers' leases and
    advisory locks are gone then; still nobody takes anything over, no attempt is repeated, and every saga completes."""
    url, gate = server.url, Gate()
    lease_s = float(short_bounds["SAGA_LEASE_S"])

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
        threading.Event().wait(LEASES * lease_s)
        server.start()
        threading.Event().wait(LEASES * lease_s)
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


def test_a_young_server_has_no_dead_workers(server: OwnServer) -> None:
    """Right after a quick restart no worker holds its lock any more, and one has not renewed for a while. Nobody is dead until
    the server is as old as a lease, which every worker has had by then to renew it."""
    upgrade(server.url)
    ours, other = open_store(server.url), open_store(server.url)
    for store, worker_id in ((ours, "ours"), (other, "other")):
        store.register_worker(WorkerRow(worker_id, "host", 1, ("q",), LONG_S))
    begun_at = ours.now()
    server.stop()
    server.start()

    def silent_s() -> float:
        assert ours.renew_lease("ours")
        return (ours.now() - begun_at).total_seconds()

    wait_until(lambda: silent_s() > LONG_S * RENEWAL_SHARE, what="the other to be silent for longer than a lock covers")
    assert (ours.dead_workers(), silent_s() < LONG_S) == ([], True)
    wait_until(lambda: (ours.renew_lease("ours"), ours.dead_workers())[1] == ["other"], 20, what="the death to be seen")
    for store in (ours, other):
        store.close()
