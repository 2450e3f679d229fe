"""Holds: pieces are set aside for an order, made firm, shipped, or put back.

Rules of this file
------------------
- All lines or none. One SKU short, or unknown, is `out_of_stock`, and the rejection rolls back the rest.
- **Expiry is lazy.** Nothing runs by a clock. Whoever wants a SKU first puts back the expired holds on it; the rows of
  the ledger for that have no key, since no request of theirs asked for it. A request that is rejected puts nothing
  back, and the next one finds the hold as it was.
- Making an expired hold firm reserves again, and is `reservation_expired` when there is not enough. A hold that was
  undone stays undone: firm answers `reservation_expired` also when there is enough.
- What has left the house is not put back: the undo of a committed reservation is refused with `committed`, which no
  connector takes for a business rejection. Likewise the commit of what is not reserved (`not_reserved`).
- A reservation's id is made of its key, so the repeat of a request that was rolled back gets the same one.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Row, bindparam, select, update

from saga.barrier import BusinessRejection
from services.inventory.models import (
    CommitAnswer,
    FirmAnswer,
    Line,
    ReservationAnswer,
    ReservationRequest,
    ReserveRequest,
)
from services.inventory.stock import lock, move, totals
from services.inventory.tables import RESERVATION, RESERVATION_LINE, Bucket, HoldState
from services.skeleton.service import Context, Effect

EXPIRED_LINES = (
    select(
        RESERVATION_LINE.c.reservation_id, RESERVATION.c.order_id, RESERVATION_LINE.c.sku, RESERVATION_LINE.c.quantity
    )
    .join(RESERVATION, RESERVATION.c.reservation_id == RESERVATION_LINE.c.reservation_id)
    .where(
        RESERVATION.c.reservation_id.in_(
            select(RESERVATION.c.reservation_id)
            .join(RESERVATION_LINE, RESERVATION_LINE.c.reservation_id == RESERVATION.c.reservation_id)
            .where(RESERVATION.c.state == HoldState.HELD.value, RESERVATION.c.expires_at <= bindparam("instant"))
            .where(RESERVATION_LINE.c.sku.in_(bindparam("skus", expanding=True)))
        )
    )
)
"""Built once, like `LINES`, because building costs more than running them on SQLite."""
LINES = (
    select(RESERVATION_LINE.c.sku, RESERVATION_LINE.c.quantity)
    .where(RESERVATION_LINE.c.reservation_id == bindparam("id"))
    .order_by(RESERVATION_LINE.c.sku)
)


class HeldLine(NamedTuple):
    """One SKU of somebody's hold."""

    reservation_id: str
    order_id: str
    sku: str
    quantity: int


def reserve(context: Context, request: ReserveRequest) -> ReservationAnswer:
    """`POST /v1/reservations`."""
    wanted = totals(request.lines)
    now = context.now()
    if short := _take(context, request.order_id, wanted, now):
        detail = f"not enough of {', '.join(short[:5])}{f' and {len(short) - 5} more' if len(short) > 5 else ''}"
        raise BusinessRejection(409, "out_of_stock", detail)
    reservation_id = f"R-{context.key}"
    expires_at = now + timedelta(seconds=request.ttl_s)
    hold = {"reservation_id": reservation_id, "order_id": request.order_id, "expires_at": expires_at}
    context.connection.execute(RESERVATION.insert(), {**hold, "state": HoldState.HELD.value})
    lines = [{"reservation_id": reservation_id, "sku": sku, "quantity": n} for sku, n in wanted.items()]
    context.connection.execute(RESERVATION_LINE.insert(), lines)
    return ReservationAnswer(
        reservation_id=reservation_id,
        order_id=request.order_id,
        lines=[Line(sku=sku, quantity=quantity) for sku, quantity in wanted.items()],
        expires_at=expires_at.isoformat(),
        effects=_effects(wanted, sign=1, expires_at=expires_at.isoformat()),
    )


def release(context: Context, kept: dict[str, Any]) -> Sequence[Effect]:
    """`POST /v1/reservations/undo`: what is reserved goes back on the shelf, firm or not."""
    reservation_id = kept["reservation_id"]
    lines = _lines(context, reservation_id)
    lock(context.connection, lines)
    if _turn(context, reservation_id, (HoldState.HELD, HoldState.FIRM), HoldState.RELEASED):
        is_moved = move(context, kept["order_id"], lines, Bucket.RESERVED, Bucket.AVAILABLE)
        assert is_moved, f"{reservation_id} held more than was reserved"
        return _effects(lines, sign=-1)
    # Its pieces went back when it expired, and no answer has reported that yet: this one does, so that the sum is zero.
    if _turn(context, reservation_id, (HoldState.EXPIRED,), HoldState.RELEASED):
        return _effects(lines, sign=-1)
    if _hold(context, reservation_id).state == HoldState.COMMITTED:
        raise BusinessRejection(409, "committed", f"{reservation_id} has left the house")
    return []


def firm(context: Context, request: ReservationRequest) -> FirmAnswer:
    """`POST /v1/reservations/firm`: from here on the hold does not expire."""
    now = context.now()
    answer = FirmAnswer(reservation_id=request.reservation_id)
    if _turn(context, request.reservation_id, (HoldState.HELD,), HoldState.FIRM, RESERVATION.c.expires_at > now):
        return answer
    lines = _lines(context, request.reservation_id)
    hold = _hold(context, request.reservation_id)
    if hold.state == HoldState.FIRM:
        return answer
    if hold.state in (HoldState.HELD, HoldState.EXPIRED):
        short = _take(context, hold.order_id, lines, now)
        if not short and _turn(context, request.reservation_id, (HoldState.EXPIRED,), HoldState.FIRM):
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
    lines = _lines(context, request.reservation_id)
    lock(context.connection, lines)
    if not _turn(context, request.reservation_id, (HoldState.HELD, HoldState.FIRM), HoldState.COMMITTED):
        raise BusinessRejection(409, "not_reserved", f"{request.reservation_id} is {hold.state}, nothing is reserved")
    is_moved = move(context, hold.order_id, lines, Bucket.RESERVED, Bucket.SHIPPED)
    assert is_moved, f"{request.reservation_id} held more than was reserved"
    return CommitAnswer(reservation_id=request.reservation_id)


def _take(context: Context, order_id: str, wanted: Mapping[str, int], now: datetime) -> list[str]:
    """Set these pieces aside. The SKUs of which there is not enough, and then the caller must roll back."""
    expired = _expired_lines(context, wanted, now)
    available = lock(context.connection, {*wanted, *(line.sku for line in expired)})
    for sku, quantity in _put_back(context, expired, now):
        available[sku] += quantity
    short = [sku for sku, quantity in wanted.items() if available.get(sku, 0) < quantity]
    if not short and not move(context, order_id, wanted, Bucket.AVAILABLE, Bucket.RESERVED):
        return list(wanted)
    return short


def _expired_lines(context: Context, skus: Iterable[str], now: datetime) -> list[HeldLine]:
    """All lines of the expired holds on any of these SKUs."""
    rows = context.connection.execute(EXPIRED_LINES, {"skus": list(skus), "instant": now})
    return [HeldLine(*row) for row in rows]


def _put_back(context: Context, lines: Sequence[HeldLine], now: datetime) -> list[tuple[str, int]]:
    """Expire the holds of these lines, unless another request just did or made them firm; what went back of each SKU."""
    if not lines:
        return []
    expire = (
        update(RESERVATION)
        .where(RESERVATION.c.reservation_id.in_({line.reservation_id for line in lines}))
        .where(RESERVATION.c.state == HoldState.HELD.value, RESERVATION.c.expires_at <= now)
        .values(state=HoldState.EXPIRED.value)
        .returning(RESERVATION.c.reservation_id)
    )
    ours = set(context.connection.execute(expire).scalars())
    by_order: dict[str, list[Line]] = {}
    for line in lines:
        if line.reservation_id in ours:
            by_order.setdefault(line.order_id, []).append(Line(sku=line.sku, quantity=line.quantity))
    for order_id, held in by_order.items():
        is_moved = move(context, order_id, totals(held), Bucket.RESERVED, Bucket.AVAILABLE, is_expiry=True)
        assert is_moved, f"an expired hold of {order_id} held more than was reserved"
    return [(line.sku, line.quantity) for held in by_order.values() for line in held]


def _turn(context: Context, reservation_id: str, states: Iterable[HoldState], to: HoldState, *conditions: Any) -> bool:
    """Bring the reservation from one of `states` to another; False when it is in none of them."""
    statement = (
        update(RESERVATION)
        .where(RESERVATION.c.reservation_id == reservation_id, *conditions)
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


def _lines(context: Context, reservation_id: str) -> dict[str, int]:
    rows = context.connection.execute(LINES, {"id": reservation_id})
    return {row.sku: row.quantity for row in rows}


def _effects(lines: Mapping[str, int], *, sign: int, expires_at: str | None = None) -> list[Effect]:
    return [
        Effect(kind="stock", unit=sku, quantity=quantity, sign=sign, expires_at=expires_at)
        for sku, quantity in lines.items()
    ]
