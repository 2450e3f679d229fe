"""Upgrades arrive at the declared schema, from nothing, twice, two at once, and behind somebody's open transaction."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

from saga.bundled import place_of
from saga.clock import monotonic
from saga.errors import StoreUnavailable
from saga.scope import EVERYBODY, Scope
from saga.store import schema
from saga.store.opening import open_store
from saga.store.port import Append
from saga.store.restoring import Restoration, Settled
from saga.store.tables import SCHEMA, tables_of
from saga.surfaces.order_rows import rebuild
from tests.conformance.building import accepted, entry_of
from tests.waiting import wait_until


@pytest.fixture(params=["postgres", "sqlite"])
def empty_url(request: pytest.FixtureRequest) -> str:
    """A database without tables, of each kind in turn."""
    return str(request.getfixturevalue({"postgres": "empty_postgres_url", "sqlite": "sqlite_url"}[request.param]))


@pytest.fixture
def empty_engine(empty_url: str) -> Iterator[Engine]:
    """An engine on it."""
    engine = create_engine(empty_url.replace("postgresql://", "postgresql+psycopg://"))
    yield engine
    engine.dispose()


def alembic_config() -> Config:
    """Where the migrations are, for Alembic itself."""
    config = Config()
    config.set_main_option("script_location", str(place_of("migrations")))
    return config


def shape(engine: Engine) -> dict[str, Any]:
    """Columns, keys, checks and indexes of every table, as the database describes them."""
    found, place = inspect(engine), SCHEMA if engine.dialect.name == "postgresql" else None
    tables = [table for table in found.get_table_names(place) if table != "alembic_version"]
    parts = ("columns", "pk_constraint", "unique_constraints", "check_constraints", "indexes")
    return {f"{table} {part}": plain(getattr(found, f"get_{part}")(table, place)) for table in tables for part in parts}


def plain(part: Any) -> Any:
    """Reflected values in an order and a form that compare."""
    if isinstance(part, dict):
        return sorted((key, plain(value)) for key, value in part.items() if key != "comment")
    if isinstance(part, list):
        return sorted(str(plain(value)) for value in part)
    return str(part)


def test_a_fresh_upgrade_is_the_declared_schema(empty_url: str, empty_engine: Engine) -> None:
    """Alembic finds no difference between the migrated database and the declaration."""
    assert schema.current(empty_url) is None
    assert schema.upgrade(empty_url) == schema.head() == schema.current(empty_url)
    with empty_engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "include_schemas": True}
        place = {"version_table_schema": SCHEMA} if connection.dialect.name == "postgresql" else {}
        context = MigrationContext.configure(connection, opts=options | place)
        assert compare_metadata(context, tables_of(connection.dialect.name).metadata) == []


def test_the_revisions_that_are_named_are_those_of_the_folder() -> None:
    """In their order; a command that upgrades nothing does not read the folder."""
    found = [it.revision for it in ScriptDirectory.from_config(alembic_config()).walk_revisions()]
    assert list(schema.REVISIONS) == found[::-1]


def test_checks_and_partial_indexes_are_the_declared_ones(empty_url: str, empty_engine: Engine) -> None:
    """What Alembic does not compare: the reflection of a migrated database equals that of `create_all`."""
    declared = tables_of(empty_engine.dialect.name).metadata
    with empty_engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        declared.create_all(connection)
    created = shape(empty_engine)
    assert len(created) == 10 * 5
    declared.drop_all(empty_engine)
    schema.upgrade(empty_url)
    assert shape(empty_engine) == created


def test_a_second_upgrade_changes_nothing(empty_url: str) -> None:
    """Data stays, the revision stays."""
    schema.upgrade(empty_url)
    store = open_store(empty_url)
    saga_id = accepted(store).saga_id
    assert schema.upgrade(empty_url) == schema.head()
    assert store.row(saga_id) is not None
    store.close()


def before_0005(name: str, place: str) -> str:
    """A worker row as the release before writes it."""
    return (
        f"INSERT INTO {place}worker (worker_id, host, pid, queues, lease_ttl_s, started_at, lease_until) "
        f"VALUES ('{name}', 'h', 1, '[\"q\"]', 5.0, :now, :now)"
    )


def test_a_worker_of_the_release_before_counts_for_everybody(empty_url: str, empty_engine: Engine) -> None:
    """It registers before the upgrade to 0005 and, while it still runs, behind it. Nothing says whose sagas it runs."""
    place, now = ("saga.", datetime.now(UTC)) if empty_engine.dialect.name == "postgresql" else ("", 1)
    config = alembic_config()
    with empty_engine.begin() as connection:
        if place:
            connection.execute(text("CREATE SCHEMA saga"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        connection.execute(text(before_0005("before", place)), {"now": now})
    schema.upgrade(empty_url, "production")
    with empty_engine.begin() as connection:
        connection.execute(text(before_0005("behind", place)), {"now": now})
    store = open_store(empty_url, Scope("production", ("shop",)))
    try:
        assert {row.worker_id: row.scope for row, _ in store.workers()} == dict.fromkeys(
            ("before", "behind"), EVERYBODY
        )
    finally:
        store.close()


def test_upgraders_at_once_are_safe(empty_url: str) -> None:
    """Four at once on an empty database: each returns head."""
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(schema.upgrade, [empty_url] * 4)) == [schema.head()] * 4


def test_an_upgrade_waits_behind_a_long_transaction(empty_postgres_url: str) -> None:
    """While another transaction holds what it needs it gives up within its patience; afterwards it succeeds."""
    with psycopg.connect(empty_postgres_url) as long_transaction:
        long_transaction.execute("CREATE SCHEMA saga")
        started_at = monotonic()
        with pytest.raises(StoreUnavailable, match="nothing was changed"):
            schema.upgrade(empty_postgres_url, patience_s=0.1)
        assert monotonic() - started_at < schema.LOCK_TIMEOUT_S * 2
        with ThreadPoolExecutor(1) as thread:
            upgrading = thread.submit(schema.upgrade, empty_postgres_url)
            assert not upgrading.done()
            long_transaction.rollback()
            assert upgrading.result(20) == schema.head()


def test_an_upgrade_tries_again_after_its_lock_timeout(empty_postgres_url: str) -> None:
    """The lock is held longer than one attempt waits: a second attempt, from a new session, ends well."""
    waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(empty_postgres_url, autocommit=True) as watcher, ThreadPoolExecutor(1) as thread:
        with psycopg.connect(empty_postgres_url) as long_transaction:
            long_transaction.execute("SELECT pg_advisory_xact_lock(%s)", (schema.UPGRADE_LOCK,))
            upgrading = thread.submit(schema.upgrade, empty_postgres_url)
            first = wait_until(lambda: watcher.execute(waiting).fetchall())
            wait_until(lambda: watcher.execute(waiting).fetchall() not in ([], first))
        assert upgrading.result(20) == schema.head()


def test_a_locked_file_is_waited_for(sqlite_url: str) -> None:
    """A writer on the SQLite file holds the upgrade up and does not break it."""
    engine = create_engine(sqlite_url, connect_args={"isolation_level": None})
    with engine.connect() as connection, ThreadPoolExecutor(1) as thread:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        upgrading = thread.submit(schema.upgrade, sqlite_url)
        connection.exec_driver_sql("COMMIT")
        assert upgrading.result(20) == schema.head()
    engine.dispose()


def test_the_view_shows_a_row_per_transition(empty_url: str, empty_engine: Engine) -> None:
    """One journal row of two transitions is two rows for people, with kind and place."""
    schema.upgrade(empty_url)
    store = open_store(empty_url)
    saga_id = accepted(store).saga_id
    store.append([Append(saga_id, entry_of(store, saga_id, 2, reason="asked"))])
    store.close()
    place = "saga." if empty_engine.dialect.name == "postgresql" else ""
    query = f"SELECT seq, ordinal, kind, actor, reason FROM {place}transition WHERE saga_id = :id ORDER BY 1, 2"
    with empty_engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(text(query), {"id": saga_id})]
    assert rows[2:] == [(2, 1, "noted", "tester", "asked"), (2, 2, "second", "tester", "asked")]
    assert len(rows) == 4


@contextmanager
def granted(url: str, unique: str) -> Iterator[tuple[psycopg.Connection[tuple[Any, ...]], dict[str, str]]]:
    """A connection to an upgraded database, and the three roles that were given their rights there."""
    schema.upgrade(url)
    roles = {kind: f"saga_test_{unique}_{kind}" for kind in ("journal", "reader", "migrator")}
    with psycopg.connect(url, autocommit=True) as connection:
        for role in roles.values():
            connection.execute(f'CREATE ROLE "{role}"')
        try:
            connection.execute(schema.grants(**roles))
            yield connection, roles
        finally:
            connection.execute("RESET ROLE")
            for role in roles.values():
                connection.execute(f'REASSIGN OWNED BY "{role}" TO CURRENT_USER')
                connection.execute(f'DROP OWNED BY "{role}"')
                connection.execute(f'DROP ROLE "{role}"')


def test_the_journal_role_cannot_rewrite_the_journal(empty_postgres_url: str, unique: str) -> None:
    """With the granted rights INSERT works and UPDATE and DELETE do not; the reader only reads."""
    with granted(empty_postgres_url, unique) as (connection, roles):
        connection.execute(f'SET ROLE "{roles["journal"]}"')
        insert = (
            "INSERT INTO saga.journal VALUES ('s', 1, now(), 'w', 'a', NULL, '[]', decode(repeat('00', 32), 'hex'), 1)"
        )
        connection.execute(insert)
        for forbidden in (
            "UPDATE saga.journal SET body = '[]'",
            "DELETE FROM saga.journal",
            "TRUNCATE saga.journal",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden)
        connection.execute(f'SET ROLE "{roles["reader"]}"')
        assert connection.execute("SELECT count(*) FROM saga.transition").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(insert)


STRAY = """
INSERT INTO saga.orders
  (environment, tenant, order_id, saga_id, run, status, saga_status, customer_id, country, currency, goods, accepted_at)
VALUES ('test', 'shop', 'SO-99', 'gone', 1, 'paid', 'running', 'C7', 'GB', 'GBP', 1, now())
"""


def test_the_journal_role_makes_the_orders_table_again(empty_postgres_url: str, unique: str) -> None:
    """`saga orders rebuild` under the role of API and workers drops the row of an order that no saga knows, and the role still
    cannot delete a saga."""
    with granted(empty_postgres_url, unique) as (connection, roles):
        connection.execute(STRAY)
        joint = "&" if "?" in empty_postgres_url else "?"
        store = open_store(f"{empty_postgres_url}{joint}options=-crole%3D{roles['journal']}")
        try:
            assert rebuild(store).dropped == 1
        finally:
            store.close()
        assert connection.execute("SELECT count(*) FROM saga.orders").fetchone() == (0,)
        connection.execute(f'SET ROLE "{roles["journal"]}"')
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM saga.saga")


def test_the_journal_role_settles_and_never_rewrites_who_did(empty_postgres_url: str, unique: str) -> None:
    """What was said first stands, for the database as well."""
    with granted(empty_postgres_url, unique) as (connection, roles):
        joint = "&" if "?" in empty_postgres_url else "?"
        store = open_store(f"{empty_postgres_url}{joint}options=-crole%3D{roles['journal']}")
        try:
            for actor in ("zoe", "eve"):
                store.settle([Settled("test", "shop", "SO-1", store.now(), actor, "refunded")])
            store.restored(Restoration("r-1", store.now(), store.now(), "zoe", "disk"))
            assert ([it.actor for it in store.settled()], len(store.restorations())) == (["zoe"], 1)
        finally:
            store.close()
        connection.execute(f'SET ROLE "{roles["journal"]}"')
        for forbidden in ("UPDATE saga.settled SET actor = 'eve'", "DELETE FROM saga.settled"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden)
