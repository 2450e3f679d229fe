"""The three stores, each empty, and for each a second store on the same data."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from saga.scope import Scope
from saga.store import schema
from saga.store.memory import MemoryStore
from saga.store.opening import open_store
from saga.store.port import Store
from saga.store.postgres import PostgresStore
from saga.store.sqlite import SqliteStore
from tests import services_available as servers

OpenAnother = Callable[[], Store]
OpenFor = Callable[[Scope], Store]
TABLES = "saga.saga, saga.journal, saga.request, saga.worker, saga.definition, saga.effect, saga.orders, saga.store, saga.restoration, saga.settled"


@pytest.fixture(scope="session")
def store_postgres_database(postgres_server_url: str, run_name: str) -> Iterator[str]:
    """A migrated database that only this suite uses, so that it may be emptied between tests."""
    name = f"{run_name}_store"
    url = servers.create_database(postgres_server_url, name)
    schema.upgrade(url)
    yield url
    servers.drop_database(postgres_server_url, name)


@pytest.fixture
def store_postgres_url(store_postgres_database: str) -> str:
    """That database, emptied."""
    with psycopg.connect(store_postgres_database, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {TABLES}")
    return store_postgres_database


@pytest.fixture
def store_sqlite_url(sqlite_url: str) -> str:
    """A migrated file."""
    schema.upgrade(sqlite_url)
    return sqlite_url


@pytest.fixture(params=["postgres", "sqlite", "memory"])
def open_another(request: pytest.FixtureRequest) -> Iterator[OpenAnother]:
    """Opens one more store on the same data; of the store in memory there is only one."""
    opened: list[Store] = []
    memory = MemoryStore()

    def open_one() -> Store:
        if request.param == "memory":
            return memory
        opened.append(open_store(request.getfixturevalue(f"store_{request.param}_url")))
        return opened[-1]

    if request.param != "memory":
        request.getfixturevalue(f"store_{request.param}_url")
    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def open_for(request: pytest.FixtureRequest, store: Store) -> Iterator[OpenFor]:
    """Opens a store on the data of `store` for some of its sagas, past the binding of the database."""
    opened: list[Store] = []

    def open_one(scope: Scope) -> Store:
        if isinstance(store, MemoryStore):
            return store.of(scope)
        is_sqlite = isinstance(store, SqliteStore)
        url = request.getfixturevalue(f"store_{'sqlite' if is_sqlite else 'postgres'}_url")
        opened.append(SqliteStore(url, scope=scope) if is_sqlite else PostgresStore(url, scope=scope))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def store(open_another: OpenAnother) -> Store:
    """An empty store of each kind in turn."""
    return open_another()
