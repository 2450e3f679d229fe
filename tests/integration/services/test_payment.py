"""The rules of the payment service, on SQLite and PostgreSQL."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.payment.service import FRAUD_LIMIT, SERVICE
from tests.integration.services.asking import DATABASES, Asked, Reply, asked, at_once

AUTHORIZE, CAPTURE, SCREEN = "/v1/authorizations", "/v1/captures", "/v1/fraud-screens"


@pytest.fixture(params=DATABASES)
def payment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asked]:
    with asked(SERVICE, request.param, request, tmp_path) as service:
        yield service
        assert not sum(accounts(service).values())
        assert all(row["amount"] > 0 and row["debit"] != row["credit"] for row in service.ledger())


def authorize(service: Asked, key: str, amount: int = 8_240, method: str = "pm_card") -> Reply:
    body = {"order_id": "SO-1", "amount": amount, "currency": "GBP", "payment_method": method}
    return service.post(AUTHORIZE, key, body)


def capture(service: Asked, key: str, of: str, amount: int = 8_240, currency: str = "GBP") -> Reply:
    body = {"authorization_id": f"A-{of}", "amount": amount, "currency": currency}
    return service.post(CAPTURE, key, body)


def accounts(service: Asked) -> dict[str, int]:
    """What the postings leave on each account, without those at zero."""
    sums: Counter[str] = Counter()
    for row in service.ledger():
        sums[row["debit"]] -= row["amount"]
        sums[row["credit"]] += row["amount"]
    return {account: amount for account, amount in sums.items() if amount}


def test_a_hold_is_captured(payment: Asked) -> None:
    """Authorised money lies in `holds`, captured money with the merchant; the capture adds no effect to the hold's."""
    held = authorize(payment, "k1")
    assert (held.status, held.effects) == (201, [("money", "GBP", 8_240)])
    assert accounts(payment) == {"customer:SO-1": -8_240, "holds": 8_240}
    taken = capture(payment, "k2", of="k1")
    assert (taken.status, taken.effects, taken.body["authorization_id"]) == (201, [], "A-k1")
    assert accounts(payment) == {"customer:SO-1": -8_240, "merchant": 8_240}


def test_a_void_releases_the_hold_once(payment: Asked) -> None:
    """The money is the customer's again, two undos with different keys void once, and nothing is left to capture."""
    authorize(payment, "k1")
    assert payment.undo(AUTHORIZE, "u1", "k1").effects == [("money", "GBP", -8_240)]
    assert payment.undo(AUTHORIZE, "u2", "k1").body == {"undone": True, "effects": []}
    assert accounts(payment) == {}
    refused = capture(payment, "k2", of="k1")
    assert (refused.status, refused.code) == (409, "voided")


def test_captured_money_is_not_voided(payment: Asked) -> None:
    """The void of a captured authorization is refused with `captured`, and the books stay."""
    authorize(payment, "k1")
    capture(payment, "k2", of="k1")
    refused = payment.undo(AUTHORIZE, "u1", "k1")
    assert (refused.status, refused.code) == (409, "captured")
    assert accounts(payment)["merchant"] == 8_240


def test_an_authorization_is_captured_once(payment: Asked) -> None:
    """16 captures under different keys from 8 threads take the money once."""
    authorize(payment, "k1")
    replies = at_once([partial(capture, payment, f"c{number}", of="k1") for number in range(16)])
    assert Counter(reply.code or "captured now" for reply in replies) == {"captured now": 1, "captured": 15}
    assert accounts(payment)["merchant"] == 8_240


def test_void_and_capture_at_once_have_one_winner(payment: Asked) -> None:
    """Whoever comes first, the money is at one place, and the other one is told."""
    for number in range(8):
        authorize(payment, f"k{number}")
        calls = [
            partial(capture, payment, f"c{number}", of=f"k{number}"),
            partial(payment.undo, AUTHORIZE, f"u{number}", f"k{number}"),
        ]
        taken, voided = at_once(calls)
        assert (taken.code, voided.code) in {("", "captured"), ("voided", "")}
    assert "holds" not in accounts(payment)


@pytest.mark.parametrize(("amount", "currency"), [(8_241, "GBP"), (8_239, "GBP"), (8_240, "EUR")])
def test_another_amount_than_was_held_is_refused(payment: Asked, amount: int, currency: str) -> None:
    """More, less or another currency: 409 `amount_mismatch`, and the hold stays as it was."""
    authorize(payment, "k1")
    assert capture(payment, "k2", of="k1", amount=amount, currency=currency).code == "amount_mismatch"
    assert accounts(payment)["holds"] == 8_240


def test_who_is_declined_is_said_by_the_way_of_paying(payment: Asked) -> None:
    """`pm_declined` and what is no `pm_` at authorization, `pm_capture_declined` at capture, whose hold can be voided."""
    for key, method in (("k1", "pm_declined"), ("k2", "cash")):
        refused = authorize(payment, key, method=method)
        assert (refused.status, refused.code) == (402, "declined")
    assert authorize(payment, "k3", method="pm_capture_declined").status == 201
    refused = capture(payment, "k4", of="k3")
    assert (refused.status, refused.code) == (402, "declined")
    assert payment.undo(AUTHORIZE, "u3", "k3").body["undone"] is True


def test_the_fraud_screen_looks_at_the_amount(payment: Asked) -> None:
    """Up to the limit it passes, above it is suspected; it writes nothing."""
    body: dict[str, Any] = {"order_id": "SO-1", "currency": "GBP", "country": "EIRE"}
    assert payment.post(SCREEN, "", {**body, "amount": FRAUD_LIMIT}).body == {"score": 1.0, "passed": True}
    refused = payment.post(SCREEN, "", {**body, "amount": FRAUD_LIMIT + 1})
    assert (refused.status, refused.code) == (402, "fraud_suspected")
    assert payment.ledger() == []


def test_an_authorization_that_nobody_made(payment: Asked) -> None:
    """Its capture is 404, which no connector takes for a business rejection."""
    assert capture(payment, "k1", of="none").status == 404
