"""Money is whole minor units: no rounding is silent, and people read it with the places of its currency."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.fulfilment.money import exponent, is_known_currency, minor_units, shown


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("2.55", "GBP", (255, False)),
        ("0.001", "GBP", (0, True)),
        ("0.005", "GBP", (1, True)),
        ("0.015", "GBP", (2, True)),
        ("-0.005", "GBP", (-1, True)),
        ("120", "JPY", (120, False)),
        ("1.2345", "KWD", (1235, True)),
        ("1E+30", "GBP", (10**32, False)),
    ],
)
def test_decimals_become_minor_units_half_up(amount: str, currency: str, expected: tuple[int, bool]) -> None:
    """Half-up by the exponent of the currency, and the caller is told when something was rounded."""
    assert minor_units(Decimal(amount), currency) == expected


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_no_money(amount: str) -> None:
    """NaN never becomes an amount."""
    with pytest.raises(ValueError, match="no amount"):
        minor_units(Decimal(amount), "GBP")


@given(st.integers(-(10**15), 10**15), st.sampled_from(["GBP", "JPY", "KWD"]))
def test_there_and_back(amount: int, currency: str) -> None:
    """Minor units written as a decimal come back as the same minor units."""
    assert minor_units(Decimal(amount).scaleb(-exponent(currency)), currency) == (amount, False)


def test_people_read_the_places_of_the_currency() -> None:
    """Two places for pounds, none for yen, three for dinars; no digit of the largest amounts is lost."""
    assert (shown(8240, "GBP"), shown(8240, "JPY")) == ("£82.40", "¥8,240")
    assert shown(1234, "KWD") == "KWD1.234"
    assert shown(10**20 + 1, "GBP") == "£1,000,000,000,000,000,000.01"


def test_currencies_are_those_of_iso_4217_in_capitals() -> None:
    """A code is known or it is not; nothing is guessed from small letters."""
    assert is_known_currency("EUR")
    assert not is_known_currency("eur")
    assert not is_known_currency("ZZZ")
