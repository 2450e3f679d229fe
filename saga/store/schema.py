"""Brings a database to the schema of this release, safely beside running workers and other upgraders.

Rules of this file:

- All migrations of one upgrade run in one transaction: the schema is at the old revision or at the new one.
- Two upgraders at once are safe: an advisory lock on PostgreSQL, BEGIN IMMEDIATE on SQLite. The second finds nothing
  left to do.
- An upgrade never queues for long behind somebody's open transaction, because everybody else would queue behind *it*
  (RELIABILITY 26): `lock_timeout` ends the attempt after `LOCK_TIMEOUT_S`, everything is rolled back, and it tries
  again after a pause, until `patience_s` is used up.
- The migrations are found by their place, never by import: `migrations` is a name that a user's project may have too.
- A database is bound to an environment in the same transaction (`saga.store.binding`).
- Roles are the operator's business: `grants` writes the SQL that an operator runs.
- Every command asks for the revision, and few upgrade: Alembic, which takes longer to import than most commands run, is
  imported by an upgrade that has something to do.
"""

import sqlite3

import psycopg
from psycopg import sql
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from saga.bundled import place_of
from saga.clock import monotonic, sleep
from saga.errors import StoreUnavailable
from saga.private import make_private_file, make_private_folder
from saga.store import binding
from saga.store.connecting import connect_once, refuse_spoiled, sqlite_path
from saga.store.durable import DURABLE
from saga.store.retrying import jittered
from saga.store.tables import SCHEMA

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""Those of `migrations/versions`, the earliest first; a test compares."""
VERSIONS = "alembic_version"
LOCK_TIMEOUT_S = 2.0
PATIENCE_S = 120.0
PAUSE_S = 0.5
UPGRADE_LOCK = 0x5A6A_0001

GRANTS = """
-- Writes the journal and can never change it; every other right is what the engine needs to move a saga.
GRANT USAGE ON SCHEMA saga TO {journal};
GRANT SELECT, INSERT ON saga.journal, saga.effect, saga.request, saga.definition, saga.restoration, saga.settled TO {journal};
GRANT SELECT ON saga.store TO {journal};
GRANT SELECT, INSERT, UPDATE ON saga.saga, saga.worker, saga.orders TO {journal};
GRANT DELETE ON saga.orders TO {journal}; -- its rows are made from the journal: a rebuild drops those of nobody
GRANT SELECT ON saga.transition, saga.alembic_version TO {journal};
-- Reads everything: dashboards, audits.
GRANT USAGE ON SCHEMA saga TO {reader};
GRANT SELECT ON ALL TABLES IN SCHEMA saga TO {reader};
-- Runs `saga db upgrade`: owns the schema and what is in it.
ALTER SCHEMA saga OWNER TO {migrator};
"""
OWNED = (
    "saga", "journal", "request", "worker", "definition", "effect", "orders", "store", "restoration", "settled",
    VERSIONS,
)  # fmt: skip


def head() -> str:
    """The revision that this release needs."""
    return REVISIONS[-1]


def is_behind(revision: str) -> bool:
    """Whether this release knows the revision and needs a later one; one that it does not know is taken for a later release's."""
    return revision in REVISIONS[:-1]


def current(url: str) -> str | None:
    """The revision that the database is at; None when it was never upgraded."""
    engine = connect_once(url)
    try:
        with engine.connect() as connection:
            return _current_on(connection)
    except DBAPIError as error:
        if url.startswith("sqlite") and error.orig is not None:
            refuse_spoiled(sqlite_path(url), error.orig)
        raise StoreUnavailable(f"no answer from the database: {error.orig}") from error
    finally:
        engine.dispose()


def upgrade(url: str, environment: str | None = None, *, anew: bool = False, patience_s: float = PATIENCE_S) -> str:
    """Bring the database to `head()` and return it; safe to run twice, at once, and beside running workers.

    It is bound to `environment`, with `anew` also when it was bound to another one; without an environment it stays as it was,
    and no process works on a database that is bound to none. Raises StoreUnavailable when the locks could not be had within
    `patience_s`, and UsageError when it is not to be bound so (`saga.store.binding`); in both cases nothing was changed.
    """
    give_up_at = monotonic() + patience_s
    while True:
        try:
            return _upgrade_once(url, environment, anew=anew)
        except DBAPIError as error:
            if not _is_blocked(error):
                raise StoreUnavailable(f"upgrade failed, nothing was changed: {error.orig}") from error
            if monotonic() >= give_up_at:
                raise StoreUnavailable(
                    f"another transaction held what the upgrade needs for {patience_s:.0f} s; nothing was changed. "
                    "End it (see pg_stat_activity) and run `saga db upgrade` again"
                ) from error
        sleep(jittered(PAUSE_S))


def grants(*, journal: str, reader: str, migrator: str) -> str:
    """SQL that gives three existing PostgreSQL roles their rights; run it after an upgrade, as the tables' owner.

    `journal` is the role of API and workers (INSERT and SELECT only on the journal), `reader` that of dashboards,
    `migrator` that of `saga db upgrade`.
    """
    roles = {"journal": sql.Identifier(journal), "reader": sql.Identifier(reader), "migrator": sql.Identifier(migrator)}
    owner = sql.SQL("ALTER TABLE {table} OWNER TO {migrator};\n")
    view = sql.SQL("ALTER VIEW saga.transition OWNER TO {migrator};\n").format(migrator=roles["migrator"])
    tables = (owner.format(table=sql.Identifier(SCHEMA, table), migrator=roles["migrator"]) for table in OWNED)
    return sql.Composed([sql.SQL(GRANTS).format(**roles), *tables, view]).as_string()


def _current_on(connection: Connection) -> str | None:
    schema = SCHEMA if connection.dialect.name == "postgresql" else None
    if not inspect(connection).has_table(VERSIONS, schema):
        return None
    return connection.execute(text(f"SELECT version_num FROM {schema + '.' if schema else ''}{VERSIONS}")).scalar()


def _upgrade_once(url: str, environment: str | None, *, anew: bool) -> str:
    if url.startswith("sqlite"):
        make_private_folder(sqlite_path(url).parent)
        make_private_file(sqlite_path(url))
    engine = connect_once(url, has_wall=False)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                _lock_postgres(connection)
            at = _current_on(connection)
            if environment is not None and at is not None:
                binding.refuse(connection, environment, anew=anew)
            if at != head():
                _migrate(connection)
            if environment is not None:
                binding.bind(connection, environment)
    finally:
        engine.dispose()
    return head()


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(place_of("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _lock_postgres(connection: Connection) -> None:
    connection.exec_driver_sql(f"SELECT set_config('lock_timeout', '{LOCK_TIMEOUT_S:g}s', true), {DURABLE}")
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
    # IF NOT EXISTS would ask for the right to create even where the schema stands already.
    if connection.execute(text("SELECT to_regnamespace(:schema)"), {"schema": SCHEMA}).scalar() is None:
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))


def _is_blocked(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.OperationalError):
        return "locked" in str(error.orig) or "busy" in str(error.orig)
    blocked = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
    return isinstance(error.orig, blocked)
