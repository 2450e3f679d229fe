"""A process knows the database's time from its answers, however its own clock runs (RELIABILITY 24)."""

from collections.abc import Callable, Iterator

import pytest

from saga.store.port import WorkerRow
from saga.store.postgres import PostgresStore
from tests.conformance.building import new_id, new_saga

LEASE_S = 5.0


@pytest.fixture
def store(store_postgres_url: str) -> Iterator[PostgresStore]:
    """A store whose clock came to be an hour off: a machine that was suspended, a database that moved to another server."""
    opened = PostgresStore(store_postgres_url)
    yield opened
    opened.close()


def renewed(store: PostgresStore) -> Callable[[], object]:
    worker_id = new_id("w")
    store.register_worker(WorkerRow(worker_id, "h", 1, (), LEASE_S))
    return lambda: store.renew_lease(worker_id)


def looked(store: PostgresStore) -> Callable[[], object]:
    return store.dead_workers


def accepts(store: PostgresStore) -> Callable[[], object]:
    new = new_saga(store)  # which asks for the time
    return lambda: store.accept([new])


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("prepare", [renewed, looked, accepts])
def test_the_clock_is_steered_by_what_a_process_does_anyway(
    store: PostgresStore, hours: int, prepare: Callable[[PostgresStore], Callable[[], object]]
) -> None:
    """The lease every second, the look for the dead, an accept: after any of them the hour is gone."""
    ask = prepare(store)
    offset = store._clock._offset
    assert offset is not None
    store._clock._offset = offset + hours * 3600
    ask()
    told = store.clock()
    assert abs((store.now() - told).total_seconds()) < 1
