"""Holds: pieces are set aside for an order, made firm, shipped, or put back.

Rules of this file
------------------
- All lines or none. One SKU short, or unknown, is `out_of_stock`, and the rejection rolls back the rest.
- **Warehouses.** A line is taken from the warehouses in the order of their names, and split when one has not enough. A
  hold remembers its lines by warehouse: they leave from there, or go back there.
- **Expiry is lazy.** Nothing runs by a clock. Whoever wants a SKU first puts back the expired holds on it; the rows of
  the ledger for that have no key, since no request of theirs asked for it. A request that is rejected puts nothing
  back, and the next one finds the hold as it was.
- A hold that is past its instant and whose pieces nobody wanted is made firm as it lies: nothing was promised to anybody
  else. One whose pieces went back reserves again, from whatever warehouse has them, and is `reservation_expired` when
  there is not enough. A hold that was undone stays undone: firm answers `reservation_expired` also when there is enough.
- So the SKUs of a hold never change, and its warehouses may: lines are read after the rows of their SKUs are locked.
- What has left the house is not put back: the undo of a committed reservation is refused with `committed`, which no
  connector takes for a business rejection. Likewise the commit of what is not reserved (`not_reserved`).
- A reservation's id is made of its key, so the repeat of a request that was rolled back gets the same one.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, bindparam, select, update

from saga.barrier import BusinessRejection
from services.inventory.models import (
    CommitAnswer,
    FirmAnswer,
    PlacedLine,
    ReservationAnswer,
    ReservationRequest,
    ReserveRequest,
)
from services.inventory.stock import Place, by_sku, lock, move, shortage, totals
from services.inventory.tables import RESERVATION, RESERVATION_LINE, STOCK, Bucket, HoldState
from services.skeleton.service import Context, Effect

EXPIRED = (
    select(RESERVATION_LINE.c.reservation_id, RESERVATION_LINE.c.sku)
    .distinct()
    .where(
        RESERVATION_LINE.c.reservation_id.in_(
            select(RESERVATION.c.reservation_id)
            .join(RESERVATION_LINE, RESERVATION_LINE.c.reservation_id == RESERVATION.c.reservation_id)
            .where(RESERVATION.c.state == HoldState.HELD.value, RESERVATION.c.expires_at <= bindparam("instant"))
            .where(RESERVATION_LINE.c.sku.in_(bindparam("skus", expanding=True)))
        )
    )
)
"""Built once, like those below, because building costs more than running them on SQLite."""
HELD_LINES = (
    select(RESERVATION.c.order_id, RESERVATION_LINE.c.sku, RESERVATION_LINE.c.warehouse, RESERVATION_LINE.c.quantity)
    .join(RESERVATION, RESERVATION.c.reservation_id == RESERVATION_LINE.c.reservation_id)
    .where(RESERVATION_LINE.c.reservation_id.in_(bindparam("ids", expanding=True)))
)
LINES = (
    select(RESERVATION_LINE.c.sku, RESERVATION_LINE.c.warehouse, RESERVATION_LINE.c.quantity)
    .where(RESERVATION_LINE.c.reservation_id == bindparam("id"))
    .order_by(RESERVATION_LINE.c.sku, RESERVATION_LINE.c.warehouse)
)
SKUS_OF_HOLD = select(RESERVATION_LINE.c.sku).where(RESERVATION_LINE.c.reservation_id == bindparam("id"))
LOCKED_FOR_HOLD = (
    select(STOCK.c.sku).where(STOCK.c.sku.in_(SKUS_OF_HOLD)).order_by(STOCK.c.sku, STOCK.c.warehouse).with_for_update()
)


def reserve(context: Context, request: ReserveRequest) -> ReservationAnswer:
    """`POST /v1/reservations`."""
    wanted = totals(request.lines)
    now = context.now()
    taken = take(context, request.order_id, wanted, now)
    if isinstance(taken, list):
        raise BusinessRejection(409, "out_of_stock", shortage(taken))
    reservation_id = f"R-{context.key}"
    expires_at = now + timedelta(seconds=request.ttl_s)
    hold = {"reservation_id": reservation_id, "order_id": request.order_id, "expires_at": expires_at}
    context.connection.execute(RESERVATION.insert(), {**hold, "state": HoldState.HELD.value})
    _write_lines(context, reservation_id, taken)
    return ReservationAnswer(
        reservation_id=reservation_id,
        order_id=request.order_id,
        lines=[PlacedLine(sku=place.sku, quantity=n, warehouse=place.warehouse) for place, n in taken.items()],
        expires_at=expires_at.isoformat(),
        effects=effects(wanted, sign=1, expires_at=expires_at.isoformat()),
    )


def release(context: Context, kept: dict[str, Any]) -> Sequence[Effect]:
    """`POST /v1/reservations/undo`: what is reserved goes back on the shelf, firm or not."""
    reservation_id = kept["reservation_id"]
    lines = _locked_lines(context, reservation_id)
    if _turn(context, reservation_id, (HoldState.HELD, HoldState.FIRM), HoldState.RELEASED):
        is_moved = move(context, kept["order_id"], lines, Bucket.RESERVED, Bucket.AVAILABLE)
        assert is_moved, f"{reservation_id} held more than was reserved"
        return effects(by_sku(lines), sign=-1)
    # Its pieces went back when it expired, and no answer has reported that yet: this one does, so that the sum is zero.
    if _turn(context, reservation_id, (HoldState.EXPIRED,), HoldState.RELEASED):
        return effects(by_sku(lines), sign=-1)
    if _hold(context, reservation_id).state == HoldState.COMMITTED:
        raise BusinessRejection(409, "committed", f"{reservation_id} has left the house")
    return []


def firm(context: Context, request: ReservationRequest) -> FirmAnswer:
    """`POST /v1/reservations/firm`: from here on the hold does not expire."""
    answer = FirmAnswer(reservation_id=request.reservation_id)
    if _turn(context, request.reservation_id, (HoldState.HELD, HoldState.FIRM), HoldState.FIRM):
        return answer
    hold = _hold(context, request.reservation_id)
    if hold.state == HoldState.EXPIRED:
        lines = _lines(context, request.reservation_id)
        taken = take(context, hold.order_id, by_sku(lines), context.now())
        if isinstance(taken, dict) and _turn(context, request.reservation_id, (HoldState.EXPIRED,), HoldState.FIRM):
            of_hold = RESERVATION_LINE.c.reservation_id == request.reservation_id
            context.connection.execute(RESERVATION_LINE.delete().where(of_hold))
            _write_lines(context, request.reservation_id, taken)
            return answer
    raise BusinessRejection(409, "reservation_expired", f"{request.reservation_id} is {hold.state} and cannot be firm")


def unfirm(context: Context, kept: dict[str, Any]) -> Sequence[Effect]:
    """`POST /v1/reservations/firm/undo`: the hold expires again, at the instant it was made with."""
    if not _turn(context, kept["reservation_id"], (HoldState.FIRM,), HoldState.HELD):
        hold = _hold(context, kept["reservation_id"])
        if hold.state == HoldState.COMMITTED:
            raise BusinessRejection(409, "committed", f"{hold.reservation_id} has left the house")
    return []


def commit(context: Context, request: ReservationRequest) -> CommitAnswer:
    """`POST /v1/reservations/commit`: reserved becomes shipped."""
    hold = _hold(context, request.reservation_id)
    lines = _locked_lines(context, request.reservation_id)
    if not _turn(context, request.reservation_id, (HoldState.HELD, HoldState.FIRM), HoldState.COMMITTED):
        raise BusinessRejection(409, "not_reserved", f"{request.reservation_id} is {hold.state}, nothing is reserved")
    is_moved = move(context, hold.order_id, lines, Bucket.RESERVED, Bucket.SHIPPED)
    assert is_moved, f"{request.reservation_id} held more than was reserved"
    return CommitAnswer(reservation_id=request.reservation_id)


def take(context: Context, order_id: str, wanted: Mapping[str, int], now: datetime) -> dict[Place, int] | list[str]:
    """Set these pieces aside: where each was taken from; or the SKUs that are short, and then the caller must roll back."""
    available = available_of(context, wanted, now)
    taken, short = allocated(wanted, available)
    if not short and not move(context, order_id, taken, Bucket.AVAILABLE, Bucket.RESERVED):
        return list(wanted)
    return short or taken


def allocated(wanted: Mapping[str, int], available: Mapping[Place, int]) -> tuple[dict[Place, int], list[str]]:
    """How many pieces to take from which warehouse, in the order of their names; and the SKUs that are short."""
    shelves: dict[str, list[tuple[str, int]]] = {}
    for (sku, warehouse), count in available.items():
        shelves.setdefault(sku, []).append((warehouse, count))
    taken: dict[Place, int] = {}
    short = []
    for sku, quantity in sorted(wanted.items()):
        missing = quantity
        for warehouse, count in sorted(shelves.get(sku, ())):
            if missing and count:
                taken[Place(sku, warehouse)] = min(missing, count)
                missing -= min(missing, count)
        if missing:
            short.append(sku)
    return taken, short


def available_of(context: Context, skus: Iterable[str], now: datetime) -> dict[Place, int]:
    """What is available of these SKUs once the expired holds on them are put back; their rows are locked."""
    expired = context.connection.execute(EXPIRED, {"skus": list(skus), "instant": now}).all()
    available = lock(context.connection, {*skus, *(row.sku for row in expired)})
    for place, quantity in _put_back(context, {row.reservation_id for row in expired}, now):
        available[place] += quantity
    return available


def _put_back(context: Context, reservation_ids: set[str], now: datetime) -> list[tuple[Place, int]]:
    """Expire these holds, unless another request just did or made them firm; what went back where."""
    if not reservation_ids:
        return []
    expire = (
        update(RESERVATION)
        .where(RESERVATION.c.reservation_id.in_(reservation_ids))
        .where(RESERVATION.c.state == HoldState.HELD.value, RESERVATION.c.expires_at <= now)
        .values(state=HoldState.EXPIRED.value)
        .returning(RESERVATION.c.reservation_id)
    )
    ours = context.connection.execute(expire).scalars().all()
    by_order: dict[str, dict[Place, int]] = {}
    for order_id, sku, warehouse, quantity in context.connection.execute(HELD_LINES, {"ids": ours}):
        lines, place = by_order.setdefault(order_id, {}), Place(sku, warehouse)
        lines[place] = lines.get(place, 0) + quantity
    for order_id, lines in by_order.items():
        is_moved = move(
            context, order_id, dict(sorted(lines.items())), Bucket.RESERVED, Bucket.AVAILABLE, is_expiry=True
        )
        assert is_moved, f"an expired hold of {order_id} held more than was reserved"
    return [moved for lines in by_order.values() for moved in lines.items()]


def _turn(context: Context, reservation_id: str, states: Iterable[HoldState], to: HoldState) -> bool:
    """Bring the reservation from one of `states` to another; False when it is in none of them."""
    statement = (
        update(RESERVATION)
        .where(RESERVATION.c.reservation_id == reservation_id)
        .where(RESERVATION.c.state.in_([state.value for state in states]))
        .values(state=to.value)
    )
    return context.connection.execute(statement).rowcount == 1


def _hold(context: Context, reservation_id: str) -> Row[Any]:
    found = select(RESERVATION).where(RESERVATION.c.reservation_id == reservation_id)
    hold = context.connection.execute(found).one_or_none()
    if hold is None:
        raise BusinessRejection(404, "unknown_reservation", f"there is no reservation {reservation_id}")
    return hold


def _lines(context: Context, reservation_id: str) -> dict[Place, int]:
    rows = context.connection.execute(LINES, {"id": reservation_id})
    return {Place(sku, warehouse): quantity for sku, warehouse, quantity in rows}


def _locked_lines(context: Context, reservation_id: str) -> dict[Place, int]:
    """The lines of the hold as they are once the rows of its SKUs are locked."""
    context.connection.execute(LOCKED_FOR_HOLD, {"id": reservation_id})
    return _lines(context, reservation_id)


def _write_lines(context: Context, reservation_id: str, lines: Mapping[Place, int]) -> None:
    rows = [
        {"reservation_id": reservation_id, "sku": sku, "warehouse": warehouse, "quantity": n, "restocked": 0}
        for (sku, warehouse), n in lines.items()
    ]
    context.connection.execute(RESERVATION_LINE.insert(), rows)


def effects(lines: Mapping[str, int], *, sign: int, expires_at: str | None = None) -> list[Effect]:
    """One effect per SKU, over all its warehouses."""
    return [
        Effect(kind="stock", unit=sku, quantity=quantity, sign=sign, expires_at=expires_at)
        for sku, quantity in lines.items()
    ]
