"""A saga row remembers how far its journal had got, a database whose it is, and what was done after a backup was restored.

`journal_seq` and `journal_hash`: the journal held an entry of that number and hash when the row was written. A journal that
holds it no longer has lost entries. NULL says nothing: the release before writes neither column and goes on, and a row that it
writes keeps an older, still true memory.
`store`: the one environment that the database is bound to.
`restoration`: each time a person said that a backup was restored, and what a person has said about what it left behind.

On PostgreSQL the check of `halt_reason` is made in one pass over the table, during which nobody reads or writes it: the new columns
lock it until the end of the one transaction of an upgrade, so a check that is validated later would not free it earlier. SQLite
writes the table anew.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Instant = sa.DateTime | sa.BigInteger
STATUSES = "'running', 'compensating', 'completed', 'compensated', 'halted'"
EARLIER = (
    "'participant_down', 'compensation_retrying', 'defect', 'unresolved_effect', 'pivot_unresolved', 'poison', "
    "'retriable_rejected'"
)
HALT_REASONS = f"{EARLIER}, 'journal_damaged', 'restored'"
KNOWN = "saga_halt_reason_known"


def upgrade() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    schema = "saga" if on_postgresql else None
    words: sa.Text = sa.Text(collation="C") if on_postgresql else sa.Text()
    instant: Instant = sa.DateTime(timezone=True) if on_postgresql else sa.BigInteger()
    memory: list[sa.Column[Any]] = [sa.Column("journal_seq", sa.Integer), sa.Column("journal_hash", sa.LargeBinary)]
    if on_postgresql:
        for column in memory:
            op.add_column("saga", column, schema=schema)
        op.drop_constraint(KNOWN, "saga", schema=schema, type_="check")
        op.create_check_constraint(KNOWN, "saga", f"halt_reason IN ({HALT_REASONS})", schema=schema)
    else:
        _write_anew(memory)
    op.create_table(
        "store",
        sa.Column("id", sa.SmallInteger, nullable=False, autoincrement=False),
        sa.Column("environment", words, nullable=False),
        sa.PrimaryKeyConstraint("id", name="store_pkey"),
        sa.CheckConstraint("id = 1", name="store_is_one"),
        schema=schema,
    )
    op.create_table(
        "restoration",
        sa.Column("restoration_id", words, nullable=False),
        sa.Column("restored_to", instant, nullable=False),
        sa.Column("told_at", instant, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("restoration_id", name="restoration_pkey"),
        schema=schema,
    )
    op.create_table(
        "settled",
        sa.Column("environment", words, nullable=False),
        sa.Column("tenant", words, nullable=False),
        sa.Column("entity", words, nullable=False),
        sa.Column("told_at", instant, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("environment", "tenant", "entity", name="settled_pkey"),
        schema=schema,
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore the backup taken before the upgrade")


def _write_anew(memory: list[sa.Column[Any]]) -> None:
    """SQLite changes no check of a table that stands; its indexes go with it."""
    before = sa.Table(
        "saga",
        sa.MetaData(),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("saga_id", "environment", "tenant", "definition")),
        sa.Column("version", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("fingerprint", "entity")),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("halt_reason", sa.Text),
        sa.Column("due_at", sa.BigInteger),
        *(
            sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("0"))
            for name in ("due_pushes", "priority")
        ),
        sa.Column("accepted_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("saga_id", name="saga_pkey"),
        sa.UniqueConstraint("environment", "tenant", "definition", "entity", "run", name="saga_entity_run"),
        sa.CheckConstraint(f"status IN ({STATUSES})", name="saga_status_known"),
        sa.CheckConstraint(f"halt_reason IN ({EARLIER})", name=KNOWN),
        sa.CheckConstraint("run >= 1", name="saga_run_positive"),
    )
    with op.batch_alter_table("saga", copy_from=before, recreate="always") as batch:
        for column in memory:
            batch.add_column(column)
        batch.drop_constraint(KNOWN, type_="check")
        batch.create_check_constraint(KNOWN, f"halt_reason IN ({HALT_REASONS})")
    live, waits, halted = (sa.text(it) for it in ("status <> 'compensated'", "due_at IS NOT NULL", "status = 'halted'"))
    owner = ["environment", "tenant", "definition", "entity"]
    op.create_index("saga_one_live", "saga", owner, unique=True, sqlite_where=live)
    op.create_index("saga_due", "saga", [sa.text("priority DESC"), "due_at"], sqlite_where=waits)
    op.create_index("saga_list", "saga", ["accepted_at", "saga_id"])
    op.create_index("saga_halted", "saga", ["halt_reason", "accepted_at"], sqlite_where=halted)
