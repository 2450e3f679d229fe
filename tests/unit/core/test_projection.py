"""A projection is a value that says what is wrong with it when it is made."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from saga.core.fold import SagaState
from saga.core.outcomes import Payload
from saga.core.projection import ProjectedRow, Projection, Value, projected
from saga.errors import DefinitionError

STATE = SagaState("s", "shop", 1, "f", "test", "shop", "SO-1", 1, Payload("{}"), datetime(2026, 11, 21, tzinfo=UTC))


def row_of(state: SagaState) -> Mapping[str, Value]:
    return {"order_id": state.entity, "status": state.status.value}


def made(**change: Any) -> Projection:
    facts: dict[str, Any] = {
        "table": "orders",
        "schema": "shop",
        "key": ("order_id",),
        "columns": {"order_id": "text", "status": "text"},
        "face": lambda state: state.status,
        "row_of": row_of,
    }
    return Projection(**(facts | change))


def test_a_row_has_its_values_in_the_order_of_the_columns() -> None:
    """They travel as a tuple, so one order is everybody's."""
    projection = made(columns={"status": "text", "order_id": "text"})
    assert projected(projection, STATE) == ProjectedRow(projection, ("running", "SO-1"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"table": "Orders"}, "'Orders' is no name"),
        ({"table": "orders; DROP TABLE saga"}, "is no name of a table or column"),
        ({"schema": "s hop"}, "'s hop' is no name"),
        ({"columns": {"order_id": "text", "größe": "text"}}, "'größe' is no name"),
        ({"key": ()}, "name one or more of its columns"),
        ({"key": ("nobody",)}, "name one or more of its columns"),
        ({"key": ("order_id", "status")}, "nothing to bring up to date"),
        ({"columns": {"order_id": "text", "status": "varchar"}}, "status is 'varchar'; it is one of text, bigint"),
    ],
)
def test_what_could_not_be_written_is_refused_when_it_is_made(change: dict[str, Any], says: str) -> None:
    """Names go into statements, so only plain ones are let through."""
    with pytest.raises(DefinitionError, match=says):
        made(**change)


def test_a_row_with_other_columns_is_refused_by_name() -> None:
    """A column that was forgotten would be NULL in somebody's table."""
    with pytest.raises(DefinitionError, match="row_of and columns differ in colour"):
        projected(made(columns={"order_id": "text", "status": "text", "colour": "text"}), STATE)


def test_the_key_of_a_row_is_its_values_in_the_order_of_the_key() -> None:
    """Two rows of one key cannot go into one statement, so a store asks for it."""
    projection = made(key=("status", "order_id"), columns={"order_id": "text", "status": "text", "run": "bigint"})
    assert ProjectedRow(projection, ("SO-1", "running", 1)).key == ("running", "SO-1")


@pytest.mark.parametrize(
    ("value", "says"), [(1, "status a int; it is text"), (b"x", "status a bytes; it is text"), (True, "a bool")]
)
def test_a_value_of_another_type_is_refused_before_it_is_written(value: Any, says: str) -> None:
    """PostgreSQL takes its arrays as text: what looks like two numbers there would be two rows."""
    with pytest.raises(DefinitionError, match=says):
        projected(made(row_of=lambda _state: {"order_id": "SO-1", "status": value}), STATE)


def test_a_flag_is_no_number_and_nothing_is_of_every_type() -> None:
    """To Python a bool is an int; to a column it is not."""
    counted = made(columns={"order_id": "text", "run": "bigint"}, row_of=lambda _state: {"order_id": None, "run": True})
    with pytest.raises(DefinitionError, match="run a bool; it is bigint"):
        projected(counted, STATE)
    nothing = made(row_of=lambda _state: {"order_id": "SO-1", "status": None})
    assert projected(nothing, STATE).values == ("SO-1", None)
