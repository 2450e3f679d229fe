"""The two tables that every service has beside its own: the barrier, and the ledger that the audit reads.

The metadata is told whose it is, so that a database finds its revisions (services.skeleton.migrating).
Both are declared once per service in the service's metadata; several apps of one service in a process share them.
Rows are read in pages by ascending `id`. A page read while others write may miss a row whose transaction commits later
with a smaller id (PostgreSQL hands ids out before the commit), so an audit reads when nothing moves.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, DateTime, Integer, Table, Text, bindparam, select

from saga.barrier import barrier_table
from services.skeleton.migrating import SERVICE_NAME
from services.skeleton.service import Service

PAGE_ROWS_MAX = 5_000
BARRIER_COLUMNS = ("id", "key", "operation", "kind", "undoes", "order_id", "outcome", "at")

_declaring = threading.Lock()


def declare_tables(service: Service) -> tuple[Table, Table]:
    """The ledger and the barrier of the service, in its metadata."""
    with _declaring:
        known = service.metadata.tables
        if "ledger" in known:
            return known["ledger"], known["barrier"]
        service.metadata.info[SERVICE_NAME] = service.name
        ledger = Table(
            "ledger",
            service.metadata,
            Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
            Column("at", DateTime(timezone=True), nullable=False),
            Column("operation", Text, nullable=False),
            Column("key", Text, nullable=False),
            Column("order_id", Text, nullable=False),
            *service.ledger_columns,
        )
        return ledger, barrier_table(service.metadata)


def page_reader(table: Table, columns: tuple[str, ...] | None = None) -> Callable[[Connection, int, int], Any]:
    """A function (connection, after, limit) → the page as docs/participants.md shapes it."""
    chosen = [table.c[name] for name in columns] if columns else list(table.c)
    statement = select(*chosen).where(table.c.id > bindparam("after")).order_by(table.c.id).limit(bindparam("count"))

    def page(connection: Connection, after: int, limit: int) -> Any:
        found = connection.execute(statement, {"after": after, "count": limit + 1}).mappings().all()
        rows = [{name: _shown(value) for name, value in row.items()} for row in found[:limit]]
        return {"rows": rows, "next_after": rows[-1]["id"] if len(found) > limit else None}

    return page


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        # SQLite keeps no zone; what was written is UTC.
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    return value
