"""An order whose journal cannot be read is refused under its own reference, and the other cancellations of the file become what
they would have (RELIABILITY 18)."""

from collections.abc import Iterator
from typing import Any

import pytest

from saga.core.definition import Saga
from saga.fulfilment.cancellations import Sold
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.intake import Cancelled
from saga.fulfilment.models import Order
from saga.fulfilment.return_order import return_order
from saga.runtime.starting import Starter
from saga.store.port import SagaFilter
from saga.surfaces.returning import DirectDesk, HttpDesk, Returning, ReturnTally
from saga.surfaces.submit import HttpIntake
from tests.integration.api.serving import Shop, order_values, served
from tests.integration.api.test_returning import TouchedStore

SKU = "85123A"
BAD, GOOD = "SO-1", "SO-2"
CHANGES: dict[str, dict[str, Any]] = {"newer": {"min_reader_version": 99}, "damaged": {"body": "{"}}


@pytest.fixture
def orders() -> Iterator[tuple[Shop, TouchedStore, dict[str, str]]]:
    """Two orders of six pieces that completed, behind a real server, and their sagas."""
    store = TouchedStore()
    with served(store) as shop:
        sagas = {it: shop.accepted(order_id=it, customer_id=f"C-{it}") for it in (BAD, GOOD)}
        for saga_id in sagas.values():
            shop.move(saga_id)
        yield shop, store, sagas


def settled(way: str, shop: Shop, store: TouchedStore, sagas: dict[str, str], pieces: int) -> ReturnTally:
    """The tally of a file with a cancellation of so many pieces for each order, the unreadable one first."""
    starter = Starter(store, environment="test", tenant="shop")
    over = HttpIntake(str(shop.client.base_url))
    desk = HttpDesk(over) if way == "api" else DirectDesk(store, starter, lambda _hints: None)
    returning = Returning(desk, Sold())
    for order_id in sagas:
        returning.sold(Order.model_validate(order_values(order_id=order_id, customer_id=f"C-{order_id}")))
    for number, order_id in enumerate(sagas, 1):
        returning.cancelled(Cancelled(f"C-{number}", f"C-{order_id}", {SKU: pieces}), sagas.get)
    assert returning.finish(bound_s=20.0)
    starter.stop()
    return returning.tally


@pytest.mark.parametrize("way", ["database", "api"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("pieces", [2, 6], ids=["some-pieces", "the-whole-order"])
def test_an_order_that_cannot_be_read_hinders_no_other(
    orders: tuple[Shop, TouchedStore, dict[str, str]], way: str, change: str, pieces: int
) -> None:
    """Its cancellation is refused with a reason; the order behind it is returned; the same file again asks for nothing new and
    is told the same."""
    shop, store, sagas = orders
    store.changed[sagas[BAD]] = CHANGES[change]
    for returned, already in ((1, 0), (0, 1)):
        tally = settled(way, shop, store, sagas, pieces)
        assert [one.reference for one in tally.refused] == ["C-1"]
        assert tally.refused[0].reason
        assert (tally.cancellations, tally.returned, tally.already) == (2, returned, already)
    assert [row.entity for row in store.find(SagaFilter(return_order.name), 10)] == [f"R1.{GOOD}"]


@pytest.mark.parametrize("way", ["database", "api"])
def test_an_order_that_is_under_way_and_damaged_is_not_waited_for(way: str) -> None:
    """It never ends, so its cancellation is refused, and the one behind it is settled."""
    store = TouchedStore()
    with served(store) as shop:
        sagas = {it: shop.accepted(order_id=it, customer_id=f"C-{it}") for it in (BAD, GOOD)}
        shop.move(sagas[GOOD])
        store.changed[sagas[BAD]] = CHANGES["damaged"]
        tally = settled(way, shop, store, sagas, 2)
    assert [one.reference for one in tally.refused] == ["C-1"]
    assert (tally.returned, tally.waiting) == (1, 0)


@pytest.mark.parametrize("way", ["database", "api"])
def test_an_order_of_a_definition_that_is_not_here_hinders_no_other(
    orders: tuple[Shop, TouchedStore, dict[str, str]], way: str
) -> None:
    """It was accepted under a version that this process does not have, and comes back whole: its cancel is refused."""
    shop, store, sagas = orders
    sagas = {"SO-0": elsewhere(store), **sagas}
    tally = settled(way, shop, store, sagas, 6)
    assert [one.reference for one in tally.refused] == ["C-1"]
    assert tally.returned == 2


def elsewhere(store: TouchedStore) -> str:
    """An order of a version that no process here has, and that nobody moves."""
    newer = Saga(fulfil_order.name, version=99, input=Order, entity=fulfil_order.entity, steps=fulfil_order.steps)
    starter = Starter(store, environment="test", tenant="shop")
    order = Order.model_validate(order_values(order_id="SO-0", customer_id="C-SO-0"))
    saga_id = starter.start(newer, order).saga_id
    starter.stop()
    return saga_id
