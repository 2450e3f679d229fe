"""The definition is the process of docs: its order, its kinds, what each step asks for and what it sends."""

import json
from typing import Any

import pytest

from saga.core.connector import Call, Undo
from saga.core.definition import Kind, Step
from saga.core.states import Direction
from saga.fulfilment.connectors import inventory, payment, shipping, tax
from saga.fulfilment.fulfil_order import calculate_tax, fulfil_order, price_order, screen_fraud
from saga.fulfilment.models import Order, OrderPrice
from services.inventory.service import SERVICE as INVENTORY
from services.payment.service import SERVICE as PAYMENT
from services.shipping.service import SERVICE as SHIPPING

OF_VERSION_1 = "6dab479a8ec8227c2ae2f68a260f517cff7da4a6ae4891a1f44fca80b7e7cfd3"
GOLDEN_FINGERPRINT = "c9b2e1bcb41f8b28108d8389666341fc4275366596f290fb407a1ea187533770"

ORDER = {
    "order_id": "SO-1",
    "customer_id": "C7",
    "currency": "GBP",
    "country": "United Kingdom",
    "address": {"name": "Zoë", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"},
    "lines": [
        {"sku": "B", "quantity": 2, "unit_price": 100},
        {"sku": "A", "quantity": 1, "unit_price": 50},
        {"sku": "B", "quantity": 1, "unit_price": 100},
    ],
    "payment_method": "pm_card",
}

RESULTS: dict[str, dict[str, Any]] = {
    "calculate_tax": {"tax_amount": 70, "currency": "GBP", "rate_percent": 20, "lines": []},
    "quote_shipping": {"amount": 495, "currency": "GBP", "carrier": "DHL", "days": 2},
    "reserve_inventory": {"reservation_id": "r1", "order_id": "SO-1", "effects": []},
    "price_order": {"goods": 350, "tax": 70, "freight": 495, "total": 915, "currency": "GBP"},
    "book_shipment": {"shipment_id": "s1", "tracking": "T1", "carrier": "DHL", "effects": []},
    "authorize_payment": {"authorization_id": "a1", "amount": 915, "currency": "GBP", "effects": []},
}

DESTINATION = {**ORDER["address"], "region": None, "country": "United Kingdom"}  # type: ignore[dict-item]

SENT: dict[str, tuple[str, dict[str, Any]]] = {
    "calculate_tax": (
        "/v1/tax-quotes",
        {
            "order_id": "SO-1",
            "country": "United Kingdom",
            "region": None,
            "currency": "GBP",
            "lines": [{"sku": "B", "amount": 200}, {"sku": "A", "amount": 50}, {"sku": "B", "amount": 100}],
        },
    ),
    "quote_shipping": (
        "/v1/quotes",
        {"country": "United Kingdom", "postcode": "LS1 1AA", "currency": "GBP", "item_count": 4},
    ),
    "validate_address": ("/v1/address-validations", DESTINATION),
    "screen_fraud": (
        "/v1/fraud-screens",
        {
            "order_id": "SO-1",
            "amount": 350,
            "currency": "GBP",
            "country": "United Kingdom",
            "customer_id": "C7",
            "skus": ["A", "B"],
        },
    ),
    "reserve_inventory": (
        "/v1/reservations",
        {"order_id": "SO-1", "lines": [{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": 3}], "ttl_s": 900},
    ),
    "book_shipment": (
        "/v1/shipments",
        {"order_id": "SO-1", "carrier": "DHL", "address": DESTINATION, "item_count": 4},
    ),
    "authorize_payment": (
        "/v1/authorizations",
        {
            "order_id": "SO-1",
            "amount": 915,
            "currency": "GBP",
            "payment_method": "pm_card",
            "customer_id": "C7",
        },
    ),
    "firm_reservation": ("/v1/reservations/firm", {"reservation_id": "r1"}),
    "capture_payment": ("/v1/captures", {"authorization_id": "a1", "amount": 915, "currency": "GBP"}),
    "commit_inventory": ("/v1/reservations/commit", {"reservation_id": "r1"}),
    "dispatch_shipment": ("/v1/shipments/dispatch", {"shipment_id": "s1"}),
}


def arguments_of(step: Step) -> list[Any]:
    """The order and the answers that the step asks for, read from JSON as they come from the journal."""
    texts = {None: json.dumps(ORDER)} | {name: json.dumps(answer) for name, answer in RESULTS.items()}
    sources = zip(step.takes.sources, step.takes.models, strict=True)
    return [model.model_validate_json(texts[source]) for source, model in sources if model is not None]


def call_of(step: Step) -> Call[Any]:
    assert callable(step.action)
    call = step.action(*arguments_of(step))
    assert isinstance(call, Call)
    return call


def test_the_structure_is_pinned() -> None:
    """Sagas in flight keep their path: whoever changes the structure sees this fail and raises the version instead."""
    assert fulfil_order.version == 2
    assert fulfil_order.fingerprint == GOLDEN_FINGERPRINT
    assert [(it.version, it.fingerprint) for it in fulfil_order.earlier] == [(1, OF_VERSION_1)]


def test_the_steps_stand_in_the_order_of_the_process() -> None:
    """Order, kinds and queues are those of DESIGN: four questions at once, then one step after another."""
    assert [(step.name, step.kind.value, step.queue) for step in fulfil_order.order] == [
        ("calculate_tax", "readonly", "tax"),
        ("quote_shipping", "readonly", "shipping"),
        ("validate_address", "readonly", "shipping"),
        ("screen_fraud", "readonly", "payment"),
        ("reserve_inventory", "compensatable", "inventory"),
        ("price_order", "readonly", "saga"),
        ("book_shipment", "compensatable", "shipping"),
        ("authorize_payment", "compensatable", "payment"),
        ("firm_reservation", "compensatable", "inventory"),
        ("capture_payment", "pivot", "payment"),
        ("commit_inventory", "retriable", "inventory"),
        ("dispatch_shipment", "retriable", "shipping"),
        ("confirm_order", "retriable", "confirmation"),
    ]
    assert [len(step.ancestors) for step in fulfil_order.order] == [0, 0, 0, 0, 4, 5, 6, 7, 8, 9, 10, 11, 12]


def test_each_effect_is_undone_by_its_own_undo() -> None:
    """Every compensatable step is undone by key, at the participant that did it."""
    undone = {
        step.name: (step.compensation.path, step.compensation.of == step.operation)
        for step in fulfil_order.order
        if isinstance(step.compensation, Undo)
    }
    assert undone == {
        "reserve_inventory": ("/v1/reservations/undo", True),
        "book_shipment": ("/v1/shipments/undo", True),
        "authorize_payment": ("/v1/authorizations/undo", True),
        "firm_reservation": ("/v1/reservations/firm/undo", True),
    }


def test_steps_take_what_they_ask_for() -> None:
    """Each parameter is bound to the step whose result it names: the total that is captured is the one authorised."""
    asked = {step.name: step.asks_for() for step in fulfil_order.order}
    assert {name: sources for name, sources in asked.items() if sources} == {
        "price_order": {"calculate_tax", "quote_shipping"},
        "book_shipment": {"quote_shipping"},
        "authorize_payment": {"price_order"},
        "firm_reservation": {"reserve_inventory"},
        "capture_payment": {"authorize_payment", "price_order"},
        "commit_inventory": {"reserve_inventory"},
        "dispatch_shipment": {"book_shipment"},
        "confirm_order": {"price_order", "book_shipment"},
    }


def test_every_unknown_answer_may_be_asked_for_again() -> None:
    """No step of this saga needs a person for a lost answer: each is read only or serialises its key."""
    assert all(step.is_repeatable_in(Direction.ACTION) for step in fulfil_order.order)
    assert all(
        step.is_repeatable_in(Direction.COMPENSATION) for step in fulfil_order.order if step.kind is Kind.COMPENSATABLE
    )


def test_the_facts_enumerate_every_business_no() -> None:
    """What the contract calls a rejection rolls back, a tombstone included, and nothing else does."""
    for connector, service in ((inventory, INVENTORY), (shipping, SHIPPING), (payment, PAYMENT)):
        declared = {(status, code) for it in service.operations for code, status in it.rejections.items()}
        assert declared
        for status, code in declared:
            assert code in connector.rejection_codes(status), f"{connector.name} answers {status} {code}"
        assert "tombstoned" in connector.rejection_codes(409)
        assert connector.remembers_rejections
        assert connector.keys == "serialise"
        assert not any(connector.rejection_codes(status) for status in (400, 401, 403, 422, 500, 503))
    assert not tax.rejected
    # Of another hold, or of another sum: no word that money was not taken.
    assert not {"captured", "amount_mismatch"} & set(payment.rejection_codes(409))


@pytest.mark.parametrize("name", SENT)
def test_each_step_sends_what_the_contract_says(name: str) -> None:
    """From the journal's text to the bytes of the request: paths and bodies are those of docs/participants.md."""
    step = fulfil_order.by_name[name]
    call = call_of(step)
    path, body = SENT[name]
    assert call.operation == step.operation
    assert (call.operation.method, call.operation.path) == ("POST", path)
    assert json.loads(call.request.model_dump_json()) == body
    assert call == call_of(step)


def test_what_an_order_may_say_is_passed_on() -> None:
    """What the shop knows of buyer and goods reaches the participant that asks for it; what it does not say is not sent."""
    line, told = {"quantity": 1, "unit_price": 100}, {"email": "z@shop.example", "payment_country": "France"}
    lines = [{**line, "sku": "A"}, {**line, "sku": "B", "tax_class": "exempt"}]
    order = Order.model_validate_json(json.dumps({**ORDER, **told, "lines": lines}))
    taxed = json.loads(calculate_tax(order).request.model_dump_json())["lines"]
    assert taxed == [{"sku": "A", "amount": 100}, {"sku": "B", "amount": 100, "tax_class": "exempt"}]
    screened = json.loads(screen_fraud(order).request.model_dump_json())
    assert {name: screened[name] for name in told} == told


def test_the_price_is_computed_from_the_order_and_the_two_quotes() -> None:
    """The function step returns the total that is authorised and captured."""
    step = fulfil_order.by_name["price_order"]
    assert price_order(*arguments_of(step)) == OrderPrice.model_validate(RESULTS["price_order"])
