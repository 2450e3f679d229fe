"""An authorization may be of nothing: goods that were given away are captured like any others, and no money moves."""

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = "r0002"
branch_labels = None
depends_on = None

TABLE, BEFORE, NAME, RULE = "authorization_", "authorization_positive", "authorization_not_negative", "amount >= 0"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":  # which changes no constraint: the table is made anew
        with op.batch_alter_table(TABLE, recreate="always", copy_from=_table()):
            return
    op.drop_constraint(BEFORE, TABLE, type_="check")
    op.create_check_constraint(NAME, TABLE, RULE)


def _table() -> sa.Table:
    """The whole of it, since releases of SQLAlchemy differ in what they find of its checks."""
    return sa.Table(
        TABLE,
        sa.MetaData(),
        sa.Column("authorization_id", sa.String(260), primary_key=True),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("payment_method", sa.String(64), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("customer_id", sa.String(64)),
        sa.Column("at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(RULE, name=NAME),
        sa.CheckConstraint("state IN ('held', 'voided', 'captured')", name="authorization_state"),
        sa.Index("authorization_by_customer", "customer_id", "at"),
    )
