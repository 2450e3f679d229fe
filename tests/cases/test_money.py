"""G: minor units and currencies are those of ISO 4217. A mail said RSD123,456 for RSD 1,234.56."""

import json
from decimal import Decimal

import pytest
from babel.numbers import format_currency, get_currency_precision, list_currencies
from pydantic import TypeAdapter, ValidationError

from saga.fulfilment.fields import Currency, SaidCurrency
from saga.fulfilment.models import Order, OrderPrice, ShippingQuote, TaxQuote
from saga.fulfilment.money import EXPONENTS, NO_MONEY, exponent, is_known_currency, minor_units, shown
from saga.fulfilment.returns import ReturnOrder
from saga.runtime.readback import read_kept, written
from tests.e2e.orders import order


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (123456, "RSD", "RSD1,234.56"),
        (123456, "ALL", "ALL1,234.56"),
        (-50, "AFN", "-AFN0.50"),
        (8240, "GBP", "£82.40"),
        (8240, "JPY", "¥8,240"),
        (1234, "KWD", "KWD1.234"),
        (12345, "CLF", "CLF1.2345"),
        (5000, "HUF", "HUF50.00"),
    ],
)
def test_an_amount_is_shown_as_its_bank_means_it(amount: int, currency: str, text: str) -> None:
    """F13: and read back as what it was."""
    assert shown(amount, currency).replace("\N{NO-BREAK SPACE}", "") == text
    assert minor_units(Decimal(amount).scaleb(-exponent(currency)), currency) == (amount, False)


def test_where_both_agree_nothing_has_changed() -> None:
    """Every other currency is shown as before."""
    for currency in sorted(list_currencies() - EXPONENTS.keys()):
        if get_currency_precision(currency) == 2:
            assert shown(-123456, currency) == format_currency(Decimal("-1234.56"), currency, locale="en")


@pytest.mark.parametrize("code", ["DEM", "HRK", "ZWL", "CNH", *sorted(NO_MONEY)])
def test_an_order_is_in_a_currency_that_is_in_use(code: str) -> None:
    """Withdrawn ones, metals, units of account, codes for tests and codes that ISO does not have are refused by name."""
    with pytest.raises(ValidationError, match=f"{code} is not a currency of ISO 4217 that is in use"):
        Order.model_validate(order(order_id="SO-1", currency=code))
    assert all(map(is_known_currency, ["GBP", "JPY", "KWD", "SLE", "VED", "XAF", "XCG"]))


def test_an_order_in_a_withdrawn_currency_that_was_taken_goes_on() -> None:
    """Its journal is read, its price is made and its participants are asked and answer, and its goods come back; a code that never was one stays refused."""
    taken = read_kept(Order, json.dumps(order(order_id="SO-1", currency="DEM")))
    tax = TaxQuote(tax_amount=1, currency=taken.currency)
    freight = ShippingQuote(amount=1, currency=taken.currency, carrier="c", committed=True)
    price = OrderPrice.of(taken, tax, freight)
    assert price.currency == read_kept(OrderPrice, price.model_dump_json()).currency == "DEM"
    ids = {"return_id": "R1", "order_id": "SO-1", "customer_id": "C7", "capture_id": "c", "shipment_id": "s"}
    back = ReturnOrder(**ids, currency="DEM", country="GB", lines=taken.lines, tax=0, reason="broken")
    assert ReturnOrder.model_validate_json(written(back, "input")) == back
    with pytest.raises(ValidationError, match="is not a currency"):
        read_kept(Order, json.dumps(order(order_id="SO-1", currency="QQQ")))


def test_the_schema_of_a_currency_is_its_pattern() -> None:
    """Whoever reads the contract sees the same as before."""
    for kind in (Currency, SaidCurrency):
        assert TypeAdapter(kind).json_schema() == {"type": "string", "pattern": "^[A-Z]{3}$"}
