"""PostgreSQL only: two undos of one action whose transactions overlap, held in place by hand."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, MetaData, Table, create_engine, event, text

from saga.barrier import Kept, barrier_table, run_action, run_undo
from tests.waiting import wait_until

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def undo(connection: Connection, table: Table, key: str, undone: list[str]) -> Kept:
    """The undo of the action under `k`, under a key of its own."""

    def take_back(_answer: dict[str, Any]) -> Sequence[Mapping[str, Any]]:
        undone.append(key)
        return []

    names = {"operation": "POST /a/undo", "action": "POST /a"}
    return run_undo(connection, table, key=key, undoes="k", at=NOW, undo=take_back, **names)


def test_two_undos_that_both_found_the_action_move_back_once(empty_postgres_url: str) -> None:
    """The second one saw that the action is there; before it reads the row the first takes the action back. It waits until
    the first has committed, and reads the row as it is then."""
    engine = create_engine(empty_postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    metadata = MetaData()
    table = barrier_table(metadata)
    undone: list[str] = []
    with engine.begin() as setup:
        metadata.create_all(setup)
        asked = {"key": "k", "operation": "POST /a", "request_hash": "h", "order_id": "SO-1", "at": NOW}
        run_action(setup, table, act=lambda: (201, "{}"), **asked)  # type: ignore[arg-type]  # its parameters, by name
    watching = engine.execution_options(isolation_level="AUTOCOMMIT")
    with ThreadPoolExecutor(1) as thread, engine.connect() as first, watching.connect() as watcher:

        def overtake(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("SELECT") and not undone:
                undo(first, table, "u1", undone)

        def second() -> Kept:
            with engine.begin() as connection:
                event.listen(connection, "before_cursor_execute", overtake)
                return undo(connection, table, "u2", undone)

        waiting = thread.submit(second)
        wait_until(lambda: watcher.execute(text(BLOCKED)).scalar_one() > 0)
        first.commit()
        assert waiting.result(10).outcome == "null"
    engine.dispose()
    assert undone == ["u1"]
