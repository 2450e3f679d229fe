"""Kinds of fields that requests to more than one service have: their patterns and bounds are the same everywhere."""

from typing import Annotated

from pydantic import Field, StringConstraints

AMOUNT_MAX = 10**13
QUANTITY_MAX = 10**9
LINES_MAX = 2_000

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")]
"""An order, a SKU, a way of paying."""
Reference = Annotated[str, StringConstraints(min_length=1, max_length=128)]
"""An id that a service gave."""
Text = Annotated[str, StringConstraints(max_length=200)]
Country = Annotated[str, StringConstraints(max_length=64)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Amount = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]
"""Minor units."""
Quantity = Annotated[int, Field(ge=1, le=QUANTITY_MAX)]
