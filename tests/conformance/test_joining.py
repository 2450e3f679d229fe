"""Accepting inside the caller's transaction: his rows and the saga commit together or not at all."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.orm import Session

from saga.core.states import HaltReason, SagaStatus
from saga.errors import UsageError
from saga.runtime.engine import Definitions
from saga.runtime.loop import messages_for
from saga.store.joining import accept_on
from saga.store.journal import Reached
from saga.store.opening import open_store
from saga.store.port import AcceptStatus, Store
from tests.conformance.building import entry, moved, new_id, new_saga
from tests.conformance.test_rows import row, seen


@pytest.fixture(params=["postgres", "sqlite"])
def joined(request: pytest.FixtureRequest) -> Iterator[tuple[Engine, Store]]:
    """The caller's own engine with a table of his, and our store on the same database."""
    url = request.getfixturevalue(f"store_{request.param}_url")
    engine, store = create_engine(url.replace("postgresql://", "postgresql+psycopg://")), open_store(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS cart"))
        connection.execute(text("CREATE TABLE cart (name TEXT)"))
    yield engine, store
    store.close()
    engine.dispose()


def carts(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM cart")).scalar_one())


def test_both_commit(joined: tuple[Engine, Store]) -> None:
    """After the caller's COMMIT the saga is there as after `accept`, and goes on by `append`."""
    engine, store = joined
    new = new_saga(store, request_key=new_id("k"), request_hash="h", priority=2)
    with engine.begin() as connection:
        result = accept_on(connection, new)
        connection.execute(text("INSERT INTO cart VALUES ('mine')"))
    assert (result.status, result.run) == (AcceptStatus.ACCEPTED, 1)
    row = store.row(new.saga_id)
    assert row is not None
    assert (row.entity, row.due_at, row.status) == (new.entity, new.due_at, SagaStatus.RUNNING)
    assert store.tail(new.saga_id, 0) == [new.first_entry(1)]
    assert [r.value for r in store.append([moved(store, new.saga_id, 2, SagaStatus.COMPLETED)])] == ["appended"]


@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET body = '[]'"], ids=["gone", "another"])
def test_a_journal_that_is_gone_or_another_is_noticed_at_load(joined: tuple[Engine, Store], change: str) -> None:
    """The saga row remembers number and hash of entry 1, as after `accept`: whoever loads the saga halts it, for a person."""
    engine, store = joined
    new = new_saga(store)
    with engine.begin() as connection:
        accept_on(connection, new)
    assert store.load([new.saga_id])[new.saga_id].reached == Reached(1, new.first_entry(1).hash)
    journal = "saga.journal" if engine.dialect.name == "postgresql" else "journal"
    with engine.begin() as connection:
        connection.execute(text(f"{change.format(journal)} WHERE saga_id = :id"), {"id": new.saga_id})
    assert messages_for(store, Definitions([]), [new.saga_id]) == []
    row = store.row(new.saga_id)
    assert row is not None
    assert (row.status, row.halt_reason) == (SagaStatus.HALTED, HaltReason.JOURNAL_DAMAGED)


@pytest.mark.parametrize("own_row_first", [True, False])
def test_both_roll_back(joined: tuple[Engine, Store], own_row_first: bool) -> None:
    """After the caller's ROLLBACK neither is there, whichever came first."""
    engine, store = joined
    new = new_saga(store)
    with engine.connect() as connection:
        if own_row_first:
            connection.execute(text("INSERT INTO cart VALUES ('mine')"))
        accept_on(connection, new)
        connection.execute(text("INSERT INTO cart VALUES ('mine')"))
        connection.rollback()
        assert carts(connection) == 0
    assert store.row(new.saga_id) is None


def test_answers_are_those_of_accept(joined: tuple[Engine, Store]) -> None:
    """Replay, reused key, duplicate, refused and a second run, and the caller's transaction stays usable."""
    engine, store = joined
    key, entity = new_id("k"), new_id("order")
    first = new_saga(store, entity, request_key=key, request_hash="h")
    now = store.now()
    refused = replace(new_saga(store), first_entry=lambda run: replace(entry(1, now), reason="a\0b"))
    offers = [
        first,
        new_saga(store, entity, request_key=key, request_hash="h"),
        new_saga(store, entity, request_key=key, request_hash="other"),
        new_saga(store, entity),
        refused,
    ]
    with engine.begin() as connection:
        statuses = [accept_on(connection, new).status.value for new in offers]
        connection.execute(text("INSERT INTO cart VALUES ('mine')"))
    assert statuses == ["accepted", "replayed", "key_reused", "duplicate", "refused"]
    store.append([moved(store, first.saga_id, 2, SagaStatus.COMPENSATED)])
    with engine.begin() as connection:
        assert carts(connection) == 1
        assert accept_on(connection, new_saga(store, entity)).run == 2


def test_one_of_many_callers_wins(joined: tuple[Engine, Store]) -> None:
    """Twelve callers offer one order at once, each in a transaction of its own: one saga."""
    engine, store = joined
    entity = new_id("order")

    def offer(_number: int) -> str:
        with engine.begin() as connection:
            return accept_on(connection, new_saga(store, entity)).status.value

    with ThreadPoolExecutor(12) as threads:
        statuses = list(threads.map(offer, range(12)))
    assert sorted(statuses) == ["accepted"] + ["duplicate"] * 11


def test_the_row_of_a_projection_commits_with_the_caller(joined: tuple[Engine, Store]) -> None:
    """Rolled back with him, committed with him."""
    engine, store = joined
    order_id = new_id("o")
    new = new_saga(store, entity=order_id, row=lambda run: row(store, order_id, run=run))
    with engine.connect() as connection:
        accept_on(connection, new)
        connection.rollback()
    assert seen(store, order_id) == []
    with engine.begin() as connection:
        accept_on(connection, new)
    assert [it["run"] for it in seen(store, order_id)] == [1]


def test_a_row_that_is_refused_costs_the_caller_nothing(joined: tuple[Engine, Store]) -> None:
    """His rows and the saga commit, the saga with its journal; the row is left out."""
    engine, store = joined
    order_id = new_id("o")
    new = new_saga(store, entity=order_id, row=lambda _run: row(store, order_id, customer_id=None))
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO cart VALUES ('mine')"))
        assert accept_on(connection, new).status is AcceptStatus.ACCEPTED
    with engine.connect() as connection:
        assert carts(connection) == 1
    assert len(store.load([new.saga_id])[new.saga_id]) == 1
    assert seen(store, order_id) == []


def test_what_is_no_transaction_is_refused_with_what_to_pass(joined: tuple[Engine, Store]) -> None:
    """A session, an engine, a connection of the driver, and one that commits each statement: nothing is stored."""
    engine, store = joined
    new = new_saga(store)
    with engine.connect() as connection, Session(engine) as session:
        driver: Any = connection.connection.dbapi_connection
        others: list[Any] = [session, engine, driver, None]
        for other in others:
            with pytest.raises(UsageError, match=rf"is a {type(other).__name__}; pass .*session\.connection\(\)"):
                accept_on(other, new)
        assert accept_on(session.connection(), new).status is AcceptStatus.ACCEPTED
    with (
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        pytest.raises(UsageError, match=r"commits each statement .*session\.connection\(\)"),
    ):
        accept_on(connection, new)
    assert store.row(new.saga_id) is None


def test_a_transaction_that_the_caller_begins_himself_is_one(store_sqlite_url: str) -> None:
    """As SQLAlchemy's documentation has it for SQLite: the driver begins nothing, an event does."""
    store, engine = open_store(store_sqlite_url), create_engine(store_sqlite_url, isolation_level="AUTOCOMMIT")
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    new = new_saga(store)
    with engine.begin() as connection:
        assert accept_on(connection, new).status is AcceptStatus.ACCEPTED
    assert store.row(new.saga_id) is not None
    store.close()
    engine.dispose()
