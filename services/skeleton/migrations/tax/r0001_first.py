"""The tables of the tax service before there were revisions."""

import sqlalchemy as sa

from services.skeleton.migrations.first import barrier, ledger, make_missing

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    metadata = sa.MetaData()
    amount = sa.Column("amount", sa.BigInteger, nullable=False)
    currency = sa.Column("currency", sa.String(3), nullable=False)
    make_missing(ledger(metadata, amount, currency), barrier(metadata))
