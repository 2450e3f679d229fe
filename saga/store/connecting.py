"""How an engine to each database is built: the only place that knows drivers, PRAGMAs and connection arguments.

PostgreSQL runs in autocommit: a statement, or a pipeline of statements, is its own transaction, so an append costs one
round trip. SQLite runs with the driver's own transaction control switched off; every write says BEGIN IMMEDIATE itself,
because a transaction that starts as a reader and becomes a writer fails at once with `database is locked` under WAL.

Connections are made on demand and kept in a small pool. There is no test of a connection when it is borrowed: that
would cost each append a round trip, and an append that meets a dead connection is made again on a new one anyway.
"""

import sqlite3
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool, QueuePool

from saga.errors import UsageError

CONNECT_TIMEOUT_S = 3
BORROW_TIMEOUT_S = 10.0
BUSY_TIMEOUT_S = 5.0


def postgres_url(url: str) -> URL:
    """The URL with psycopg 3 as its driver."""
    return make_url(url).set(drivername="postgresql+psycopg")


def conninfo(url: str) -> str:
    """The URL as libpq takes it, for connections outside the pool."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def connect_postgres(url: str, pool_size: int) -> Engine:
    """An engine in autocommit that connects on demand; behind a pooler its connections prepare no statements."""
    engine = create_engine(
        postgres_url(url),
        isolation_level="AUTOCOMMIT",
        use_native_hstore=False,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "saga"},
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=BORROW_TIMEOUT_S,
        pool_use_lifo=True,
    )
    event.listen(engine, "connect", _prepare_nothing_behind_pooler)
    return engine


def is_behind_pooler(connection: psycopg.Connection[Any]) -> bool:
    """Whether another session runs the statements than the one that greeted: PgBouncer greets with a pid of its own."""
    answer = connection.execute("SELECT pg_backend_pid()").fetchone()
    return answer is None or answer[0] != connection.info.backend_pid


def sqlite_path(url: str) -> Path:
    """The file of a `sqlite:///` URL; a database in memory has no file that processes could share."""
    name = make_url(url).database
    if not name or name == ":memory:":
        raise UsageError(f"{url}: a file is needed, as in sqlite:///saga.db; use memory:// for a store without a file")
    return Path(name)


def connect_sqlite(url: str, pool_size: int) -> Engine:
    """An engine on one file: WAL, `synchronous=FULL` and a busy timeout on every connection."""
    engine = create_engine(
        make_url(url).set(drivername="sqlite+pysqlite"),
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": BUSY_TIMEOUT_S},
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=BORROW_TIMEOUT_S,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def connect_once(url: str) -> Engine:
    """An engine without a pool for one piece of work on either database, with ordinary transactions."""
    if make_url(url).get_backend_name() == "sqlite":
        engine = create_engine(
            make_url(url).set(drivername="sqlite+pysqlite"),
            connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_S},
            poolclass=NullPool,
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        return engine
    return create_engine(
        postgres_url(url),
        use_native_hstore=False,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "saga"},
        poolclass=NullPool,
    )


def _prepare_nothing_behind_pooler(connection: psycopg.Connection[Any], _record: Any) -> None:
    if is_behind_pooler(connection):
        connection.prepare_threshold = None
    connection.rollback()


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # The busy timeout comes with the connection; only then may several processes switch to WAL at once.
    connection.execute("PRAGMA journal_mode=WAL").fetchone()
    connection.execute("PRAGMA synchronous=FULL")
