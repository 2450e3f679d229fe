"""What a customer is told about an order: a pure function of the saga's state.

| view | when |
|---|---|
| processing | accepted; also while it is being rolled back, since nothing is promised before the rollback has ended |
| ready_to_ship | stock is firm, the label is booked and the payment authorised: all that is left is to take the money |
| paid | the payment is captured |
| shipped | the parcel is dispatched; also when the order completed and the confirmation was refused |
| confirmed | the customer was told |
| failed | rolled back: nothing is held, charged or sent |
| cancelled | the same, because somebody asked for it |

A halted order shows how far it had come: a halt is the operator's business until a person decides.
"""

from enum import StrEnum

from saga.core.fold import SagaState
from saga.core.states import NodePhase, SagaStatus


class OrderView(StrEnum):
    PROCESSING = "processing"
    READY_TO_SHIP = "ready_to_ship"
    PAID = "paid"
    SHIPPED = "shipped"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    CANCELLED = "cancelled"


CANCELLED_CAUSE = "cancelled"
REACHED_BY = (
    ("confirm_order:a", OrderView.CONFIRMED),
    ("dispatch_shipment:a", OrderView.SHIPPED),
    ("capture_payment:a", OrderView.PAID),
    ("firm_reservation:a", OrderView.READY_TO_SHIP),
)
"""The last of these nodes that is done says how far the order is."""


def order_view(state: SagaState) -> OrderView:
    """The view of a saga of `fulfil_order`."""
    if state.status is SagaStatus.COMPENSATED:
        is_cancelled = state.cause is not None and state.cause.cause == CANCELLED_CAUSE
        return OrderView.CANCELLED if is_cancelled else OrderView.FAILED
    if state.cause is not None:
        return OrderView.PROCESSING
    return next((view for node, view in REACHED_BY if state.node(node).phase is NodePhase.DONE), OrderView.PROCESSING)
