"""A service's database: how a transaction is run on it, once or again.

Rules of this file
------------------
- `write` runs work in one transaction and repeats it, at most `TRIES_MAX` times, when nothing of it can have been
  committed: serialization failure, deadlock, a unique key that somebody else took at the same time, and a connection
  that was found dead before the commit was sent. So work is a function of the connection alone and starts afresh.
- SQLite: WAL and `synchronous=FULL`; a write begins with BEGIN IMMEDIATE, because a reader that becomes a writer fails at
  once. The writers of this process queue at a lock instead of polling the file; other processes wait for the busy
  time-out. A connection serves one thread at a time.
- PostgreSQL: READ COMMITTED. A wait for a key that somebody else works on ends after `LOCK_WAIT_S` with `StillBusy`.
- Trouble of the database itself (full, read-only, damaged, away) is `Unavailable`, no traceback. It says whether the
  commit had been sent: before that nothing was applied; after it the transaction may stand.
- Tables are made, or brought to this release, at start and by one process at a time (services.skeleton.migrating).
"""

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolIsEmpty
from sqlalchemy.pool import QueuePool

from services.skeleton.migrating import SchemaTooNew, bring_up

T = TypeVar("T")

THREADS = 8
TRIES_MAX = 5
BUSY_TIMEOUT_S = 10
LOCK_WAIT_S = 10
SILENCE_S = 10

SESSION = (
    "-c datestyle=ISO,MDY -c timezone=UTC -c intervalstyle=postgres -c standard_conforming_strings=on -c bytea_output=hex "
    "-c array_nulls=on -c default_transaction_isolation=read\\ committed"
)
"""What a database or a role may set, and the driver and the statements rely on."""

AGAIN = frozenset({"40001", "40P01", "23505"})
"""SQLSTATEs after which the same transaction may succeed: serialization, deadlock, unique violation."""
LOCK_NOT_AVAILABLE = "55P03"
SQLITE_TROUBLE = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)
"""Primary result codes that say something of the file and nothing of the statement."""
POSTGRES_TROUBLE = ("08", "25006", "53", "57", "58")
"""Beginnings of SQLSTATEs of that kind: connection, read-only, resources (a full disk is 53100), shutdown, system."""


class StillBusy(Exception):
    """Somebody else holds what is needed for longer than one waits; nothing was done."""


class Unavailable(Exception):
    """The database refuses to work: it is full, read-only, damaged or away."""

    def __init__(self, reason: str, *, may_stand: bool) -> None:
        super().__init__(reason)
        self.may_stand = may_stand
        """The commit itself failed, so the transaction may be there. Else nothing was applied."""


class Database:
    """One engine with a pool as large as the service has threads. `read` and `write` are thread-safe."""

    def __init__(self, url: str) -> None:
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self._name = make_url(url).render_as_string(hide_password=True)
        self._engine = _sqlite_engine(url) if self.is_sqlite else _postgres_engine(url)
        self._reads = self._engine.execution_options(reads_only=True)
        self._queue: AbstractContextManager[Any] = threading.Lock() if self.is_sqlite else nullcontext()

    def create(self, metadata: MetaData) -> None:
        """Make the tables, or bring them to this release; safe when several processes start at once.

        Raises `SchemaTooNew` for a database of a later release, and `Unavailable`.
        """
        try:
            self.write(lambda connection: bring_up(connection, metadata))
        except (SchemaTooNew, Unavailable):
            # Nobody can go on from here, so nobody else would close what was opened.
            self.close()
            raise

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run work that writes nothing; it sees what was committed and blocks nobody. Raises `Unavailable`."""
        return self._repeat(lambda: _once(self._reads, work))

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run work in a transaction and commit it; work may run several times, of which one is committed.

        Raises `StillBusy` and `Unavailable`.
        """

        def locked() -> T:
            with self._queue:
                return _once(self._engine, work)

        return self._repeat(locked)

    def close(self) -> None:
        self._engine.dispose()

    def _repeat(self, attempt: Callable[[], T]) -> T:
        try:
            return self._tried(attempt)
        except PoolIsEmpty as error:  # no connection was had
            raise Unavailable(f"{self._name}: every connection is in use", may_stand=False) from error
        except DBAPIError as error:
            trouble = _trouble_of(error)
            if trouble is None:
                raise
            reason = f"{self._name}: {' '.join(str(trouble.orig).split())}"
            raise Unavailable(reason, may_stand=isinstance(error.__cause__, _WhileCommitting)) from error

    def _tried(self, attempt: Callable[[], T]) -> T:
        for _ in range(TRIES_MAX - 1):
            try:
                return attempt()
            except DBAPIError as error:
                if not self._may_repeat(error):
                    raise
        return attempt()

    def _may_repeat(self, error: DBAPIError) -> bool:
        if isinstance(error.__cause__, _WhileCommitting):
            return False
        state = getattr(error.orig, "sqlstate", None)
        is_busy = state == LOCK_NOT_AVAILABLE or (self.is_sqlite and "database is locked" in str(error.orig))
        if is_busy:
            raise StillBusy(str(error.orig)) from error
        if self.is_sqlite and isinstance(error, IntegrityError):
            # Writers take turns, so nobody took the key in between: it is a bug of the work.
            return False
        return state in AGAIN or error.connection_invalidated


def _trouble_of(error: BaseException) -> DBAPIError | None:
    """The error that says that the database refuses, if there is one. A full SQLite may roll back by itself, and then the
    error on top is the savepoint that is gone."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, DBAPIError) and _is_trouble(found):
            return found
        found = found.__context__
    return None


def _is_trouble(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        # The low byte of an extended code is the primary one. An error of the module itself has no code.
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in SQLITE_TROUBLE
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        # What cannot be connected to names no state.
        return error.connection_invalidated or isinstance(error, OperationalError)
    return str(state).startswith(POSTGRES_TROUBLE)


class _WhileCommitting(Exception):
    """Marks an error of the commit itself, after which the transaction may stand."""


def _once(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.connect() as connection:
        transaction = connection.begin()
        answer = work(connection)
        try:
            transaction.commit()
        except DBAPIError as error:
            # A deferred constraint or a serialization failure at COMMIT says for certain that nothing was committed.
            if getattr(error.orig, "sqlstate", None) in AGAIN:
                raise
            raise error from _WhileCommitting()
        return answer


def _postgres_engine(url: str) -> Engine:
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        use_native_hstore=False,
        connect_args={
            "connect_timeout": 5,
            "application_name": "saga-service",
            "options": f"-c lock_timeout={LOCK_WAIT_S}s {SESSION}",
            "client_encoding": "UTF8",
            # Every statement here is one of a few and repeated, so it is prepared at once.
            "prepare_threshold": 2,
            # A firewall that forgot the connection is noticed within ten seconds, and not after a quarter of an hour.
            "keepalives_idle": SILENCE_S // 2,
            "keepalives_interval": SILENCE_S // 4,
            "keepalives_count": 2,
            "tcp_user_timeout": SILENCE_S * 1000,
        },
        poolclass=QueuePool,
        pool_size=THREADS,
        max_overflow=4,
        pool_use_lifo=True,
    )


def _sqlite_engine(url: str) -> Engine:
    name = unquote(url.partition("?")[0].partition(":///")[2])  # SQLAlchemy before 2.1 does not
    if not name or name == ":memory:":
        raise ValueError(f"{url}: a file is needed, as in sqlite:///inventory.db")
    _make_private(Path(name))
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=name),
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": BUSY_TIMEOUT_S},
        poolclass=QueuePool,
        pool_size=THREADS,
        max_overflow=4,
        pool_use_lifo=True,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_private(file: Path) -> None:
    """The file and its folder for the user of this process alone: they hold names and addresses. What SQLite puts beside it gets
    the rights of the file."""
    for folder in reversed(file.absolute().parents):
        if not folder.is_dir():
            folder.mkdir(0o700, exist_ok=True)
    os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    if file.stat().st_uid == os.geteuid():
        file.chmod(0o600)  # also one of a release before


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    reads_only = connection.get_execution_options().get("reads_only")
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
