"""Stock, holds and ledger by warehouse, and how much of a hold came back; what was there before lies in `main`.

`stock` and `reservation_line` get a longer primary key, which SQLite cannot give to a table that is there. So on both
databases their rows are put aside, the tables are made anew, and the rows come back. That is quick: a row of each SKU, and
a row of each line that was ever reserved.
"""

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"
branch_labels = None
depends_on = None

MAIN = "main"


def upgrade() -> None:
    _make_anew(_stock(), warehouse=MAIN)
    _make_anew(_reservation_line(), warehouse=MAIN, restocked=0)
    for table in ("provision", "ledger"):
        op.add_column(table, sa.Column("warehouse", sa.String(64), nullable=False, server_default=MAIN))
    op.add_column("ledger", sa.Column("return_id", sa.String(64)))
    is_committed = sa.text("state = 'committed'")
    op.create_index(
        "reservation_committed",
        "reservation",
        ["order_id"],
        postgresql_where=is_committed,
        sqlite_where=is_committed,
    )


def _stock() -> sa.Table:
    return sa.Table(
        "stock",
        sa.MetaData(),
        sa.Column("sku", sa.String(64), primary_key=True),
        sa.Column("warehouse", sa.String(64), primary_key=True),
        sa.Column("initial", sa.BigInteger, nullable=False),
        sa.Column("available", sa.BigInteger, nullable=False),
        sa.Column("reserved", sa.BigInteger, nullable=False),
        sa.Column("shipped", sa.BigInteger, nullable=False),
        sa.CheckConstraint("available >= 0 AND reserved >= 0 AND shipped >= 0", name="stock_not_negative"),
        sa.CheckConstraint("initial = available + reserved + shipped", name="stock_adds_up"),
    )


def _reservation_line() -> sa.Table:
    return sa.Table(
        "reservation_line",
        sa.MetaData(),
        sa.Column("reservation_id", sa.String(260), primary_key=True),
        sa.Column("sku", sa.String(64), primary_key=True),
        sa.Column("warehouse", sa.String(64), primary_key=True),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("restocked", sa.BigInteger, nullable=False),
        sa.CheckConstraint("quantity > 0", name="reservation_line_positive"),
        sa.CheckConstraint("restocked >= 0 AND restocked <= quantity", name="reservation_line_restocked"),
    )


def _make_anew(table: sa.Table, **added: str | int) -> None:
    """Replace the table of this name by one that has some more columns, with these values in the rows that are there."""
    aside = f"{table.name}_before"
    op.execute(f"CREATE TABLE {aside} AS SELECT * FROM {table.name}")  # noqa: S608  names of this file
    op.drop_table(table.name)
    table.create(op.get_bind())
    before = sa.table(aside, *(sa.column(column.name) for column in table.columns if column.name not in added))
    given = [sa.literal(added[it.name], it.type) if it.name in added else before.c[it.name] for it in table.columns]
    op.execute(table.insert().from_select([column.name for column in table.columns], sa.select(*given)))
    op.drop_table(aside)
