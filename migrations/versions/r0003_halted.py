"""An index over the halted sagas alone, by reason and age: what waits for a person is found however many sagas have ended.

The release before knows nothing of it and goes on. It is made in one pass over the table, during which PostgreSQL holds up
writes of saga rows and no reads.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    schema = "saga" if op.get_bind().dialect.name == "postgresql" else None
    halted = sa.text("status = 'halted'")
    columns = ["halt_reason", "accepted_at"]
    op.create_index("saga_halted", "saga", columns, schema=schema, postgresql_where=halted, sqlite_where=halted)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore the backup taken before the upgrade")
