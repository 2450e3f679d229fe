"""G: goods of total 0. Nothing is charged, and everything else happens as it does to any order."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from saga.fulfilment.models import LineTax, Order, OrderLine, TaxQuote
from saga.fulfilment.tax_back import tax_due
from services.payment.service import SERVICE
from tests.cases.test_unseen_names import VALUES
from tests.integration.services.asking import DATABASES, Asked, asked

AUTHORIZE, CAPTURE = "/v1/authorizations", "/v1/captures"
NOTHING = {"order_id": "SO-1", "amount": 0, "currency": "GBP", "payment_method": "pm_card"}


@pytest.fixture(params=DATABASES)
def payment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asked]:
    with asked(SERVICE, request.param, request, tmp_path) as service:
        yield service


def test_nothing_is_authorised_and_captured(payment: Asked) -> None:
    """Answered like any sum, once under each key; no money moves, so there is neither a posting nor an effect."""
    held = payment.post(AUTHORIZE, "k1", NOTHING)
    taken = payment.post(CAPTURE, "k2", {"authorization_id": "A-k1", "amount": 0, "currency": "GBP"})
    again = payment.post(CAPTURE, "k2", {"authorization_id": "A-k1", "amount": 0, "currency": "GBP"})
    assert (held.status, held.body["amount"], held.effects) == (201, 0, [])
    assert (taken.status, taken.body["amount"], again.is_replayed) == (201, 0, True)
    assert payment.ledger() == []
    state = payment.route("GET", "/v1/captures/{capture_id}", capture_id="C-k2").body
    assert (state["captured"], state["refunded"], state["refunds"]) == (0, 0, [])


def test_nothing_is_voided_and_not_refunded(payment: Asked) -> None:
    """A rollback releases it; of a capture of nothing no penny can go back, nor can nothing."""
    payment.post(AUTHORIZE, "k1", NOTHING)
    undone = payment.undo(AUTHORIZE, "k2", "k1")
    assert (undone.status, undone.body["undone"], undone.effects) == (200, True, [])
    voided = payment.post(CAPTURE, "k3", {"authorization_id": "A-k1", "amount": 0, "currency": "GBP"})
    assert (voided.status, voided.code) == (409, "voided")
    payment.post(AUTHORIZE, "k4", NOTHING)
    payment.post(CAPTURE, "k5", {"authorization_id": "A-k4", "amount": 0, "currency": "GBP"})
    back = {"order_id": "SO-1", "capture_id": "C-k5", "currency": "GBP", "reason": "x"}
    assert payment.post("/v1/refunds", "k6", {**back, "amount": 1}).code == "refund_exceeds_capture"
    assert payment.post("/v1/refunds", "k7", {**back, "amount": 0}).code == "invalid"
    assert payment.ledger() == []


def test_no_tax_is_a_share_of_nothing() -> None:
    """Also where a quote says only the sum, such as that of the freight."""
    bought = Order.model_validate(VALUES | {"lines": [{"sku": "A", "quantity": 2, "unit_price": 0}]})
    back = [OrderLine(sku="A", quantity=1, unit_price=0)]
    assert tax_due(bought, TaxQuote(tax_amount=99, currency="GBP"), back) == 0
    lines = (LineTax(sku="A", tax_amount=0),)
    assert tax_due(bought, TaxQuote(tax_amount=0, currency="GBP", lines=lines), back) == 0
