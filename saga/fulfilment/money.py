"""Money as integer minor units beside an ISO 4217 code; the exponent of a currency comes from Babel.

Rules of this file: no floats. A decimal text becomes minor units in one place, half-up, and says whether it was rounded.
"""

from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import cache

from babel.numbers import format_currency, get_currency_precision, list_currencies

PRECISION = 60
"""Digits of intermediate results: more than any bounded amount has, so that nothing is rounded on the way."""


@cache
def _currencies() -> frozenset[str]:
    return frozenset(list_currencies())


def is_known_currency(code: str) -> bool:
    """Whether `code` is a currency code, in capitals, that Babel knows."""
    return code in _currencies()


def exponent(currency: str) -> int:
    """How many decimal places its minor unit is away: 2 for GBP, 0 for JPY, 3 for KWD."""
    return int(get_currency_precision(currency))


def minor_units(amount: Decimal, currency: str) -> tuple[int, bool]:
    """`amount` in minor units, half-up, and whether it had to be rounded. `ValueError` for NaN and infinities."""
    if not amount.is_finite():
        raise ValueError(f"{amount} is no amount of money")
    with localcontext(prec=PRECISION):
        exact = amount.scaleb(exponent(currency))
        whole = exact.quantize(Decimal(1), rounding=ROUND_HALF_UP)
    return int(whole), whole != exact


def shown(amount: int, currency: str) -> str:
    """An amount for people, such as `£82.40`, `¥8,240` or `KWD1.234`; English, always with the places of the currency."""
    with localcontext(prec=PRECISION):
        return str(format_currency(Decimal(amount).scaleb(-exponent(currency)), currency, locale="en"))
