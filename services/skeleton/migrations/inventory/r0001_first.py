"""The tables of the inventory service before there were revisions."""

import sqlalchemy as sa

from services.skeleton.migrations.first import barrier, ledger, make_missing

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    metadata = sa.MetaData()
    stock = sa.Table(
        "stock",
        metadata,
        sa.Column("sku", sa.String(64), primary_key=True),
        sa.Column("initial", sa.BigInteger, nullable=False),
        sa.Column("available", sa.BigInteger, nullable=False),
        sa.Column("reserved", sa.BigInteger, nullable=False),
        sa.Column("shipped", sa.BigInteger, nullable=False),
        sa.CheckConstraint("available >= 0 AND reserved >= 0 AND shipped >= 0", name="stock_not_negative"),
        sa.CheckConstraint("initial = available + reserved + shipped", name="stock_adds_up"),
    )
    provision = sa.Table(
        "provision",
        metadata,
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("sku", sa.String(64), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
    )
    rows = ledger(
        metadata,
        sa.Column("sku", sa.String(64), nullable=False),
        sa.Column("bucket_from", sa.String(9), nullable=False),
        sa.Column("bucket_to", sa.String(9), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
    )
    make_missing(stock, provision, *_holds(metadata), rows, barrier(metadata))


def _holds(metadata: sa.MetaData) -> tuple[sa.Table, sa.Table]:
    reservation = sa.Table(
        "reservation",
        metadata,
        sa.Column("reservation_id", sa.String(260), primary_key=True),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
    )
    is_held = sa.text("state = 'held'")
    sa.Index("reservation_held", reservation.c.expires_at, postgresql_where=is_held, sqlite_where=is_held)
    line = sa.Table(
        "reservation_line",
        metadata,
        sa.Column("reservation_id", sa.String(260), primary_key=True),
        sa.Column("sku", sa.String(64), primary_key=True),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.CheckConstraint("quantity > 0", name="reservation_line_positive"),
    )
    return reservation, line
