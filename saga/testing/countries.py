"""Which countries the mock participants know, as the oracle sees it: an order to any other is undeliverable.

The engine and the services meet over HTTP, so this is a list of its own. `tests/unit/services/test_countries_agree.py`
compares it with the table of the services.
"""

NAMES = """
Australia, Austria, Bahrain, Belgium, Brazil, Canada, Channel Islands, Cyprus, Czech Republic, Denmark, EIRE,
European Community, Finland, France, Germany, Greece, Hong Kong, Iceland, Israel, Italy, Japan, Lebanon, Lithuania,
Malta, Netherlands, Norway, Poland, Portugal, RSA, Saudi Arabia, Singapore, Spain, Sweden, Switzerland, USA,
United Arab Emirates, United Kingdom, Unspecified
"""
CODES = """
AU AT BH BE BR CA GG CY CZ DK IE EU FI FR DE GR HK IS IL IT JP LB LT MT NL NO PL PT ZA SA SG ES SE CH US AE GB ZZ
"""
_KNOWN = frozenset(text.strip().casefold() for text in [*NAMES.split(","), *CODES.split()])


def is_known_country(text: str) -> bool:
    """Whether `text` is a name or a code in the table, in any case."""
    return text.strip().casefold() in _KNOWN
