"""How an engine to each database is built: the only place that knows drivers, PRAGMAs and connection arguments.

PostgreSQL runs in autocommit: a statement, or a pipeline of statements, is its own transaction, so an append costs one
round trip. SQLite runs with the driver's own transaction control switched off; every write says BEGIN IMMEDIATE itself,
because a transaction that starts as a reader and becomes a writer fails at once with `database is locked` under WAL.

Connections are made on demand and kept in a small pool. There is no test of a connection when it is borrowed: that
would cost each append a round trip, and an append that meets a dead connection is made again on a new one anyway.

Nobody waits for a network for ever. The kernel gives a connection up after `silence_s` without a sign of life, which frees
the server's side too; what the kernel cannot see (a server that is stopped, a proxy that takes everything and answers nothing)
the wall of each statement ends (`walls`), and the server ends the statement by itself when its client is gone.
"""

import sqlite3
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import parse_qsl, unquote

import psycopg
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool, QueuePool

from saga.errors import UsageError
from saga.settings import read_settings
from saga.store.journal import entry_hash
from saga.store.walls import Walled

CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT = "SELECT set_config('statement_timeout', %(wall)s, false)"
"""For a session of our own, whatever its database says: a bound of another program may be too tight for ours."""
REPORTED = ", ".join(
    f"set_config('{name}', '{value}', false)"
    for name, value in {
        "DateStyle": "ISO, MDY",
        "TimeZone": "UTC",
        "IntervalStyle": "postgres",
        "standard_conforming_strings": "on",
    }.items()
)
"""What a database or a role may set and the driver and the statements rely on. A pooler keeps these for each of its clients."""
OWN = """set_config('array_nulls', 'on', false), set_config('bytea_output', 'hex', false),
    set_config('search_path', 'pg_catalog', false), set_config('default_transaction_isolation', 'read committed', false),
    set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false),
    set_config('idle_in_transaction_session_timeout', '0', false), set_config('idle_session_timeout', '0', false)"""
"""The same for a session of our own: behind a pooler they would stay in a session that others get."""
SERVER_SHARE = 0.9
"""The server ends a statement before its client would: a slow statement costs no connection."""
BORROW_TIMEOUT_S = 10.0


def upgrade_command(url: str) -> str:
    """What to type so that the database of this URL gets its tables: with the variable, where the settings of this process name
    another. A URL that may hold a password is not repeated."""
    if url == read_settings().store_url:
        return "saga db upgrade"
    return f"SAGA_DATABASE_URL={quote(url) if url.startswith('sqlite') else 'URL'} saga db upgrade"


def postgres_url(url: str) -> URL:
    """The URL with psycopg 3 as its driver. Several hosts, as libpq takes them, become what SQLAlchemy takes."""
    scheme, _, rest = url.partition("://")
    place, slash, name = rest.partition("/")
    login, at, hosts = place.rpartition("@")
    if "," not in hosts:
        return make_url(url).set(drivername="postgresql+psycopg")
    one = make_url(f"{scheme}://{login}{at}{slash}{name}").set(drivername="postgresql+psycopg")
    return one.update_query_dict({"host": hosts.split(",")})


def conninfo(url: str) -> str:
    """The URL as libpq takes it, for connections outside the pool."""
    return f"postgresql://{url.partition('://')[2]}"


def connection_arguments(name: str = "saga") -> dict[str, Any]:
    """What libpq is told: every connection notices within `SAGA_SILENCE_S` that the network took the other end away."""
    silence_s = read_settings().silence_s
    return {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": name[:63],
        "client_encoding": "UTF8",
        "keepalives": 1,
        "keepalives_idle": max(1, silence_s // 2),
        "keepalives_interval": max(1, silence_s // 4),
        "keepalives_count": 2,
        "tcp_user_timeout": silence_s * 1000,
    }


def server_wall() -> str:
    """How long the server works at one statement, as its settings take it."""
    return f"{int(read_settings().statement_s * SERVER_SHARE * 1000)}ms"


def connect_postgres(url: str, pool_size: int) -> Engine:
    """An engine in autocommit that connects on demand; behind a pooler its connections prepare no statements."""
    engine = create_engine(
        postgres_url(url),
        isolation_level="AUTOCOMMIT",
        use_native_hstore=False,
        connect_args=connection_arguments(),
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=BORROW_TIMEOUT_S,
        pool_use_lifo=True,
    )
    event.listen(engine, "do_connect", _connect_walled)
    event.listen(engine, "connect", _prepare_session)
    return engine


def is_behind_pooler(connection: psycopg.Connection[Any]) -> bool:
    """Whether another session runs the statements than the one that greeted: PgBouncer greets with a pid of its own."""
    answer = connection.execute("SELECT pg_backend_pid()").fetchone()
    return answer is None or answer[0] != connection.info.backend_pid


def sqlite_url(url: str) -> URL:
    """The URL of a file, whose name may have any sign when it is quoted; SQLAlchemy before 2.1 does not read it so."""
    path, _, query = url.partition("?")
    name = unquote(path.partition(":///")[2])
    return URL.create("sqlite+pysqlite", database=name, query=dict(parse_qsl(query)))


def sqlite_path(url: str) -> Path:
    """The file of a `sqlite:///` URL; a database in memory has no file that processes could share."""
    name = sqlite_url(url).database
    if not name or name == ":memory:":
        raise UsageError(f"{url}: a file is needed, as in sqlite:///saga.db; use memory:// for a store without a file")
    return Path(name)


def connect_sqlite(url: str, pool_size: int) -> Engine:
    """An engine on one file: WAL, `synchronous=FULL` and a busy timeout on every connection."""
    engine = create_engine(
        sqlite_url(url),
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": read_settings().statement_s / 2},
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=BORROW_TIMEOUT_S,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def connect_once(url: str, *, has_wall: bool = True) -> Engine:
    """An engine without a pool for one piece of work on either database, with ordinary transactions. `has_wall` is off for
    statements that take as long as they take."""
    if url.startswith("sqlite"):
        engine = create_engine(
            sqlite_url(url),
            connect_args={"isolation_level": None, "timeout": read_settings().statement_s / 2},
            poolclass=NullPool,
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        return engine
    engine = create_engine(
        postgres_url(url), use_native_hstore=False, connect_args=connection_arguments(), poolclass=NullPool
    )
    if has_wall:
        event.listen(engine, "do_connect", _connect_walled)
    event.listen(engine, "connect", _settle_session)
    return engine


def _connect_walled(_dialect: Any, _record: Any, arguments: Any, named: dict[str, Any]) -> Walled:
    connection = Walled.connect(*arguments, **named)
    connection.wall_s = read_settings().statement_s
    return connection


def _prepare_session(connection: psycopg.Connection[Any], _record: Any) -> None:
    if settle_session(connection):
        connection.execute(STATEMENT_TIMEOUT, {"wall": server_wall()})
    connection.commit()


def _settle_session(connection: psycopg.Connection[Any], _record: Any) -> None:
    settle_session(connection)
    connection.commit()


def settle_session(connection: psycopg.Connection[Any]) -> bool:
    """Set what this session relies on, whatever its database or role sets; whether the session is our own, with no pooler."""
    is_own = not is_behind_pooler(connection)
    if not is_own:
        connection.prepare_threshold = None
    connection.execute(f"SELECT {REPORTED}, {OWN}" if is_own else f"SELECT {REPORTED}")
    return is_own


def refuse_spoiled(path: Path, cause: BaseException) -> None:
    """Raises `UsageError` for a file that is no database, or whose pages do not belong together."""
    if isinstance(cause, sqlite3.DatabaseError) and any(it in str(cause) for it in ("malformed", "not a database")):
        raise UsageError(
            f"{path} cannot be read ({cause}): restore it from a backup, and remove the files {path.name}-wal and "
            f"{path.name}-shm beside it first; they belong to the file that was there before"
        ) from cause


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # The busy timeout comes with the connection; only then may several processes switch to WAL at once.
    connection.execute("PRAGMA journal_mode=WAL").fetchone()
    connection.execute("PRAGMA synchronous=FULL")
    connection.create_function("entry_hash", 3, entry_hash, deterministic=True)
