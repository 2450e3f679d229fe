"""Fixtures for every kind of test: databases, brokers and names that no other test uses.

Servers are found by `tests.services_available`. What a fixture makes is empty (no schema), belongs to one worker process
of the run unless it says otherwise, and is dropped at the end of that process. So tests of one process share it and keep
apart by `unique`.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import services_available as servers

settings.register_profile("repeatable", derandomize=True)
if os.environ.get("SAGA_HYPOTHESIS") == "repeatable":
    settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def run_name(testrun_uid: str, worker_id: str) -> str:
    """`saga_test_<run>_<worker>`: a name for what this process makes on a server."""
    return f"saga_test_{testrun_uid[:8]}_{worker_id}"


@pytest.fixture(scope="session")
def postgres_server_url(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> str:
    """A PostgreSQL on which databases may be created."""
    base = tmp_path_factory.getbasetemp()
    return servers.postgres_server_url((base if worker_id == "master" else base.parent) / "pg")


@pytest.fixture(scope="session")
def postgres_url(postgres_server_url: str, run_name: str) -> Iterator[str]:
    """A database of this process; its schema is up to the test (`saga.store.schema.upgrade` is idempotent)."""
    yield servers.create_database(postgres_server_url, run_name)
    servers.drop_database(postgres_server_url, run_name)


@pytest.fixture
def empty_postgres_url(postgres_server_url: str, run_name: str, unique: str) -> Iterator[str]:
    """A database of this test alone, for tests of migrations and of whole stacks; costs 0.2 s."""
    name = f"{run_name}_{unique}"
    yield servers.create_database(postgres_server_url, name)
    servers.drop_database(postgres_server_url, name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A database file of this test alone, not yet made."""
    return f"sqlite:///{tmp_path / 'saga.db'}"


@pytest.fixture(scope="session")
def amqp_url(run_name: str) -> Iterator[str]:
    """A RabbitMQ vhost of this process, or the shared one where none can be made: put `unique` into queue names."""
    server_url = servers.RABBITMQ.find()
    if server_url is None:
        servers.RABBITMQ.is_missing("nothing answers on 127.0.0.1:5672")
    own_url = servers.create_vhost(server_url, run_name)
    yield own_url or server_url
    if own_url:
        servers.rabbitmqctl("delete_vhost", run_name)


@pytest.fixture(scope="session")
def redis_url(run_name: str) -> Iterator[str]:
    """A Redis database of this process, emptied at the end."""
    server_url = servers.REDIS.find()
    if server_url is None:
        servers.REDIS.is_missing("nothing answers on 127.0.0.1:6379")
    own_url = servers.claim_redis_database(server_url, run_name)
    if own_url is None:
        servers.REDIS.is_missing("each of its databases 1 to 15 is in use")
    yield own_url
    servers.flush_redis_database(own_url)


@pytest.fixture
def unique(request: pytest.FixtureRequest, testrun_uid: str) -> str:
    """Eleven characters of [a-z0-9] that belong to this test in this run: for order ids, queues, schemas."""
    return "t" + hashlib.blake2b(f"{testrun_uid} {request.node.nodeid}".encode(), digest_size=5).hexdigest()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One loud line per peer that was missing: a suite that skipped is not a suite that passed."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if servers.MISSING in reason:
            reasons[reason.split(servers.MISSING, 1)[1]] += 1
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"NOT TESTED: {count} tests, {reason}", red=True, bold=True)
