"""Deployments for these tests, per driver and broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.celery.deployment import Deployment, DriverName, deployment

NOBODY = "amqp://guest:guest@127.0.0.1:1//"


@pytest.fixture(params=["process", "task"])
def driver(request: pytest.FixtureRequest) -> DriverName:
    """Both drivers keep the same promises."""
    name: DriverName = request.param
    return name


@pytest.fixture
def embedded(unique: str, driver: DriverName, sqlite_url: str, tmp_path: Path) -> Iterator[Deployment]:
    """No server at all: the memory broker and SQLite, workers in threads."""
    with deployment(unique, driver, "memory://", sqlite_url, tmp_path) as made:
        yield made


@pytest.fixture(params=["amqp_url", "redis_url"])
def on_servers(
    request: pytest.FixtureRequest, unique: str, driver: DriverName, postgres_url: str, tmp_path: Path
) -> Iterator[Deployment]:
    """PostgreSQL and a real broker, workers in processes."""
    with deployment(unique, driver, request.getfixturevalue(request.param), postgres_url, tmp_path) as made:
        yield made


@pytest.fixture
def on_rabbitmq(
    unique: str, driver: DriverName, amqp_url: str, postgres_url: str, tmp_path: Path
) -> Iterator[Deployment]:
    with deployment(unique, driver, amqp_url, postgres_url, tmp_path) as made:
        yield made


@pytest.fixture
def without_broker(unique: str, driver: DriverName, postgres_url: str, tmp_path: Path) -> Iterator[Deployment]:
    """A broker address where nothing listens."""
    with deployment(unique, driver, NOBODY, postgres_url, tmp_path) as made:
        yield made
