"""Who waits for the orders of a file is not held up, and not sent away, by one whose journal cannot be read (RELIABILITY 18)."""

from typing import Any

import pytest

from saga.core.outcomes import Payload
from saga.errors import CodecError, ConcurrencyError, SagaError, StoreUnavailable
from saga.fulfilment.cancellations import Sold
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.intake import Cancelled
from saga.fulfilment.models import Order, TaxQuote
from saga.fulfilment.returns import payload_of
from saga.runtime.engine import fold
from saga.runtime.starting import Starter
from saga.surfaces.awaiting import await_ends, explain_ends
from saga.surfaces.returning import Desk, DirectDesk, HttpDesk, Rest, Returning
from saga.surfaces.submit import DirectIntake, HttpIntake
from saga.surfaces.tally import Tally
from tests.integration.api.serving import Shop, order_values, served
from tests.integration.api.test_returning import TouchedStore
from tests.waiting import wait_until

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
    """A desk that answers so many questions, and then nobody for a while."""

    def __init__(self, desk: Desk, error: SagaError, answers: int) -> None:
        self._desk, self._error, self.answers = desk, error, answers

    def _look(self) -> None:
        self.answers -= 1
        if self.answers < 0:
            raise self._error

    def cancel(self, order_id: str, saga_id: str, reason: str) -> bool:
        """Whether this call asked for it."""
        self._look()
        return self._desk.cancel(order_id, saga_id, reason)

    def rest(self, saga_id: str) -> Rest | None:
        """Where the order stands."""
        self._look()
        return self._desk.rest(saga_id)

    def take_back(self, order_id: str, request: Any, key: str) -> tuple[str, bool]:
        """The return."""
        self._look()
        return self._desk.take_back(order_id, request, key)


@pytest.mark.parametrize("way", ["database", "api"])
@pytest.mark.parametrize("error", [ConcurrencyError("x", 0), StoreUnavailable("away")], ids=["lost-race", "away"])
@pytest.mark.parametrize("answers", range(6))
def test_what_failed_for_now_is_no_refusal_and_goes_on(way: str, error: SagaError, answers: int) -> None:
    """A return that lost to a crowd, and a database that is away, at whichever question: it is raised, nothing is counted as
    refused; asked again it goes on there, and in the end each cancellation is counted once."""
    store = TouchedStore()
    with served(store) as shop:
        ids = [f"SO-{number}" for number in range(3)]
        sagas = {it: shop.accepted(order_id=it, customer_id=f"C-{it}") for it in ids}
        for it in ids[:2]:
            shop.move(sagas[it])
        starter = Starter(store, environment="test", tenant="shop")
        over = HttpIntake(str(shop.client.base_url))
        real = HttpDesk(over) if way == "api" else DirectDesk(store, starter, lambda _hints: None)
        desk = BusyDesk(real, error, answers)
        returning = Returning(desk, Sold())
        for it in ids:
            returning.sold(Order.model_validate(order_values(order_id=it, customer_id=f"C-{it}")))
        for it in ids:
            pieces = 6 if it == ids[2] else 2  # the last comes back whole, and is cancelled
            returning.cancelled(Cancelled(f"C-{it}", f"C-{it}", {"85123A": pieces}), sagas.get)
        with pytest.raises(type(error)):
            returning.finish(bound_s=20.0)
        assert returning.tally.refused == []
        desk.answers = 100
        wait_until(lambda: finished(returning), what="the cancel that was asked for again")
        starter.stop()
    found = returning.tally.as_json()
    assert {name: found[name] for name in ("returned", "cancelled", "already", "refused")} == {
        "returned": 2, "cancelled": 1, "already": 0, "refused": 0,
    }  # fmt: skip


def finished(returning: Returning) -> bool:
    """Whether it came to its end; a cancel that was asked for before may still fail once."""
    try:
        return returning.finish(bound_s=20.0)
    except (ConcurrencyError, StoreUnavailable):
        return False


def test_a_cancellation_of_an_order_that_nobody_took_is_counted_so() -> None:
    """It is matched by the file alone; that its order was refused is another thing than that there was none."""
    store = TouchedStore()
    with served(store) as shop:
        saga_id = shop.accepted(order_id="SO-1")
        shop.move(saga_id)
        returning = Returning(HttpDesk(HttpIntake(str(shop.client.base_url))), Sold())
        for it in ("SO-1", "SO-2"):
            returning.sold(Order.model_validate(order_values(order_id=it)))
        returning.cancelled(Cancelled("C-1", "C7", {"85123A": 1}), {"SO-1": saga_id}.get)
        returning.cancelled(Cancelled("C-2", "C7", {"unknown": 1}), {"SO-1": saga_id}.get)
        assert returning.finish(bound_s=20.0)
    assert (returning.tally.not_taken_lines, returning.tally.unmatched_lines, returning.tally.returned) == (1, 1, 0)
