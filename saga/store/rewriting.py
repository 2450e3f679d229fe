"""Rows of projections written again from the journal, beside whoever writes them with his decisions.

Protocol
--------
A row is written first and judged then, in one transaction. Writing it takes its lock: an append of the same row that is on its
way is waited for, and one that comes later waits for us and writes over ours. So the second statement, which has a snapshot
of its own (READ COMMITTED), sees every entry whose row ours may have covered. When the saga does not stand at the entry from
which the row was made any more, or is not the latest run, everything is rolled back and the others are written without it.
SQLite has one writer, so there the order does not matter.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, exists, func, select

from saga.core.projection import Projection, Value
from saga.store.port import Rewrite
from saga.store.projecting import declared, upsert_of
from saga.store.tables import SQLITE, Tables


def rewrite(connection: Connection, tables: Tables, rewrites: Sequence[Rewrite]) -> list[bool]:
    """Write what is still true; which ones were."""
    wanted = {it.saga_id: it for it in sorted(rewrites, key=lambda it: it.saga_id)}  # as appends lock: no deadlock
    while wanted and (stale := _written(connection, tables, list(wanted.values()))):
        wanted = {saga_id: it for saga_id, it in wanted.items() if saga_id not in stale}
    return [it.saga_id in wanted for it in rewrites]


def drop_row(
    connection: Connection, tables: Tables, projection: Projection, values: Mapping[str, Value], saga_id: str
) -> bool:
    """Take a row out that names a saga that is not there. Whoever writes it meanwhile changes its values, and it stays."""
    here = declared(projection, tables.metadata.schema)
    no_saga = ~exists().where(tables.saga.c.saga_id == saga_id)
    same = [here.c[name].is_(None) if value is None else here.c[name] == value for name, value in values.items()]
    is_dropped = connection.execute(delete(here).where(*same, no_saga)).rowcount > 0
    connection.commit()
    return is_dropped


def _written(connection: Connection, tables: Tables, rewrites: Sequence[Rewrite]) -> set[str]:
    """Write all of them, or nothing: then the ids of those that are not true any more."""
    if tables is SQLITE:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL READ COMMITTED")
        connection.exec_driver_sql("SET LOCAL lock_timeout = '5s'")
    try:
        for it in rewrites:
            connection.execute(upsert_of(it.row, tables.metadata.schema))
        stale = _stale(connection, tables, rewrites)
        connection.exec_driver_sql("ROLLBACK" if stale else "COMMIT")
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    return stale


def _stale(connection: Connection, tables: Tables, rewrites: Sequence[Rewrite]) -> set[str]:
    ids = [it.saga_id for it in rewrites]
    journal, saga = tables.journal.c, tables.saga
    last = select(journal.saga_id, func.max(journal.seq)).where(journal.saga_id.in_(ids)).group_by(journal.saga_id)
    stands = {found[0]: found[1] for found in connection.execute(last)}
    later = saga.alias()
    owner = [later.c[name] == saga.c[name] for name in ("environment", "tenant", "definition", "entity")]
    is_followed = exists().where(*owner, later.c.run > saga.c.run)
    latest = set(connection.scalars(select(saga.c.saga_id).where(saga.c.saga_id.in_(ids), ~is_followed)))
    return {it.saga_id for it in rewrites if stands.get(it.saga_id) != it.seq or it.saga_id not in latest}
