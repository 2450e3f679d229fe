"""Behind a pooler in transaction mode the store does without advisory locks and prepared statements, and is right."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from saga.store.port import AppendResult, WorkerRow
from saga.store.postgres import PostgresStore
from tests.conformance.building import accepted, append_of, new_id, new_saga
from tests.conformance.pooling import Pooler


@pytest.fixture
def behind_pooler(store_postgres_url: str) -> Iterator[PostgresStore]:
    """A store that reaches its database through a proxy which greets as a pooler does."""
    with Pooler(store_postgres_url) as pooler:
        threading.Thread(target=pooler.serve_forever, daemon=True).start()
        url = make_url(store_postgres_url).set(host="127.0.0.1", port=pooler.server_address[1], query={})
        store = PostgresStore(url.update_query_dict({"sslmode": "disable"}).render_as_string(hide_password=False))
        yield store
        store.close()
        pooler.shutdown()


def test_a_pooler_is_noticed(behind_pooler: PostgresStore, store_postgres_url: str) -> None:
    """It is told by the greeting; a direct connection is not taken for one."""
    direct = PostgresStore(store_postgres_url)
    assert behind_pooler._connections.pooled
    assert not direct._connections.pooled
    direct.close()


def test_a_worker_has_its_lease_and_no_lock(behind_pooler: PostgresStore, store_postgres_url: str) -> None:
    """No lock is taken or promised, and it may renew: a free lock would make every worker look dead."""
    worker_id = new_id("w")
    behind_pooler.register_worker(WorkerRow(worker_id, "h", 1, ()))
    assert behind_pooler.renew_lease(worker_id)
    with psycopg.connect(store_postgres_url) as connection:
        rows = connection.execute("SELECT lock_key FROM saga.worker").fetchall()
        locks = connection.execute(
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchall()
    assert (rows, locks) == ([(None,)], [])
    assert behind_pooler.dead_workers() == []


def test_nothing_is_prepared_and_nothing_leaks(behind_pooler: PostgresStore, store_postgres_url: str) -> None:
    """After twenty appends the session holds no prepared statement, and the pins are gone from it."""
    saga_id = accepted(behind_pooler).saga_id
    for seq in range(2, 22):
        assert behind_pooler.append([append_of(behind_pooler, saga_id, seq)]) == [AppendResult.APPENDED]
    behind_pooler.accept([new_saga(behind_pooler) for _ in range(3)])
    with behind_pooler._connections._borrowed() as session:
        assert session.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
        assert session.execute("SHOW enable_seqscan").fetchone() == ("on",)
