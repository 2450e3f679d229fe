"""A worker row says whose sagas the worker runs, so that nobody takes a worker of another tenant for one of his own.

`environment` and `tenants`, a JSON list. NULL in `tenants` means every tenant. NULL in both says nothing: the release before
writes neither and goes on, and its workers count as ones that run every saga.

PostgreSQL locks the table of the workers for the length of the upgrade, and writes nothing anew. A lease that is renewed in that
time waits for it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    schema = "saga" if on_postgresql else None
    words: sa.Text = sa.Text(collation="C") if on_postgresql else sa.Text()
    op.add_column("worker", sa.Column("environment", words), schema=schema)
    op.add_column("worker", sa.Column("tenants", sa.Text), schema=schema)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore the backup taken before the upgrade")
