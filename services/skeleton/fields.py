"""Kinds of fields that requests to more than one service have: their patterns and bounds are the same everywhere."""

from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints

AMOUNT_MAX = 10**13
QUANTITY_MAX = 10**9
LINES_MAX = 10_000

FLOAT_EXACT = 2**53
"""Below it a float names one integer; from there on it may stand for a neighbour."""


def whole(value: object) -> object:
    """A float that is an integer as that; anything else as it is. `1250.0` and `1e3` are integers in JSON (RFC 8259, JSON
    Schema 2020-12 section 4.2.3)."""
    if isinstance(value, float) and value.is_integer() and abs(value) < FLOAT_EXACT:
        return int(value)
    return value


Integral = BeforeValidator(whole)
"""Stands last, behind the bounds: pydantic takes bounds that stand behind a function out of the JSON schema."""
Whole = Annotated[int, Integral]
Id = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$")]
"""An order, a SKU, a way of paying, as a shop has them: whatever is printable. What else an id must be is for whoever takes the order."""
Reference = Annotated[str, StringConstraints(min_length=1, max_length=128)]
"""An id that a service gave."""
Text = Annotated[str, StringConstraints(max_length=200)]
Country = Annotated[str, StringConstraints(max_length=64)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Amount = Annotated[int, Field(ge=0, le=AMOUNT_MAX), Integral]
"""Minor units."""
Quantity = Annotated[int, Field(ge=1, le=QUANTITY_MAX), Integral]
