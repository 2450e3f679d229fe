"""The tables of the payment service before there were revisions."""

import sqlalchemy as sa

from services.skeleton.migrations.first import barrier, ledger, make_missing

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    metadata = sa.MetaData()
    authorization = sa.Table(
        "authorization_",
        metadata,
        sa.Column("authorization_id", sa.String(260), primary_key=True),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("payment_method", sa.String(64), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.CheckConstraint("amount > 0", name="authorization_positive"),
        sa.CheckConstraint("state IN ('held', 'voided', 'captured')", name="authorization_state"),
    )
    rows = ledger(
        metadata,
        sa.Column("entry_id", sa.String(260), nullable=False),
        sa.Column("debit", sa.String(80), nullable=False),
        sa.Column("credit", sa.String(80), nullable=False),
        sa.Column("amount", sa.BigInteger, sa.CheckConstraint("amount > 0", name="posting_positive"), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
    )
    make_missing(authorization, rows, barrier(metadata))
