"""The statements that write rows of projections, for both databases, and the reading of such a table.

Identifiers come from a `Projection`, which lets only small ASCII names through, so they are written into the text; values
never are.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Executable,
    TableClause,
    Text,
    column,
    literal,
    select,
    table,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

from saga.core.projection import Kind, ProjectedRow, Projection, Value
from saga.store.port import RowFilter
from saga.store.tables import Instant, to_micros

TYPES: Mapping[Kind, type[TypeEngine[Any]]] = {
    "text": Text,
    "bigint": BigInteger,
    "boolean": Boolean,
    "timestamptz": Instant,
}


@cache
def upsert(projection: Projection, *, on_postgresql: bool) -> str:
    """The statement for PostgreSQL (rows as one array per column, `%s`; only those of sagas in `inserted`), or for SQLite
    (one row, `?`)."""
    place = f"{projection.schema}.{projection.table}" if on_postgresql and projection.schema else projection.table
    names = projection.names
    changing = [name for name in names if name not in projection.key]
    if on_postgresql:
        arrays = ", ".join(f"%s::{projection.columns[name]}[]" for name in names)
        rows = f"unnest(%s::text[], {arrays}) AS v (of_saga, {', '.join(names)})"
        if not projection.inserts:
            sets = ", ".join(f"{name} = v.{name}" for name in changing)
            keys = " AND ".join(f"t.{name} = v.{name}" for name in projection.key)
            return (
                f"UPDATE {place} t SET {sets} FROM {rows} WHERE {keys} AND v.of_saga IN (SELECT saga_id FROM inserted)"
            )
        source = f"SELECT {', '.join(f'v.{name}' for name in names)} FROM {rows} WHERE v.of_saga IN (SELECT saga_id FROM inserted)"
    else:
        if not projection.inserts:
            sets = ", ".join(f"{name} = ?" for name in changing)
            return f"UPDATE {place} SET {sets} WHERE {' AND '.join(f'{name} = ?' for name in projection.key)}"
        source = f"VALUES ({', '.join('?' for _ in names)})"
    sets = ", ".join(f"{name} = excluded.{name}" for name in changing)
    return f"INSERT INTO {place} ({', '.join(names)}) {source} ON CONFLICT ({', '.join(projection.key)}) DO UPDATE SET {sets}"


def sqlite_values(row: ProjectedRow) -> tuple[Any, ...]:
    """The parameters of the SQLite statement."""
    of = dict(zip(row.projection.names, row.values, strict=True))
    names: Iterable[str] = row.projection.names
    if not row.projection.inserts:
        names = [*(name for name in row.projection.names if name not in row.projection.key), *row.projection.key]
    return tuple(to_micros(value) if isinstance(value := of[name], datetime) else value for name in names)


def declared(projection: Projection, schema: str | None) -> TableClause:
    """The table, for statements of SQLAlchemy."""
    columns = [column(name, TYPES[kind]()) for name, kind in projection.columns.items()]
    return table(projection.table, *columns, schema=projection.schema if schema else None)


def upsert_of(row: ProjectedRow, schema: str | None) -> Executable:
    """The same for one row, on a connection of SQLAlchemy."""
    projection = row.projection
    here = declared(projection, schema)
    values = dict(zip(projection.names, row.values, strict=True))
    changing = {name: value for name, value in values.items() if name not in projection.key}
    if not projection.inserts:
        return update(here).where(*(here.c[name] == values[name] for name in projection.key)).values(changing)
    insert = postgresql.insert(here) if schema else sqlite.insert(here)
    return insert.values(values).on_conflict_do_update(index_elements=list(projection.key), set_=changing)


def find_rows(
    connection: Connection, projection: Projection, wanted: RowFilter, limit: int, *, schema: str | None
) -> list[dict[str, Value]]:
    """Rows of a projection's table."""
    columns = {name: column(name, TYPES[kind]()) for name, kind in projection.columns.items()}
    here = table(projection.table, *columns.values(), schema=schema)
    conditions: list[ColumnElement[bool]] = [columns[name] == value for name, value in wanted.equal.items()]
    conditions += [columns[name].in_(values) for name, values in wanted.one_of.items() if values]
    if wanted.before is not None:
        last = [literal(value, columns[name].type) for name, value in zip(wanted.order, wanted.before, strict=True)]
        conditions.append(tuple_(*(columns[name] for name in wanted.order)) < tuple_(*last))
    ordered = [columns[name].desc() for name in wanted.order]
    query = select(*(here.c[name] for name in projection.names)).where(*conditions).order_by(*ordered).limit(limit)
    return [dict(found._mapping) for found in connection.execute(query)]


def grouped(rows: Sequence[tuple[str, ProjectedRow]]) -> dict[Projection, list[tuple[str, ProjectedRow]]]:
    """Rows by projection, each with the id of its saga."""
    found: dict[Projection, list[tuple[str, ProjectedRow]]] = {}
    for saga_id, row in rows:
        found.setdefault(row.projection, []).append((saga_id, row))
    return found
