"""PostgreSQL only: statistics of tiny tables must not make a hot statement read whole tables later (DESIGN section 10)."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from saga.core.states import SagaStatus
from saga.scope import EVERYBODY, Scope
from saga.store.opening import open_store
from saga.store.port import AppendResult
from saga.store.postgres import PostgresStore
from tests.conformance.building import accepted, append_of, moved, new_saga

SCANS = "SELECT coalesce(sum(seq_scan), 0) FROM pg_stat_user_tables WHERE relname IN ('saga', 'journal', 'request')"


SCOPES = pytest.mark.parametrize("scope", [EVERYBODY, Scope("test"), Scope("test", ("shop",))], ids=str)


@pytest.fixture
def analysed(scope: Scope, store_postgres_url: str) -> Iterator[PostgresStore]:
    """A store whose tables were analysed when they held five sagas: a sequential scan is what the planner would take."""
    store = PostgresStore(store_postgres_url, scope=scope)
    for _ in range(5):
        accepted(store)
    with psycopg.connect(store_postgres_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE saga.saga, saga.journal, saga.request")
    yield store
    store.close()


@SCOPES
def test_hot_statements_never_scan_a_table(analysed: PostgresStore, store_postgres_url: str) -> None:
    """Twelve groups of accept, append, load and sweep on such tables: not one sequential scan by this store."""
    with psycopg.connect(store_postgres_url, autocommit=True) as connection:
        before = connection.execute(SCANS).fetchone()
        for _ in range(12):
            group = [new_saga(analysed, request_key=None) for _ in range(20)]
            analysed.accept(group)
            appends = [append_of(analysed, new.saga_id, 2) for new in group]
            assert analysed.append(appends) == [AppendResult.APPENDED] * 20
            analysed.append(appends)
            analysed.load([new.saga_id for new in group])
            analysed.sweep_due(5, 5.0)
        # A session reports what it counted when it ends, at the latest.
        analysed.close()
        connection.execute("SELECT pg_stat_force_next_flush()")
        assert connection.execute(SCANS).fetchone() == before


@SCOPES
def test_an_append_is_planned_once(analysed: PostgresStore) -> None:
    """For each session, and not for each group."""
    for _ in range(8):
        saga_id = accepted(analysed).saga_id
        assert analysed.append([append_of(analysed, saga_id, 2)]) == [AppendResult.APPENDED]
        assert analysed.append([moved(analysed, saga_id, 3, SagaStatus.HALTED)]) == [AppendResult.APPENDED]
    planned = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE '%%INSERT INTO saga.journal%%SELECT * FROM unnest%%'"
    found = analysed._connections.run(lambda session: session.execute(planned).fetchall(), "plans")
    assert len(found) >= 2
    assert [row for row in found if row[1] or not row[0]] == []


@SCOPES
def test_a_sweep_of_a_backlog_reads_what_it_takes(scope: Scope, store_postgres_url: str) -> None:
    """Of 3,000 due sagas in tables that were never analysed: in the order of the due index, and no further than the limit."""
    filling, sweeping = open_store(store_postgres_url), PostgresStore(store_postgres_url, scope=scope)
    due_at = filling.now() - timedelta(minutes=1)
    for _ in range(30):
        filling.accept([new_saga(filling, request_key=None, due_at=due_at) for _ in range(100)])
    filling.close()
    with psycopg.connect(store_postgres_url, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        [before] = connection.execute(FETCHED).fetchone() or [0]
        assert len(sweeping.sweep_due(10, 5.0)) == 10
        sweeping.close()
        connection.execute("SELECT pg_stat_force_next_flush()")
        [after] = connection.execute(FETCHED).fetchone() or [0]
    assert after - before <= 50


FETCHED = "SELECT coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'saga'"


@SCOPES
def test_a_sweep_reads_no_row_that_is_not_due(scope: Scope, store_postgres_url: str) -> None:
    """The due instant bounds the index: a sweep four times a second must not read every live saga to find none."""
    filling, sweeping = open_store(store_postgres_url), PostgresStore(store_postgres_url, scope=scope)
    later = filling.now() + timedelta(hours=1)
    filling.accept([new_saga(filling, request_key=None, due_at=later) for _ in range(60)])
    filling.close()
    with psycopg.connect(store_postgres_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE saga.saga")
        connection.execute("SELECT pg_stat_force_next_flush()")
        [before] = connection.execute(FETCHED).fetchone() or [0]
        assert sweeping.sweep_due(64, 5.0) == []
        sweeping.close()
        connection.execute("SELECT pg_stat_force_next_flush()")
        [after] = connection.execute(FETCHED).fetchone() or [0]
    assert after - before == 0
