"""The rules of the shipping service, on SQLite and PostgreSQL."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from services.shipping.service import SERVICE
from services.skeleton.countries import CODES
from tests.integration.services.asking import DATABASES, Asked, Reply, asked, at_once

BOOK, DISPATCH, QUOTE, CHECK = "/v1/shipments", "/v1/shipments/dispatch", "/v1/quotes", "/v1/address-validations"
ADDRESS = {"name": "A. Buyer", "street": "1 High Street", "city": "Cork", "postcode": "T12", "country": "EIRE"}


@pytest.fixture(params=DATABASES)
def shipping(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asked]:
    with asked(SERVICE, request.param, request, tmp_path) as service:
        yield service


def book(service: Asked, key: str, **address: str) -> Reply:
    body = {"order_id": "SO-1", "carrier": "eurolane", "address": {**ADDRESS, **address}, "item_count": 3}
    return service.post(BOOK, key, body)


def dispatch(service: Asked, key: str, of: str) -> Reply:
    return service.post(DISPATCH, key, {"shipment_id": f"S-{of}"})


def movements(service: Asked) -> dict[str, list[str]]:
    """Label → what was done with it, in order."""
    labels: dict[str, list[str]] = {}
    for row in service.ledger():
        labels.setdefault(row["shipment_id"], []).append(row["movement"])
    return labels


def test_a_label_is_bought_and_dispatched_once(shipping: Asked) -> None:
    """16 dispatches under different keys from 8 threads: the parcel leaves once, and its label is not voided any more."""
    booked = book(shipping, "k1")
    assert (booked.status, booked.effects) == (201, [("label", "eurolane", 1)])
    replies = at_once([partial(dispatch, shipping, f"d{number}", "k1") for number in range(16)])
    assert Counter(reply.code or "left" for reply in replies) == {"left": 1, "dispatched": 15}
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


@pytest.mark.parametrize(
    "broken", [{"street": " "}, {"name": ""}, {"country": "Atlantis"}, {"postcode": "UNDELIVERABLE"}], ids=str
)
def test_what_cannot_be_delivered(shipping: Asked, broken: dict[str, str]) -> None:
    """A blank part, an unknown country, the postcode for tests: 409 at the validation and at the booking, no label."""
    for refused in (shipping.post(CHECK, "", {**ADDRESS, **broken}), book(shipping, "k1", **broken)):
        assert (refused.status, refused.code) == (409, "undeliverable")
    assert shipping.ledger() == []


def test_countries_by_name_and_by_code(shipping: Asked) -> None:
    """Every name of the Online Retail data, and every code, can be delivered to."""
    assert len(CODES) == 38
    for text in (*CODES, *CODES.values(), "united kingdom "):
        answer = shipping.post(CHECK, "", {**ADDRESS, "country": text})
        assert (answer.status, answer.body["valid"]) == (200, True)
    assert shipping.post(CHECK, "", ADDRESS).body["country_code"] == "IE"


def test_a_quote_depends_on_zone_and_items(shipping: Asked) -> None:
    """Home is cheaper than Europe, Europe than the world, which takes whatever is not known; fifty items are a part."""

    def price(country: str, item_count: int) -> int:
        answer = shipping.post(QUOTE, "", {"country": country, "currency": "EUR", "item_count": item_count})
        assert (answer.status, answer.body["currency"]) == (200, "EUR")
        amount: int = answer.body["amount"]
        return amount

    assert [price("GB", 1), price("GB", 50), price("GB", 51)] == [495, 495, 595]
    assert price("GB", 1) < price("France", 1) < price("USA", 1) == price("Atlantis", 1)


def test_a_shipment_that_nobody_booked(shipping: Asked) -> None:
    """Its dispatch is 404, which no connector takes for a business rejection."""
    assert dispatch(shipping, "d1", "none").status == 404
