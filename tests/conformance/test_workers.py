"""A lease is the promise that a process lives; closing a worker hands back what it was at work on."""

from datetime import timedelta

from saga.core.states import HaltReason, SagaStatus
from saga.store.port import Append, SagaColumns, Store, WorkerRow
from tests.conformance.building import accepted, append_of, entry_of, moved, new_id
from tests.conformance.conftest import OpenAnother
from tests.waiting import wait_until


def worker(lease_ttl_s: float = 5.0) -> WorkerRow:
    """A worker row of a new boot."""
    return WorkerRow(new_id("w"), "host-1", 4711, ("inventory", "payment.rollback"), lease_ttl_s)


def test_a_registered_worker_is_open_and_alive(store: Store) -> None:
    """It is listed with its queues and the end of its lease, by the database's clock."""
    row = worker()
    before = store.now()
    store.register_worker(row)
    [(listed, lease_until)] = store.workers()
    assert listed == row
    assert timedelta(seconds=4.9) <= lease_until - before <= timedelta(seconds=8)
    assert store.worker_is_open([row.worker_id, "nobody"]) == {row.worker_id: True, "nobody": False}
    assert store.dead_workers() == []


def test_a_renewal_extends_the_lease(store: Store) -> None:
    """The lease ends later after `renew_lease`."""
    row = worker()
    store.register_worker(row)
    [(_, before)] = store.workers()
    assert store.renew_lease(row.worker_id)
    [(_, after)] = store.workers()
    assert after > before


def test_a_lease_that_ran_out_is_a_death(store: Store, open_another: OpenAnother) -> None:
    """Seen by another store and by the same; while the row is open a late renewal still brings the worker back."""
    row, living = worker(0.3), worker()
    observer = open_another()
    observer.register_worker(living)
    store.register_worker(row)
    wait_until(lambda: observer.dead_workers() == [row.worker_id])
    assert store.renew_lease(row.worker_id)
    assert observer.dead_workers() == []


def test_a_closed_worker_must_register_anew(store: Store) -> None:
    """Renewal says False, the row is not open, not listed and not dead again."""
    row = worker()
    store.register_worker(row)
    assert store.close_worker(row.worker_id) == 0
    assert store.renew_lease(row.worker_id) is False
    assert store.worker_is_open([row.worker_id]) == {row.worker_id: False}
    assert store.workers() == []
    assert store.dead_workers() == []
    assert store.renew_lease("nobody") is False


def test_registering_again_opens_nothing(store: Store) -> None:
    """An id that was closed stays closed: a boot has an id of its own."""
    row = worker()
    store.register_worker(row)
    store.close_worker(row.worker_id)
    store.register_worker(row)
    assert store.worker_is_open([row.worker_id]) == {row.worker_id: False}


def test_closing_makes_exactly_its_live_sagas_due(store: Store) -> None:
    """Due: sagas with an entry by it that wait for an instant. Not: others', ended ones, ones that wait for a person."""
    dead, other = worker(), worker()
    store.register_worker(dead)
    store.register_worker(other)
    held, foreign, ended, halted = (accepted(store).saga_id for _ in range(4))
    store.append(
        [append_of(store, held, 2, writer=dead.worker_id), append_of(store, foreign, 2, writer=other.worker_id)]
    )
    store.append([append_of(store, held, 3, writer="api")])
    store.append([append_of(store, ended, 2, writer=dead.worker_id)])
    store.append([moved(store, ended, 3, SagaStatus.COMPLETED)])
    waits = SagaColumns(SagaStatus.HALTED, HaltReason.DEFECT, None)
    store.append([Append(halted, entry_of(store, halted, 2, writer=dead.worker_id), waits)])
    assert store.close_worker(dead.worker_id) == 1
    assert [due.saga_id for due in store.sweep_due(10, 30.0)] == [held]


def test_closing_twice_wakes_once(store: Store) -> None:
    """The second close finds the row closed and wakes nobody; so does closing an id that nobody has."""
    row = worker()
    store.register_worker(row)
    saga_id = accepted(store).saga_id
    store.append([append_of(store, saga_id, 2, writer=row.worker_id)])
    assert [store.close_worker(row.worker_id), store.close_worker(row.worker_id)] == [1, 0]
    assert store.close_worker("nobody") == 0


def test_a_woken_saga_keeps_an_older_due_instant(store: Store) -> None:
    """Waking never makes a saga younger in the queue."""
    row = worker()
    store.register_worker(row)
    due_at = store.now() - timedelta(minutes=5)
    saga_id = accepted(store, due_at=due_at).saga_id
    store.append([append_of(store, saga_id, 2, writer=row.worker_id)])
    store.close_worker(row.worker_id)
    found = store.row(saga_id)
    assert found is not None
    assert found.due_at == due_at
