"""The three stores, each empty and migrated, behind an API."""

from collections.abc import Iterator

import psycopg
import pytest

from saga.store import schema
from saga.store.memory import MemoryStore
from saga.store.opening import open_store
from saga.store.port import Store
from tests import services_available as servers
from tests.integration.api.serving import Shop, opened

TABLES = "saga.saga, saga.journal, saga.request, saga.worker, saga.definition, saga.effect, saga.orders"


@pytest.fixture(scope="session")
def api_postgres_database(postgres_server_url: str, run_name: str) -> Iterator[str]:
    """A migrated database that only these tests use."""
    name = f"{run_name}_api"
    url = servers.create_database(postgres_server_url, name)
    schema.upgrade(url)
    yield url
    servers.drop_database(postgres_server_url, name)


@pytest.fixture
def api_postgres_url(api_postgres_database: str) -> str:
    """That database, emptied."""
    with psycopg.connect(api_postgres_database, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {TABLES}")
    return api_postgres_database


@pytest.fixture
def api_sqlite_url(sqlite_url: str) -> str:
    """A migrated file."""
    schema.upgrade(sqlite_url)
    return sqlite_url


@pytest.fixture(params=["postgres", "sqlite", "memory"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store of each kind in turn."""
    if request.param == "memory":
        yield MemoryStore()
        return
    store = open_store(request.getfixturevalue(f"api_{request.param}_url"))
    yield store
    store.close()


@pytest.fixture
def shop(store: Store) -> Iterator[Shop]:
    """An API over each store."""
    with opened(store) as shop:
        yield shop


@pytest.fixture
def small_shop() -> Iterator[Shop]:
    """An API over the store in memory, for what the database has no part in."""
    with opened(MemoryStore()) as shop:
        yield shop
