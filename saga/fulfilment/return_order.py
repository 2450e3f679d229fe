"""How a return goes: the steps in their order, at the end of this file; above it, what each step asks for.

Nobody is asked for a tax: what goes back is a share of what the order paid, and stands in the input (`return_of`).
Before the refund everything can be undone: a return that the payment service refuses (more than was captured and not yet
refunded) leaves no label behind. From the refund on it goes forward only: the pieces go back on the shelf, and the customer
is told.
"""

from saga.core.binding import StepContext
from saga.core.connector import Call
from saga.core.definition import Saga, compensatable, pivot, readonly, retriable
from saga.fulfilment import models as m
from saga.fulfilment import telling
from saga.fulfilment.connectors import buy_return_label, refund, restock, void_return_label
from saga.fulfilment.return_mail import refund_notice
from saga.fulfilment.returns import (
    Refund,
    RefundRequest,
    Restock,
    RestockRequest,
    ReturnedLine,
    ReturnLabel,
    ReturnLabelRequest,
    ReturnOrder,
    ReturnPrice,
)


def price_return(wanted: ReturnOrder) -> ReturnPrice:
    return ReturnPrice.of(wanted)


def book_return_label(wanted: ReturnOrder) -> Call[ReturnLabel]:
    return buy_return_label(
        ReturnLabelRequest(order_id=wanted.order_id, return_id=wanted.return_id, shipment_id=wanted.shipment_id)
    )


def refund_payment(wanted: ReturnOrder, price: ReturnPrice) -> Call[Refund]:
    return refund(
        RefundRequest(
            order_id=wanted.order_id,
            capture_id=wanted.capture_id,
            amount=price.total,
            currency=price.currency,
            reason=wanted.reason,
        )
    )


def restock_inventory(wanted: ReturnOrder) -> Call[Restock]:
    lines = tuple(ReturnedLine(sku=sku, quantity=quantity) for sku, quantity in wanted.pieces.items())
    return restock(RestockRequest(order_id=wanted.order_id, return_id=wanted.return_id, lines=lines))


def confirm_return(wanted: ReturnOrder, price: ReturnPrice, label: ReturnLabel, context: StepContext) -> m.Confirmation:
    """Tell the customer, at least once: a repeat is the same mail by its Message-ID, which is made of the key."""
    message = refund_notice(wanted, price, label, context.key, telling.sender())
    telling.tell(message, wanted.email, context.key)
    return m.Confirmation(message_id=message["Message-ID"])


return_order = Saga(
    "return_order",
    version=2,
    input=ReturnOrder,
    entity=lambda wanted: wanted.return_id,
    steps=[
        readonly(price_return),
        compensatable(book_return_label, compensation=void_return_label, queue="shipping"),
        pivot(refund_payment, queue="payment"),
        retriable(restock_inventory, queue="inventory"),
        retriable(confirm_return, queue="confirmation", keys="serialise", on_rejected="record"),
    ],
    continues={1: "db9e0f3242c268bfc6e11d92f44f37729a59e7ca255f712405ac87973b462a74"},  # which took fewer ids
)
