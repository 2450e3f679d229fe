"""Rows of projections written again from the journal, beside whoever writes them with his decisions.

Protocol
--------
A row is written first and judged then, in a transaction of its own. Writing it takes its lock: an append of the same row that
is on its way is waited for, and one that comes later waits for us and writes over ours. So the second statement, which has a
snapshot of its own (READ COMMITTED), sees every entry whose row ours may have covered. When the saga does not stand at the entry
from which the row was made any more, or is not the latest run, the write is rolled back. SQLite has one writer, so there the order
does not matter.

No lock is held while another is waited for, and none is waited for as long as a worker waits for one (0.3 s) before he leaves his
row out: a row that somebody holds for longer than `LOCK_WAIT_MS` is busy, and its neighbours are written.
"""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection, delete, exists, func, select
from sqlalchemy.exc import DBAPIError

from saga.core.projection import Projection, Value
from saga.store.durable import DURABLE
from saga.store.port import Rewrite, RowChange
from saga.store.projecting import declared, upsert_of
from saga.store.tables import SQLITE, Tables

LOCK_WAIT_MS = 100
LOCK_NOT_AVAILABLE = "55P03"


def rewrite(
    connection: Connection, tables: Tables, rewrites: Sequence[Rewrite], *, lock_wait_ms: int = LOCK_WAIT_MS
) -> list[RowChange]:
    """Write what is still true; what became of each."""
    return [_rewrite_one(connection, tables, it, lock_wait_ms) for it in rewrites]


def drop_row(
    connection: Connection, tables: Tables, projection: Projection, values: Mapping[str, Value], saga_id: str
) -> RowChange:
    """Take a row out that names a saga that is not there. Whoever writes it meanwhile changes its values, and it stays."""
    here = declared(projection, tables.metadata.schema)
    no_saga = ~exists().where(tables.saga.c.saga_id == saga_id)
    same = [here.c[name].is_(None) if value is None else here.c[name] == value for name, value in values.items()]
    return _apart(connection, tables, lambda: connection.execute(delete(here).where(*same, no_saga)).rowcount > 0)


def _rewrite_one(connection: Connection, tables: Tables, it: Rewrite, lock_wait_ms: int) -> RowChange:
    def write() -> bool:
        connection.execute(upsert_of(it.row, tables.metadata.schema))
        return not _is_stale(connection, tables, it)

    return _apart(connection, tables, write, lock_wait_ms)


def _apart(
    connection: Connection, tables: Tables, change: Callable[[], bool], lock_wait_ms: int = LOCK_WAIT_MS
) -> RowChange:
    """Make a change in a transaction of its own; one that says no is rolled back."""
    if tables is SQLITE:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL READ COMMITTED")
    try:
        if tables is not SQLITE:
            connection.exec_driver_sql(f"SELECT set_config('lock_timeout', '{lock_wait_ms}ms', true), {DURABLE}")
        is_made = change()
        connection.exec_driver_sql("COMMIT" if is_made else "ROLLBACK")
    except DBAPIError as error:
        connection.exec_driver_sql("ROLLBACK")
        if getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE:
            return RowChange.BUSY
        raise
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    return RowChange.MADE if is_made else RowChange.STALE


def _is_stale(connection: Connection, tables: Tables, it: Rewrite) -> bool:
    journal, saga = tables.journal.c, tables.saga
    stands = connection.scalar(select(func.max(journal.seq)).where(journal.saga_id == it.saga_id))
    later = saga.alias()
    owner = [later.c[name] == saga.c[name] for name in ("environment", "tenant", "definition", "entity")]
    is_followed = exists().where(*owner, later.c.run > saga.c.run)
    latest = connection.scalar(select(saga.c.saga_id).where(saga.c.saga_id == it.saga_id, ~is_followed))
    return stands != it.seq or latest is None
