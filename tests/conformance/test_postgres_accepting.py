"""PostgreSQL only: somebody else's open transaction already holds the order or the key that is offered."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import create_engine

from saga.store.joining import accept_on
from saga.store.opening import open_store
from saga.store.port import AcceptStatus, NewSaga, Store
from tests.conformance.building import new_id, new_saga
from tests.waiting import wait_until

BLOCKED = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def postgres_store(store_postgres_url: str) -> Iterator[Store]:
    """A store on PostgreSQL."""
    store = open_store(store_postgres_url)
    yield store
    store.close()


def offered_behind(store: Store, url: str, first: NewSaga, second: NewSaga) -> AcceptStatus:
    """`second` is offered while the transaction that accepted `first` is open, and answered once that one committed."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as other, psycopg.connect(url, autocommit=True) as watcher:
            assert accept_on(other, first).status is AcceptStatus.ACCEPTED
            with ThreadPoolExecutor(1) as thread:
                accepting = thread.submit(store.accept, [second])
                wait_until(lambda: watcher.execute(BLOCKED).fetchone())
                other.commit()
                [result] = accepting.result(10)
    finally:
        engine.dispose()
    assert result.saga_id == first.saga_id
    return result.status


def test_an_order_that_is_being_accepted_is_a_duplicate(postgres_store: Store, store_postgres_url: str) -> None:
    """Both found the order free; the one that comes second asks again and is told who has it, and is not refused as data."""
    first, second = (new_saga(postgres_store, "SO-1") for _ in range(2))
    assert offered_behind(postgres_store, store_postgres_url, first, second) is AcceptStatus.DUPLICATE


def test_a_request_that_is_being_accepted_is_replayed(postgres_store: Store, store_postgres_url: str) -> None:
    """A double click: both found the key free; the second one is given the saga of the first."""
    first = new_saga(postgres_store, "SO-1", request_key=new_id("k"), request_hash="h")
    second = replace(first, saga_id=new_id())
    assert offered_behind(postgres_store, store_postgres_url, first, second) is AcceptStatus.REPLAYED
