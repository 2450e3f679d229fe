"""The rules of the shipping service, on SQLite and PostgreSQL; what does not touch a database, on its functions."""

import csv
import gzip
from collections import Counter
from collections.abc import Iterator
from datetime import date
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from saga.fulfilment.online_retail import POSTCODES
from services.shipping import s10
from services.shipping.service import SERVICE
from services.shipping.tariff import Tariff, business_days_after, tariff
from services.skeleton.fields import AMOUNT_MAX, QUANTITY_MAX
from tests.integration.services.asking import DATABASES, Asked, Reply, asked, at_once

BOOK, DISPATCH, QUOTE, CHECK = "/v1/shipments", "/v1/shipments/dispatch", "/v1/quotes", "/v1/address-validations"
RETURN = "/v1/return-labels"
ADDRESS = {"name": "A. Buyer", "street": "1 High Street", "city": "Cork", "postcode": "T12 X70A", "country": "EIRE"}
DATA = Path(__file__).parents[4] / "shared" / "data"
ON_ISLANDS = [
    ("GB", "BT1 1AA"),
    ("ES", "35001"),
    ("PT", "9000-018"),
    ("IT", "09100"),
    ("FR", "20000"),
    ("FR", "97100"),
    ("FI", "22100"),
    ("GR", "700 13"),
]
"""A postcode of each area of the tariff, as a label has it."""


@pytest.fixture(params=DATABASES)
def shipping(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asked]:
    with asked(SERVICE, request.param, request, tmp_path) as service:
        yield service


@pytest.fixture
def on_sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asked]:
    """For questions whose answer no database is asked for."""
    with asked(SERVICE, "sqlite", request, tmp_path) as service:
        yield service


def book(service: Asked, key: str, carrier: str = "eurolane", **address: str) -> Reply:
    body = {"order_id": "SO-1", "carrier": carrier, "address": {**ADDRESS, **address}, "item_count": 3}
    return service.post(BOOK, key, body)


def dispatch(service: Asked, key: str, of: str) -> Reply:
    return service.post(DISPATCH, key, {"shipment_id": f"S-{of}"})


def returned(service: Asked, key: str, of: str, order_id: str = "SO-1") -> Reply:
    return service.post(RETURN, key, {"order_id": order_id, "return_id": "RMA-1", "shipment_id": f"S-{of}"})


def check(service: Asked, **address: Any) -> Reply:
    return service.post(CHECK, "", {**ADDRESS, **address})


def movements(service: Asked) -> dict[str, list[str]]:
    """Label → what was done with it, in order."""
    labels: dict[str, list[str]] = {}
    for row in service.ledger():
        labels.setdefault(row["shipment_id"], []).append(row["movement"])
    return labels


def test_a_label_is_bought_and_dispatched_once(shipping: Asked) -> None:
    """16 dispatches under different keys from 8 threads: the parcel leaves once, with the number of its label, and the label
    is not voided any more."""
    booked = book(shipping, "k1")
    assert (booked.status, booked.effects) == (201, [("label", "eurolane", 1)])
    replies = at_once([partial(dispatch, shipping, f"d{number}", "k1") for number in range(16)])
    assert Counter(reply.code or "left" for reply in replies) == {"left": 1, "dispatched": 15}
    assert [reply.body["tracking"] for reply in replies if reply.status == 200] == [booked.body["tracking"]]
    refused = shipping.undo(BOOK, "u1", "k1")
    assert (refused.status, refused.code) == (409, "dispatched")
    assert movements(shipping) == {"S-k1": ["bought", "dispatched"]}


def test_a_label_is_voided_once(shipping: Asked) -> None:
    """Two undos with different keys void once; a voided label is not dispatched."""
    book(shipping, "k1")
    assert shipping.undo(BOOK, "u1", "k1").effects == [("label", "eurolane", -1)]
    assert shipping.undo(BOOK, "u2", "k1").body == {"undone": True, "effects": []}
    assert dispatch(shipping, "d1", "k1").code == "voided"
    assert movements(shipping) == {"S-k1": ["bought", "voided"]}


def test_a_label_for_the_way_back_is_bought_and_voided(shipping: Asked) -> None:
    """For a parcel that has left, by its carrier, numbered by the customer's post; its undo voids it once."""
    book(shipping, "k1")
    dispatch(shipping, "d1", "k1")
    label = returned(shipping, "r1", "k1")
    assert (label.status, label.effects, label.body["carrier"]) == (201, [("label", "eurolane", 1)], "eurolane")
    assert s10.is_number(label.body["tracking"])
    assert label.body["tracking"].endswith("IE")
    undone = at_once([partial(shipping.undo, RETURN, f"u{number}", "r1") for number in range(8)])
    assert sum(len(reply.effects) for reply in undone) == 1
    assert movements(shipping) == {"S-k1": ["bought", "dispatched"], "L-r1": ["return_bought", "return_voided"]}


def test_what_has_not_left_does_not_come_back(shipping: Asked) -> None:
    """409 `not_dispatched` for a parcel that is here or whose label is voided, 404 for another order's; no label."""
    book(shipping, "k1")
    assert (returned(shipping, "r1", "k1").status, returned(shipping, "r1", "k1").code) == (409, "not_dispatched")
    assert returned(shipping, "r2", "k1", order_id="SO-2").code == "unknown_shipment"
    shipping.undo(BOOK, "u1", "k1")
    assert returned(shipping, "r3", "k1").code == "not_dispatched"
    assert movements(shipping) == {"S-k1": ["bought", "voided"]}


def test_check_digits_of_s10() -> None:
    """The example of the standard, those whose remainder is 10 and 11, and every single wrong digit is found."""
    assert s10.number("RR", 47312482, "GB") == "RR473124829GB"
    # 11 less the remainder: 0 is 11 and becomes 5, 1 is 10 and becomes 0.
    assert s10.check_digit("00000000") == 5
    ends = {s10.check_digit(f"{serial:08d}"): serial for serial in range(1, 200)}
    assert set(ends) == set(range(10))
    right = "473124829"
    for place in range(9):
        for digit in set("0123456789") - {right[place]}:
            assert not s10.is_number(f"RR{right[:place]}{digit}{right[place + 1 :]}GB")
    assert not s10.is_number("RR47312482GB")


def test_posts_number_by_s10_and_others_by_the_key(shipping: Asked) -> None:
    """A post's number names its service and our country; a courier's, and one that is not in the tariff, has the key."""
    assert s10.is_number(book(shipping, "k1").body["tracking"])
    assert book(shipping, "k1").body["tracking"][:2] + book(shipping, "k1").body["tracking"][-2:] == "CPGB"
    assert book(shipping, "k2", carrier="parcelway").body["tracking"] == "PAK2"
    assert book(shipping, "k3", carrier="who").body["tracking"] == "WHK3"
    other = book(shipping, "K3", carrier="who")
    assert (other.status, other.body["tracking"] == "WHK3") == (201, False)


def keys_that_meet() -> tuple[str, str]:
    """Two keys whose first serial number is the same."""
    seen: dict[int, str] = {}
    for number in count():
        key = f"k{number}"
        serial = next(s10.serials(key))
        if serial in seen:
            return seen[serial], key
        seen[serial] = key
    raise AssertionError


def test_no_two_labels_have_one_number(shipping: Asked) -> None:
    """Two keys that want the same number, at the same time: both are booked, with different numbers."""
    keys = keys_that_meet()
    replies = at_once([partial(book, shipping, key) for key in keys])
    assert [reply.status for reply in replies] == [201, 201]
    numbers = {reply.body["tracking"] for reply in replies}
    assert len(numbers) == 2
    assert all(map(s10.is_number, numbers))


@pytest.mark.parametrize(
    ("broken", "fields"),
    [
        ({"street": " "}, ["street"]),
        ({"name": "", "city": " "}, ["name", "city"]),
        ({"country": "Atlantis"}, ["country"]),
        ({"postcode": "UNDELIVERABLE"}, ["postcode"]),
        ({"country": "Hong Kong", "postcode": "undeliverable"}, ["postcode"]),
        ({"postcode": "T12"}, ["postcode"]),
        ({"country": "GB", "postcode": "N1 1AAB"}, ["postcode"]),
        ({"country": "Germany", "postcode": ""}, ["postcode"]),
        ({"country": "USA", "postcode": "94117", "region": "Bavaria"}, ["region"]),
        ({"country": "USA", "postcode": "94117", "region": "NY"}, ["postcode"]),
    ],
    ids=str,
)
def test_what_cannot_be_delivered(shipping: Asked, broken: dict[str, str], fields: list[str]) -> None:
    """409 at the validation and at the booking, which names each field and its rule and no value; there is no label, and a
    late copy of the booking hears the same."""
    for refused in (check(shipping, **broken), book(shipping, "k1", **broken), book(shipping, "k1", **broken)):
        assert (refused.status, refused.code) == (409, "undeliverable")
        assert [error["field"] for error in refused.body["errors"]] == fields
        assert all(error["rule"] in refused.body["detail"] for error in refused.body["errors"])
    assert shipping.ledger() == []


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ({}, ("Cork", "T12 X70A", "", "IE")),
        ({"country": "uk ", "city": "  Colchester ", "postcode": "co7 6jx"}, ("COLCHESTER", "CO7 6JX", "", "GB")),
        ({"country": "Belgium", "city": "Bruxelles", "postcode": "B-1180"}, ("BRUXELLES", "1180", "", "BE")),
        ({"country": "CH", "city": "Bern", "postcode": "CH-3012"}, ("Bern", "3012", "", "CH")),
        ({"country": "USA", "city": "Boise", "postcode": "83720", "region": "Idaho"}, ("BOISE", "83720", "ID", "US")),
        ({"country": "Canada", "city": "Montréal", "postcode": "H1J 1C3", "region": "Québec"}, None),
        ({"country": "Hong Kong", "city": "Central", "postcode": "999077"}, None),
        ({"country": "Ireland", "postcode": ""}, ("CORK", "", "", "IE")),
        ({"country": "Singapore", "city": "", "postcode": "546080"}, ("", "546080", "", "SG")),
    ],
    ids=str,
)
def test_an_address_is_normalised(
    on_sqlite: Asked, given: dict[str, str], label: tuple[str, str, str, str] | None
) -> None:
    """Blanks folded, capitals where the country has them, no prefix of the country, the region's key; what a country does
    not use is dropped, and what it does not want may be missing."""
    answer = check(on_sqlite, **given)
    assert answer.status == 200, answer.body
    address = answer.body["address"]
    if label is not None:
        assert (address["city"].upper(), address["postcode"], address["region"]) == (label[0].upper(), *label[1:3])
        assert address["country_code"] == answer.body["country_code"] == label[3]
    assert (address["postcode"] == "") == (given.get("country") in {"Hong Kong", "Ireland"})


def test_every_country_of_the_online_retail_data_is_served(on_sqlite: Asked) -> None:
    """With the address that `saga/fulfilment/online_retail.py` makes up, each country of the real file can be delivered to."""
    path = DATA / "online-retail.csv.gz"
    if not path.exists():
        pytest.skip(f"NOT TESTED: {path.name} of the shared data is not here")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        countries = {row["Country"].strip() for row in csv.DictReader(lines)}
    assert len(countries) == 38
    for country in countries:
        made_up = {"name": "Customer 1", "street": "1 Customer Street", "city": country}
        made_up["postcode"] = POSTCODES.get(country, "0")
        assert check(on_sqlite, country=country, **made_up).status == 200, country
    without = countries - set(POSTCODES)
    assert without == {"Hong Kong", "United Arab Emirates", "European Community", "Unspecified"}
    assert all(check(on_sqlite, country=country, postcode="7").status == 200 for country in without)


def test_a_quote_depends_on_zone_and_weight(shipping: Asked) -> None:
    """Home is cheaper than Europe, Europe than the world, which takes whatever is not known; heavier is never cheaper."""

    def price(country: str, item_count: int, **more: int | str) -> int:
        asked_for = {"country": country, "currency": "EUR", "item_count": item_count, **more}
        answer = shipping.post(QUOTE, "", asked_for)
        assert (answer.status, answer.body["currency"]) == (200, "EUR")
        amount: int = answer.body["amount"]
        return amount

    assert [price("GB", 1), price("GB", 4), price("GB", 5)] == [495, 495, 595]
    assert [price("GB", 4, weight_g=500), price("GB", 4, weight_g=501)] == [495, 595]
    assert [price("GB", 40), price("GB", 41), price("GB", 61)] == [1_095, 1_095 + 450, 1_095 + 2 * 450]
    assert price("GB", 1) < price("France", 1) < price("USA", 1) == price("Atlantis", 1)
    assert price("GB", 0) == 495
    for zone in tariff().zone:
        prices = [zone.price(weight_g) for weight_g in range(0, 60_000, 250)]
        assert prices == sorted(prices)
    heaviest_g = QUANTITY_MAX * tariff().default_item_weight_g
    assert tariff().zone_of("US").price(heaviest_g) * max(tariff().factors.values()) <= AMOUNT_MAX


def amounts_of(service: Asked, country: str) -> dict[str, int]:
    """Currency → what the parcel costs, of every currency in the price list."""
    body = {"country": country, "item_count": 7}
    return {it: service.post(QUOTE, "", {**body, "currency": it}).body["amount"] for it in tariff().factors}


@pytest.mark.parametrize("country", ["GB", "FR", "US"])
def test_a_price_is_that_of_the_price_list_of_its_currency(on_sqlite: Asked, country: str) -> None:
    """The tariff is in GBP; EUR and USD cost the same number, each other its factor, and the places of the minor unit are
    minded: a pound's worth of yen or dinars is not 100 of their minor units."""
    amounts = amounts_of(on_sqlite, country)
    in_gbp = tariff().zone_of(country).price(7 * 500)
    assert amounts["GBP"] == amounts["EUR"] == amounts["USD"] == in_gbp
    assert amounts["JPY"] == 2 * in_gbp
    assert amounts["KWD"] == 4 * in_gbp
    assert amounts == {it: in_gbp * factor for it, factor in tariff().factors.items()}


def test_a_currency_that_is_not_in_the_price_list(on_sqlite: Asked) -> None:
    """409 `undeliverable`, which the engine rolls back for, with the field; an order cannot be charged a bare number."""
    refused = on_sqlite.post(QUOTE, "", {"country": "GB", "currency": "XAU", "item_count": 1})
    assert (refused.status, refused.code) == (409, "undeliverable")
    assert [error["field"] for error in refused.body["errors"]] == ["currency"]
    assert "GBP" in refused.body["detail"]


def test_the_price_list_is_checked_when_it_is_read() -> None:
    """The tariff's own currency has the factor 1, and no factor is 0."""
    table = tariff().model_dump()
    assert {"GBP", "USD"} <= set(table["factors"])
    for factors in ({}, {"GBP": 2}, {"GBP": 1, "JPY": 0}, {"GBP": 1, "yen": 2}):
        with pytest.raises(ValueError, match="factor"):
            Tariff.model_validate({**table, "factors": factors})


@pytest.mark.parametrize(
    ("country", "postcode", "zone"),
    [
        ("GB", None, "home"),
        ("GB", "EC1A 1BB", "home"),
        ("GB", "KW1 5AA", "home"),
        ("GB", "kw15 1aa", "home islands"),
        ("GB", "IV40 8AA", "home"),
        ("GB", "IV41 8AA", "home islands"),
        ("GB", "BT1 1AA", "home islands"),
        ("GB", "B1 1AA", "home"),
        ("Channel Islands", None, "home islands"),
        ("Spain", "28001", "europe"),
        ("Spain", "38001", "europe islands"),
        ("Portugal", "9000-018", "europe islands"),
        ("Italy", "00144", "europe"),
        ("Italy", "09100", "europe islands"),
        ("France", "20000", "europe islands"),
        ("France", "97100", "world"),
        ("Finland", "00550", "europe"),
        ("Finland", "22100", "europe islands"),
        ("USA", "94117", "world"),
        ("Atlantis", "1", "world"),
    ],
)
def test_the_zone_is_that_of_the_postcode(on_sqlite: Asked, country: str, postcode: str | None, zone: str) -> None:
    """Islands have a zone of their own by range of postcodes; without a postcode it is the country's."""
    asked_for = {"country": country, "postcode": postcode, "currency": "GBP", "item_count": 1}
    assert on_sqlite.post(QUOTE, "", asked_for).body["zone"] == zone


@pytest.mark.parametrize(("country", "postcode"), ON_ISLANDS)
def test_a_prefix_of_the_country_changes_no_price(on_sqlite: Asked, country: str, postcode: str) -> None:
    """Each spelling that the validation takes is quoted like the postcode that stands on the label; without a zone of
    its own it would be the country's."""

    def quoted(text: str | None) -> dict[str, Any]:
        body = {"country": country, "postcode": text, "currency": "GBP", "item_count": 1}
        return on_sqlite.post(QUOTE, "", body).body

    for prefix in ("", f"{country}-", f"{country[0]}-", f" {country}-".lower()):
        for spelling in (postcode, postcode.lower(), f"  {postcode} "):
            written = prefix + (spelling.strip() if prefix else spelling)
            taken = check(on_sqlite, country=country, postcode=written)
            assert taken.status == 200, (written, taken.body)
            on_label = taken.body["address"]["postcode"]
            assert on_label == postcode
            assert quoted(written) == quoted(on_label) != quoted(None), written


def test_every_country_with_a_rule_by_postcode_is_asked_with_prefixes() -> None:
    """A country that gets an area in the tariff gets a row above."""
    assert {area.country for zone in tariff().zone for area in zone.area} == {country for country, _ in ON_ISLANDS}


@pytest.mark.parametrize(
    ("day", "days", "then"),
    [
        (date(2026, 11, 20), 1, date(2026, 11, 23)),
        (date(2026, 11, 21), 1, date(2026, 11, 23)),
        (date(2026, 11, 22), 1, date(2026, 11, 23)),
        (date(2026, 11, 23), 5, date(2026, 11, 30)),
        (date(2026, 12, 31), 2, date(2027, 1, 4)),
        (date(2026, 11, 21), 0, date(2026, 11, 21)),
    ],
)
def test_business_days_are_monday_to_friday(day: date, days: int, then: date) -> None:
    """The day of the quote is not counted, a weekend neither."""
    assert business_days_after(day, days) == then


def test_a_quote_says_when_the_parcel_arrives(on_sqlite: Asked) -> None:
    """From the least to the most business days of its zone, both on a weekday; `days` stays the most."""
    answer = on_sqlite.post(QUOTE, "", {"country": "France", "currency": "EUR", "item_count": 1}).body
    assert (answer["days_min"], answer["days"]) == (3, 5)
    first, last = date.fromisoformat(answer["delivery_from"]), date.fromisoformat(answer["delivery_to"])
    assert business_days_after(first, 2) == last
    assert max(first.isoweekday(), last.isoweekday()) <= 5


def test_a_shipment_that_nobody_booked(shipping: Asked) -> None:
    """Its dispatch and its return are 404, which no connector takes for a business rejection."""
    assert dispatch(shipping, "d1", "none").status == 404
    assert returned(shipping, "r1", "none").status == 404
