"""Rows written again from the journal: never over a newer entry or a later run, alike on the three stores."""

import threading
from collections.abc import Sequence

import psycopg
import pytest

from saga.clock import monotonic
from saga.core.projection import Value
from saga.core.states import SagaStatus
from saga.fulfilment.orders_table import ORDERS
from saga.store import rewriting
from saga.store.connecting import connect_postgres
from saga.store.opening import open_store
from saga.store.port import AcceptStatus, AppendResult, KeptRequest, Rewrite, RowChange, Store
from saga.store.tables import POSTGRES
from tests.conformance.building import accepted, append_of, moved, new_id, new_saga
from tests.conformance.test_rows import append_with_row, row, seen
from tests.waiting import wait_until

MADE, STALE, BUSY = RowChange.MADE, RowChange.STALE, RowChange.BUSY


def statuses(store: Store, *order_ids: str) -> list[Value]:
    return [it["status"] for order_id in order_ids for it in seen(store, order_id)]


def patient(url: str, rewrites: Sequence[Rewrite]) -> list[RowChange]:
    """Rewritten by somebody who waits for a lock for as long as it takes."""
    engine = connect_postgres(url, 1)
    with engine.connect() as connection:
        answers = rewriting.rewrite(connection, POSTGRES, rewrites, lock_wait_ms=20_000)
    engine.dispose()
    return answers


def test_a_row_is_made_again_and_brought_back_to_the_truth(store: Store) -> None:
    """One that is missing is made, one that says something else is written over; both in one call."""
    missing, wrong = new_id("o"), new_id("o")
    ids = [
        accepted(store, entity=missing).saga_id,
        accepted(store, entity=wrong, row=lambda run: row(store, wrong, run=run, status="failed")).saga_id,
    ]
    again = [
        Rewrite(saga_id, 1, row(store, order_id, saga_id=saga_id))
        for saga_id, order_id in zip(ids, (missing, wrong), strict=True)
    ]
    assert store.rewrite(again) == [MADE, MADE]
    assert statuses(store, missing, wrong) == ["processing", "processing"]


def test_a_row_never_goes_back_to_an_older_entry(store: Store) -> None:
    """The journal moved on after the row was made from it: nothing of it is written, and its neighbour is."""
    paid, other = new_id("o"), new_id("o")
    ids = [accepted(store, entity=it, row=lambda _run, it=it: row(store, it)).saga_id for it in (paid, other)]
    store.append([append_with_row(store, ids[0], 2, row(store, paid, status="paid"))])
    again = [
        Rewrite(ids[0], 1, row(store, paid, status="processing")),
        Rewrite(ids[1], 1, row(store, other, status="shipped")),
        Rewrite("nobody", 1, row(store, "nobody")),
    ]
    assert store.rewrite(again) == [STALE, MADE, STALE]
    assert (statuses(store, paid, other), statuses(store, "nobody")) == (["paid", "shipped"], [])


def test_a_row_of_an_earlier_run_is_not_written(store: Store) -> None:
    """The row stands for the latest run, whichever saga is asked about."""
    order_id = new_id("o")
    first = accepted(store, entity=order_id, row=lambda run: row(store, order_id, run=run)).saga_id
    store.append([moved(store, first, 2, SagaStatus.COMPENSATED)])
    accepted(store, entity=order_id, row=lambda run: row(store, order_id, run=run))
    assert store.rewrite([Rewrite(first, 2, row(store, order_id, run=1, status="failed"))]) == [STALE]
    assert [(it["run"], it["status"]) for it in seen(store, order_id)] == [(2, "processing")]


def test_a_row_of_no_saga_is_dropped_and_no_other(store: Store) -> None:
    """Only with the very values that were seen, and only when its saga is not there."""
    order_id, stray = new_id("o"), new_id("o")
    saga_id = accepted(store, entity=order_id, row=lambda run: row(store, order_id, run=run)).saga_id
    strange = row(store, stray, saga_id="gone")
    accepted(store, entity=new_id("o"), row=lambda _run: strange)
    values = dict(zip(ORDERS.names, strange.values, strict=True))
    assert store.drop_row(ORDERS, seen(store, order_id)[0], saga_id) is STALE
    assert store.drop_row(ORDERS, {**values, "status": "paid"}, "gone") is STALE
    assert store.drop_row(ORDERS, values, "gone") is MADE
    assert (statuses(store, stray), len(seen(store, order_id))) == ([], 1)


def test_what_is_kept_under_a_request_key_can_be_asked(store: Store) -> None:
    """Within environment and tenant; another key, or the same elsewhere, has nothing."""
    saga_id = accepted(store, request_key="k-1", request_hash="h-1").saga_id
    new = new_saga(store)
    assert store.request(new.environment, new.tenant, "k-1") == KeptRequest("h-1", saga_id)
    assert store.request(new.environment, new.tenant, "k-2") is None
    assert store.request(new.environment, "other", "k-1") is None


def test_an_entity_that_is_accepted_once_has_no_second_run(store: Store) -> None:
    """Not even after a rollback, which makes another entity free again."""
    for is_once, then in ((True, AcceptStatus.DUPLICATE), (False, AcceptStatus.ACCEPTED)):
        entity = new_id("e")
        first = accepted(store, entity=entity, is_once=is_once).saga_id
        store.append([moved(store, first, 2, SagaStatus.COMPENSATED)])
        assert [it.status for it in store.accept([new_saga(store, entity=entity, is_once=is_once)])] == [then]


@pytest.mark.timeout(60)
def test_an_append_in_flight_on_postgresql_goes_first(store_postgres_url: str) -> None:
    """A worker's transaction has written entry 2 and its row and is not committed: writing the row of entry 1 again waits for
    it, finds entry 2, and gives way."""
    store = open_store(store_postgres_url)
    order_id = new_id("o")
    saga_id = accepted(store, entity=order_id, row=lambda _run: row(store, order_id)).saga_id
    answers: list[list[RowChange]] = []
    late = Rewrite(saga_id, 1, row(store, order_id, status="failed"))
    thread = threading.Thread(target=lambda: answers.append(patient(store_postgres_url, [late])))
    with psycopg.connect(store_postgres_url) as worker:
        worker.execute("UPDATE saga.orders SET status = 'paid' WHERE order_id = %s", (order_id,))
        worker.execute(
            "INSERT INTO saga.journal (saga_id, seq, at, writer, actor, body, prev_hash, min_reader_version) "
            "SELECT saga_id, 2, at, writer, actor, body, prev_hash, 1 FROM saga.journal WHERE saga_id = %s",
            (saga_id,),
        )
        thread.start()
        with psycopg.connect(store_postgres_url, autocommit=True) as looking:
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())"
            wait_until(
                lambda: (found := looking.execute(waits).fetchone()) and found[0], 10, what="the rewrite to wait"
            )
        worker.commit()
    thread.join()
    assert answers == [[STALE]]
    assert statuses(store, order_id) == ["paid"]
    assert store.append([append_of(store, saga_id, 3)]) == [AppendResult.APPENDED]
    store.close()


@pytest.mark.timeout(60)
def test_a_locked_row_on_postgresql_holds_nobody_up(store_postgres_url: str) -> None:
    """Somebody holds a lock on one row: that one is busy within less than a worker waits, its neighbours on both sides are
    written, and meanwhile no other row is locked. A stray under a lock stays."""
    store = open_store(store_postgres_url)
    orders = [new_id("o") for _ in range(3)]
    ids = [accepted(store, entity=it, row=lambda _run, it=it: row(store, it)).saga_id for it in orders]
    again = [Rewrite(saga_id, 1, row(store, it, status="paid")) for saga_id, it in zip(ids, orders, strict=True)]
    stray = row(store, new_id("o"), saga_id="gone")
    accepted(store, entity=new_id("o"), row=lambda _run: stray)
    values = dict(zip(ORDERS.names, stray.values, strict=True))
    with psycopg.connect(store_postgres_url) as somebody:
        somebody.execute(
            "SELECT 1 FROM saga.orders WHERE order_id IN (%s, %s) FOR UPDATE", (orders[1], values["order_id"])
        )
        began = monotonic()
        assert store.rewrite(again) == [MADE, BUSY, MADE]
        assert store.drop_row(ORDERS, values, "gone") is BUSY
        assert monotonic() - began < 2
        assert rewriting.LOCK_WAIT_MS < 300
    assert statuses(store, *orders) == ["paid", "processing", "paid"]
    assert store.rewrite(again) == [MADE] * 3
    assert store.drop_row(ORDERS, values, "gone") is MADE
    store.close()


@pytest.mark.timeout(60)
def test_a_worker_beside_a_rewrite_that_waits_keeps_its_row(store_postgres_url: str) -> None:
    """A rewrite of two rows stands at the second, which somebody holds: the first is committed and free, and a worker's append
    writes it."""
    store, worker = open_store(store_postgres_url), open_store(store_postgres_url)
    orders = [new_id("o") for _ in range(2)]
    ids = [accepted(store, entity=it, row=lambda _run, it=it: row(store, it)).saga_id for it in orders]
    again = [Rewrite(saga_id, 1, row(store, it, status="failed")) for saga_id, it in zip(ids, orders, strict=True)]
    thread = threading.Thread(target=lambda: patient(store_postgres_url, again))
    with psycopg.connect(store_postgres_url) as somebody:
        somebody.execute("SELECT 1 FROM saga.orders WHERE order_id = %s FOR UPDATE", (orders[1],))
        thread.start()
        wait_until(lambda: statuses(worker, orders[0]) == ["failed"], 10, what="the first row")
        assert worker.append([append_with_row(worker, ids[0], 2, row(worker, orders[0], status="paid"))]) == [
            AppendResult.APPENDED
        ]
        assert statuses(worker, orders[0]) == ["paid"]
    thread.join()
    store.close()
    worker.close()
