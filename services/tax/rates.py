"""Standard rates of value added tax or goods and services tax, in basis points.

Simplified, and no base for a tax return: the standard rate of the country of delivery for every line. There are no
reduced rates, thresholds, regions, reverse charge or export rules. Canada has its federal GST only. The United States
and Brazil tax sales by state, Hong Kong and Guernsey not at all: 0. So is a country that is not in the table.

The rates are those in force on the day below.
"""

from datetime import date

from services.skeleton.countries import country_code

IN_FORCE_ON = date(2025, 1, 1)
BASIS_POINTS = 10_000

STANDARD_RATES = {
    "AE": 500,
    "AT": 2000,
    "AU": 1000,
    "BE": 2100,
    "BH": 1000,
    "BR": 0,
    "CA": 500,
    "CH": 810,
    "CY": 1900,
    "CZ": 2100,
    "DE": 1900,
    "DK": 2500,
    "ES": 2100,
    "EU": 0,
    "FI": 2550,
    "FR": 2000,
    "GB": 2000,
    "GG": 0,
    "GR": 2400,
    "HK": 0,
    "IE": 2300,
    "IL": 1800,
    "IS": 2400,
    "IT": 2200,
    "JP": 1000,
    "LB": 1100,
    "LT": 2100,
    "MT": 1800,
    "NL": 2100,
    "NO": 2500,
    "PL": 2300,
    "PT": 2300,
    "SA": 1500,
    "SE": 2500,
    "SG": 900,
    "US": 0,
    "ZA": 1500,
    "ZZ": 0,
}


def rate_of(country: str) -> int:
    """Basis points for a country by name or code; 0 for one that is not in the table."""
    return STANDARD_RATES.get(country_code(country) or "", 0)


def tax_on(amount: int, rate: int) -> int:
    """Tax on one line in minor units, rounded half up. Lines are rounded one by one, and the tax is their sum."""
    return (amount * rate + BASIS_POINTS // 2) // BASIS_POINTS
