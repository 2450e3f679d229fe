"""What the shipping service can be asked: prices, addresses, labels.

Rules of this file
------------------
- A label is `bought`, then either `voided` or `dispatched`, and stays so. Each change is one conditional update and one
  row of the ledger.
- An address is undeliverable when a part of it is blank, when its country is not in the table, or when its postcode is
  `UNDELIVERABLE`, so that a test can ask for one. Booking a shipment asks the same question again.
- Shipment and tracking numbers are made of the request's key.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field
from sqlalchemy import BigInteger, CheckConstraint, Column, MetaData, Row, String, Table, select, update

from saga.barrier import BusinessRejection
from services.shipping.zones import zone_of
from services.skeleton.countries import country_code
from services.skeleton.fields import QUANTITY_MAX, Country, Currency, Id, Reference, Text
from services.skeleton.service import Context, Effect, Operation, Service, Strict

UNDELIVERABLE = "UNDELIVERABLE"
BOUGHT, VOIDED, DISPATCHED = "bought", "voided", "dispatched"
ItemCount = Annotated[int, Field(ge=0, le=QUANTITY_MAX)]

METADATA = MetaData()
SHIPMENT = Table(
    "shipment",
    METADATA,
    Column("shipment_id", String(260), primary_key=True),
    Column("order_id", String(64), nullable=False),
    Column("carrier", String(128), nullable=False),
    Column("country_code", String(2), nullable=False),
    Column("item_count", BigInteger, nullable=False),
    Column("state", String(10), nullable=False),
    CheckConstraint("state IN ('bought', 'voided', 'dispatched')", name="shipment_state"),
)


class Address(Strict):
    name: Text
    street: Text
    city: Text
    postcode: Text
    country: Country


class QuoteRequest(Strict):
    country: Country
    currency: Currency
    item_count: ItemCount


class ShippingQuote(BaseModel):
    amount: int
    currency: str
    carrier: str
    days: int


class ValidAddress(BaseModel):
    valid: bool
    country_code: str


class ShipmentRequest(Strict):
    order_id: Id
    carrier: Reference
    address: Address
    item_count: ItemCount


class Shipment(BaseModel):
    shipment_id: str
    tracking: str
    carrier: str
    effects: list[Effect]


class DispatchRequest(Strict):
    shipment_id: Reference


class Dispatch(BaseModel):
    shipment_id: str
    dispatched: bool = True
    effects: list[Effect] = []


def quote(_context: Context, request: QuoteRequest) -> ShippingQuote:
    """`POST /v1/quotes`."""
    zone = zone_of(request.country)
    amount = zone.price(request.item_count)
    return ShippingQuote(amount=amount, currency=request.currency, carrier=zone.carrier, days=zone.days)


def validate_address(_context: Context, request: Address) -> ValidAddress:
    """`POST /v1/address-validations`."""
    return ValidAddress(valid=True, country_code=_deliverable(request))


def book(context: Context, request: ShipmentRequest) -> Shipment:
    """`POST /v1/shipments`: buys a label."""
    code = _deliverable(request.address)
    shipment_id = f"S-{context.key}"
    row = request.model_dump(exclude={"address"})
    context.connection.execute(
        SHIPMENT.insert(), {**row, "shipment_id": shipment_id, "country_code": code, "state": BOUGHT}
    )
    context.ledger.add(request.order_id, shipment_id=shipment_id, movement=BOUGHT)
    effects = [_label(request.carrier, sign=1)]
    tracking = f"{request.carrier[:2].upper()}{context.key.upper()}"
    return Shipment(shipment_id=shipment_id, tracking=tracking, carrier=request.carrier, effects=effects)


def void(context: Context, kept: dict[str, Any]) -> Sequence[Effect]:
    """`POST /v1/shipments/undo`: the label is voided, unless the parcel is on its way."""
    shipment = _shipment(context, kept["shipment_id"])
    if _turn(context, shipment, VOIDED):
        return [_label(shipment.carrier, sign=-1)]
    if _shipment(context, kept["shipment_id"]).state == DISPATCHED:
        raise BusinessRejection(409, DISPATCHED, f"{shipment.shipment_id} is on its way")
    return []


def dispatch(context: Context, request: DispatchRequest) -> Dispatch:
    """`POST /v1/shipments/dispatch`: the parcel leaves the house, once."""
    shipment = _shipment(context, request.shipment_id)
    if not _turn(context, shipment, DISPATCHED):
        state = _shipment(context, request.shipment_id).state
        raise BusinessRejection(409, state, f"{shipment.shipment_id} is {state} and leaves the house once")
    return Dispatch(shipment_id=shipment.shipment_id)


def _deliverable(address: Address) -> str:
    """The code of the address's country. Raises `undeliverable`."""
    blank = [name for name, text in address.model_dump().items() if not text.strip()]
    code = country_code(address.country)
    if blank:
        raise BusinessRejection(409, "undeliverable", f"blank: {', '.join(blank)}")
    if code is None:
        raise BusinessRejection(409, "undeliverable", "no carrier knows this country")
    if address.postcode.strip().upper() == UNDELIVERABLE:
        raise BusinessRejection(409, "undeliverable", "no carrier serves this postcode")
    return code


def _shipment(context: Context, shipment_id: str) -> Row[Any]:
    row = context.connection.execute(select(SHIPMENT).where(SHIPMENT.c.shipment_id == shipment_id)).one_or_none()
    if row is None:
        raise BusinessRejection(404, "unknown_shipment", f"there is no shipment {shipment_id}")
    return row


def _turn(context: Context, shipment: Row[Any], to: str) -> bool:
    """Bring a bought label to its end, and write it down; False when it has one already."""
    statement = (
        update(SHIPMENT)
        .where(SHIPMENT.c.shipment_id == shipment.shipment_id, SHIPMENT.c.state == BOUGHT)
        .values(state=to)
    )
    if context.connection.execute(statement).rowcount == 0:
        return False
    context.ledger.add(shipment.order_id, shipment_id=shipment.shipment_id, movement=to)
    return True


def _label(carrier: str, *, sign: int) -> Effect:
    return Effect(kind="label", unit=carrier, quantity=1, sign=sign)


SERVICE = Service(
    name="shipping",
    metadata=METADATA,
    ledger_columns=(
        Column("shipment_id", String(260), nullable=False),
        Column("movement", String(10), nullable=False),
    ),
    operations=(
        Operation("/v1/quotes", QuoteRequest, ShippingQuote, quote, is_readonly=True),
        Operation(
            "/v1/address-validations",
            Address,
            ValidAddress,
            validate_address,
            is_readonly=True,
            rejections={"undeliverable": 409},
        ),
        Operation(
            "/v1/shipments", ShipmentRequest, Shipment, book, undo=void, status=201, rejections={"undeliverable": 409}
        ),
        Operation("/v1/shipments/dispatch", DispatchRequest, Dispatch, dispatch, rejections={VOIDED: 409}),
    ),
)
