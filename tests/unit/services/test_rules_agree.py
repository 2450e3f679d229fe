"""The product's own bounds and the oracle's rules are those of the services, which neither can import."""

from typing import get_args

import pytest

from saga.core.states import SagaStatus
from saga.fulfilment import models as m
from saga.fulfilment.fields import TaxClass as TaxClassOfOrders
from saga.testing import oracle
from services.payment.fraud import fraud_rules
from services.shipping.tariff import tariff
from services.skeleton.fields import LINES_MAX, QUANTITY_MAX
from services.tax.rates import TaxClass

CALM = oracle.FaultScript(seed=1, business_share=0.0, technical_share=0.0)


def order(**changes: object) -> m.Order:
    values: dict[str, object] = {
        "order_id": "SO-1",
        "customer_id": "C7",
        "currency": "GBP",
        "country": "United Kingdom",
        "address": {"name": "Zoë", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"},
        "lines": [{"sku": "A", "quantity": 1, "unit_price": 255}],
        "payment_method": "pm_card",
    }
    return m.Order.model_validate(values | changes)


def test_no_order_asks_for_more_than_a_service_takes() -> None:
    """An order that passes the door can be held and quoted for: its bounds are within those of the services."""
    assert m.ITEMS_MAX <= QUANTITY_MAX
    assert m.LINES_MAX <= LINES_MAX
    assert set(get_args(TaxClassOfOrders)) == set(TaxClass)


def test_the_oracle_knows_the_rules_of_the_screen() -> None:
    """The deny-lists and the limits of the runs' currencies are those of the service."""
    rules = fraud_rules()
    assert rules.denied.skus == oracle.DENIED_SKUS
    assert rules.denied.email_domains == set(oracle.DENIED_EMAIL_DOMAINS)
    assert {currency: rules.amount_limit(currency) for currency in oracle.FRAUD_LIMITS} == oracle.FRAUD_LIMITS


def test_the_oracle_knows_what_shipping_has_a_price_for() -> None:
    """An order in another currency cannot be delivered, and the oracle says so."""
    assert set(tariff().factors) == oracle.PRICED_CURRENCIES
    end = oracle.legal_end(order(currency="INR"), CALM)
    assert (end.status, end.cause) == (SagaStatus.COMPENSATED, "undeliverable")


def test_how_often_a_customer_pays_stops_nobody_by_itself() -> None:
    """A file of thousands of orders is submitted within minutes, and one customer has many of them: were velocity enough, their
    ends would hang on the clock. What it needs beside it is a payment from abroad, which no file and no demo has."""
    rules = fraud_rules()
    assert rules.weights.velocity < rules.threshold
    assert rules.weights.country_mismatch < rules.threshold
    assert rules.weights.velocity + rules.weights.country_mismatch >= rules.threshold


@pytest.mark.parametrize(
    "changes",
    [
        {"lines": [{"sku": sku, "quantity": 1, "unit_price": 1} for sku in ("A", "DENIED-SKU")]},
        {"email": "a@denied.example"},
        {"email": "a@mail.DENIED.example"},
    ],
)
def test_the_oracle_says_what_the_screen_stops(changes: dict[str, object]) -> None:
    """What is on a deny-list has one legal end, told from the order alone."""
    suspected = oracle.LegalEnd(SagaStatus.COMPENSATED, "fraud_suspected")
    assert oracle.legal_end(order(**changes), CALM) == suspected
    assert oracle.legal_end(order(email="a@notdenied.example"), CALM) == oracle.COMPLETED


def test_the_oracle_says_nothing_of_an_order_whose_end_hangs_on_the_clock() -> None:
    """Paid from abroad, an order passes or not by how often its customer paid within the hour: asked for that, it refuses."""
    assert oracle.legal_end(order(payment_country="United Kingdom"), CALM) == oracle.COMPLETED
    with pytest.raises(ValueError, match="SO-1: payment_country is not country"):
        oracle.legal_end(order(payment_country="France"), CALM)
