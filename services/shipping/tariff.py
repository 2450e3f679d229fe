"""What a parcel costs and when it arrives: zones by country and postcode, prices by weight, from `tariff.toml`.

Rules of this file
------------------
- Prices stand in one currency. Another that the price list names costs a whole multiple of the minor units, so nothing is
  rounded; one that it does not name is refused, because a number without a price list would be any amount of money.
- The first zone with an area that holds the postcode is the one, else the zone of the country, else the zone of `*`.
  Without a postcode it is the country's zone. So a quote always has a price; whether a parcel can be delivered is the
  question of the address validation.
- A postcode with letters is compared by its outward code (`KW15` of `KW15 1AA`), letters and number apart, so that
  `KW1 5AA` is not in `KW15`. One of digits is compared by its first digits.
- Business days are Monday to Friday. Public holidays are not known, and the day of the quote is not counted.
- The file is read once and checked when it is read: a table with a mistake stops the service at its start.
"""

import re
import tomllib
from datetime import date, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SOURCE = Path(__file__).with_name("tariff.toml")
ANY_COUNTRY = "*"
INWARD_LENGTH = 3
"""Of a British postcode: `1AA`."""
CODE = re.compile(r"([A-Z]*)([0-9]*)")
Count = Annotated[int, Field(ge=1)]
Price = Annotated[int, Field(ge=0)]
CurrencyCode = Annotated[str, Field(pattern="^[A-Z]{3}$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Carrier(_Table):
    """Who brings the parcel. A post numbers its parcels by S10 with its service indicator."""

    name: str
    is_post: bool
    service_indicator: Annotated[str, Field(pattern="^[A-Z]{2}$")] = "CP"


class Area(_Table):
    """Postcodes of a country: prefixes, or from-to."""

    country: str
    postcodes: tuple[Annotated[str, Field(pattern=r"^[A-Z]*[0-9]*(-[A-Z]*[0-9]+)?$")], ...]

    def holds(self, country: str, postcode: str) -> bool:
        return country == self.country and any(_is_within(postcode, entry) for entry in self.postcodes)


class Zone(_Table):
    """Where a carrier goes, at what price in minor units, in how many business days."""

    name: str
    carrier: str
    days: tuple[Count, Count]
    bands: Annotated[tuple[tuple[Count, Price], ...], Field(min_length=1)]
    step_g: Count
    step_price: Price
    countries: tuple[str, ...]
    area: tuple[Area, ...] = ()

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        rising = all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(self.bands))
        if not rising or self.days[0] > self.days[1]:
            raise ValueError(f"zone {self.name}: bands and days ascend")
        return self

    def price(self, weight_g: int) -> int:
        for most_g, price in self.bands:
            if weight_g <= most_g:
                return price
        last_g, last_price = self.bands[-1]
        return last_price + self.step_price * -(-(weight_g - last_g) // self.step_g)


class Tariff(_Table):
    """The whole file."""

    country_of_origin: Annotated[str, Field(pattern="^[A-Z]{2}$")]
    default_item_weight_g: Count
    currency: CurrencyCode
    factors_since: date
    factors: dict[CurrencyCode, Count]
    """Minor units of that currency for one of `currency`."""
    carrier: tuple[Carrier, ...]
    zone: tuple[Zone, ...]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        named = [country for zone in self.zone for country in zone.countries]
        if len(named) != len(set(named)) or ANY_COUNTRY not in named:
            raise ValueError("each country is in one zone, and one zone is that of *")
        if self.factors.get(self.currency) != 1:
            raise ValueError("the factor of the tariff's own currency is 1")
        if unknown := {zone.carrier for zone in self.zone} - {carrier.name for carrier in self.carrier}:
            raise ValueError(f"carriers that are not in the table: {', '.join(sorted(unknown))}")
        return self

    def zone_of(self, country: str, postcode: str = "") -> Zone:
        """The zone of a country's code, and of a postcode within it."""
        compact = re.sub(r"[^A-Z0-9]", "", postcode.upper())
        for zone in self.zone:
            if compact and any(area.holds(country, compact) for area in zone.area):
                return zone
        whole = {name: zone for zone in self.zone for name in zone.countries}
        return whole.get(country) or whole[ANY_COUNTRY]

    def carrier_named(self, name: str) -> Carrier | None:
        return next((carrier for carrier in self.carrier if carrier.name == name), None)


@cache
def tariff() -> Tariff:
    """The table in force."""
    return Tariff.model_validate(tomllib.loads(SOURCE.read_text(encoding="utf-8")))


def _is_within(postcode: str, entry: str) -> bool:
    first, _, last = entry.partition("-")
    letters, least = _parts(first)
    if not letters:
        return first <= postcode[: len(first)] <= (last or first)
    area, number = _parts(postcode[:-INWARD_LENGTH])
    if area != letters or not least:
        return area == letters
    return number.isdigit() and int(least) <= int(number) <= int(_parts(last or first)[1])


def _parts(code: str) -> tuple[str, str]:
    found = CODE.match(code)
    assert found is not None
    return found[1], found[2]


def business_days_after(day: date, count: int) -> date:
    """The day that is so many business days later; from a day of the weekend the first is Monday."""
    while count:
        day += timedelta(days=1)
        count -= day.isoweekday() <= 5
    return day
