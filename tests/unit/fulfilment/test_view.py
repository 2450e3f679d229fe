"""What a customer is told follows from the state alone, and never promises what may still be taken back."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from saga.core.fold import Halt, NodeState, SagaState
from saga.core.outcomes import Payload
from saga.core.states import HaltReason, NodePhase, SagaStatus
from saga.core.transitions import RollbackRequested
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.view import REACHED_BY, OrderView, order_view

AT = datetime(2026, 11, 21, tzinfo=UTC)
ACCEPTED = SagaState("1", "fulfil_order", 1, "", "test", "default", "SO-1", 1, Payload("{}"), AT)
STEPS = [step.name for step in fulfil_order.order]


def done_through(last: str | None, status: SagaStatus = SagaStatus.RUNNING) -> SagaState:
    """A state in which every step up to `last` is done."""
    done = STEPS[: STEPS.index(last) + 1] if last else []
    return replace(ACCEPTED, status=status, nodes={f"{name}:a": NodeState(phase=NodePhase.DONE) for name in done})


@pytest.mark.parametrize(
    ("last", "view"),
    [
        (None, OrderView.PROCESSING),
        ("screen_fraud", OrderView.PROCESSING),
        ("reserve_inventory", OrderView.PROCESSING),
        ("authorize_payment", OrderView.PROCESSING),
        ("firm_reservation", OrderView.READY_TO_SHIP),
        ("capture_payment", OrderView.PAID),
        ("commit_inventory", OrderView.PAID),
        ("dispatch_shipment", OrderView.SHIPPED),
        ("confirm_order", OrderView.CONFIRMED),
    ],
)
def test_a_running_order_shows_how_far_it_is(last: str | None, view: OrderView) -> None:
    """Forward, the view moves at four steps and at no other."""
    assert order_view(done_through(last)) is view


def test_an_open_step_counts_for_nothing() -> None:
    """A capture that was sent and not answered is not paid."""
    state = done_through("firm_reservation")
    state = replace(state, nodes={**state.nodes, "capture_payment:a": NodeState(phase=NodePhase.OPEN)})
    assert order_view(state) is OrderView.READY_TO_SHIP


def test_a_completed_order_is_confirmed_only_when_the_customer_was_told() -> None:
    """An order whose mail was refused completes as shipped."""
    assert order_view(done_through("confirm_order", SagaStatus.COMPLETED)) is OrderView.CONFIRMED
    refused = done_through("dispatch_shipment", SagaStatus.COMPLETED)
    refused = replace(refused, nodes={**refused.nodes, "confirm_order:a": NodeState(phase=NodePhase.FAILED)})
    assert order_view(refused) is OrderView.SHIPPED


@pytest.mark.parametrize(
    ("cause", "view"),
    [
        ("rejected", OrderView.FAILED),
        ("unknown", OrderView.FAILED),
        ("deadline", OrderView.FAILED),
        ("cancelled", OrderView.CANCELLED),
    ],
)
def test_a_rollback_is_told_when_it_has_ended(cause: str, view: OrderView) -> None:
    """While it runs or stands still, money may still be held: the order is processing until everything is back."""
    state = replace(done_through("firm_reservation", SagaStatus.COMPENSATING), cause=RollbackRequested(AT, cause))
    halt = Halt(HaltReason.COMPENSATION_RETRYING, AT, SagaStatus.COMPENSATING, None, "")
    assert order_view(state) is OrderView.PROCESSING
    assert order_view(replace(state, status=SagaStatus.HALTED, halt=halt)) is OrderView.PROCESSING
    assert order_view(replace(state, status=SagaStatus.COMPENSATED)) is view


def test_a_halted_order_shows_how_far_it_had_come() -> None:
    """A halt is shown to operators; the customer's view does not move by it."""
    halt = Halt(HaltReason.RETRIABLE_REJECTED, AT, SagaStatus.RUNNING, "commit_inventory:a", "")
    assert order_view(replace(done_through("capture_payment", SagaStatus.HALTED), halt=halt)) is OrderView.PAID


def test_the_view_knows_the_steps_of_the_definition() -> None:
    """A step that is renamed without its view is found here."""
    assert {node.removesuffix(":a") for node, _ in REACHED_BY} <= set(STEPS)
