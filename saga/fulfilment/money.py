"""Money as integer minor units beside an ISO 4217 code; the exponent of a currency is that of ISO 4217, table A.1.

Babel knows names, signs and the places that people in a country use (CLDR). Those are others than the minor unit that a bank means:
a Serbian bill has no para, and RSD 1,234.56 is 123456 minor units all the same. Which currencies are in use says `pycountry`: Babel has
those that were withdrawn among them.

Rules of this file: no floats. A decimal text becomes minor units in one place, half-up, and says whether it was rounded.
"""

from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import cache

from babel.numbers import format_currency, list_currencies

PRECISION = 60
"""Digits of intermediate results: more than any bounded amount has, so that nothing is rounded on the way."""


EXPONENTS = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}
"""The minor units that are not 2."""


NO_MONEY = frozenset(["XAG", "XAU", "XBA", "XBB", "XBC", "XBD", "XDR", "XPD", "XPT", "XSU", "XTS", "XUA", "XXX"])
"""Codes of the list that have no minor unit: metals, units of account, for tests, and "no currency". Nobody is charged in one."""


@cache
def _in_use() -> frozenset[str]:
    import pycountry

    return frozenset(it.alpha_3 for it in pycountry.currencies) - NO_MONEY


@cache
def _ever() -> frozenset[str]:
    return _in_use() | list_currencies()


def is_known_currency(code: str) -> bool:
    """Whether `code`, in capitals, is a currency of ISO 4217 that is in use and has a minor unit: what an order may be in."""
    return code in _in_use()


def was_known_currency(code: str) -> bool:
    """Whether `code` is one or was one (`DEM`), or is a code that Babel knows: what an order of an earlier release may be in."""
    return code in _ever()


def exponent(currency: str) -> int:
    """How many decimal places its minor unit is away: 2 for GBP, 0 for JPY, 3 for KWD."""
    return EXPONENTS.get(currency, 2)


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
    places = exponent(currency)
    form = "¤#,##0" + ("." + "0" * places if places else "")
    with localcontext(prec=PRECISION):
        value = Decimal(amount).scaleb(-places)
        return str(format_currency(value, currency, form, locale="en", currency_digits=False))
