"""Labels for the way back, and tracking numbers that are given away once. Shipments of before keep no number: null."""

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "return_label",
        sa.Column("return_label_id", sa.String(260), primary_key=True),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("return_id", sa.String(64), nullable=False),
        sa.Column("shipment_id", sa.String(260), nullable=False),
        sa.Column("carrier", sa.String(128), nullable=False),
        sa.Column("tracking", sa.String(300), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.CheckConstraint("state IN ('bought', 'voided')", name="return_label_state"),
    )
    op.create_table(
        "tracking",
        sa.Column("number", sa.String(300), primary_key=True),
        sa.Column("label_id", sa.String(260), nullable=False),
    )
    op.add_column("shipment", sa.Column("tracking", sa.String(300)))
    # SQLite cannot change a type: Alembic copies the table there. `return_bought` has more than 10 letters.
    with op.batch_alter_table("ledger") as ledger:
        ledger.alter_column("movement", existing_type=sa.String(10), type_=sa.String(16), existing_nullable=False)
