"""The clock of a store was set back an hour: nothing waits for longer than it had asked for, on each of the three stores."""

from datetime import datetime, timedelta

import psycopg
import pytest

from saga.clock import Clock, SystemClock
from saga.store.connecting import conninfo
from saga.store.contact import Contact
from saga.store.memory import MemoryStore
from saga.store.port import AcceptStatus, Store, WorkerRow
from saga.store.postgres import PostgresStore
from saga.store.setback import AT_ONCE
from saga.store.sqlite import SqliteStore
from tests.conformance.building import accepted, due_ago, entry, new_id, new_saga
from tests.conformance.conftest import OpenAnother
from tests.waiting import wait_until

HOUR = timedelta(hours=1)
AHEAD = [
    "UPDATE saga.saga SET due_at = due_at + interval '1 hour', accepted_at = accepted_at + interval '1 hour'",
    "UPDATE saga.worker SET lease_until = lease_until + interval '1 hour'",
]


class Behind:
    """A clock of this machine that was set back."""

    def __init__(self, of: Clock, by: timedelta = HOUR) -> None:
        self.of, self.by = of, by

    def now(self) -> datetime:
        return self.of.now() - self.by


def set_back(*stores: Store) -> None:
    """The clock goes back an hour. That of a server cannot be set here: what it wrote down goes forward instead."""
    for store in stores:
        if isinstance(store, SqliteStore):
            store._clock = Behind(SystemClock())  # type: ignore[assignment]  # of the same shape
        elif isinstance(store, MemoryStore):
            store._clock = Behind(SystemClock())
    if isinstance(stores[0], PostgresStore):
        with psycopg.connect(conninfo(stores[0]._connections.url), autocommit=True) as session:
            for statement in AHEAD:
                session.execute(statement)


def waiting(store: Store, seconds: float) -> str:
    """A saga that asked to wait for so long."""
    return accepted(store, due_at=store.now() + timedelta(seconds=seconds)).saga_id


def test_what_waits_is_due_at_once(store: Store) -> None:
    """Twenty seconds are not an hour and twenty seconds; what has ended or waits for a person is left alone."""
    saga_id = waiting(store, 20)
    assert store.behind_s() == 0
    set_back(store)
    assert store.sweep_due(10, 5) == []
    assert store.behind_s() == pytest.approx(3_600, abs=30)
    store.look_again()
    assert [due.saga_id for due in store.sweep_due(10, 5)] == [saga_id]
    assert store.sweep_due(10, 5) == []


def test_more_than_are_taken_at_once(store: Store) -> None:
    """All of them, some at a time, and no saga a second time."""
    due_at = store.now() + timedelta(seconds=20)
    new = [new_saga(store, due_at=due_at) for _ in range(AT_ONCE + 1)]
    assert {it.status for it in store.accept(new)} == {AcceptStatus.ACCEPTED}
    set_back(store)
    store.look_again()
    assert {due.saga_id for due in store.sweep_due(2 * AT_ONCE, 5)} == {it.saga_id for it in new}


def test_a_process_that_died_before_is_found_dead(store: Store, open_another: OpenAnother) -> None:
    """Its lease holds for its length from now and not for an hour more, and one that is renewed is kept."""
    observer = open_another()
    living, dead = (WorkerRow(new_id("w"), "host-1", 1, (), ttl_s) for ttl_s in (60.0, 0.3))
    observer.register_worker(living)
    store.register_worker(dead)
    set_back(*{id(it): it for it in (observer, store)}.values())
    assert observer.behind_s() == pytest.approx(3_600, abs=30)
    (seen,) = [until for row, until in observer.workers() if row.worker_id == dead.worker_id]
    assert not dead.lives(seen, observer.now())
    observer.look_again()
    assert observer.renew_lease(living.worker_id)
    wait_until(lambda: observer.dead_workers() == [dead.worker_id], 20)
    assert [row for row, until in observer.workers() if row.lives(until, observer.now())] == [living]


def test_an_overdue_saga_keeps_its_instant(store: Store) -> None:
    """What is due already is not touched, so the oldest stays the first."""
    first, second = accepted(store, due_at=due_ago(store, 9)).saga_id, accepted(store, due_at=due_ago(store, 5)).saga_id
    store.look_again()
    assert [due.saga_id for due in store.sweep_due(10, 5)] == [first, second]


def test_nobody_is_judged_by_a_lease_of_the_old_clock() -> None:
    """The first who hears of the new clock waits one lease, in which the living renew, and no hour."""
    contact, at = Contact(), entry(1, datetime.fromisoformat("2026-11-29T12:00:00+00:00")).at
    contact.expect(5.0)
    assert contact.heard(at)
    assert contact.heard(at - timedelta(seconds=0.5))
    assert not contact.heard(at - HOUR)
    assert not contact.heard(at - HOUR + timedelta(seconds=4))
    assert contact.heard(at - HOUR + timedelta(seconds=6))
