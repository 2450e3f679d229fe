"""The tables of the shipping service before there were revisions."""

import sqlalchemy as sa

from services.skeleton.migrations.first import barrier, ledger, make_missing

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    metadata = sa.MetaData()
    shipment = sa.Table(
        "shipment",
        metadata,
        sa.Column("shipment_id", sa.String(260), primary_key=True),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("carrier", sa.String(128), nullable=False),
        sa.Column("country_code", sa.String(2), nullable=False),
        sa.Column("item_count", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.CheckConstraint("state IN ('bought', 'voided', 'dispatched')", name="shipment_state"),
    )
    rows = ledger(
        metadata,
        sa.Column("shipment_id", sa.String(260), nullable=False),
        sa.Column("movement", sa.String(10), nullable=False),
    )
    make_missing(shipment, rows, barrier(metadata))
