"""What becomes of what is written down when the clock of the database is set back.

A due instant and the end of a lease are instants. When the clock goes back an hour, what asked to wait for 20 seconds would wait for
an hour more, and the lease of a process that is gone would hold for an hour. How far the clock went is known only to
who saw it. So everything that waits is made due at once: a look moves it, or finds what it has to wait for by the new clock
(`saga.core.machine`), which is never longer than it had asked for. And no lease reaches further than its length from now on: who
lives renews it.

Rows are taken in the order of their ids, some at a time, and one that somebody writes just now is left to him.
"""

from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import Connection, func, select, update

from saga.store.tables import Tables

AT_ONCE = 1_000
BEHIND_S = 2.0
"""Processes that share a clock still read it a moment apart."""


class Timed(Protocol):
    """What a store tells of its clock, and does about it."""

    def now(self) -> datetime:
        """The database's clock, UTC. One round trip."""
        ...

    def clock(self) -> datetime:
        """The database's clock as this process carries it on between answers: no round trip."""
        ...

    def behind_s(self) -> float:
        """By how many seconds its clock is behind what is written down: the acceptance of a saga that waits, the renewal of a lease.
        0 for less than `BEHIND_S`."""
        ...

    def look_again(self) -> None:
        """Make everything that waits due now, whosever it is, and shorten the leases that reach too far. May be repeated."""
        ...


def behind(connection: Connection, tables: Tables, now: datetime) -> float:
    """See `Timed.behind_s`."""
    saga, worker = tables.saga.c, tables.worker.c
    accepted_at = connection.execute(select(func.max(saga.accepted_at)).where(saga.due_at.is_not(None))).scalar()
    leases = select(worker.lease_until, worker.lease_ttl_s).order_by(worker.lease_until.desc()).limit(1)
    written = [until - timedelta(seconds=ttl_s) for until, ttl_s in connection.execute(leases)]
    return seconds_behind(now, [*written, *([accepted_at] if accepted_at else [])])


def seconds_behind(now: datetime, written: list[datetime]) -> float:
    """By how much the latest of these is ahead of `now`; 0 when it is hardly."""
    ahead_s = (max(written, default=now) - now).total_seconds()
    return ahead_s if ahead_s > BEHIND_S else 0.0


def shorten_leases(connection: Connection, tables: Tables, now: datetime) -> None:
    """See `Timed.look_again`."""
    worker = tables.worker.c
    leases = select(worker.worker_id, worker.lease_ttl_s).where(worker.closed_at.is_(None), worker.lease_until > now)
    for worker_id, ttl_s in connection.execute(leases).all():
        until = now + timedelta(seconds=ttl_s)
        own = (worker.worker_id == worker_id, worker.lease_until > until)
        connection.execute(update(tables.worker).where(*own).values(lease_until=until))


def bring_forward(connection: Connection, tables: Tables, now: datetime) -> int:
    """Make up to `AT_ONCE` sagas that wait due now; how many."""
    saga = tables.saga.c
    waiting = select(saga.saga_id).where(saga.due_at > now).order_by(saga.saga_id).limit(AT_ONCE)
    ids = connection.execute(waiting.with_for_update(skip_locked=True)).scalars().all()
    connection.execute(update(tables.saga).where(saga.saga_id.in_(ids)).values(due_at=now))
    return len(ids)
