"""What `saga status` reads: the live sagas alone, and the latest alone."""

from dataclasses import replace
from datetime import timedelta

import psycopg

from saga.core.states import HaltReason, SagaStatus
from saga.store.opening import open_store
from saga.store.overview import LiveCount
from saga.store.port import Append, SagaColumns, SagaFilter, Store
from tests.conformance.building import accepted, entry, moved


def halted(store: Store, saga_id: str, reason: HaltReason, due_in_s: float | None) -> None:
    due_at = None if due_in_s is None else store.now() + timedelta(seconds=due_in_s)
    [_] = store.append([Append(saga_id, entry(2, store.now()), SagaColumns(SagaStatus.HALTED, reason, due_at))])


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


READ = "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'saga'"


MANY = """
INSERT INTO saga.saga (saga_id, environment, tenant, definition, version, fingerprint, entity, run, status, accepted_at, ended_at)
SELECT 'old-' || n, 'test', 'shop', 'fulfil_order', 1, 'f', 'old-' || n, 1, 'completed', now() - n * interval '1 s', now()
FROM generate_series(1, 20000) AS n
"""


def test_what_has_ended_is_not_read_for_what_lives(store_postgres_url: str) -> None:
    """PostgreSQL: of 20,000 ended sagas and 5 live ones the reads for the live fetch few rows, and those for the latest as
    many as they go back to."""
    looking = open_store(store_postgres_url)
    for _ in range(5):
        accepted(looking)
    with psycopg.connect(store_postgres_url, autocommit=True) as connection:
        connection.execute(MANY)
        connection.execute("VACUUM ANALYZE saga.saga")
        connection.execute("SELECT pg_stat_force_next_flush()")
        [before] = connection.execute(READ).fetchone() or [0]
        assert sum(it.count for it in looking.live_counts()) == len(looking.live_rows(10)) == 5
        since = looking.horizon(100)
        assert since is not None
        assert looking.find(SagaFilter(statuses=(SagaStatus.HALTED,), since=since), 10) == []
        assert sum(looking.counts(since).values()) == 100
        looking.close()
        connection.execute("SELECT pg_stat_force_next_flush()")
        [after] = connection.execute(READ).fetchone() or [0]
    assert after - before <= 400
