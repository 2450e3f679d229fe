"""The four participants: the facts about talking to each, and what each can be asked (docs/participants.md).

Inventory, shipping and payment write a barrier row in the transaction of the effect: they serialise keys, remember a
rejection under its key, and close a key for ever once it was undone. `tombstoned` is a rejection: nothing is held under
that key, and nothing ever will be. `in_progress` is none, and neither are 404 and 422: the first is unknown, the others are
a defect of ours. Every final 402 and 409 of theirs is listed but two: a capture of what is `captured` under another key, or
of another sum (`amount_mismatch`), says nothing that may roll an order back; asked again they end in front of a person. Tax
only answers questions.
"""

from saga.core.connector import Connector
from saga.fulfilment import models as m
from saga.fulfilment import returns as r

TOMBSTONED = "tombstoned"

inventory = Connector(
    "inventory",
    keys="serialise",
    remembers_rejections=True,
    rejected={
        409: (
            "out_of_stock",
            "reservation_expired",
            "not_reserved",
            "committed",
            "not_shipped",
            "sold_again",
            TOMBSTONED,
        ),
    },
)
tax = Connector("tax")
shipping = Connector(
    "shipping",
    keys="serialise",
    remembers_rejections=True,
    rejected={409: ("undeliverable", "voided", "dispatched", "not_dispatched", "numbers_used_up", TOMBSTONED)},
)
payment = Connector(
    "payment",
    keys="serialise",
    remembers_rejections=True,
    rejected={
        402: ("declined", "fraud_suspected"),
        409: ("voided", "refund_exceeds_capture", "currency_mismatch", TOMBSTONED),
    },
)

quote_tax = tax.query("/v1/tax-quotes", m.TaxRequest, m.TaxQuote)

quote_freight = shipping.query("/v1/quotes", m.FreightRequest, m.ShippingQuote)
check_address = shipping.query("/v1/address-validations", m.Destination, m.ValidAddress)
book = shipping.post("/v1/shipments", m.ShipmentRequest, m.Shipment)
cancel_shipment = shipping.undo("/v1/shipments/undo", of=book)
dispatch = shipping.post("/v1/shipments/dispatch", m.DispatchRequest, m.Dispatch)

reserve = inventory.post("/v1/reservations", m.ReserveRequest, m.Reservation)
release = inventory.undo("/v1/reservations/undo", of=reserve)
firm = inventory.post("/v1/reservations/firm", m.ReservationRequest, m.FirmReservation)
unfirm = inventory.undo("/v1/reservations/firm/undo", of=firm)
commit = inventory.post("/v1/reservations/commit", m.ReservationRequest, m.CommittedReservation)

screen = payment.query("/v1/fraud-screens", m.FraudRequest, m.FraudScreen)
authorize = payment.post("/v1/authorizations", m.AuthorizeRequest, m.Authorization)
void = payment.undo("/v1/authorizations/undo", of=authorize)
capture = payment.post("/v1/captures", m.CaptureRequest, m.Capture)
refund = payment.post("/v1/refunds", r.RefundRequest, r.Refund)

buy_return_label = shipping.post("/v1/return-labels", r.ReturnLabelRequest, r.ReturnLabel)
void_return_label = shipping.undo("/v1/return-labels/undo", of=buy_return_label)
restock = inventory.post("/v1/restocks", r.RestockRequest, r.Restock)
