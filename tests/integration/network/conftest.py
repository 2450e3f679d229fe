"""Servers behind a proxy that can swallow, and bounds of a second instead of half a minute."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.engine import make_url

from saga.store import schema
from tests import services_available as servers
from tests.chaos.proxy import Proxy

BOUNDS = {"SAGA_STATEMENT_S": "1", "SAGA_LEASE_S": "1.5", "SAGA_SILENCE_S": "2", "SAGA_GRACE_S": "1"}
TABLES = "saga.saga, saga.journal, saga.request, saga.worker, saga.definition, saga.effect, saga.orders"


@pytest.fixture
def short_bounds(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What an operator may set, turned down; for processes that a test starts as well."""
    for name, value in BOUNDS.items():
        monkeypatch.setenv(name, value)
    return BOUNDS


@pytest.fixture(scope="session")
def network_database(postgres_server_url: str, run_name: str) -> Iterator[str]:
    """A migrated database that only these tests use."""
    name = f"{run_name}_network"
    url = servers.create_database(postgres_server_url, name)
    schema.upgrade(url)
    yield url
    servers.drop_database(postgres_server_url, name)


@pytest.fixture
def direct_url(network_database: str, short_bounds: dict[str, str]) -> str:
    """That database, emptied, without anything in between."""
    with psycopg.connect(network_database, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {TABLES}")
    return network_database


@pytest.fixture
def proxy(direct_url: str) -> Iterator[Proxy]:
    """What stands between a process and that database."""
    url = make_url(direct_url)
    if (url.host or "/").startswith("/"):
        servers.POSTGRES.is_missing("this one listens on a socket of its machine only")
    standing = Proxy((str(url.host), url.port or 5432))
    yield standing
    standing.close()


@pytest.fixture
def far_url(direct_url: str, proxy: Proxy) -> str:
    """The database through the proxy."""
    return through(direct_url, proxy)


def through(url: str, proxy: Proxy) -> str:
    """The same address behind the proxy."""
    return make_url(url).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
