"""Rows of projections for the store in memory: tables as dictionaries from key to row."""

from collections.abc import Mapping
from typing import Any

from saga.core.projection import ProjectedRow, Projection, Value
from saga.forked import GuardedLock
from saga.scope import Scope
from saga.store.filtering import owned_rows
from saga.store.port import RowFilter


class RowsInMemory:
    """Tables of projections; whoever inherits it holds its lock while he writes a row."""

    scope: Scope

    def __init__(self) -> None:
        super().__init__()
        self._lock = GuardedLock("store")
        self._rows: dict[str, dict[tuple[Value, ...], dict[str, Value]]] = {}

    def rows(self, projection: Projection, wanted: RowFilter, limit: int) -> list[dict[str, Value]]:
        wanted = owned_rows(projection, wanted, self.scope)
        with self._lock:
            found = [dict(row) for row in self._rows.get(projection.table, {}).values() if _is_row_wanted(row, wanted)]
        found.sort(key=lambda row: _place(row, wanted), reverse=True)
        return found[:limit]

    def _write_row(self, row: ProjectedRow | None) -> None:
        if row is None:
            return
        projection = row.projection
        values = dict(zip(projection.names, row.values, strict=True))
        key = tuple(values[name] for name in projection.key)
        table = self._rows.setdefault(projection.table, {})
        if projection.inserts:
            table.setdefault(key, {}).update(values)
            return
        for standing in table.values():
            if tuple(standing.get(name) for name in projection.key) == key:
                standing.update(values)


def _is_row_wanted(row: Mapping[str, Value], wanted: RowFilter) -> bool:
    return (
        all(row[name] == value for name, value in wanted.equal.items())
        and all(row[name] in values for name, values in wanted.one_of.items() if values)
        and (wanted.before is None or _place(row, wanted) < wanted.before)
    )


def _place(row: Mapping[str, Value], wanted: RowFilter) -> tuple[Any, ...]:
    return tuple(row[name] for name in wanted.order)
