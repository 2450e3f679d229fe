"""What `saga status` reads: the live sagas alone, and the latest alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import event

from saga.core.states import HaltReason, SagaStatus
from saga.scope import EVERYBODY, Scope
from saga.store.overview import HaltedCount, LiveCount
from saga.store.port import Append, SagaColumns, SagaFilter, Store
from saga.store.postgres import PostgresStore
from saga.store.sqlite import SqliteStore
from tests.conformance.building import accepted, entry_of, moved


def halted(store: Store, saga_id: str, reason: HaltReason, due_in_s: float | None) -> None:
    due_at = None if due_in_s is None else store.now() + timedelta(seconds=due_in_s)
    [_] = store.append([Append(saga_id, entry_of(store, saga_id, 2), SagaColumns(SagaStatus.HALTED, reason, due_at))])


def test_live_sagas_are_those_with_a_due_instant(store: Store) -> None:
    """Counted by status and reason with the earliest due instant; listed with the first accepted first. One that ended or
    waits for a person is not among them."""
    first = accepted(store, due_at=store.now() + timedelta(seconds=60))
    second = accepted(store, due_at=store.now() + timedelta(seconds=30))
    down, waiting, ended = (accepted(store).saga_id for _ in range(3))
    halted(store, down, HaltReason.PARTICIPANT_DOWN, 90)
    halted(store, waiting, HaltReason.DEFECT, None)
    store.append([moved(store, ended, 2, SagaStatus.COMPLETED)])
    due_at = store.row(down)
    assert due_at is not None
    assert due_at.due_at is not None
    assert sorted(store.live_counts(), key=lambda it: it.count) == [
        LiveCount(SagaStatus.HALTED, HaltReason.PARTICIPANT_DOWN, 1, due_at.due_at),
        LiveCount(SagaStatus.RUNNING, None, 2, second.due_at),
    ]
    assert [row.saga_id for row in store.live_rows(10)] == [first.saga_id, second.saga_id, down]
    assert [row.saga_id for row in store.live_rows(1)] == [first.saga_id]
    stuck = SagaFilter(statuses=(SagaStatus.HALTED,), is_due=False)
    assert [row.saga_id for row in store.find(stuck, 10)] == [waiting]
    assert [row.saga_id for row in store.find(replace(stuck, is_due=True), 10)] == [down]


def test_halted_sagas_by_reason(store: Store) -> None:
    """Each counted under its reason, whether it heals itself or waits for a person, with the earliest look; listed with the
    first accepted first. One that moves or ended is not among them."""
    defects = [accepted(store).saga_id for _ in range(3)]
    for saga_id in reversed(defects):
        halted(store, saga_id, HaltReason.DEFECT, None)
    down = [accepted(store).saga_id for _ in range(2)]
    for saga_id, due_in_s in zip(down, (90, 60), strict=True):
        halted(store, saga_id, HaltReason.PARTICIPANT_DOWN, due_in_s)
    accepted(store)
    store.append([moved(store, accepted(store).saga_id, 2, SagaStatus.COMPENSATED)])
    first = store.row(down[1])
    assert first is not None
    assert store.halted_counts() == [
        HaltedCount(HaltReason.DEFECT, 3, None),
        HaltedCount(HaltReason.PARTICIPANT_DOWN, 2, first.due_at),
    ]
    assert [row.saga_id for row in store.halted_rows(HaltReason.DEFECT, 2)] == defects[:2]
    assert [row.saga_id for row in store.halted_rows(HaltReason.PARTICIPANT_DOWN, 9)] == down
    assert store.halted_rows(HaltReason.POISON, 9) == []


def test_counts_of_a_span(store: Store) -> None:
    """The first instant counts and the last does not; without a span all are counted."""
    first, second = accepted(store), accepted(store)
    store.append([moved(store, second.saga_id, 2, SagaStatus.COMPENSATED)])
    rows = [store.row(first.saga_id), store.row(second.saga_id)]
    one, two = (row.accepted_at for row in rows if row is not None)
    later = two + timedelta(seconds=1)
    found = [store.counts(since, until) for since, until in ((one, two), (two, later), (one, later), (None, two))]
    assert [(it[SagaStatus.RUNNING], it[SagaStatus.COMPENSATED]) for it in found] == [(1, 0), (0, 1), (1, 1), (1, 0)]
    assert store.counts(later) == dict.fromkeys(SagaStatus, 0)


def test_the_horizon_is_where_so_many_were_accepted(store: Store) -> None:
    """From there on there are so many; with fewer there is none. A search from there on finds those alone."""
    ids = [accepted(store).saga_id for _ in range(3)]
    at = store.horizon(2)
    assert at is not None
    assert [row.saga_id for row in store.find(SagaFilter(since=at), 10)] == [ids[2], ids[1]]
    assert store.horizon(4) is None


SHOP = Scope("test", ("shop",))
READ = "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'saga'"


MANY = """
INSERT INTO saga.saga (saga_id, environment, tenant, definition, version, fingerprint, entity, run, status, accepted_at, ended_at)
SELECT 'old-' || n, 'test', 'shop', 'fulfil_order', 1, 'f', 'old-' || n, 1, 'completed', now() - n * interval '1 s', now()
FROM generate_series(1, 20000) AS n
"""


@contextmanager
def rows_read(url: str) -> Iterator[list[int]]:
    """Behind 20,000 sagas that have ended: how many rows of sagas were read meanwhile."""
    read: list[int] = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(MANY)
        connection.execute("VACUUM ANALYZE saga.saga")
        connection.execute("SELECT pg_stat_force_next_flush()")
        [before] = connection.execute(READ).fetchone() or [0]
        yield read
        connection.execute("SELECT pg_stat_force_next_flush()")
        [after] = connection.execute(READ).fetchone() or [0]
    read.append(after - before)


def test_what_has_ended_is_not_read_for_what_lives(store_postgres_url: str) -> None:
    """PostgreSQL: of 20,000 ended sagas and 5 live ones the reads for the live fetch few rows, and those for the latest as
    many as they go back to."""
    looking = PostgresStore(store_postgres_url, scope=SHOP)
    for _ in range(5):
        accepted(looking)
    with rows_read(store_postgres_url) as read:
        assert sum(it.count for it in looking.live_counts()) == len(looking.live_rows(10)) == 5
        since = looking.horizon(100)
        assert since is not None
        assert looking.find(SagaFilter(statuses=(SagaStatus.HALTED,), since=since), 10) == []
        assert sum(looking.counts(since).values()) == 100
        looking.close()
    assert read[0] <= 400


def test_what_has_ended_is_not_read_for_what_halted(store_postgres_url: str) -> None:
    """PostgreSQL: three halted sagas, older than 20,000 that ended, are counted and listed from their own index."""
    looking = PostgresStore(store_postgres_url, scope=SHOP)
    ids = [accepted(looking).saga_id for _ in range(3)]
    for saga_id in ids:
        halted(looking, saga_id, HaltReason.DEFECT, None)
    with psycopg.connect(store_postgres_url, autocommit=True) as connection:
        connection.execute("UPDATE saga.saga SET accepted_at = accepted_at - interval '1 day'")
    with rows_read(store_postgres_url) as read:
        assert [it.count for it in looking.halted_counts()] == [3]
        assert [row.saga_id for row in looking.halted_rows(HaltReason.DEFECT, 10)] == ids
        assert len(looking.find(SagaFilter(statuses=(SagaStatus.HALTED,)), 50)) == 3
        looking.close()
    assert read[0] <= 100


@pytest.mark.parametrize("wanted", ["old-15000", "old-1500", "new-1", "nowhere"])
def test_one_saga_is_found_without_reading_the_others(store_postgres_url: str, wanted: str) -> None:
    """PostgreSQL, of several owners: a look-up by entity, by a prefix, and of a definition that nobody has."""
    looking = PostgresStore(store_postgres_url, scope=Scope("test"))
    accepted(looking, entity="new-1", tenant="other", definition="return_order")
    with rows_read(store_postgres_url) as read:
        found = looking.find(SagaFilter(entity=wanted), 200)
        assert [row.entity for row in found] == ([] if wanted == "nowhere" else [wanted])
        begun = looking.find(SagaFilter(id_prefix=wanted), 200)
        assert len({row.entity for row in begun}) == {"old-1500": 11, "nowhere": 0}.get(wanted, 1)
        for scope in (Scope("test"), SHOP):
            asking = PostgresStore(store_postgres_url, scope=scope)
            assert asking.find(SagaFilter(definition="misspelt"), 1) == []
            asking.close()
        looking.close()
    assert read[0] <= 400


@pytest.mark.parametrize("scope", [EVERYBODY, SHOP], ids=str)
def test_sqlite_finds_them_by_an_index(scope: Scope, store_sqlite_url: str) -> None:
    """SQLite: no search for halted sagas, an entity or a prefix scans the table; nor all sagas of a tenant, which may be nearly
    all there are, and the latest and the live are found in their own order."""
    looking = SqliteStore(store_sqlite_url, scope=scope)
    accepted(looking)
    plans: list[str] = []

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "WITH")):
            asked = connection.connection.driver_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in asked.fetchall())

    event.listen(looking.engine, "before_cursor_execute", explain)
    looking.halted_counts()
    looking.halted_rows(HaltReason.DEFECT, 10)
    looking.find(SagaFilter(statuses=(SagaStatus.HALTED,)), 50)
    looking.find(SagaFilter(entity="SO-1"), 50)
    looking.find(SagaFilter(id_prefix="SO-1"), 50)
    looking.find(SagaFilter(), 50)
    looking.live_counts()
    looking.live_rows(50)
    looking.close()
    for index, times in {"saga_halted": 3, "saga_list": 1, "saga_due": 2}.items():
        assert len([it for it in plans if index in it]) == times, plans
        plans = [it for it in plans if index not in it]
    whole = [it for it in plans if it.startswith("SCAN saga") or it.endswith("(environment=? AND tenant=?)")]
    first = "SEARCH saga USING COVERING INDEX sqlite_autoindex_saga_2 (environment=? AND tenant=?)"
    if scope is EVERYBODY:
        first = "SCAN saga USING COVERING INDEX sqlite_autoindex_saga_2"
    assert set(whole) == {first}, "owners, one by one"
