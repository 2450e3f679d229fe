"""Starting sagas: grouped, in the caller's own transaction, and never leaving a caller without an answer."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from saga.core.definition import Saga, readonly
from saga.errors import DuplicateOrder, FingerprintChanged, KeyReused, StoreUnavailable
from saga.runtime.starting import Started, Starter, start_on
from saga.store.memory import MemoryStore
from saga.store.opening import open_store
from saga.store.port import AcceptResult, NewSaga, SagaFilter
from saga.store.schema import upgrade
from tests.simulation.sagas import Order, line


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("commits", [True, False])
def test_the_callers_rows_and_the_saga_are_one_transaction(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, commits: bool
) -> None:
    """The caller commits: both are there. The caller rolls back: neither is."""
    is_sqlite = kind == "sqlite"
    url = f"sqlite:///{tmp_path}/own.db" if is_sqlite else request.getfixturevalue("empty_postgres_url")
    upgrade(url)
    engine = sa.create_engine(url if is_sqlite else url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as setup:
        setup.execute(sa.text("create table own_order (id text primary key)"))
    store = open_store(url)
    with engine.connect() as connection:
        connection.execute(sa.text("insert into own_order values ('SO-1')"))
        start_on(connection, store, line, Order(order_id="SO-1"), environment="test", tenant="test")
        if commits:
            connection.commit()
    with engine.connect() as connection:
        rows = connection.execute(sa.text("select count(*) from own_order")).scalar_one()
    sagas = len(store.find(SagaFilter(entity="SO-1"), 10))
    store.close()
    engine.dispose()
    assert (rows, sagas) == ((1, 1) if commits else (0, 0))


def test_fifty_equal_starts_at_once_are_one_saga() -> None:
    """A double click, fifty times: one saga, and everybody gets its id (RELIABILITY 42)."""
    starter = Starter(MemoryStore(), environment="test", tenant="test")
    answers: list[Started] = []

    def click() -> None:
        answers.append(starter.start(line, Order(order_id="SO-1"), request_key="k"))

    threads = [threading.Thread(target=click) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    starter.stop()
    assert len({it.saga_id for it in answers}) == 1
    assert sum(not it.is_replayed for it in answers) == 1


def test_another_order_under_the_key_and_another_key_for_the_order_are_refused() -> None:
    """Each with its own error, and nothing is stored."""
    store = MemoryStore()
    starter = Starter(store, environment="test", tenant="test")
    starter.start(line, Order(order_id="SO-1"), request_key="k")
    with pytest.raises(KeyReused):
        starter.start(line, Order(order_id="SO-2"), request_key="k")
    with pytest.raises(DuplicateOrder):
        starter.start(line, Order(order_id="SO-1"), request_key="other")
    starter.stop()
    assert len(store.find(SagaFilter(), 10)) == 1


class _Broken(MemoryStore):
    """A store with a bug in accept."""

    def accept(self, group: Sequence[NewSaga]) -> list[AcceptResult]:
        raise RuntimeError(str(group))


def test_a_bug_in_the_store_answers_every_caller() -> None:
    """An unforeseen error must not end the thread that everybody waits for."""
    starter = Starter(_Broken(), environment="test", tenant="test")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="RuntimeError"):
            starter.start(line, Order(order_id="SO-1"))
    starter.stop()


def test_a_starter_that_was_stopped_refuses() -> None:
    """A caller that comes too late gets an error, not silence."""
    starter = Starter(MemoryStore(), environment="test", tenant="test")
    starter.stop()
    with pytest.raises(StoreUnavailable, match="stopping"):
        starter.start(line, Order(order_id="SO-1"))


def test_one_tenant_does_not_find_anothers_sagas() -> None:
    """The filter is part of the query."""
    store = MemoryStore()
    for tenant in ("one", "two"):
        starter = Starter(store, environment="test", tenant=tenant)
        starter.start(line, Order(order_id="SO-1"))
        starter.stop()
    found = store.find(SagaFilter(entity="SO-1", environment="test", tenant="one"), 10)
    assert [row.tenant for row in found] == ["one"]


def test_one_key_for_two_sagas_is_no_repeat() -> None:
    """The key of an order, used again for its return with the same input: refused, and not answered with the order."""
    other = Saga("another", version=1, input=Order, entity=lambda order: order.order_id, steps=[readonly(look)])
    starter = Starter(MemoryStore(), environment="test", tenant="test")
    first = starter.start(line, Order(order_id="SO-1"), request_key="SO-1")
    with pytest.raises(KeyReused):
        starter.start(other, Order(order_id="SO-1"), request_key="SO-1")
    assert starter.start(line, Order(order_id="SO-1"), request_key="SO-1").saga_id == first.saga_id
    starter.stop()


def look(_order: Order) -> None: ...


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_definition_that_changed_under_its_version_accepts_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """No worker would run such a saga: old ones do not know it, new ones refuse the definition."""
    is_sqlite = kind == "sqlite"
    url = f"sqlite:///{tmp_path}/own.db" if is_sqlite else request.getfixturevalue("empty_postgres_url")
    upgrade(url)
    changed = Saga("line", version=1, input=Order, entity=lambda order: order.order_id, steps=[readonly(look)])
    store = open_store(url)
    starter = Starter(store, environment="test", tenant="test")
    starter.start(line, Order(order_id="SO-1"))
    with pytest.raises(FingerprintChanged, match="raise the version to 2"):
        starter.start(changed, Order(order_id="SO-2"))
    starter.stop()
    engine = sa.create_engine(url if is_sqlite else url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection, pytest.raises(FingerprintChanged):
        start_on(connection, store, changed, Order(order_id="SO-3"), environment="test", tenant="test")
    assert [row.entity for row in store.find(SagaFilter(), 10)] == ["SO-1"]
    store.close()
    engine.dispose()
