"""How an order is fulfilled: the steps in their order, at the end of this file; above it, what each step asks for.

Read `fulfil_order` first, from the bottom up. Everything before `capture_payment` can be undone and is undone in
reverse when somebody says no; from the capture on the order goes forward only. A step is a pure function of the order
and of earlier results, named by its parameters' types; it returns a call and sends nothing. `price_order` asks nobody,
and `confirm_order` sends a mail itself.
"""

from saga.core.binding import StepContext
from saga.core.connector import Call
from saga.core.definition import Saga, compensatable, parallel, pivot, readonly, retriable
from saga.fulfilment import mailbox, telling
from saga.fulfilment import models as m
from saga.fulfilment.connectors import (
    authorize,
    book,
    cancel_shipment,
    capture,
    check_address,
    commit,
    dispatch,
    firm,
    quote_freight,
    quote_tax,
    release,
    reserve,
    screen,
    unfirm,
    void,
)
from saga.fulfilment.email_address import sent_to
from saga.fulfilment.models import Order, OrderPrice, Reservation, Shipment, ShippingQuote
from saga.fulfilment.orders_table import ORDERS


def calculate_tax(order: Order) -> Call[m.TaxQuote]:
    lines = tuple(m.TaxedLine(sku=line.sku, amount=line.amount, tax_class=line.tax_class) for line in order.lines)
    return quote_tax(
        m.TaxRequest(
            order_id=order.order_id,
            country=order.country,
            region=order.address.region,
            currency=order.currency,
            lines=lines,
        )
    )


def quote_shipping(order: Order) -> Call[ShippingQuote]:
    return quote_freight(
        m.FreightRequest(
            country=order.country,
            postcode=order.address.postcode,
            currency=order.currency,
            item_count=order.item_count,
        )
    )


def validate_address(order: Order) -> Call[m.ValidAddress]:
    return check_address(m.Destination.of(order))


def screen_fraud(order: Order) -> Call[m.FraudScreen]:
    return screen(
        m.FraudRequest(
            order_id=order.order_id,
            amount=order.goods,
            currency=order.currency,
            country=order.country,
            payment_country=order.payment_country,
            customer_id=order.customer_id,
            email=order.email and sent_to(order.email),
            skus=tuple(order.stock),
        )
    )


def reserve_inventory(order: Order) -> Call[Reservation]:
    lines = tuple(m.ReservedLine(sku=sku, quantity=quantity) for sku, quantity in order.stock.items())
    return reserve(m.ReserveRequest(order_id=order.order_id, lines=lines))


def price_order(order: Order, tax: m.TaxQuote, freight: ShippingQuote) -> OrderPrice:
    return OrderPrice.of(order, tax, freight)


def book_shipment(order: Order, freight: ShippingQuote) -> Call[Shipment]:
    return book(
        m.ShipmentRequest(
            order_id=order.order_id,
            carrier=freight.carrier,
            address=m.Destination.of(order),
            item_count=order.item_count,
        )
    )


def authorize_payment(order: Order, price: OrderPrice) -> Call[m.Authorization]:
    return authorize(
        m.AuthorizeRequest(
            order_id=order.order_id,
            amount=price.total,
            currency=price.currency,
            payment_method=order.payment_method,
            customer_id=order.customer_id,
        )
    )


def firm_reservation(reservation: Reservation) -> Call[m.FirmReservation]:
    return firm(m.ReservationRequest(reservation_id=reservation.reservation_id))


def capture_payment(authorization: m.Authorization, price: OrderPrice) -> Call[m.Capture]:
    return capture(
        m.CaptureRequest(authorization_id=authorization.authorization_id, amount=price.total, currency=price.currency)
    )


def commit_inventory(reservation: Reservation) -> Call[m.CommittedReservation]:
    return commit(m.ReservationRequest(reservation_id=reservation.reservation_id))


def dispatch_shipment(shipment: Shipment) -> Call[m.Dispatch]:
    return dispatch(m.DispatchRequest(shipment_id=shipment.shipment_id))


def confirm_order(order: Order, price: OrderPrice, shipment: Shipment, context: StepContext) -> m.Confirmation:
    """Tell the customer, at least once: a repeat is the same mail by its Message-ID, which is made of the key."""
    message = mailbox.confirmation(order, price, shipment, context.key, telling.sender())
    telling.tell(message, order.email, context.key)
    return m.Confirmation(message_id=message["Message-ID"])


fulfil_order = Saga(
    "fulfil_order",
    version=2,
    input=Order,
    entity=lambda order: order.order_id,
    steps=[
        parallel(
            readonly(calculate_tax, queue="tax"),
            readonly(quote_shipping, queue="shipping"),
            readonly(validate_address, queue="shipping"),
            readonly(screen_fraud, queue="payment"),
        ),
        compensatable(reserve_inventory, compensation=release, queue="inventory"),
        readonly(price_order),
        compensatable(book_shipment, compensation=cancel_shipment, queue="shipping"),
        compensatable(authorize_payment, compensation=void, queue="payment"),
        compensatable(firm_reservation, compensation=unfirm, queue="inventory"),  # the hold no longer expires
        pivot(capture_payment, queue="payment"),
        retriable(commit_inventory, queue="inventory"),
        retriable(dispatch_shipment, queue="shipping"),
        retriable(confirm_order, queue="confirmation", keys="serialise", on_rejected="record"),
    ],
    on_change=ORDERS,
    continues={1: "6dab479a8ec8227c2ae2f68a260f517cff7da4a6ae4891a1f44fca80b7e7cfd3"},  # which took fewer orders
)
