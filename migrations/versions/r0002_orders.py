"""The table `orders`: a row for each order of `fulfil_order`, which the engine keeps in the transaction of each decision.

The release before knows nothing of it and goes on; orders that were accepted before get their row with their next change.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    schema = "saga" if on_postgresql else None
    words: sa.Text = sa.Text(collation="C") if on_postgresql else sa.Text()
    instant: sa.DateTime | sa.BigInteger = sa.DateTime(timezone=True) if on_postgresql else sa.BigInteger()
    op.create_table(
        "orders",
        sa.Column("environment", words, nullable=False),
        sa.Column("tenant", words, nullable=False),
        sa.Column("order_id", words, nullable=False),
        sa.Column("saga_id", words, nullable=False),
        sa.Column("run", sa.BigInteger, nullable=False),
        sa.Column("status", words, nullable=False),
        sa.Column("saga_status", words, nullable=False),
        sa.Column("halt_reason", sa.Text),
        sa.Column("customer_id", words, nullable=False),
        sa.Column("country", words, nullable=False),
        sa.Column("currency", words, nullable=False),
        sa.Column("goods", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger),
        sa.Column("accepted_at", instant, nullable=False),
        sa.Column("ended_at", instant),
        sa.PrimaryKeyConstraint("environment", "tenant", "order_id", name="orders_pkey"),
        schema=schema,
    )
    owner = ["environment", "tenant"]
    op.create_index("orders_latest", "orders", [*owner, "accepted_at", "order_id"], schema=schema)
    op.create_index("orders_of_customer", "orders", [*owner, "customer_id", "accepted_at", "order_id"], schema=schema)
    op.create_index("orders_in_status", "orders", [*owner, "status", "accepted_at", "order_id"], schema=schema)
    if on_postgresql:
        op.execute("ALTER TABLE saga.orders SET (fillfactor = 80)")


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore the backup taken before the upgrade")
