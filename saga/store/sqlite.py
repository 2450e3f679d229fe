"""The store on SQLite: one file, several processes of one machine.

- Every write is one BEGIN IMMEDIATE … COMMIT with `synchronous=FULL`. The write lock is taken before anything is read,
  so there is no race inside a transaction: accept and append ask and then write.
- `database is locked` after the busy timeout is retried, bounded (RELIABILITY 23).
- The database's clock is the clock of the machine, since every process that shares the file runs on it.
- A lease is all there is: SQLite has no lock that a dying process releases without taking the file with it.
- SQLite would store what PostgreSQL refuses (a NUL byte), so `refusing` is asked before anything is written.
"""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy import exc as alchemy

from saga.clock import SystemClock
from saga.core.projection import ProjectedRow
from saga.core.states import SagaStatus
from saga.errors import UsageError
from saga.forked import ForkGuard
from saga.scope import EVERYBODY, Scope
from saga.settings import read_settings
from saga.store import sqlite_sql as statements
from saga.store.accepting import (
    EntityKey,
    FreshSaga,
    KnownRequest,
    LatestRun,
    RequestKey,
    entity_key_of,
    request_key_of,
    settle,
)
from saga.store.connecting import connect_sqlite, refuse_spoiled, sqlite_path, upgrade_command
from saga.store.contact import Contact
from saga.store.journal import Journal, JournalEntry, Reached, damage_values
from saga.store.port import (
    ANYTHING,
    AcceptResult,
    AcceptStatus,
    Append,
    AppendResult,
    DueSaga,
    NewSaga,
    Rest,
    Wanted,
    WorkerRow,
)
from saga.store.projecting import sqlite_values, upsert
from saga.store.reads import Reads
from saga.store.refusing import Refused, append_refusal, in_order, isolate, keeping_decisions, saga_refusal
from saga.store.retrying import Retriable, repeat
from saga.store.sweeping import pushed_s
from saga.store.tables import SQLITE, from_micros, to_micros
from saga.store.worker_rows import worker_values

Result = TypeVar("Result")
SECOND = 1_000_000


class SqliteStore(Reads):
    """`saga.store.port.Store` on a SQLite file; open one in each process, after fork."""

    def __init__(self, url: str, *, scope: Scope = EVERYBODY, pool_size: int = 4) -> None:
        self._path = sqlite_path(url)
        if not self._path.exists():
            raise UsageError(f"{url}: there is no such file; type  {upgrade_command(url)}")
        self.engine = connect_sqlite(url, pool_size)
        self._guard = ForkGuard("store")
        self._within_s = read_settings().statement_s
        self._clock = SystemClock()
        self._contact = Contact()
        super().__init__(self._read_on, SQLITE, self.now, scope)
        self._owned = statements.scope_values(scope)

    def now(self) -> datetime:
        return self._clock.now()

    def clock(self) -> datetime:
        return self._clock.now()

    def append(self, group: Sequence[Append]) -> list[AppendResult]:
        return keeping_decisions(group, self._append_allowed)

    def _append_isolated(self, group: Sequence[Append]) -> list[AppendResult]:
        return isolate(group, self._append_together, lambda _item, _why: AppendResult.REFUSED)

    def _append_allowed(self, group: Sequence[Append]) -> list[AppendResult]:
        results: dict[str, AppendResult] = {}
        allowed: list[Append] = []
        for item in in_order(group):
            if append_refusal(item) is None:
                allowed.append(item)
            else:
                results[item.saga_id] = AppendResult.REFUSED
        answers = self._append_isolated(allowed) if allowed else []
        results |= {item.saga_id: answer for item, answer in zip(allowed, answers, strict=True)}
        return [results[item.saga_id] for item in group]

    def accept(self, group: Sequence[NewSaga]) -> list[AcceptResult]:
        if not group:
            return []
        return isolate(
            group, self._accept_together, lambda new, why: AcceptResult(AcceptStatus.REFUSED, new.saga_id, reason=why)
        )

    def load(self, saga_ids: Sequence[str]) -> Mapping[str, Journal]:
        wanted = (json.dumps(list(saga_ids)), *self._owned)
        # What is remembered first: a journal only grows, so one that is read later is no shorter for that.
        journals = {
            saga_id: Journal(reached=None if seq is None else Reached(seq, last), is_marked=bool(is_marked))
            for saga_id, seq, last, is_marked in self._rows(statements.REMEMBERED, wanted, "load")
        }
        for row in self._rows(statements.LOAD, wanted, "load"):
            journals.setdefault(row[0], Journal()).append(statements.journal_entry(row[1:]))
        return journals

    def mark_damaged(self, saga_id: str, seen: Reached | None, reached: Reached | None = None) -> None:
        values = damage_values(saga_id, seen, reached)
        self._write(lambda session: session.execute(statements.DAMAGED, values), "mark damaged")

    def tail(self, saga_id: str, after_seq: int) -> list[JournalEntry]:
        values = (saga_id, after_seq, saga_id, *self._owned)
        return [statements.journal_entry(row[1:]) for row in self._rows(statements.TAIL, values, "tail")]

    def sweep_due(self, limit: int, push_s: float, wanted: Wanted = ANYTHING) -> list[DueSaga]:
        # A look without the write lock first: a sweeper with nothing to do must not queue behind writers.
        if not self._rows(statements.ANY_DUE, (to_micros(self.now()), *self._owned), "sweep"):
            return []
        return self._write(lambda session: self._sweep_on(session, limit, push_s, wanted), "sweep")

    def hand_back(self, saga_ids: Sequence[str]) -> None:
        values = (to_micros(self.now()), json.dumps(list(saga_ids)))
        self._write(lambda session: session.execute(statements.HAND_BACK, values), "hand back")

    def rest(self, rests: Sequence[Rest]) -> None:
        values = [(to_micros(it.due_at), it.saga_id, to_micros(it.until)) for it in rests]
        self._write(lambda session: session.executemany(statements.REST, values), "rest")

    def register_worker(self, worker: WorkerRow) -> None:
        self._contact.expect(worker.lease_ttl_s)
        now = self.now()
        until = now + timedelta(seconds=worker.lease_ttl_s)
        values = (*worker_values(worker), to_micros(now), worker.lease_ttl_s, to_micros(until))
        self._write(lambda session: session.execute(statements.REGISTER, values), "register worker")

    def renew_lease(self, worker_id: str) -> bool:
        now = self.now()
        values = (to_micros(now), SECOND, worker_id)
        renewed = self._write(lambda session: session.execute(statements.RENEW, values).rowcount == 1, "renew lease")
        self._contact.heard(now)
        return renewed

    def dead_workers(self) -> list[str]:
        now = self.now()
        rows = self._rows(statements.DEAD, (to_micros(now),), "dead workers")
        return [row[0] for row in rows] if self._contact.heard(now) else []

    def close_worker(self, worker_id: str) -> int:
        return self._write(lambda session: self._close_worker_on(session, worker_id), "close worker")

    def close(self) -> None:
        self.engine.dispose(close=self._guard.is_here)  # a child would end connections that its parent still uses

    def _append_together(self, ordered: Sequence[Append]) -> list[AppendResult]:
        return self._write(lambda session: [_append_one(session, item) for item in ordered], "append")

    def _accept_together(self, group: Sequence[NewSaga]) -> list[AcceptResult]:
        return self._write(lambda session: self._accept_on(session, group), "accept")

    def _accept_on(self, session: sqlite3.Connection, group: Sequence[NewSaga]) -> list[AcceptResult]:
        acceptance = settle(group, _known_requests(session, group), _latest_runs(session, group))
        now = to_micros(self.now())
        for fresh in acceptance.fresh:
            if (why := saga_refusal(fresh)) is not None:
                raise Refused(why)
            _insert_saga(session, fresh, now)
        return acceptance.results

    def _sweep_on(self, session: sqlite3.Connection, limit: int, push_s: float, wanted: Wanted) -> list[DueSaga]:
        now = to_micros(self.now())
        names = None if wanted.names is None else json.dumps(wanted.names)
        without = json.dumps(wanted.without)
        values = (now, names, names, *self._owned, without, wanted.turned_only, limit)
        due = session.execute(statements.DUE, values).fetchall()
        swept = []
        for saga_id, definition, version, pushes in due:
            until = now + int(pushed_s(push_s, pushes) * SECOND)
            session.execute(statements.PUSH, (until, saga_id))
            swept.append(DueSaga(saga_id, definition, version, pushes, from_micros(until)))
        return swept

    def _close_worker_on(self, session: sqlite3.Connection, worker_id: str) -> int:
        now = to_micros(self.now())
        if session.execute(statements.CLOSE, (now, worker_id)).rowcount == 0:
            return 0
        return session.execute(statements.WAKE, (now, worker_id)).rowcount

    def _rows(self, statement: str, values: Sequence[Any], what: str) -> list[Any]:
        self._guard.check()
        return repeat(
            lambda: self._attempt(lambda session: session.execute(statement, values).fetchall()), what, self._within_s
        )

    def _write(self, work: Callable[[sqlite3.Connection], Result], what: str) -> Result:
        self._guard.check()

        def in_transaction(session: sqlite3.Connection) -> Result:
            session.execute("BEGIN IMMEDIATE")
            try:
                result = work(session)
                session.execute("COMMIT")
            finally:
                if session.in_transaction:
                    session.execute("ROLLBACK")
            return result

        return repeat(lambda: self._attempt(in_transaction), what, self._within_s)

    def _attempt(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        with _translated(self._path):
            pooled = self.engine.raw_connection()
            try:
                return work(pooled.driver_connection)  # type: ignore[arg-type]  # pysqlite, as connect_sqlite says
            finally:
                pooled.close()

    def _read_on(self, work: Callable[[Connection], Result], what: str) -> Result:
        self._guard.check()

        def attempt() -> Result:
            with _translated(self._path), self.engine.connect() as connection:
                return work(connection)

        return repeat(attempt, what, self._within_s)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (alchemy.DBAPIError, alchemy.TimeoutError, sqlite3.Error, UnicodeEncodeError, OverflowError) as error:
        cause = error.orig if isinstance(error, alchemy.DBAPIError) and error.orig is not None else error
        if isinstance(cause, sqlite3.IntegrityError | sqlite3.DataError | UnicodeEncodeError | OverflowError):
            raise Refused(str(cause)) from cause
        if (
            "no such table" in str(cause)
            or "no such column" in str(cause)
            or "has no column" in str(cause)
            or "ON CONFLICT clause" in str(cause)
        ):
            command = upgrade_command(f"sqlite:///{path}")
            raise UsageError(f"the database has no tables of this release: type  {command}") from cause
        if "database is locked" in str(cause):
            raise Retriable(f"{path} is locked: another process holds its write lock; end that one") from cause
        if isinstance(cause, sqlite3.OperationalError | alchemy.TimeoutError):
            raise Retriable(str(cause)) from cause
        refuse_spoiled(path, cause)
        raise


def _append_one(session: sqlite3.Connection, item: Append) -> AppendResult:
    entry = item.entry
    follows = (item.saga_id, entry.seq - 1, entry.prev_hash, item.answers_for_damage, item.saga_id, entry.seq)
    values = (*statements.entry_values(item.saga_id, entry), *follows)
    if session.execute(statements.APPEND, values).rowcount != 1:
        standing = session.execute(statements.STANDING, (item.saga_id, entry.seq)).fetchone()
        is_this = standing == (entry.writer, entry.prev_hash, entry.body)
        return AppendResult.APPENDED if is_this else AppendResult.CONFLICT
    if item.columns is not None:
        session.execute(statements.MOVE, statements.column_values(item.saga_id, item.columns, entry))
    session.executemany(statements.INSERT_EFFECT, statements.effect_values(item))
    _write_row(session, item.row)
    return AppendResult.APPENDED


def _known_requests(session: sqlite3.Connection, group: Sequence[NewSaga]) -> dict[RequestKey, KnownRequest]:
    known: dict[RequestKey, KnownRequest] = {}
    for key in {key for new in group if (key := request_key_of(new)) is not None}:
        if (found := session.execute(statements.KNOWN_REQUEST, key).fetchone()) is not None:
            known[key] = KnownRequest(*found)
    return known


def _latest_runs(session: sqlite3.Connection, group: Sequence[NewSaga]) -> dict[EntityKey, LatestRun]:
    latest: dict[EntityKey, LatestRun] = {}
    for key in {entity_key_of(new) for new in group}:
        if (found := session.execute(statements.LATEST_RUN, key).fetchone()) is not None:
            latest[key] = LatestRun(found[0], found[1], SagaStatus(found[2]))
    return latest


def _insert_saga(session: sqlite3.Connection, fresh: FreshSaga, now: int) -> None:
    if (key := request_key_of(fresh.new)) is not None:
        session.execute(statements.INSERT_REQUEST, (*key, fresh.new.request_hash or "", fresh.new.saga_id, now))
    session.execute(statements.INSERT_SAGA, statements.saga_values(fresh))
    session.execute(statements.INSERT_FIRST_ENTRY, statements.entry_values(fresh.new.saga_id, fresh.entry))
    _write_row(session, fresh.row)


def _write_row(session: sqlite3.Connection, row: ProjectedRow | None) -> None:
    if row is not None:
        session.execute(upsert(row.projection, on_postgresql=False), sqlite_values(row))
