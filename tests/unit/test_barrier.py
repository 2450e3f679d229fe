"""The barrier by itself, in one database in memory: what a service cannot reach because its paths keep operations apart."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, MetaData, Table, create_engine, select

from saga.barrier import APPLIED, BusinessRejection, Kept, KeyReused, Tombstoned, barrier_table, run_action, run_undo

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def table(connection: Connection) -> Table:
    metadata = MetaData()
    made = barrier_table(metadata)
    metadata.create_all(connection)
    return made


def act(connection: Connection, table: Table, key: str, operation: str) -> Kept:
    """The same body under every operation."""
    return run_action(
        connection,
        table,
        key=key,
        operation=operation,
        request_hash="hash",
        order_id="SO-1",
        at=NOW,
        act=lambda: (201, "{}"),
    )


def test_key_of_another_operation_is_refused(connection: Connection, table: Table) -> None:
    """Firm and commit have the same body: the key of one is not answered with what the other did."""
    act(connection, table, "k", "POST /firm")
    with pytest.raises(KeyReused):
        act(connection, table, "k", "POST /commit")
    assert act(connection, table, "k", "POST /firm").is_replayed


def test_undo_of_another_operation_is_refused(connection: Connection, table: Table) -> None:
    """The undo of a capture finds the key of an authorization: nothing is taken back, and the action stays applied."""
    act(connection, table, "k", "POST /authorizations")
    undone: list[object] = []

    def undo(answer: object) -> list[dict[str, object]]:
        undone.append(answer)
        return []

    with pytest.raises(KeyReused):
        run_undo(
            connection,
            table,
            key="u",
            undoes="k",
            operation="POST /captures/undo",
            action="POST /captures",
            at=NOW,
            undo=undo,
        )
    action = connection.execute(select(table).where(table.c.key == "k")).one()
    assert (undone, action.outcome, action.undone_by) == ([], APPLIED, None)


def test_a_row_that_an_earlier_release_undid_is_a_tombstone(connection: Connection, table: Table) -> None:
    """The releases before wrote `undone_by` and nothing else: the column alone closes the key, without a migration."""
    act(connection, table, "k", "POST /firm")
    connection.execute(table.update().where(table.c.key == "k").values(undone_by="u"))
    with pytest.raises(Tombstoned, match="key k was undone before"):
        act(connection, table, "k", "POST /firm")


def test_an_undo_that_is_refused_closes_nothing(connection: Connection, table: Table) -> None:
    """What has left the house cannot be taken back: its undo is rolled back, and a copy of the action hears the answer."""
    act(connection, table, "k", "POST /firm")

    def refuse(_answer: object) -> list[dict[str, object]]:
        raise BusinessRejection(409, "committed", "it has left the house")

    names = {"operation": "POST /firm/undo", "action": "POST /firm"}
    with pytest.raises(BusinessRejection), connection.begin_nested():
        run_undo(connection, table, key="u", undoes="k", at=NOW, undo=refuse, **names)
    assert act(connection, table, "k", "POST /firm").is_replayed
