"""G: minor units are those of ISO 4217. A mail said RSD123,456 for RSD 1,234.56."""

from decimal import Decimal

import pytest
from babel.numbers import format_currency, get_currency_precision, list_currencies

from saga.fulfilment.money import EXPONENTS, exponent, minor_units, shown


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
