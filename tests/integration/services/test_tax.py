"""The rules of the tax service, on SQLite and PostgreSQL; the rates and the rounding without a database."""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.fulfilment.online_retail import POSTCODES
from saga.places import country_code
from services.tax.rates import JURISDICTIONS, PER_CENT, TaxClass, jurisdiction_of, percent, read_table, tax_on
from services.tax.service import SERVICE
from tests.integration.services.asking import DATABASES, Asked, asked

QUOTE = "/v1/tax-quotes"
TODAY = date(2026, 11, 29)
HEAD = "country,region,standard,reduced,valid_from,source,taken_down_on,note"
NORTHWIND = ("Argentina", "Ireland", "Mexico", "UK", "Venezuela")
EUROPEAN_UNION = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
PROVINCES = "AB BC MB NB NL NS NT NU ON PE QC SK YT"
STATES = """
AL AK AZ AR CA CO CT DC DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA RI SC
SD TN TX UT VT VA WA WV WI WY
"""


@pytest.fixture(params=DATABASES)
def tax(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asked]:
    with asked(SERVICE, request.param, request, tmp_path) as service:
        yield service


def request_of(country: str, *amounts: int, **further: Any) -> dict[str, Any]:
    lines = [{"sku": f"S{number}", "amount": amount} for number, amount in enumerate(amounts)]
    return {"order_id": "SO-1", "country": country, "region": None, "currency": "GBP", "lines": lines, **further}


def test_a_quote_is_the_sum_of_its_rounded_lines(tax: Asked) -> None:
    """Three lines of 0.03 at 20 % are 0.01 each, not 0.02 together; every answer is a row of the ledger."""
    body = request_of("United Kingdom", 3, 3, 3)
    for _ in range(2):
        answer = tax.post(QUOTE, "k1", body).body
        assert (answer["tax_amount"], answer["currency"], answer["rate_percent"]) == (3, "GBP", "20.00")
        assert [line["tax_amount"] for line in answer["lines"]] == [1, 1, 1]
    rows = [(row["order_id"], row["key"], row["amount"], row["currency"]) for row in tax.ledger()]
    assert rows == [("SO-1", "k1", 3, "GBP")] * 2


def test_a_quote_says_where_and_by_whom_it_is_taxed(tax: Asked) -> None:
    """Jurisdiction, source, the first day of the rate and what the row says of itself stand beside the sum; a line has its
    class, its rate, and the class of that rate."""
    answer = tax.post(QUOTE, "k1", request_of("Canada", 1000, region="QC")).body
    assert answer == {
        "tax_amount": 150,
        "currency": "GBP",
        "rate_percent": "14.975",
        "jurisdiction": "CA-QC",
        "source": "Canada Revenue Agency; Revenu Québec",
        "valid_from": "2013-01-01",
        "taken_down_on": "2026-11-21",
        "note": "GST 5 + QST 9.975",
        "exemption_reason": None,
        "lines": [
            {
                "sku": "S0",
                "tax_amount": 150,
                "tax_class": "standard",
                "rate_percent": "14.975",
                "rate_class": "standard",
                "exemption_reason": None,
            }
        ],
    }


def test_each_class_of_goods_has_its_rate(tax: Asked) -> None:
    """Standard, reduced, zero and exempt lines in one order to Germany; only the last is named exempt."""
    lines = [{"sku": it, "amount": 1000, "tax_class": it} for it in ("standard", "reduced", "zero", "exempt")]
    answer = tax.post(QUOTE, "k1", {**request_of("Germany"), "lines": lines}).body
    found = [(it["tax_amount"], it["rate_percent"], it["exemption_reason"]) for it in answer["lines"]]
    assert found == [(190, "19.00", None), (70, "7.00", None), (0, "0.00", None), (0, "0.00", "goods_exempt")]
    assert (answer["tax_amount"], answer["rate_percent"], answer["exemption_reason"]) == (260, "19.00", None)


def test_a_reduced_line_pays_the_standard_rate_where_none_is_written_down(tax: Asked) -> None:
    """Never too little, and the line says so: Denmark has no reduced rate, Finland's was not known; Germany's is applied."""
    lines = [{"sku": "A", "amount": 1000, "tax_class": "reduced"}]
    found = {}
    for country in ("Denmark", "Finland", "Germany"):
        (line,) = tax.post(QUOTE, "k1", {**request_of(country), "lines": lines}).body["lines"]
        assert line["tax_class"] == "reduced"
        found[country] = (line["tax_amount"], line["rate_percent"], line["rate_class"])
    assert found == {
        "Denmark": (250, "25.00", "standard"),
        "Finland": (255, "25.50", "standard"),
        "Germany": (70, "7.00", "reduced"),
    }


def test_where_no_rate_was_applied_no_class_is_named(tax: Asked) -> None:
    """For an exempt customer, and in a country that is not in the table; zero-rated and exempt goods have their own."""
    for body in (request_of("France", 1000, tax_exempt=True), request_of("Atlantis", 1000)):
        assert [line["rate_class"] for line in tax.post(QUOTE, "k1", body).body["lines"]] == [None]
    lines = [{"sku": it, "amount": 1000, "tax_class": it} for it in ("zero", "exempt")]
    answer = tax.post(QUOTE, "k1", {**request_of("France"), "lines": lines}).body
    assert [line["rate_class"] for line in answer["lines"]] == ["zero", "exempt"]
    assert answer["note"] == "overseas departments have rates of their own"


def test_an_exempt_customer_pays_nothing(tax: Asked) -> None:
    """Whatever the class of the goods; order and lines say why, and the ledger has the quote of 0."""
    answer = tax.post(QUOTE, "k1", request_of("France", 1000, 5, tax_exempt=True)).body
    assert (answer["tax_amount"], answer["rate_percent"], answer["jurisdiction"]) == (0, "0.00", "FR")
    reasons = {answer["exemption_reason"], *(line["exemption_reason"] for line in answer["lines"])}
    assert reasons == {"customer_exempt"}
    assert [row["amount"] for row in tax.ledger()] == [0]


@pytest.mark.parametrize("country", ["Atlantis", "Unspecified", "European Community", ""])
def test_an_unknown_country_is_taxed_at_nothing(tax: Asked, country: str) -> None:
    """Whether goods can go there is the question of another service; the answer names no jurisdiction."""
    answer = tax.post(QUOTE, "k1", request_of(country, 10_000)).body
    assert (answer["tax_amount"], answer["rate_percent"]) == (0, "0.00")
    assert {answer[it] for it in ("jurisdiction", "source", "valid_from", "taken_down_on", "note")} == {None}


def test_a_bad_request_names_field_and_rule(tax: Asked) -> None:
    """A negative amount and a class that there is not are 422, and nothing is written."""
    odd = {**request_of("GB"), "lines": [{"sku": "A", "amount": 1, "tax_class": "luxury"}]}
    for body, field in ((request_of("GB", -1), "lines.0.amount"), (odd, "lines.0.tax_class")):
        refused = tax.post(QUOTE, "k1", body)
        assert (refused.status, refused.body["errors"][0]["field"]) == (422, field)
    assert tax.ledger() == []


@pytest.mark.parametrize(
    ("country", "region", "place", "rate"),
    [
        ("US", None, "US", "0.00"),
        ("USA", "CA", "US-CA", "7.25"),
        ("United States", " us-nm ", "US-NM", "4.875"),
        ("US", "new york", "US-NY", "4.00"),
        ("US", "QC", "US", "0.00"),
        ("Canada", None, "CA", "5.00"),
        ("CA", "Québec", "CA-QC", "14.975"),
        ("CA", "BC", "CA-BC", "12.00"),
        ("CA", "NS", "CA-NS", "14.00"),
        ("Germany", "Bayern", "DE", "19.00"),
        ("UK", "Essex", "GB", "20.00"),
        ("eire", None, "IE", "23.00"),
        ("Switzerland", None, "CH", "8.10"),
        ("Finland", None, "FI", "25.50"),
        ("NZ", None, "NZ", "15.00"),
    ],
)
def test_goods_are_taxed_where_they_go(country: str, region: str | None, place: str, rate: str) -> None:
    """Country by name or code; the region counts in the United States and Canada, when the table knows it."""
    found = jurisdiction_of(country, region, TODAY)
    assert found is not None
    assert (found.code, percent(found.standard)) == (place, rate)


def test_a_rate_begins_on_its_day() -> None:
    """Estonia's 24 % began on 1 July 2025: the day before it is 22 %."""
    before, on = (jurisdiction_of("EE", None, date(2025, *day)) for day in ((6, 30), (7, 1)))
    assert before is not None
    assert on is not None
    assert (percent(before.standard), percent(on.standard)) == ("22.00", "24.00")
    assert jurisdiction_of("EE", None, date(2023, 12, 31)) is None


def test_the_table_covers_what_it_promises() -> None:
    """The European Union, all states and provinces, and each country of the Online Retail and Northwind data."""
    there = {row.code for row in JURISDICTIONS}
    wanted = {*EUROPEAN_UNION.split(), *(f"US-{state}" for state in STATES.split())}
    wanted |= {f"CA-{it}" for it in PROVINCES.split()}
    wanted |= (
        {"GB", "CH", "NO", "AU", "NZ", "JP", "US", "CA"} | {country_code(it) or it for it in POSTCODES} | {"HK", "AE"}
    )
    assert wanted <= there
    assert all(jurisdiction_of(name, None, TODAY) for name in NORTHWIND)


def test_every_row_says_where_it_is_from() -> None:
    """A source, the day it was written down, one row per place and day, and no rate that began after it was written."""
    assert all(row.source and row.valid_from <= row.taken_down_on <= TODAY for row in JURISDICTIONS)
    assert max(Counter((row.code, row.valid_from) for row in JURISDICTIONS).values()) == 1
    assert all(row.reduced is None or 0 < row.reduced < row.standard for row in JURISDICTIONS)
    assert all(row.standard or row.note for row in JURISDICTIONS), "a rate of 0 is explained"


def test_the_page_says_how_much_of_the_table_is_uncertain() -> None:
    """The counts of docs/participants.md are those of the table."""
    text = " ".join((Path(__file__).parents[3] / "docs" / "participants.md").read_text(encoding="utf-8").split())
    rows, stand_ins = len(JURISDICTIONS), sum(row.valid_from == date(2025, 1, 1) for row in JURISDICTIONS)
    assert f"`valid_from` is 2025-01-01 in {stand_ins} of the {rows} rows" in text
    assert f"{sum(row.reduced is None for row in JURISDICTIONS)} of the {rows} have no reduced rate" in text


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("XX,,20.0001,,2020-01-01,x,2026-01-01,", "XX-: 20.0001 is no rate"),
        ("XX,R,101,,2020-01-01,x,2026-01-01,", "XX-R: 101 is no rate"),
        ("XX,,20,,2020-13-01,x,2026-01-01,", "XX-: month must be"),
        ("XX,,twenty,,2020-01-01,x,2026-01-01,", "XX-: "),
    ],
)
def test_a_bad_row_is_named(row: str, wrong: str) -> None:
    """A table that cannot be read stops the service at its start, and says which row."""
    with pytest.raises(ValueError, match=wrong):
        read_table(["# prose", HEAD, row])


@pytest.mark.parametrize(
    ("amount", "rate", "expected"),
    [
        (0, "20", 0),
        (5, "10", 1),
        (4, "10", 0),
        (15, "10", 2),
        (100, "8.1", 8),
        (100, "14.975", 15),
        (200, "7.25", 15),
        (199, "7.25", 14),
        (1000, "4.875", 49),
        (10**13, "25.5", 2_550 * 10**9),
    ],
)
def test_half_is_rounded_up(amount: int, rate: str, expected: int) -> None:
    """0.5 becomes 1 and 1.5 becomes 2, 0.4 becomes 0, in integers at every size."""
    (row,) = read_table([HEAD, f"XX,,{rate},,2020-01-01,x,2026-01-01,"])
    assert tax_on(amount, row.rate_of(TaxClass.STANDARD)) == expected


@given(st.integers(0, 10**13), st.integers(0, 100 * PER_CENT))
def test_rounding_is_off_by_half_a_unit_at_most(amount: int, rate: int) -> None:
    """Of every amount and rate: twice the error in units of 1/100,000 is in (-100,000, 100,000], half goes up."""
    twice_error = 2 * (tax_on(amount, rate) * 100 * PER_CENT - amount * rate)
    assert -100 * PER_CENT < twice_error <= 100 * PER_CENT
