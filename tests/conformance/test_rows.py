"""Rows of a projection: written with the decision or not at all, alike on the three stores, here to the table `orders`."""

from collections.abc import Mapping

import psycopg
import pytest

from saga.clock import monotonic
from saga.core.projection import ProjectedRow, Projection, Value
from saga.core.states import SagaStatus
from saga.errors import UsageError
from saga.fulfilment.orders_table import ORDERS
from saga.store.opening import open_store
from saga.store.port import AcceptStatus, Append, AppendResult, RowFilter, Store
from tests.conformance.building import accepted, append_of, entry_of, new_id, new_saga

LATEST = ("accepted_at", "order_id")


def row(store: Store, order_id: str, **fields: Value) -> ProjectedRow:
    """A row of `orders`."""
    values: dict[str, Value] = {
        "environment": "test", "tenant": "shop", "order_id": order_id, "saga_id": "s", "run": 1, "status": "processing",
        "saga_status": "running", "halt_reason": None, "customer_id": "C-1", "country": "Norway", "currency": "NOK",
        "goods": 100, "total": None, "accepted_at": store.now(), "ended_at": None,
    }  # fmt: skip
    values |= fields
    return ProjectedRow(ORDERS, tuple(values[name] for name in ORDERS.names))


def seen(store: Store, order_id: str) -> list[dict[str, Value]]:
    return store.rows(ORDERS, RowFilter(LATEST, {"order_id": order_id}), 10)


def append_with_row(store: Store, saga_id: str, seq: int, row: ProjectedRow, note: str = "") -> Append:
    return Append(saga_id, entry_of(store, saga_id, seq, note=note), row=row)


def test_a_row_is_written_with_its_accept_and_its_appends(store: Store) -> None:
    """Made once, then brought up to date under its key."""
    order_id = new_id("o")
    new = accepted(store, entity=order_id, row=lambda run: row(store, order_id, run=run))
    assert [(it["status"], it["run"], it["total"]) for it in seen(store, order_id)] == [("processing", 1, None)]
    ended = row(store, order_id, status="confirmed", total=120, ended_at=store.now())
    assert store.append([append_with_row(store, new.saga_id, 2, ended)]) == [AppendResult.APPENDED]
    assert seen(store, order_id) == [dict(zip(ORDERS.names, ended.values, strict=True))]


def test_a_conflict_writes_no_row(store: Store) -> None:
    """Of two decisions at one number one counts, and its row with it; in a group the others go in."""
    first, second = new_id("o"), new_id("o")
    ids = [accepted(store, entity=it, row=lambda _run, it=it: row(store, it)).saga_id for it in (first, second)]
    store.append([append_of(store, ids[0], 2)])
    late = append_with_row(store, ids[0], 2, row(store, first, status="failed"), note="another")
    good = append_with_row(store, ids[1], 2, row(store, second, status="paid"))
    assert store.append([late, good]) == [AppendResult.CONFLICT, AppendResult.APPENDED]
    assert [it["status"] for it in seen(store, first) + seen(store, second)] == ["processing", "paid"]


def test_an_append_that_is_made_again_writes_its_row_once(store: Store) -> None:
    """The outcome of a COMMIT was unknown; meanwhile the next decision wrote another row, and that one stays."""
    order_id = new_id("o")
    saga_id = accepted(store, entity=order_id, row=lambda _run: row(store, order_id)).saga_id
    once = append_with_row(store, saga_id, 2, row(store, order_id, status="paid"))
    assert store.append([once]) == [AppendResult.APPENDED]
    then = append_with_row(store, saga_id, 3, row(store, order_id, status="shipped"))
    assert store.append([then]) == [AppendResult.APPENDED]
    assert store.append([once]) == [AppendResult.APPENDED]
    assert [it["status"] for it in seen(store, order_id)] == ["shipped"]


@pytest.mark.parametrize("bad", [{"status": "a\0b"}, {"goods": 2**63}, {"country": "\ud800"}])
def test_a_row_that_no_database_can_hold_costs_no_decision(store: Store, bad: Mapping[str, Value]) -> None:
    """Neither its own, which is stored without the row, nor that of a neighbour, which has its row."""
    order_id, other = new_id("o"), new_id("o")
    ids = [accepted(store, entity=it, row=lambda _run, it=it: row(store, it)).saga_id for it in (order_id, other)]
    spoiled = append_with_row(store, ids[0], 2, row(store, order_id, **bad))
    good = append_with_row(store, ids[1], 2, row(store, other, status="paid"))
    assert store.append([spoiled, good]) == [AppendResult.APPENDED] * 2
    assert [it["status"] for it in seen(store, order_id) + seen(store, other)] == ["processing", "paid"]
    assert [len(store.load([saga_id])[saga_id]) for saga_id in ids] == [2, 2]
    [refused] = store.accept([new_saga(store, row=lambda _run: row(store, new_id("o"), **bad))])
    assert refused.status is AcceptStatus.REFUSED


def test_rows_are_found_by_column_and_paged_from_the_latest(store: Store) -> None:
    """By equal values, by one of several, and from behind the last one of a page."""
    customer = new_id("c")
    ids = [new_id("o") for _ in range(5)]
    for place, order_id in enumerate(ids):
        status = "paid" if place % 2 else "failed"
        accepted(
            store, entity=order_id,
            row=lambda _run, it=order_id, status=status: row(store, it, customer_id=customer, status=status),
        )  # fmt: skip
    wanted = RowFilter(LATEST, {"customer_id": customer})
    first = store.rows(ORDERS, wanted, 2)
    behind = tuple(first[-1][name] for name in LATEST)
    rest = store.rows(ORDERS, RowFilter(LATEST, {"customer_id": customer}, before=behind), 10)
    assert [it["order_id"] for it in first + rest] == ids[::-1]
    some = RowFilter(LATEST, {"customer_id": customer}, {"status": ("paid", "shipped")})
    assert [it["order_id"] for it in store.rows(ORDERS, some, 10)] == [ids[3], ids[1]]


def test_a_projection_that_does_not_insert_changes_what_is_there(store: Store) -> None:
    """The row of a table of one's own is made by its owner; one that is not there is not made."""
    updating = Projection(
        table="orders",
        schema="saga",
        key=("order_id",),
        columns={"order_id": "text", "status": "text"},
        face=lambda state: state.status,
        row_of=lambda state: {"order_id": state.entity, "status": state.status.value},
        inserts=False,
    )
    order_id, nobody = new_id("o"), new_id("o")
    new = accepted(store, entity=order_id, row=lambda _run: row(store, order_id))
    for seq, (key, status) in enumerate([(order_id, "paid"), (nobody, "paid")], start=2):
        change = Append(new.saga_id, entry_of(store, new.saga_id, seq), row=ProjectedRow(updating, (key, status)))
        assert store.append([change]) == [AppendResult.APPENDED]
    assert [(it["status"], it["goods"]) for it in seen(store, order_id)] == [("paid", 100)]
    assert seen(store, nobody) == []


@pytest.mark.parametrize("url_of", ["store_postgres_url", "store_sqlite_url"])
@pytest.mark.parametrize("change", [{"table": "nowhere"}, {"columns": {"order_id": "text", "colour": "text"}}])
def test_a_projection_without_its_table_is_a_usage_error(
    request: pytest.FixtureRequest, url_of: str, change: dict[str, object]
) -> None:
    """Asked when definitions are registered, not found out with the first order."""
    facts: dict[str, object] = {
        "table": "orders",
        "schema": "saga",
        "key": ("order_id",),
        "columns": {"order_id": "text", "status": "text"},
        "face": lambda state: state.status,
        "row_of": lambda _state: {},
    }
    store = open_store(request.getfixturevalue(url_of))
    try:
        with pytest.raises(UsageError, match="saga db upgrade"):
            store.rows(Projection(**(facts | change)), RowFilter(("order_id",)), 1)  # type: ignore[arg-type]
    finally:
        store.close()


@pytest.mark.parametrize("url_of", ["store_postgres_url", "store_sqlite_url"])
def test_whatever_is_wrong_with_a_row_costs_no_decision(request: pytest.FixtureRequest, url_of: str) -> None:
    """A table of one's own may have constraints that the engine does not know; the entry goes in without the row, a neighbour with
    his, and the committer lives."""
    store = open_store(request.getfixturevalue(url_of))
    try:
        order_id = new_id("o")
        new = accepted(store, entity=order_id, row=lambda _run: row(store, order_id))
        lacking = ProjectedRow(ORDERS, tuple(None if name == "saga_id" else value for name, value in
                               zip(ORDERS.names, row(store, order_id).values, strict=True)))  # fmt: skip
        other = accepted(store, row=lambda _run: row(store, "o-other"))
        change = append_with_row(store, new.saga_id, 2, lacking)
        beside = append_with_row(store, other.saga_id, 2, row(store, "o-other", status="paid"))
        assert store.append([change, beside]) == [AppendResult.APPENDED] * 2
        assert [it["status"] for it in seen(store, "o-other")] == ["paid"]
        assert store.row(new.saga_id) is not None
        assert SagaStatus(str(seen(store, order_id)[0]["saga_status"])) is SagaStatus.RUNNING
    finally:
        store.close()


def test_two_sagas_on_one_row_in_one_group_are_written_one_by_one(store: Store) -> None:
    """A statement that is to write one row twice writes nothing, or one of them by chance."""
    order_id = new_id("o")
    ids = sorted(accepted(store, row=lambda _run: row(store, order_id)).saga_id for _ in range(2))
    group = [
        append_with_row(store, saga_id, 2, row(store, order_id, status=status, saga_id=saga_id))
        for saga_id, status in zip(ids, ("paid", "shipped"), strict=True)
    ]
    assert store.append(group) == [AppendResult.APPENDED] * 2
    assert [it["status"] for it in seen(store, order_id)] == ["shipped"]


def test_a_lock_on_the_owner_s_row_holds_up_no_journal(store_postgres_url: str) -> None:
    """Somebody edits an order by hand and leaves for lunch: decisions go in, of that order without its row."""
    store = open_store(store_postgres_url)
    try:
        held, free = new_id("o"), new_id("o")
        ids = [accepted(store, entity=it, row=lambda _run, it=it: row(store, it)).saga_id for it in (held, free)]
        with psycopg.connect(store_postgres_url) as somebody:
            somebody.execute("UPDATE saga.orders SET goods = 1 WHERE order_id = %s", (held,))
            group = [
                append_with_row(store, saga_id, 2, row(store, order_id, status="paid"))
                for saga_id, order_id in zip(ids, (held, free), strict=True)
            ]
            began = monotonic()
            assert store.append(group) == [AppendResult.APPENDED] * 2
            assert monotonic() - began < 15
            somebody.rollback()
        assert [it["status"] for it in seen(store, held) + seen(store, free)] == ["processing", "paid"]
    finally:
        store.close()
