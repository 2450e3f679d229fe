"""What comes back: money, stock, label and mail of a return, through the running services, and the books after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from saga.core.fold import SagaState
from saga.core.states import SagaStatus
from saga.errors import UsageError
from saga.fulfilment import models as m
from saga.fulfilment.cancellations import Sold
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.intake import Cancelled, Found
from saga.fulfilment.models import Order
from saga.fulfilment.return_order import return_order
from saga.fulfilment.returns import ReturnOrder, return_of
from saga.runtime.engine import fold
from saga.settings import Settings
from saga.surfaces.audit import audit
from saga.surfaces.audit_report import AuditReport
from saga.surfaces.embedded import Stack, embedded
from saga.surfaces.reading import cause_of
from saga.surfaces.returning import DirectDesk, Returning
from saga.surfaces.submit import DirectIntake, hand_over
from tests.waiting import wait_until

END_S = 40.0


class Shop:
    """An embedded stack with stock, and what its ledgers say."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def order(self, order_id: str, *, customer: str = "C7", pieces: dict[str, int] | None = None) -> Order:
        lines = [{"sku": sku, "quantity": n, "unit_price": 500} for sku, n in (pieces or {"mug": 3, "tin": 1}).items()]
        return Order.model_validate(
            {
                "order_id": order_id,
                "customer_id": customer,
                "currency": "GBP",
                "country": "United Kingdom",
                "address": {"name": "Zoë", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"},
                "lines": lines,
                "payment_method": "pm_card",
            }
        )

    def completed(self, order_id: str, **facts: dict[str, int]) -> SagaState:
        saga_id = self.stack.starter.start(fulfil_order, self.order(order_id, **facts)).saga_id  # type: ignore[arg-type]
        return self.ended(saga_id)

    def returned(self, wanted: ReturnOrder) -> SagaState:
        return self.ended(self.stack.starter.start(return_order, wanted).saga_id)

    def ended(self, saga_id: str) -> SagaState:
        wait_until(lambda: (row := self.stack.store.row(saga_id)) is not None and row.ended_at, END_S, what="the end")
        return fold(self.stack.store.load([saga_id])[saga_id])[0]

    def shelf(self, sku: str) -> tuple[int, int]:
        """Available and shipped."""
        item = requests.get(f"{self.stack.urls['inventory']}/v1/stock/{sku}", timeout=10).json()
        return int(item["available"]), int(item["shipped"])

    def audited(self) -> AuditReport:
        urls = {name: url for name, url in self.stack.urls.items() if name != "api"}
        return audit(self.stack.store, self.stack.definitions, urls, self.stack.settings.mail_folder)

    def lines_of(self, report: AuditReport) -> list[str]:
        return [f"{it.invariant} {it.order_id} {it.detail}" for it in report.violations]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    settings = Settings(home=tmp_path / "home")
    with embedded(settings, [fulfil_order, return_order], port=None, with_broker=False) as stack:
        items = {"items": [{"sku": "mug", "quantity": 100}, {"sku": "tin", "quantity": 100}]}
        url = f"{stack.urls['inventory']}/v1/stock"
        assert requests.post(url, json=items, headers={"Idempotency-Key": "stock"}, timeout=20).ok
        yield Shop(stack)


@pytest.mark.timeout(120)
def test_a_return_gives_back_money_and_pieces_and_the_books_say_so(shop: Shop) -> None:
    """Two of three mugs: their price with their tax, once; on the shelf again; one label, one mail; no freight."""
    order = shop.completed("SO-1")
    assert shop.shelf("mug") == (97, 3)
    wanted = return_of(order, "R-1", {"mug": 2}, reason="broken handle")
    back = shop.returned(wanted)
    assert (back.status, back.warnings) == (SagaStatus.COMPLETED, ())
    assert shop.shelf("mug") == (99, 1)
    price = back.node("price_return:a").result
    assert price is not None
    assert '"goods":1000,"tax":200,"total":1200' in price.data
    captured = requests.get(f"{shop.stack.urls['payment']}/v1/captures/{wanted.capture_id}", timeout=10).json()
    assert (captured["refunded"], captured["captured"] > 1200) == (1200, True)
    report = shop.audited()
    assert shop.lines_of(report) == []
    assert report.exit_code == 0


@pytest.mark.timeout(120)
def test_the_tax_that_was_paid_goes_back_whatever_a_quote_would_say_today(shop: Shop) -> None:
    """To Quebec, with the tax of the province: three returns of one, one and two pieces give back all of it to the cent, and no
    tax is asked for again."""
    address = m.Address(name="Zoë", street="1 Rue", city="Montréal", postcode="H2X 1Y4", region="Quebec")
    order = shop.order("SO-8", pieces={"mug": 3, "tin": 1}).model_copy(update={"country": "Canada", "address": address})
    state = shop.ended(shop.stack.starter.start(fulfil_order, order).saga_id)
    paid = state.node("calculate_tax:a").result
    assert paid is not None
    tax = m.TaxQuote.model_validate_json(paid.data)
    assert [line.tax_amount for line in tax.lines] == [225, 75]  # 14.975 per cent of 1500 and 500, each rounded
    backs: list[ReturnOrder] = []
    for number, pieces in enumerate(({"mug": 1}, {"tin": 1}, {"mug": 2}), 1):
        backs.append(return_of(state, f"R{number}.SO-8", pieces, reason="broken", returned=backs))
        assert shop.returned(backs[-1]).status is SagaStatus.COMPLETED
    assert [one.tax for one in backs] == [75, 75, 150]
    captured = requests.get(f"{shop.stack.urls['payment']}/v1/captures/{backs[0].capture_id}", timeout=10).json()
    assert captured["refunded"] == order.goods + tax.tax_amount == 2300
    quotes = requests.get(f"{shop.stack.urls['tax']}/v1/ledger?after=0&limit=100", timeout=10).json()["rows"]
    assert len(quotes) == 1
    assert shop.lines_of(shop.audited()) == []


@pytest.mark.timeout(120)
def test_more_than_was_captured_is_rolled_back_without_a_trace(shop: Shop) -> None:
    """The same pieces twice under two ids: the second refund is refused by payment or the second restock never happens; the
    label of the refused one is voided, and nobody is told."""
    order = shop.completed("SO-2", pieces={"mug": 1})
    first = shop.returned(return_of(order, "R-2a", {"mug": 1}, reason="broken"))
    again = shop.returned(return_of(order, "R-2b", {"mug": 1}, reason="broken"))
    assert first.status is SagaStatus.COMPLETED
    assert again.status is SagaStatus.COMPENSATED
    assert again.cause is not None
    assert (again.cause.step, cause_of(again.cause)) == ("refund_payment", "refund_exceeds_capture")
    assert shop.shelf("mug") == (100, 0)
    assert shop.lines_of(shop.audited()) == []


@pytest.mark.timeout(120)
def test_only_what_a_completed_order_holds_can_come_back(shop: Shop) -> None:
    """Each refusal names the line or the order; nothing is stored."""
    order = shop.completed("SO-3", pieces={"mug": 2})
    for pieces, says in (({"tin": 1}, "no line of tin"), ({"mug": 3}, "3 of mug come back, and SO-3 has 2")):
        with pytest.raises(UsageError, match=says):
            return_of(order, "R-3", pieces, reason="no")
    declined = shop.order("SO-4").model_copy(update={"payment_method": "pm_declined"})
    state = shop.ended(shop.stack.starter.start(fulfil_order, declined).saga_id)
    with pytest.raises(UsageError, match="only a completed order is returned"):
        return_of(state, "R-4", {"mug": 1}, reason="no")


@pytest.mark.timeout(120)
def test_cancellations_of_a_file_become_returns_once(shop: Shop) -> None:
    """Two orders, a cancellation over both, handed over twice: each piece comes back once, and what nobody bought is counted."""
    found: list[Found] = [
        shop.order("SO-5", pieces={"mug": 2}),
        shop.order("SO-6", pieces={"mug": 1, "tin": 1}),
        Cancelled("C-1", "C7", {"mug": 2, "spoon": 1}),
    ]
    tallies = []
    for _ in range(2):
        intake = DirectIntake(shop.stack.store, shop.stack.starter, fulfil_order, shop.stack.publish)
        returning = Returning(DirectDesk(shop.stack.store, shop.stack.starter, shop.stack.publish), Sold())
        hand_over(found, intake, returning=returning)
        assert returning.finish(bound_s=END_S)
        for saga_id in returning.tally.saga_ids:
            assert shop.ended(saga_id).status is SagaStatus.COMPLETED
        tallies.append(returning.tally)
    assert [(it.cancellations, it.returned, it.already, it.unmatched_lines) for it in tallies] == [
        (1, 2, 0, 1),
        (1, 0, 2, 1),
    ]
    assert shop.shelf("mug") == (99, 1)
    assert shop.lines_of(shop.audited()) == []


@pytest.mark.timeout(120)
def test_an_order_that_comes_back_whole_is_cancelled_while_it_can_be(shop: Shop) -> None:
    """Its payment is away, so it stands before the pivot when its cancellation is read: nothing is left of it, and no return
    is made."""
    script = {"seed": 1, "rules": [{"fault": "overloaded", "operation": "POST /v1/authorizations", "times": None}]}
    assert requests.put(f"{shop.stack.urls['payment']}/v1/faults", json=script, timeout=10).ok
    found: list[Found] = [shop.order("SO-7", pieces={"tin": 2}), Cancelled("C-2", "C7", {"tin": 2})]
    intake = DirectIntake(shop.stack.store, shop.stack.starter, fulfil_order, shop.stack.publish)
    returning = Returning(DirectDesk(shop.stack.store, shop.stack.starter, shop.stack.publish), Sold())
    hand_over(found, intake, returning=returning)
    assert returning.finish(bound_s=END_S)
    assert (returning.tally.cancelled, returning.tally.returned) == (1, 0)
    assert shop.shelf("tin") == (100, 0)
    assert shop.lines_of(shop.audited()) == []
