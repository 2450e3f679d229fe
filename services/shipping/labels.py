"""Labels: bought, voided, dispatched, and those for the way back.

Rules of this file
------------------
- Ids are made of the request's key, and so is the first choice of a tracking number.
- A post numbers by S10 with the country that the parcel starts in: ours on the way out, the customer's on the way back.
  A carrier that is no post, or not in the tariff, has two letters and the key.
- A label for the way back is bought for a parcel that has left the house, by its id and its order.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Row, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from saga.barrier import BusinessRejection
from saga.places import NO_COUNTRIES
from services.shipping import s10
from services.shipping.addresses import delivered
from services.shipping.models import (
    Dispatch,
    DispatchRequest,
    ReturnLabel,
    ReturnLabelRequest,
    Shipment,
    ShipmentRequest,
)
from services.shipping.tables import (
    BOUGHT,
    DISPATCHED,
    RETURN_BOUGHT,
    RETURN_LABEL,
    RETURN_VOIDED,
    SHIPMENT,
    TRACKING,
    VOIDED,
)
from services.shipping.tariff import tariff
from services.skeleton.service import Context, Effect

INSERTS: dict[str, Callable[[Table], postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}
"""`ON CONFLICT` is no part of SQLAlchemy's general insert; both dialects spell it the same."""


def book(context: Context, request: ShipmentRequest) -> Shipment:
    """`POST /v1/shipments`: buys a label. Asks again whether the address can be delivered to."""
    code = delivered(request.address).country_code
    shipment_id = f"S-{context.key}"
    tracking = _number(context, shipment_id, request.carrier, tariff().country_of_origin)
    kept = {"shipment_id": shipment_id, "country_code": code, "state": BOUGHT, "tracking": tracking}
    context.connection.execute(SHIPMENT.insert(), {**request.model_dump(exclude={"address"}), **kept})
    context.ledger.add(request.order_id, shipment_id=shipment_id, movement=BOUGHT)
    effects = [_label(request.carrier, sign=1)]
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
    return Dispatch(shipment_id=shipment.shipment_id, tracking=shipment.tracking)


def buy_return(context: Context, request: ReturnLabelRequest) -> ReturnLabel:
    """`POST /v1/return-labels`: buys a label for the way back of a parcel that has left the house."""
    shipment = _shipment(context, request.shipment_id)
    if shipment.order_id != request.order_id:
        raise BusinessRejection(404, "unknown_shipment", f"{request.order_id} has no shipment {request.shipment_id}")
    if shipment.state != DISPATCHED:
        raise BusinessRejection(
            409, "not_dispatched", f"{shipment.shipment_id} is {shipment.state} and cannot come back"
        )
    label_id = f"L-{context.key}"
    origin = tariff().country_of_origin if shipment.country_code in NO_COUNTRIES else shipment.country_code
    tracking = _number(context, label_id, shipment.carrier, origin)
    kept = {"return_label_id": label_id, "carrier": shipment.carrier, "tracking": tracking, "state": BOUGHT}
    context.connection.execute(RETURN_LABEL.insert(), {**request.model_dump(), **kept})
    context.ledger.add(request.order_id, shipment_id=label_id, movement=RETURN_BOUGHT)
    return ReturnLabel(
        return_label_id=label_id,
        shipment_id=shipment.shipment_id,
        tracking=tracking,
        carrier=shipment.carrier,
        effects=[_label(shipment.carrier, sign=1)],
    )


def void_return(context: Context, kept: dict[str, Any]) -> Sequence[Effect]:
    """`POST /v1/return-labels/undo`: the label is voided, once."""
    statement = (
        update(RETURN_LABEL)
        .where(RETURN_LABEL.c.return_label_id == kept["return_label_id"], RETURN_LABEL.c.state == BOUGHT)
        .values(state=VOIDED)
        .returning(RETURN_LABEL.c.order_id, RETURN_LABEL.c.carrier)
    )
    label = context.connection.execute(statement).one_or_none()
    if label is None:
        return []
    context.ledger.add(label.order_id, shipment_id=kept["return_label_id"], movement=RETURN_VOIDED)
    return [_label(label.carrier, sign=-1)]


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


def _number(context: Context, label_id: str, carrier: str, country: str) -> str:
    """A tracking number that no other label has, also when two labels want the same at the same time."""
    insert = INSERTS[context.connection.dialect.name](TRACKING).on_conflict_do_nothing().returning(TRACKING.c.number)
    for number in _choices(context.key, carrier, country):
        taken = context.connection.execute(insert, {"number": number, "label_id": label_id}).scalar_one_or_none()
        if taken is not None:
            return number
    raise BusinessRejection(409, "numbers_used_up", f"{carrier} has no number left that this key may have")


def _choices(key: str, carrier: str, country: str) -> Iterator[str]:
    known = tariff().carrier_named(carrier)
    if known is None or not known.is_post:
        letters = carrier[:2].upper()
        yield f"{letters}{key.upper()}"
        # Two keys may differ in nothing but capitals.
        yield from (f"{letters}{serial:08d}" for serial in s10.serials(key))
        return
    for serial in s10.serials(key):
        yield s10.number(known.service_indicator, serial, country)


def _label(carrier: str, *, sign: int) -> Effect:
    return Effect(kind="label", unit=carrier, quantity=1, sign=sign)
