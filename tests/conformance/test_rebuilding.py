"""The table of orders made again on PostgreSQL while somebody holds the lock of one row."""

from collections.abc import Iterator

import psycopg
import pytest
from typer.testing import CliRunner

from saga.clock import monotonic
from saga.core.projection import Value
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Order
from saga.fulfilment.orders_table import ORDERS
from saga.runtime.starting import Starter
from saga.store import schema
from saga.store.opening import open_store
from saga.store.port import RowFilter, Store
from saga.surfaces.cli.commands import app
from saga.surfaces.order_rows import rebuild
from tests.e2e.orders import order

IDS = ("SO-1", "SO-2", "SO-3")


@pytest.fixture
def store(store_postgres_url: str) -> Iterator[Store]:
    """Three orders, each with a row that says something else than its journal."""
    made = open_store(store_postgres_url)
    starter = Starter(made, environment="test", tenant="shop")
    for order_id in IDS:
        starter.start(fulfil_order, Order.model_validate(order(order_id)))
    starter.stop()
    with psycopg.connect(store_postgres_url, autocommit=True) as connection:
        connection.execute("UPDATE saga.orders SET status = 'failed'")
    yield made
    made.close()


def statuses(store: Store) -> dict[Value, Value]:
    return {row["order_id"]: row["status"] for row in store.rows(ORDERS, RowFilter(ORDERS.key), 9)}


@pytest.mark.timeout(60)
def test_a_locked_row_is_busy_and_the_others_are_written(
    store: Store, store_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted and named, in less time than a worker waits for each; the command ends with 1 and says what to type, and
    typed again when the lock is gone it writes the row."""
    schema.upgrade(store_postgres_url, "test")
    for name, value in (("DATABASE_URL", store_postgres_url), ("ENVIRONMENT", "test"), ("TENANT", "shop")):
        monkeypatch.setenv(f"SAGA_{name}", value)
    with psycopg.connect(store_postgres_url) as somebody:
        somebody.execute("SELECT 1 FROM saga.orders WHERE order_id = 'SO-2' FOR UPDATE")
        began = monotonic()
        done = rebuild(store)
        assert monotonic() - began < 3
        assert (done.orders, done.written, done.busy, done.moving) == (3, 2, ["SO-2"], 0)
        assert statuses(store) == {"SO-1": "processing", "SO-2": "failed", "SO-3": "processing"}
        asked = CliRunner().invoke(app, ["orders", "rebuild"])
        assert asked.exit_code == 1
        assert "orders 3   right 2   written 0   dropped 0" in asked.stdout
        assert "saga: 1 row not written, somebody holds a lock: SO-2; type this again" in asked.stderr
    assert CliRunner().invoke(app, ["orders", "rebuild"]).exit_code == 0
    assert statuses(store) == dict.fromkeys(IDS, "processing")
