"""A group is written in the order of its saga ids, whatever order it was handed over in."""

from datetime import UTC, datetime

from saga.store.journal import JournalEntry
from saga.store.port import (
    Append,
)
from saga.store.refusing import in_order

ENTRY = JournalEntry(2, datetime(2026, 3, 1, tzinfo=UTC), "w1", "engine", None, "[]", bytes(32))


def test_a_group_is_sorted_by_saga_id() -> None:
    """Two groups with the same sagas take their rows in the same order, so neither waits for the other."""
    for ids in (["b", "a", "c"], ["c", "b", "a"]):
        assert [item.saga_id for item in in_order([Append(saga_id, ENTRY) for saga_id in ids])] == ["a", "b", "c"]
