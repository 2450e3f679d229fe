"""Connections to PostgreSQL: borrowing, repeating, translating errors, and the pinned way to run hot statements.

Rules of this file:

- A hot statement runs as a *pinned pipeline*: one message with `set_config(..., is_local)` and the statement, one
  round trip, one implicit transaction that ends at its Sync. Settings are local, so nothing leaks behind a pooler.
- The pins switch sequential scans and hash and merge joins off. On tables that grew since they were last analysed the
  planner otherwise keeps a cached plan that reads whole tables (DESIGN section 10 measured a third of the throughput).
  With that settled a statement is planned once for each session: the planner takes an array parameter for ten elements, thinks
  a plan for the one or two of a small group cheaper, and would plan each append anew.
- They also make the commit durable: `synchronous_commit` is `on`, whatever the database or the role sets, and stays
  `remote_apply` where that is set. A server that does not write to disk (`fsync = off`) is refused when a store is opened.
- A connection on which anything but a refusal or a lost race went wrong is thrown away, never given back; one that was
  lost takes every idle connection with it, since a restarted server lost them all.
- Behind a pooler in transaction mode the process id that the connection was greeted with is not the one of the session
  that runs its statements. Then nothing is prepared (`connecting` sees to it: `prepare=True` has no effect on such a
  connection), and advisory locks are not relied on.
- No call waits for ever: a statement has a wall (`walls`), and a call that met it is made once more. `give_up` ends what
  every thread of this process waits for here, and the next calls connect anew.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from sqlalchemy import Connection, event
from sqlalchemy import exc as alchemy
from sqlalchemy.pool import ConnectionPoolEntry

from saga.errors import UsageError
from saga.forked import ForkGuard
from saga.settings import read_settings
from saga.store.connecting import connect_postgres, is_behind_pooler, server_wall
from saga.store.durable import DURABLE, refuse_losing
from saga.store.refusing import Refused
from saga.store.retrying import Retriable, repeat
from saga.store.walls import Waits, Walled

Result = TypeVar("Result")
Session = psycopg.Connection[tuple[Any, ...]]

PINS = f"""SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true),
    set_config('lock_timeout', '5s', true), {DURABLE}"""
ROW_PINS = PINS.replace("'5s'", "'300ms'")
"""For statements that write rows of projections too: a lock that somebody holds on his own table must not hold up the journal."""
REFUSALS = (
    psycopg.DataError,
    errors.CheckViolation,
    errors.NotNullViolation,
    errors.ForeignKeyViolation,
    UnicodeEncodeError,
)
LACKING = (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName, errors.InsufficientPrivilege)
CONNECTION_LOST = ("08", "57P")
AWAY = (psycopg.OperationalError, psycopg.InterfaceError, errors.ReadOnlySqlTransaction, alchemy.TimeoutError)


class PostgresConnections:
    """A small pool of one process, with the rules above."""

    def __init__(self, url: str, pool_size: int) -> None:
        self.url = url
        self.engine = connect_postgres(url, pool_size)
        self._guard = ForkGuard("store")
        self._waits, self._generation, self._is_closed = Waits(), object(), False
        event.listen(self.engine, "connect", self._share_waits)
        self._within_s = read_settings().statement_s
        self._pooler_pin = f", set_config('statement_timeout', '{server_wall()}', true)"
        self.pooled = self.run(is_behind_pooler, "opening the store")
        self.run(refuse_losing, "opening the store")

    def run(self, work: Callable[[Session], Result], what: str) -> Result:
        """`work` on a connection of the driver, made again on another one while that may help."""
        self._guard.check()
        return repeat(lambda: self._attempt(work), what, self._within_s)

    def read(self, work: Callable[[Connection], Result], what: str) -> Result:
        """`work` on a connection of SQLAlchemy, each statement on its own."""
        self._guard.check()
        return repeat(lambda: self._attempt_read(work), what, self._within_s)

    def give_up(self) -> None:
        """End what any thread waits for on a connection of this pool, of whichever generation; each of them tries again on a
        new one."""
        self._waits.are_over = True
        self._waits = Waits()
        self._begin_generation()

    def _begin_generation(self) -> None:
        """From here on new connections; idle ones are closed now, the others when they come back."""
        self._generation = object()
        self.engine.dispose()

    def _share_waits(self, connection: Walled, _record: ConnectionPoolEntry) -> None:
        connection.waits = self._waits

    def pinned(
        self, session: Session, statement: str, values: Sequence[Any], pins: str = PINS
    ) -> list[tuple[Any, ...]]:
        """Run one statement as a pinned pipeline; its rows.

        One and never several: a value that the driver refuses stops a pipeline half-way, and its Sync would commit the
        statements before.
        """
        with session.pipeline():
            session.execute(pins + self._pooler_pin if self.pooled else pins, prepare=True)
            cursor = session.execute(statement, values, prepare=True)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        self._is_closed = True  # a thread that still waits for an answer may borrow again, and closes what it borrowed
        self.engine.dispose(close=self._guard.is_here)  # a child would end connections that its parent still uses

    def _attempt(self, work: Callable[[Session], Result]) -> Result:
        with self.translated(), self._of_one_generation(), self._borrowed() as session:
            return work(session)

    def _attempt_read(self, work: Callable[[Connection], Result]) -> Result:
        with self.translated(), self._of_one_generation(), self.engine.connect() as connection:
            return work(connection)

    @contextlib.contextmanager
    def _of_one_generation(self) -> Iterator[None]:
        """What is borrowed within, and comes back to a pool that was given up or closed meanwhile, is closed there."""
        pool, generation = self.engine.pool, self._generation
        try:
            yield
        finally:
            if generation is not self._generation or self._is_closed:
                pool.dispose()

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[Session]:
        pooled = self.engine.raw_connection()
        is_sound = False
        try:
            yield pooled.driver_connection  # type: ignore[misc]  # psycopg is the only driver that postgres_url names
            is_sound = True
        except (Refused, errors.UniqueViolation, *REFUSALS):
            is_sound = True
            raise
        finally:
            if not is_sound:
                pooled.invalidate()
            pooled.close()

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """The driver's errors as ours; a lost connection costs every idle one."""
        try:
            yield
        except (alchemy.DBAPIError, *AWAY, *REFUSALS, *LACKING) as error:
            cause = error.orig if isinstance(error, alchemy.DBAPIError) and error.orig is not None else error
            if isinstance(cause, errors.InsufficientPrivilege):
                raise UsageError(f"the role of this process lacks a right: {cause}; saga db grants") from cause
            if isinstance(cause, LACKING):
                raise UsageError("the database has no tables of this release: run `saga db upgrade`") from cause
            if isinstance(cause, REFUSALS):
                raise Refused(str(cause)) from cause
            if not isinstance(cause, AWAY):
                raise
            if _was_lost(cause):
                self._begin_generation()
            raise Retriable(str(cause)) from cause


def _was_lost(error: BaseException) -> bool:
    if isinstance(error, alchemy.TimeoutError):
        return False
    sqlstate = getattr(error, "sqlstate", None)
    return sqlstate is None or sqlstate.startswith(CONNECTION_LOST)
