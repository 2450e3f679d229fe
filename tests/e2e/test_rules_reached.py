"""What the participants say they do, met by an order: each rule is reached through the saga, and the order ends where it must."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from saga.core.fold import SagaState
from saga.core.states import SagaStatus
from saga.fulfilment import models as m
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.fulfilment.returns import return_of
from saga.runtime.engine import fold
from saga.settings import Settings
from saga.surfaces.audit import audit
from saga.surfaces.embedded import Stack, embedded
from saga.surfaces.reading import cause_of as cause_name
from tests.e2e.orders import order
from tests.waiting import wait_until

END_S = 40.0
STOCK = {"MUG": 1_000, "DENIED-SKU": 5, "SCREW": 5, "BOLT": 10**9}
LEEDS = {"name": "A Person", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"}
STORNOWAY = {**LEEDS, "city": "Stornoway", "postcode": "HS1 2AA"}
HOME: dict[str, Any] = {"country": "United Kingdom", "address": LEEDS}

pytestmark = pytest.mark.timeout(120)


class Shop:
    """An embedded stack with stock."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def ended(self, *changes: dict[str, Any]) -> list[SagaState]:
        """Orders with these changes, accepted at once and driven to their ends. Who is not named is a customer by himself."""
        store, saga_ids = self.stack.store, []
        for one in changes:
            given = m.Order.model_validate(order(**{"customer_id": one["order_id"], **HOME, **one}))
            saga_ids.append(self.stack.starter.start(fulfil_order, given).saga_id)
        wait_until(lambda: all(row and row.ended_at for row in map(store.row, saga_ids)), END_S, what="the ends")
        return [fold(entries)[0] for entries in (store.load([saga_id])[saga_id] for saga_id in saga_ids)]

    def shelf(self, sku: str) -> int:
        """How much of it is available."""
        return int(requests.get(f"{self.stack.urls['inventory']}/v1/stock/{sku}", timeout=10).json()["available"])

    @contextmanager
    def double_payments(self, at_least: int) -> Iterator[None]:
        """Whatever payment is asked comes twice at the same time; checked that it did."""
        url, rule = f"{self.stack.urls['payment']}/v1/faults", {"fault": "duplicate", "operation": "*"}
        always = {"seed": 1, "rules": [{**rule, "probability": 1.0, "times": None}]}
        assert requests.put(url, json=always, timeout=10).ok
        yield
        assert requests.get(url, timeout=10).json()["rules"][0]["fired"] >= at_least
        assert requests.delete(url, timeout=10).ok


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The whole product in this process; at the end its books agree."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    with embedded(settings, [fulfil_order, return_order], port=None, with_broker=False) as stack:
        items = {"items": [{"sku": sku, "quantity": quantity} for sku, quantity in STOCK.items()]}
        url = f"{stack.urls['inventory']}/v1/stock"
        assert requests.post(url, json=items, headers={"Idempotency-Key": "stock"}, timeout=20).ok
        yield Shop(stack)
        report = audit(stack.store, stack.definitions, stack.urls, stack.settings.mail_folder)
        assert [f"{it.invariant} {it.order_id} {it.detail}" for it in report.violations] == []


def cause_of(state: SagaState) -> tuple[SagaStatus, str, str]:
    assert state.cause is not None, state.status
    return state.status, state.cause.step or "", cause_name(state.cause)


def price_of(state: SagaState) -> m.OrderPrice:
    priced = state.node("price_order:a").result
    assert state.status is SagaStatus.COMPLETED
    assert priced is not None
    return m.OrderPrice.model_validate_json(priced.data)


def score_of(state: SagaState) -> float:
    screened = state.node("screen_fraud:a").result
    assert state.status is SagaStatus.COMPLETED
    assert screened is not None
    return m.FraudScreen.model_validate_json(screened.data).score


SUSPECTED = (SagaStatus.COMPENSATED, "screen_fraud", "fraud_suspected")


def test_what_the_screen_stops_is_rolled_back_before_anything_is_held(shop: Shop) -> None:
    """An amount, a SKU and a domain that are not to be sold for or to: suspected, and nothing was taken off the shelf."""
    before = shop.shelf("MUG"), shop.shelf("DENIED-SKU")
    ends = shop.ended(
        {"order_id": "amount", "lines": [{"sku": "MUG", "quantity": 1, "unit_price": 10**8 + 1}]},
        {"order_id": "sku", "lines": [{"sku": s, "quantity": 1, "unit_price": 100} for s in ("MUG", "DENIED-SKU")]},
        {"order_id": "domain", "email": "buyer@denied.example"},
        {"order_id": "subdomain", "email": "buyer@Mail.Denied.example"},
    )
    assert {one.entity: cause_of(one) for one in ends} == dict.fromkeys(
        ("amount", "sku", "domain", "subdomain"), SUSPECTED
    )
    assert (shop.shelf("MUG"), shop.shelf("DENIED-SKU")) == before


def test_a_payment_from_another_country_is_noticed(shop: Shop) -> None:
    """It scores 40 of 100 and passes; the same country by another name, or none that the shop knows, scores nothing."""
    ends = shop.ended(
        {"order_id": "abroad", "payment_country": "France"},
        {"order_id": "same", "payment_country": "GB"},
        {"order_id": "unsaid", "email": "buyer@notdenied.example"},
    )
    assert [score_of(one) for one in ends] == [40, 0, 0]


def test_who_pays_often_and_from_abroad_is_stopped(shop: Shop) -> None:
    """More than ten payments within the hour count 60: with a payment from abroad that is the threshold, by themselves they
    pass. Ten orders, whose every screen and authorization came twice, are ten: the eleventh is screened by ten."""
    often, abroad = {"customer_id": "C-often"}, {"payment_country": "France"}
    with shop.double_payments(at_least=20):
        first = shop.ended(*({"order_id": f"often-{number}", **often} for number in range(10)))
    assert [score_of(one) for one in first] == [0] * 10
    (eleventh,) = shop.ended({"order_id": "often-10", **often, **abroad})
    assert score_of(eleventh) == 40
    stopped, passed, another = shop.ended(
        {"order_id": "often-11", **often, **abroad},
        {"order_id": "often-12", **often},
        {"order_id": "another", **abroad},
    )
    assert cause_of(stopped) == SUSPECTED
    assert (score_of(passed), score_of(another)) == (60, 40)


def test_an_island_costs_what_the_boat_costs(shop: Shop) -> None:
    """One country, two zones: the freight that is charged is that of the postcode."""
    leeds, stornoway = shop.ended({"order_id": "leeds"}, {"order_id": "stornoway", "address": STORNOWAY})
    assert (price_of(leeds).freight, price_of(stornoway).freight) == (495, 995)


def test_goods_are_taxed_at_the_rate_of_their_class(shop: Shop) -> None:
    """In the United Kingdom 20 per cent, 5 reduced, nothing on the rest; what comes back brings the tax of its own class."""
    line = {"sku": "MUG", "quantity": 1, "unit_price": 1_000}
    classes = ("standard", "reduced", "zero", "exempt")
    *ends, unsaid, mixed = shop.ended(
        *({"order_id": f"taxed-{name}", "lines": [{**line, "tax_class": name}]} for name in classes),
        {"order_id": "taxed", "lines": [line]},
        {"order_id": "mixed", "lines": [line, {**line, "sku": "SCREW", "tax_class": "exempt"}]},
    )
    assert [price_of(one).tax for one in ends] == [200, 50, 0, 0]
    assert (price_of(unsaid).tax, price_of(mixed).tax) == (200, 200)
    assert return_of(mixed, "R1", {"MUG": 1}, reason="broken").tax == 200
    assert return_of(mixed, "R2", {"SCREW": 1}, reason="broken").tax == 0


def test_the_order_of_most_pieces_is_one_that_every_participant_takes(shop: Shop) -> None:
    """At the bound of an order lies no defect: it is held, quoted for, paid and sent; another is out of stock."""
    line = {"sku": "BOLT", "quantity": 10**6, "unit_price": 0}
    lines = [{**line, "unit_price": 1}, *[line] * 999]
    (most,) = shop.ended({"order_id": "most", "lines": lines})
    assert price_of(most).goods == 10**6
    (again,) = shop.ended({"order_id": "most-again", "lines": lines})
    assert cause_of(again) == (SagaStatus.COMPENSATED, "reserve_inventory", "out_of_stock")
