"""Orders that the release before took run on, are shown and come back: its journal as it wrote it, read by this one.

`journals/before-continues.sql` is the dump of a SQLite journal that commit 2373ea5 wrote: OLD-1 completed, with a return on its way;
OLD-2 in front of its authorization; OLD-3 accepted and OLD-4 completed, both with a name, street and city that are refused now.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from saga.core.states import SagaStatus
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.runtime.engine import Definitions, fold
from saga.store.memory import MemoryStore
from saga.store.opening import open_store
from saga.store.schema import upgrade
from tests.integration.api.serving import Shop, opened, order_values, problem
from tests.unit.fulfilment.test_fulfil_order import OF_VERSION_1

DUMP = Path(__file__).with_name("journals") / "before-continues.sql"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """This release over that journal."""
    connection = sqlite3.connect(tmp_path / "saga.db")
    connection.executescript(DUMP.read_text(encoding="utf-8"))
    connection.close()
    url = f"sqlite:///{tmp_path / 'saga.db'}"
    upgrade(url, "test")
    store = open_store(url)
    with opened(store) as shop:
        yield shop
    store.close()


def status(shop: Shop, entity: str) -> SagaStatus:
    return next(row.status for row in shop.rows() if row.entity == entity)


@pytest.mark.parametrize("entity", ["OLD-2", "OLD-3", "R1.OLD-1"])
def test_what_was_on_its_way_ends(shop: Shop, entity: str) -> None:
    """Under version 1, by the steps of version 2; also where a rule came that it would not pass."""
    [row] = [row for row in shop.rows() if row.entity == entity]
    assert (row.version, row.status) == (1, SagaStatus.RUNNING)
    shop.move(row.saga_id)
    state = fold(shop.store.load([row.saga_id])[row.saga_id])[0]
    assert (state.status, state.version) == (SagaStatus.COMPLETED, 1), state.halt


def test_what_had_completed_is_shown_and_comes_back(shop: Shop) -> None:
    """Also of an order that would be refused now."""
    assert shop.client.get("/v1/orders/OLD-4").json()["status"] == "confirmed"
    answer = shop.give_back({"85123A": 2}, key="r-4", order_id="OLD-4")
    assert answer.status_code == 202, answer.text
    shop.move(answer.json()["saga_id"])
    assert status(shop, "R1.OLD-4") is SagaStatus.COMPLETED


def test_a_repeat_is_a_repeat_over_the_upgrade(shop: Shop) -> None:
    """The same order under its key has the answer that was kept; another run or order of that id is refused as before."""
    again = shop.post(order_values(order_id="OLD-2"), key="key-of-OLD-2")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    problem(shop.post(order_values(order_id="OLD-2"), key="another"), 409, "duplicate_order")
    problem(shop.post(order_values(order_id="OLD-2", country="France"), key="key-of-OLD-2"), 422, "key_reused")


def test_new_orders_are_of_the_new_version(shop: Shop) -> None:
    """So a worker of the release before, beside this one, leaves them alone instead of halting over what it cannot read."""
    saga_id = shop.post(order_values(order_id="A/B #7 ü"), key="new").json()["saga_id"]
    row = shop.store.row(saga_id)
    assert row is not None
    assert row.version == 2
    before = Definitions(fulfil_order.earlier)
    assert before.get(row.definition, row.version) is None
    assert before.register(shop.store) == []


def test_another_structure_is_refused_as_before() -> None:
    """What is continued is one fingerprint, and no other one that is stored under the version."""
    assert [it.fingerprint for it in fulfil_order.earlier] == [OF_VERSION_1]
    assert [it.version for it in Definitions([fulfil_order, return_order])] == [2, 1, 2, 1]
    store, definitions = MemoryStore(), Definitions([fulfil_order])
    store.register_definition(fulfil_order.name, 1, "0" * 64)
    assert [(it.definition, it.version) for it in definitions.register(store)] == [(fulfil_order.name, 1)]
    assert [it.version for it in definitions] == [2]
