"""The oracle's list of countries is that of the services, which it cannot import."""

from saga.testing import countries
from services.skeleton.countries import CODES


def test_the_oracle_knows_the_countries_of_the_services() -> None:
    """Every name and code, no other, in any case and with blanks around it."""
    assert {it.strip() for it in countries.NAMES.split(",")} == set(CODES)
    assert set(countries.CODES.split()) == set(CODES.values())
    assert all(countries.is_known_country(f" {it.upper()} ") for it in [*CODES, *CODES.values()])
    assert not any(map(countries.is_known_country, ["", "Atlantis", "XX", "United", "United Kingdom, USA"]))
