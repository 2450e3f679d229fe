"""Names of countries as shops write them, and their codes (ISO 3166-1 alpha-2).

The names are those of the Online Retail data and the codes themselves. Two of them are no country: `Unspecified` is ZZ
(user-assigned in ISO 3166-1) and `European Community` is EU (exceptionally reserved). `Channel Islands` is GG, the larger
half of what would be GG and JE.
"""

CODES = {
    "Australia": "AU",
    "Austria": "AT",
    "Bahrain": "BH",
    "Belgium": "BE",
    "Brazil": "BR",
    "Canada": "CA",
    "Channel Islands": "GG",
    "Cyprus": "CY",
    "Czech Republic": "CZ",
    "Denmark": "DK",
    "EIRE": "IE",
    "European Community": "EU",
    "Finland": "FI",
    "France": "FR",
    "Germany": "DE",
    "Greece": "GR",
    "Hong Kong": "HK",
    "Iceland": "IS",
    "Israel": "IL",
    "Italy": "IT",
    "Japan": "JP",
    "Lebanon": "LB",
    "Lithuania": "LT",
    "Malta": "MT",
    "Netherlands": "NL",
    "Norway": "NO",
    "Poland": "PL",
    "Portugal": "PT",
    "RSA": "ZA",
    "Saudi Arabia": "SA",
    "Singapore": "SG",
    "Spain": "ES",
    "Sweden": "SE",
    "Switzerland": "CH",
    "USA": "US",
    "United Arab Emirates": "AE",
    "United Kingdom": "GB",
    "Unspecified": "ZZ",
}
NORTHWIND = {
    "Argentina": "AR",
    "Ireland": "IE",
    "Mexico": "MX",
    "UK": "GB",
    "Venezuela": "VE",
}
"""Names of the Northwind data that differ from those above, and countries that only occur there."""
_BY_TEXT = {name.casefold(): code for name, code in (*CODES.items(), *NORTHWIND.items())} | {
    code.casefold(): code for code in (*CODES.values(), *NORTHWIND.values())
}


def country_code(text: str) -> str | None:
    """The code of a name or of a code, in any case; None when it is not in the table."""
    return _BY_TEXT.get(text.strip().casefold())
