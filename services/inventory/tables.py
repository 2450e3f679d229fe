"""The tables of the inventory service.

Every piece of a SKU lies in one warehouse and in one of three buckets there; the row's own check says that none is lost.
A change of these tables needs a revision in `services/skeleton/migrations/inventory`. A reservation is in one state:

- `held`: expires at `expires_at`. What is past that instant becomes `expired` when somebody else wants its SKUs, not by a
  clock; until then it is held, and may be made firm or shipped.
- `firm`: does not expire. `committed`: has left the house. `released`: was undone. `expired`: its pieces are back.
"""

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Index, MetaData, String, Table

METADATA = MetaData()
MAIN = "main"
"""The warehouse of what names none."""


class Bucket(StrEnum):
    """Where a piece is; `outside` is where stock comes from."""

    AVAILABLE = "available"
    RESERVED = "reserved"
    SHIPPED = "shipped"
    OUTSIDE = "outside"


class HoldState(StrEnum):
    HELD = "held"
    FIRM = "firm"
    COMMITTED = "committed"
    RELEASED = "released"
    EXPIRED = "expired"


STOCK = Table(
    "stock",
    METADATA,
    Column("sku", String(64), primary_key=True),
    Column("warehouse", String(64), primary_key=True),
    Column("initial", BigInteger, nullable=False),
    Column("available", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("shipped", BigInteger, nullable=False),
    CheckConstraint("available >= 0 AND reserved >= 0 AND shipped >= 0", name="stock_not_negative"),
    CheckConstraint("initial = available + reserved + shipped", name="stock_adds_up"),
)

PROVISION = Table(
    "provision",
    METADATA,
    Column("key", String(255), primary_key=True),
    Column("sku", String(64), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("warehouse", String(64), nullable=False, server_default=MAIN),
)
"""The keys under which `PUT /v1/stock/{sku}` added something: it is no operation, so the barrier does not keep them."""

RESERVATION = Table(
    "reservation",
    METADATA,
    Column("reservation_id", String(260), primary_key=True),
    Column("order_id", String(64), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("state", String(9), nullable=False),
)
_IS_HELD = RESERVATION.c.state == HoldState.HELD.value
# Partial: holds are made firm or released within seconds, so the index of those that can expire stays small.
Index("reservation_held", RESERVATION.c.expires_at, postgresql_where=_IS_HELD, sqlite_where=_IS_HELD)
_IS_COMMITTED = RESERVATION.c.state == HoldState.COMMITTED.value
# Partial: what comes back is looked up by its order, and only what was shipped can.
Index("reservation_committed", RESERVATION.c.order_id, postgresql_where=_IS_COMMITTED, sqlite_where=_IS_COMMITTED)

RESERVATION_LINE = Table(
    "reservation_line",
    METADATA,
    Column("reservation_id", String(260), primary_key=True),
    Column("sku", String(64), primary_key=True),
    Column("warehouse", String(64), primary_key=True),
    Column("quantity", BigInteger, nullable=False),
    Column("restocked", BigInteger, nullable=False),
    CheckConstraint("quantity > 0", name="reservation_line_positive"),
    CheckConstraint("restocked >= 0 AND restocked <= quantity", name="reservation_line_restocked"),
)
"""`restocked` of the `quantity` that was shipped have come back."""

LEDGER_COLUMNS = (
    Column("sku", String(64), nullable=False),
    Column("bucket_from", String(9), nullable=False),
    Column("bucket_to", String(9), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("warehouse", String(64), nullable=False, server_default=MAIN),
    Column("return_id", String(64)),
)
"""`return_id` says which return a row is of, and is null in all others."""
