"""Who waits for the orders of a file is not held up, and not sent away, by one whose journal cannot be read (RELIABILITY 18)."""

from typing import Any

import pytest

from saga.core.outcomes import Payload
from saga.errors import CodecError, ConcurrencyError
from saga.fulfilment.cancellations import Sold
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.intake import Cancelled
from saga.fulfilment.models import Order, TaxQuote
from saga.fulfilment.returns import payload_of
from saga.runtime.engine import fold
from saga.runtime.starting import Starter
from saga.surfaces.awaiting import await_ends, explain_ends
from saga.surfaces.returning import Desk, DirectDesk, HttpDesk, Rest, Returning
from saga.surfaces.submit import DirectIntake, HttpIntake, Tally
from tests.integration.api.serving import Shop, order_values, served
from tests.integration.api.test_returning import TouchedStore

BAD, GOOD = "SO-1", "SO-2"


def ends_of(way: str, shop: Shop, store: TouchedStore, saga_ids: list[str]) -> Tally:
    """What `--wait` counted, over the API or straight from the database."""
    tally = Tally(saga_ids=saga_ids)
    starter = Starter(store, environment="test", tenant="shop")
    direct = DirectIntake(store, starter, fulfil_order, lambda _hints: None)
    ends = direct if way == "database" else HttpIntake(str(shop.client.base_url))
    assert await_ends(ends, tally, bound_s=20.0)
    explain_ends(ends, tally)
    starter.stop()
    return tally


@pytest.mark.parametrize("way", ["database", "api"])
@pytest.mark.parametrize("is_ended", [False, True], ids=["under-way", "rolled-back"])
def test_an_order_that_cannot_be_read_ends_no_wait(way: str, is_ended: bool) -> None:
    """It is named, and the order behind it is counted with its end. Under way it has no end that could be awaited, and its row
    does not show it; rolled back its row says so, and only why cannot be said."""
    store = TouchedStore()
    with served(store) as shop:
        sagas = {it: shop.accepted(order_id=it, customer_id=f"C-{it}") for it in (BAD, GOOD)}
        shop.move(sagas[GOOD])
        if is_ended:
            assert shop.cancel(BAD).status_code in (200, 202)
            shop.move(sagas[BAD])
        store.changed[sagas[BAD]] = {"body": "{"}
        tally = ends_of(way, shop, store, list(sagas.values()))
    assert tally.unreadable == [sagas[BAD]]
    assert tally.ended["completed"] == 1
    assert tally.as_json(with_ends=True)["unreadable"] == [sagas[BAD]]


def test_a_payload_of_another_shape_is_an_unreadable_journal() -> None:
    """Who asks for a return of such an order is told which saga and what to type, and not by pydantic."""
    store = TouchedStore()
    with served(store) as shop:
        saga_id = shop.accepted()
        state, _, _ = fold(store.load([saga_id])[saga_id])
    with pytest.raises(CodecError, match=f"{saga_id}: its journal holds no TaxQuote: saga audit"):
        payload_of(TaxQuote, state, Payload('{"tax_amount": "much"}'))


class BusyDesk:
    """A desk at which somebody else is always faster."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.is_busy = True

    def cancel(self, order_id: str, saga_id: str, reason: str) -> bool:
        """Whether this call asked for it."""
        return self._desk.cancel(order_id, saga_id, reason)

    def rest(self, saga_id: str) -> Rest | None:
        """Where the order stands."""
        return self._desk.rest(saga_id)

    def take_back(self, order_id: str, request: Any, key: str) -> tuple[str, bool]:
        """The return, unless somebody is faster."""
        if self.is_busy:
            raise ConcurrencyError(order_id, 0)
        return self._desk.take_back(order_id, request, key)


@pytest.mark.parametrize("way", ["database", "api"])
def test_a_lost_race_is_no_refusal(way: str) -> None:
    """A return that lost to a crowd can be asked for again: it is raised, and counted as nothing."""
    store = TouchedStore()
    with served(store) as shop:
        sagas = {GOOD: shop.accepted(order_id=GOOD)}
        shop.move(sagas[GOOD])
        starter = Starter(store, environment="test", tenant="shop")
        over = HttpIntake(str(shop.client.base_url))
        desk = BusyDesk(HttpDesk(over) if way == "api" else DirectDesk(store, starter, lambda _hints: None))
        returning = Returning(desk, Sold())
        returning.sold(Order.model_validate(order_values(order_id=GOOD)))
        returning.cancelled(Cancelled("C-1", "C7", {"85123A": 2}), sagas.get)
        with pytest.raises(ConcurrencyError):
            returning.finish(bound_s=20.0)
        assert returning.tally.refused == []
        desk.is_busy = False
        assert returning.finish(bound_s=20.0)
        starter.stop()
    assert (returning.tally.returned, returning.tally.refused) == (1, [])
