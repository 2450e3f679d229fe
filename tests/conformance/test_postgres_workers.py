"""PostgreSQL only: the advisory lock tells a dead process at once, and a cut connection kills nobody."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from saga.clock import monotonic
from saga.errors import StoreUnavailable, UsageError
from saga.store.opening import open_store
from saga.store.port import AppendResult, Store, WorkerRow
from saga.store.postgres_workers import lock_key_of
from tests.conformance.building import accepted, append_of, new_id
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
LONG_LEASE_S = 60.0


@pytest.fixture
def postgres_store(store_postgres_url: str) -> Iterator[Store]:
    """A store on PostgreSQL."""
    store = open_store(store_postgres_url)
    yield store
    store.close()


def lock_holders(url: str, worker_id: str) -> list[int]:
    """Server processes that hold the worker's lock."""
    key = lock_key_of(worker_id)
    query = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = %s AND objid::bigint = %s"
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(query, (key >> 32, key & 0xFFFFFFFF))]


def terminate(url: str, condition: str, *values: object) -> int:
    """End the server processes of this database that the condition names; how many."""
    query = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND {condition}"
    with psycopg.connect(url) as connection:
        return len(connection.execute(query, values).fetchall())


def test_a_killed_process_is_dead_within_four_seconds(postgres_store: Store, store_postgres_url: str) -> None:
    """kill -9 with a lease of 60 s: alive before, dead within 4 s, and closing it wakes its saga."""
    saga_id, worker_id = accepted(postgres_store).saga_id, new_id("child")
    command = [sys.executable, "-m", "tests.conformance.registering"]
    arguments = [store_postgres_url, worker_id, str(LONG_LEASE_S), saga_id]
    with subprocess.Popen([*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "registered\n"
            wait_until(lambda: lock_holders(store_postgres_url, worker_id))
            assert postgres_store.dead_workers() == []
        finally:
            os.kill(child.pid, signal.SIGKILL)
    killed_at = monotonic()
    wait_until(lambda: postgres_store.dead_workers() == [worker_id], 4.0, what="the death to be seen")
    assert monotonic() - killed_at <= 4.0
    assert postgres_store.close_worker(worker_id) == 1
    assert [due.saga_id for due in postgres_store.sweep_due(10, 5.0)] == [saga_id]


def test_a_cut_lock_connection_kills_nobody(postgres_store: Store, store_postgres_url: str) -> None:
    """The server ends the lock's connection: the worker is never seen dead and takes the lock again when it renews."""
    worker_id = new_id("w")
    postgres_store.register_worker(WorkerRow(worker_id, "h", 1, (), LONG_LEASE_S))
    [first] = lock_holders(store_postgres_url, worker_id)
    assert terminate(store_postgres_url, "pid = %s", first) == 1
    wait_until(lambda: lock_holders(store_postgres_url, worker_id) == [])
    assert postgres_store.dead_workers() == []
    assert postgres_store.renew_lease(worker_id)
    [second] = lock_holders(store_postgres_url, worker_id)
    assert second != first
    assert postgres_store.dead_workers() == []


def test_closing_gives_the_lock_back(postgres_store: Store, store_postgres_url: str) -> None:
    """A worker that leaves holds no lock, and neither does a closed store."""
    one, two = new_id("w"), new_id("w")
    postgres_store.register_worker(WorkerRow(one, "h", 1, ()))
    postgres_store.close_worker(one)
    wait_until(lambda: lock_holders(store_postgres_url, one) == [])
    postgres_store.register_worker(WorkerRow(two, "h", 1, ()))
    postgres_store.close()
    wait_until(lambda: lock_holders(store_postgres_url, two) == [])


def test_every_connection_terminated_under_load_is_survived(postgres_store: Store, store_postgres_url: str) -> None:
    """All sessions are ended eight times between appends: each append is APPENDED, and the journal has no gap."""
    saga_id = accepted(postgres_store).saga_id
    for seq in range(2, 10):
        terminate(store_postgres_url, "pid <> pg_backend_pid()")
        assert postgres_store.append([append_of(postgres_store, saga_id, seq)]) == [AppendResult.APPENDED]
    assert [one.seq for one in postgres_store.tail(saga_id, 0)] == list(range(1, 10))
    assert postgres_store.counts()


def test_a_database_that_is_away_is_said_to_be(store_postgres_url: str) -> None:
    """Nothing listens at the address: StoreUnavailable, after a bounded time."""
    nowhere = "postgresql://root@127.0.0.1:1/saga"
    started_at = monotonic()
    with pytest.raises(StoreUnavailable, match="may be repeated"):
        open_store(nowhere)
    assert monotonic() - started_at < 10


def test_a_store_is_refused_in_a_child(postgres_store: Store) -> None:
    """Across fork every call is a UsageError that names both processes; the parent's store goes on."""
    created_in = os.getpid()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            postgres_store.counts()
        except UsageError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        told = answers.read().decode()
    os.waitpid(child, 0)
    assert f"created in pid {created_in}" in told
    assert f"pid {child}" in told
    assert postgres_store.counts()


def test_an_open_insert_of_the_number_is_waited_out(postgres_store: Store, store_postgres_url: str) -> None:
    """Somebody else's open insert of the same number holds an append up; it is answered once he lets go."""
    saga_id = accepted(postgres_store).saga_id
    offered = append_of(postgres_store, saga_id, 2)
    with psycopg.connect(store_postgres_url) as other:
        other.execute(
            "INSERT INTO saga.journal SELECT saga_id, 2, at, 'other', actor, reason, body, prev_hash, 1"
            " FROM saga.journal WHERE saga_id = %s",
            (saga_id,),
        )
        with psycopg.connect(store_postgres_url, autocommit=True) as watcher, ThreadPoolExecutor(1) as thread:
            appending = thread.submit(postgres_store.append, [offered])
            blocked = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            wait_until(lambda: watcher.execute(blocked).fetchone())
            other.rollback()
            assert appending.result(10) == [AppendResult.APPENDED]
