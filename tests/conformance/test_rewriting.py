"""Rows written again from the journal: never over a newer entry or a later run, alike on the three stores."""

import threading

import psycopg
import pytest

from saga.core.projection import Value
from saga.core.states import SagaStatus
from saga.fulfilment.orders_table import ORDERS
from saga.store.opening import open_store
from saga.store.port import AcceptStatus, AppendResult, KeptRequest, Rewrite, Store
from tests.conformance.building import accepted, append_of, moved, new_id, new_saga
from tests.conformance.test_rows import append_with_row, row, seen
from tests.waiting import wait_until


def statuses(store: Store, *order_ids: str) -> list[Value]:
    return [it["status"] for order_id in order_ids for it in seen(store, order_id)]


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
    assert store.rewrite(again) == [True, True]
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
    assert store.rewrite(again) == [False, True, False]
    assert (statuses(store, paid, other), statuses(store, "nobody")) == (["paid", "shipped"], [])


def test_a_row_of_an_earlier_run_is_not_written(store: Store) -> None:
    """The row stands for the latest run, whichever saga is asked about."""
    order_id = new_id("o")
    first = accepted(store, entity=order_id, row=lambda run: row(store, order_id, run=run)).saga_id
    store.append([moved(store, first, 2, SagaStatus.COMPENSATED)])
    accepted(store, entity=order_id, row=lambda run: row(store, order_id, run=run))
    assert store.rewrite([Rewrite(first, 2, row(store, order_id, run=1, status="failed"))]) == [False]
    assert [(it["run"], it["status"]) for it in seen(store, order_id)] == [(2, "processing")]


def test_a_row_of_no_saga_is_dropped_and_no_other(store: Store) -> None:
    """Only with the very values that were seen, and only when its saga is not there."""
    order_id, stray = new_id("o"), new_id("o")
    saga_id = accepted(store, entity=order_id, row=lambda run: row(store, order_id, run=run)).saga_id
    strange = row(store, stray, saga_id="gone")
    accepted(store, entity=new_id("o"), row=lambda _run: strange)
    values = dict(zip(ORDERS.names, strange.values, strict=True))
    assert not store.drop_row(ORDERS, seen(store, order_id)[0], saga_id)
    assert not store.drop_row(ORDERS, {**values, "status": "paid"}, "gone")
    assert store.drop_row(ORDERS, values, "gone")
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
    answers: list[list[bool]] = []
    late = Rewrite(saga_id, 1, row(store, order_id, status="failed"))
    rewriting = threading.Thread(target=lambda: answers.append(store.rewrite([late])))
    with psycopg.connect(store_postgres_url) as worker:
        worker.execute("UPDATE saga.orders SET status = 'paid' WHERE order_id = %s", (order_id,))
        worker.execute(
            "INSERT INTO saga.journal (saga_id, seq, at, writer, actor, body, prev_hash, min_reader_version) "
            "SELECT saga_id, 2, at, writer, actor, body, prev_hash, 1 FROM saga.journal WHERE saga_id = %s",
            (saga_id,),
        )
        rewriting.start()
        with psycopg.connect(store_postgres_url, autocommit=True) as looking:
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())"
            wait_until(
                lambda: (found := looking.execute(waits).fetchone()) and found[0], 10, what="the rewrite to wait"
            )
        worker.commit()
    rewriting.join()
    assert answers == [[False]]
    assert statuses(store, order_id) == ["paid"]
    assert store.append([append_of(store, saga_id, 3)]) == [AppendResult.APPENDED]
    store.close()
