"""What the first revision of every service does: the tables of the release before there were revisions, if they are missing.

That release made its tables without writing a revision down. A database of it comes with them, and the first revision must
leave them as they are. This file is part of four revisions, so it does not change any more.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op


def make_missing(*tables: sa.Table) -> None:
    """Make each table, with its indexes, that is not there."""
    present = set(sa.inspect(op.get_bind()).get_table_names())
    for table in tables:
        if table.name not in present:
            table.create(op.get_bind())


def ledger(metadata: sa.MetaData, *columns: sa.Column[Any]) -> sa.Table:
    """The ledger as every service had it, with the columns of this one."""
    return sa.Table(
        "ledger",
        metadata,
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("order_id", sa.Text, nullable=False),
        *columns,
    )


def barrier(metadata: sa.MetaData) -> sa.Table:
    """The barrier as every service had it."""
    return sa.Table(
        "barrier",
        metadata,
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(6), nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("undoes", sa.String(255)),
        sa.Column("order_id", sa.Text),
        sa.Column("request_hash", sa.Text, nullable=False),
        sa.Column("outcome", sa.String(9), nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("undone_by", sa.String(255)),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("key", "kind", name="uq_barrier_key_kind"),
        sa.Index("ix_barrier_at", "at"),
    )
