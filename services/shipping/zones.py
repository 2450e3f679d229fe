"""Zones and their prices.

Simplified: a price is a base and a part for every started fifty items, in minor units of whatever currency is asked for;
nothing is weighed and nothing converted. A country that is not in the table is in the zone `world`: a quote always has a
price, and whether a parcel can be delivered is the question of the address validation.
"""

from dataclasses import dataclass

from services.skeleton.countries import country_code

ITEMS_PER_PART = 50


@dataclass(frozen=True, slots=True)
class Zone:
    """Where a carrier goes, at what price (minor units), in how many days."""

    name: str
    carrier: str
    base: int
    part: int
    days: int

    def price(self, item_count: int) -> int:
        return self.base + self.part * -(-item_count // ITEMS_PER_PART)


HOME = Zone("home", "parcelway", base=395, part=100, days=2)
EUROPE = Zone("europe", "eurolane", base=895, part=250, days=5)
WORLD = Zone("world", "globefreight", base=1895, part=600, days=12)

HOME_CODES = frozenset({"GB", "GG"})
EUROPE_CODES = frozenset(
    "AT BE CH CY CZ DE DK ES EU FI FR GR IE IS IT LT MT NL NO PL PT SE".split()  # noqa: SIM905  one line reads best
)


def zone_of(country: str) -> Zone:
    """The zone of a country by name or code."""
    code = country_code(country)
    if code in HOME_CODES:
        return HOME
    return EUROPE if code in EUROPE_CODES else WORLD
