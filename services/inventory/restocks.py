"""What came back goes on the shelf again: shipped becomes available, never more of an order than it was shipped.

Rules of this file
------------------
- A piece goes back to the warehouse that it left from, because `initial` of a warehouse is what came in there. A line that
  names a warehouse takes pieces that left from that one; a line that names none takes what is left of the order's, from
  the warehouses in the order of their names.
- **The account of an order** is `restocked` beside `quantity` in the lines of its committed reservations. It is written by
  a conditional update, and a check of the table forbids more than `quantity`; the rows of the SKUs in `stock` are locked
  before it is read. So of two restocks at once one sees the other.
- All lines or none: one line too many is `not_shipped`, and the rejection rolls back the rest.
- The undo takes pieces off the shelf again. When they are sold by then it is refused with `sold_again`, which no
  connector takes for a business rejection; it may be repeated.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Update, bindparam, select, update

from saga.barrier import BusinessRejection
from services.inventory.models import PlacedLine, RestockAnswer, RestockRequest, ReturnedLine
from services.inventory.reservations import available_of, effects
from services.inventory.stock import Place, by_sku, lock, move, shortage
from services.inventory.tables import RESERVATION, RESERVATION_LINE, Bucket, HoldState
from services.skeleton.service import Context, Effect

SHIPPED_LINES = (
    select(
        RESERVATION_LINE.c.reservation_id,
        RESERVATION_LINE.c.sku,
        RESERVATION_LINE.c.warehouse,
        RESERVATION_LINE.c.quantity,
        RESERVATION_LINE.c.restocked,
    )
    .join(RESERVATION, RESERVATION.c.reservation_id == RESERVATION_LINE.c.reservation_id)
    .where(RESERVATION.c.order_id == bindparam("of_order"), RESERVATION.c.state == HoldState.COMMITTED.value)
    .where(RESERVATION_LINE.c.sku.in_(bindparam("skus", expanding=True)))
)
MOVED = bindparam("moved", type_=BigInteger)
OF_LINE = update(RESERVATION_LINE).where(
    RESERVATION_LINE.c.reservation_id == bindparam("of_reservation"),
    RESERVATION_LINE.c.sku == bindparam("of_sku"),
    RESERVATION_LINE.c.warehouse == bindparam("of_warehouse"),
)
COUNT_BACK = OF_LINE.where(RESERVATION_LINE.c.restocked + MOVED <= RESERVATION_LINE.c.quantity).values(
    restocked=RESERVATION_LINE.c.restocked + MOVED
)
COUNT_OUT = OF_LINE.where(RESERVATION_LINE.c.restocked >= MOVED).values(restocked=RESERVATION_LINE.c.restocked - MOVED)


class ShippedLine(NamedTuple):
    """A line of a committed reservation; warehouse first, so that lines sort by it."""

    warehouse: str
    reservation_id: str
    sku: str

    @property
    def place(self) -> Place:
        return Place(self.sku, self.warehouse)


def restock(context: Context, request: RestockRequest) -> RestockAnswer:
    """`POST /v1/restocks`."""
    skus = {line.sku for line in request.lines}
    lock(context.connection, skus)
    left = {line: quantity - restocked for line, (quantity, restocked) in _shipped(context, request.order_id, skus)}
    back, short = _assigned(request.lines, left)
    if short or not _count(context, COUNT_BACK, back):
        detail = f"shipped to order {request.order_id} and not back yet: {shortage(short or sorted(skus))}"
        raise BusinessRejection(409, "not_shipped", detail)
    lines = _by_place(back)
    is_moved = move(context, request.order_id, lines, Bucket.SHIPPED, Bucket.AVAILABLE, return_id=request.return_id)
    assert is_moved, f"order {request.order_id} has lines of which less was shipped"
    return RestockAnswer(
        restock_id=f"T-{context.key}",
        order_id=request.order_id,
        return_id=request.return_id,
        lines=[PlacedLine(sku=place.sku, quantity=n, warehouse=place.warehouse) for place, n in lines.items()],
        effects=effects(by_sku(lines), sign=1),
    )


def undo_restock(context: Context, kept: dict[str, Any]) -> Sequence[Effect]:
    """`POST /v1/restocks/undo`: the pieces count as shipped again."""
    lines = {Place(line["sku"], line["warehouse"]): int(line["quantity"]) for line in kept["lines"]}
    skus = by_sku(lines)
    available = available_of(context, skus, context.now())
    if sold := sorted({place.sku for place, quantity in lines.items() if available.get(place, 0) < quantity}):
        raise BusinessRejection(409, "sold_again", shortage(sold))
    back = {line: restocked for line, (_, restocked) in _shipped(context, kept["order_id"], skus)}
    named = [ReturnedLine(sku=place.sku, quantity=n, warehouse=place.warehouse) for place, n in lines.items()]
    out, short = _assigned(named, back)
    is_undone = not short and _count(context, COUNT_OUT, out)
    assert is_undone, f"{kept['restock_id']}: the account of order {kept['order_id']} knows of fewer that came back"
    is_moved = move(context, kept["order_id"], lines, Bucket.AVAILABLE, Bucket.SHIPPED, return_id=kept["return_id"])
    assert is_moved, f"{kept['restock_id']}: what is available was locked"
    return effects(skus, sign=-1)


def _shipped(context: Context, order_id: str, skus: Iterable[str]) -> list[tuple[ShippedLine, tuple[int, int]]]:
    """The shipped lines of the order with their quantity and how much of it came back."""
    rows = context.connection.execute(SHIPPED_LINES, {"of_order": order_id, "skus": list(skus)})
    return sorted(
        (ShippedLine(row.warehouse, row.reservation_id, row.sku), (row.quantity, row.restocked)) for row in rows
    )


def _assigned(
    wanted: Sequence[ReturnedLine], left: Mapping[ShippedLine, int]
) -> tuple[dict[ShippedLine, int], list[str]]:
    """How many of which shipped line; and the SKUs of which there are not so many. `left` is in the order of taking.

    Lines that name a warehouse are served first, so that one that names none takes nothing that they need.
    """
    remaining, assigned, short = dict(left), dict[ShippedLine, int](), set[str]()
    of_sku: dict[str, list[ShippedLine]] = {}
    for line in left:
        of_sku.setdefault(line.sku, []).append(line)
    for asked in sorted(wanted, key=lambda line: line.warehouse is None):
        missing = asked.quantity
        for line in of_sku.get(asked.sku, ()):
            part = min(missing, remaining[line])
            if part and asked.warehouse in (None, line.warehouse):
                assigned[line] = assigned.get(line, 0) + part
                remaining[line] -= part
                missing -= part
        if missing:
            short.add(asked.sku)
    return assigned, sorted(short)


def _count(context: Context, statement: Update, lines: Mapping[ShippedLine, int]) -> bool:
    """Write how many came back; False when some line does not allow it, and then the caller must roll back."""
    rows = [
        {"of_reservation": line.reservation_id, "of_sku": line.sku, "of_warehouse": line.warehouse, "moved": moved}
        for line, moved in sorted(lines.items())
    ]
    return context.connection.execute(statement, rows).rowcount == len(rows)


def _by_place(lines: Mapping[ShippedLine, int]) -> dict[Place, int]:
    sums: dict[Place, int] = {}
    for line, quantity in lines.items():
        sums[line.place] = sums.get(line.place, 0) + quantity
    return dict(sorted(sums.items()))
