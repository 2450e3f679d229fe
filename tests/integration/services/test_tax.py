"""The rules of the tax service, on SQLite and PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.skeleton.countries import CODES
from services.tax.rates import STANDARD_RATES, tax_on
from services.tax.service import SERVICE
from tests.integration.services.asking import DATABASES, Asked, asked

QUOTE = "/v1/tax-quotes"


@pytest.fixture(params=DATABASES)
def tax(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asked]:
    with asked(SERVICE, request.param, request, tmp_path) as service:
        yield service


def request_of(country: str, *amounts: int) -> dict[str, Any]:
    lines = [{"sku": f"S{number}", "amount": amount} for number, amount in enumerate(amounts)]
    return {"order_id": "SO-1", "country": country, "region": None, "currency": "GBP", "lines": lines}


def test_a_quote_is_the_sum_of_its_rounded_lines(tax: Asked) -> None:
    """Three lines of 0.03 at 20 % are 0.01 each, not 0.02 together; every answer is a row of the ledger."""
    body = request_of("United Kingdom", 3, 3, 3)
    for _ in range(2):
        answer = tax.post(QUOTE, "k1", body).body
        assert (answer["tax_amount"], answer["currency"], answer["rate_percent"]) == (3, "GBP", "20.00")
        assert [line["tax_amount"] for line in answer["lines"]] == [1, 1, 1]
    rows = [(row["order_id"], row["key"], row["amount"], row["currency"]) for row in tax.ledger()]
    assert rows == [("SO-1", "k1", 3, "GBP")] * 2


def test_an_unknown_country_is_taxed_at_nothing(tax: Asked) -> None:
    """Whether goods can go there is the question of another service."""
    assert tax.post(QUOTE, "k1", request_of("Atlantis", 10_000)).body["tax_amount"] == 0


def test_a_bad_request_names_field_and_rule(tax: Asked) -> None:
    """A negative amount is 422, and nothing is written."""
    refused = tax.post(QUOTE, "k1", request_of("GB", -1))
    assert (refused.status, refused.body["errors"][0]["field"]) == (422, "lines.0.amount")
    assert tax.ledger() == []


def test_every_country_has_a_rate() -> None:
    """The table of rates and the table of countries name the same codes."""
    assert set(STANDARD_RATES) == set(CODES.values())


@pytest.mark.parametrize(
    ("amount", "rate", "expected"),
    [(0, 2000, 0), (5, 1000, 1), (4, 1000, 0), (100, 810, 8), (10**13, 2550, 2_550 * 10**9)],
)
def test_half_is_rounded_up(amount: int, rate: int, expected: int) -> None:
    """0.5 becomes 1, 0.4 becomes 0, in integers at every size."""
    assert tax_on(amount, rate) == expected
