"""Worker rows, leases and advisory locks on PostgreSQL: how a dead process is told from a slow one.

- A worker holds a session advisory lock on a connection of its own, opened after fork, that renews the lease and runs
  nothing else. When the process dies, by kill -9 too, the server releases the lock within milliseconds. A free lock whose
  lease was renewed within `RENEWED_S` (of a short lease: within two renewals) proves nothing: the connection was cut, and
  its owner is about to take the lock again.
- A renewal that got no answer within `RENEWAL_SHARE` of the lease is made on a new connection, in time to keep it. When a
  lease ran out without one, every connection of this process is given up: whatever the others wait for hangs as well.
- The lease is what remains where the lock cannot tell: a paused process, a partition, a pooler. It is kept by the
  server's clock on both sides, so a worker's own clock may be an hour off.
- Nobody is dead while the server itself is younger than that worker's lease, or while this process was out of contact
  (`contact`): a restart of the database kills nobody.
- Behind a pooler the lock belongs to whichever server session was at hand, so none is taken and `lock_key` stays NULL.
"""

import contextlib
import hashlib
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from saga.clock import monotonic
from saga.errors import StoreUnavailable
from saga.settings import LEASE_S
from saga.store.connecting import connection_arguments, conninfo, settle_session
from saga.store.contact import Contact
from saga.store.port import WorkerRow
from saga.store.postgres_connections import AWAY, PostgresConnections, Session
from saga.store.retrying import repeat
from saga.store.walls import Walled
from saga.store.worker_rows import worker_values

RENEWED_S = 2.0
RENEWAL_SHARE = 0.4
CLOSE_S = 1.0

REGISTER = """INSERT INTO saga.worker
    (worker_id, host, pid, queues, environment, tenants, lock_key, lease_ttl_s, started_at, lease_until)
SELECT %s, %s, %s, %s, %s, %s, %s, ttl, now, now + make_interval(secs => ttl)
FROM (SELECT %s::float8 AS ttl, clock_timestamp() AS now) AS lease
ON CONFLICT (worker_id) DO NOTHING RETURNING started_at"""

RENEW = """UPDATE saga.worker SET lease_until = clock_timestamp() + make_interval(secs => lease_ttl_s)
WHERE worker_id = %s AND closed_at IS NULL RETURNING clock_timestamp()"""

DEAD = f"""SELECT clock_timestamp(), array(
    SELECT w.worker_id FROM saga.worker w
    WHERE w.closed_at IS NULL
        AND (clock_timestamp() - pg_postmaster_start_time() >= make_interval(secs => w.lease_ttl_s)
            OR clock_timestamp() < pg_postmaster_start_time())
        AND (w.lease_until < clock_timestamp() OR (
            w.lock_key IS NOT NULL
            AND w.lease_until - make_interval(secs => w.lease_ttl_s)
                < clock_timestamp() - make_interval(secs => least({RENEWED_S}, w.lease_ttl_s * {RENEWAL_SHARE}))
            AND NOT EXISTS (
                SELECT FROM pg_locks l
                WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
                    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND l.classid::bigint = w.lock_key >> 32 AND l.objid::bigint = w.lock_key & 4294967295
            )))
    ORDER BY w.worker_id)"""

CLOSE = """WITH closed AS (
    UPDATE saga.worker SET closed_at = clock_timestamp() WHERE worker_id = %s AND closed_at IS NULL RETURNING worker_id
), held AS (
    SELECT s.saga_id FROM saga.saga s
    WHERE s.due_at IS NOT NULL AND EXISTS (
        SELECT FROM saga.journal j WHERE j.saga_id = s.saga_id AND j.writer = (SELECT worker_id FROM closed))
    ORDER BY s.saga_id FOR UPDATE
), woken AS (
    UPDATE saga.saga s SET due_at = least(s.due_at, clock_timestamp()), due_pushes = 0
    FROM held WHERE s.saga_id = held.saga_id RETURNING s.saga_id
) SELECT count(*) FROM woken"""


class PostgresWorkers:
    """Leases of all workers, and the lock of the worker that this process is."""

    def __init__(self, connections: PostgresConnections, steer: Callable[[datetime, float], None]) -> None:
        self._connections = connections
        self._steer = steer
        self._contact = Contact()
        self._lock = threading.Lock()
        self._worker_id: str | None = None
        self._session: Walled | None = None
        self._holds = False
        self._ttl_s = LEASE_S
        self._renewed = monotonic()

    def register(self, worker: WorkerRow) -> None:
        """Take the lock, then insert the row: a row whose lock is free would look dead after two seconds."""
        self._contact.expect(worker.lease_ttl_s)
        with self._lock:
            self._worker_id, self._ttl_s = worker.worker_id, worker.lease_ttl_s
            self._drop()
            # Best effort: without the lock the lease still tells, only later; the next renewal tries again.
            with contextlib.suppress(*AWAY):
                self._take(self._own_session())
        lock_key = None if self._connections.pooled else lock_key_of(worker.worker_id)
        values = (*worker_values(worker), lock_key, worker.lease_ttl_s)
        self._connections.run(lambda session: self._connections.pinned(session, REGISTER, values), "register worker")
        self._renewed = monotonic()

    def renew(self, worker_id: str) -> bool:
        """Extend the lease, and take the lock again if its connection was lost."""
        asked = monotonic()
        try:
            rows = self._renew_own(worker_id) if worker_id == self._worker_id else self._renew_other(worker_id)
        except StoreUnavailable:
            if monotonic() - self._renewed > self._ttl_s:
                self._connections.give_up()
            raise
        if not rows:
            return False
        self._renewed = asked
        self._steer(rows[0][0], asked)
        self._contact.heard(rows[0][0])
        return True

    def _renew_other(self, worker_id: str) -> list[tuple[Any, ...]]:
        return self._connections.run(
            lambda session: self._connections.pinned(session, RENEW, (worker_id,)), "renew lease"
        )

    def _renew_own(self, worker_id: str) -> list[tuple[Any, ...]]:
        def attempt() -> list[tuple[Any, ...]]:
            with self._connections.translated(), self._lock:
                session = self._own_session()
                try:
                    rows = self._connections.pinned(session, RENEW, (worker_id,))
                    # The lock lives as long as its session, so a session that answers and took the lock once holds it.
                    if rows and not self._holds:
                        self._take(session)
                except BaseException:
                    self._drop()
                    raise
                return rows

        return repeat(attempt, "renew lease", self._ttl_s * RENEWAL_SHARE)

    def dead(self) -> list[str]:
        """Open workers that are gone, as far as this process may judge."""
        asked = monotonic()
        answer = self._connections.run(lambda session: session.execute(DEAD).fetchone(), "dead workers")
        if answer is None:
            return []
        now: datetime = answer[0]
        self._steer(now, asked)
        return list(answer[1]) if self._contact.heard(now) else []

    def close_row(self, worker_id: str) -> int:
        """Close the row and wake its sagas; give the lock back when it is our own."""
        rows = self._connections.run(
            lambda session: self._connections.pinned(session, CLOSE, (worker_id,)), "close worker"
        )
        with self._lock:
            if worker_id == self._worker_id:
                self._worker_id = None
                self._drop()
        return int(rows[0][0])

    def close(self) -> None:
        # A renewal that hangs has it; the process is ending, and the server drops a lock with its connection.
        if self._lock.acquire(timeout=CLOSE_S):
            try:
                self._worker_id = None  # a renewal that comes later takes no session of its own
                self._drop()
            finally:
                self._lock.release()

    def _own_session(self) -> Walled:
        """The connection of the lock; a new one when there is none."""
        if self._session is None:
            name = f"saga worker {self._worker_id}"
            self._session = Walled.connect(
                conninfo(self._connections.url), autocommit=True, **connection_arguments(name)
            )
            self._session.wall_s = self._ttl_s * RENEWAL_SHARE
            settle_session(self._session)
        return self._session

    def _take(self, session: Session) -> None:
        if not self._connections.pooled and self._worker_id is not None:
            taken = session.execute("SELECT pg_try_advisory_lock(%s)", (lock_key_of(self._worker_id),)).fetchone()
            self._holds = taken is not None and bool(taken[0])

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session, self._holds = None, False


def lock_key_of(worker_id: str) -> int:
    """63 bits of a hash: positive, so that both halves are what pg_locks shows."""
    return int.from_bytes(hashlib.sha256(worker_id.encode()).digest()[:8], "big") >> 1
