"""What of a saga its owner keeps in a table of his own, as a value: which table, which columns, and a pure function.

The store writes the row in the transaction of the decision that changes it (T0, T1, T2 of DESIGN section 6), so no order
stays "new" in a table beside the journal after its saga has ended. The row is a cache (P4): it can be made again from the
journal, and nothing in the engine reads it.

Rules of this file:

- `face` says what the row depends on. It is asked for every decision and must be cheap; the row is made, and written, only
  when the face is another one than before.
- `row_of` is pure and gives a value for every column. What it raises is logged and the decision is written without a row: a
  mistake in a view costs no outcome.
- A row that the database refuses, for whatever reason, is left out and told in the log: the decision stands without it, and
  so do those of other sagas that were to be written with it.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from saga.core.fold import SagaState
from saga.core.options import AT_ONCE, Rule, answers_at_once, hold
from saga.errors import DefinitionError
from saga.words import shown

Kind = Literal["text", "bigint", "boolean", "timestamptz"]
Value = str | int | bool | datetime | None

_RULES: dict[str, Rule] = {
    "face": (answers_at_once, f"it is a function of the saga's state that gives what the row depends on; {AT_ONCE}"),
    "row_of": (answers_at_once, f"it is a function of the saga's state that gives a value for each column; {AT_ONCE}"),
}


@dataclass(frozen=True, eq=False)
class Projection:
    """A row for each business object, in `table` of `schema` (SQLite has no schemas and leaves it out).

    `columns` are all that is written, in the types of the database; `key` names those among them that say which row it is.
    With `inserts` a row that is not there is made, which needs a unique constraint over the key; without, only rows that
    somebody made are brought up to date (an orders table of one's own, whose row `start_on` committed with the saga).
    Raises `DefinitionError`.
    """

    table: str
    key: tuple[str, ...]
    columns: Mapping[str, Kind]
    face: Callable[[SagaState], Hashable]
    row_of: Callable[[SagaState], Mapping[str, Value]]
    schema: str | None = None
    inserts: bool = True
    names: tuple[str, ...] = field(init=False)
    """The columns in the order in which their values travel."""

    def __post_init__(self) -> None:
        hold(f"projection {shown(self.table)}", self, _RULES)
        written = [self.table, *self.columns, *([self.schema] if self.schema else [])]
        for name in written:
            if not (name.isascii() and name.isidentifier() and name == name.lower()):
                raise DefinitionError(
                    f"projection {self.table}: {name!r} is no name of a table or column in small letters"
                )
        if not self.key or not set(self.key) <= set(self.columns):
            raise DefinitionError(f"projection {self.table}: key={self.key!r}; name one or more of its columns")
        if set(self.key) == set(self.columns):
            raise DefinitionError(
                f"projection {self.table}: every column is part of the key; there is nothing to bring up to date"
            )
        for column, kind in self.columns.items():
            if kind not in get_args(Kind):
                raise DefinitionError(
                    f"projection {self.table}: {column} is {kind!r}; it is one of {', '.join(get_args(Kind))}"
                )
        object.__setattr__(self, "names", tuple(self.columns))


@dataclass(frozen=True, slots=True)
class ProjectedRow:
    """One row on its way; `values` stand in the order of `projection.names`."""

    projection: Projection
    values: tuple[Value, ...]

    @property
    def key(self) -> tuple[Value, ...]:
        """Which row it is."""
        return tuple(self.values[self.projection.names.index(name)] for name in self.projection.key)


TYPES: Mapping[Kind, type] = {"text": str, "bigint": int, "boolean": bool, "timestamptz": datetime}


def projected(projection: Projection, state: SagaState) -> ProjectedRow:
    """The row of `state`. Raises what `row_of` raises, and `DefinitionError` when it gives other columns than were named."""
    row = projection.row_of(state)
    if row.keys() != projection.columns.keys():
        other = ", ".join(sorted(row.keys() ^ projection.columns.keys()))
        raise DefinitionError(f"projection {projection.table}: row_of and columns differ in {other}")
    for name, kind in projection.columns.items():
        value = row[name]
        is_number_as_flag = kind == "bigint" and isinstance(value, bool)
        if value is not None and (not isinstance(value, TYPES[kind]) or is_number_as_flag):
            raise DefinitionError(
                f"projection {projection.table}: row_of gives {name} a {type(value).__name__}; it is {kind}"
            )
    return ProjectedRow(projection, tuple(row[name] for name in projection.names))
