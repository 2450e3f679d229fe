"""What a saga row remembers of its journal's length, told with the journal in one snapshot; and a row that is halted by it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text

from saga.core.states import HaltReason, SagaStatus
from saga.store.journal import Journal, Reached
from saga.store.memory import MemoryStore
from saga.store.port import SagaFilter, Store
from tests.conformance.building import accepted, append_of, mark_damaged, moved

Cut = Callable[[str, int], None]


@pytest.fixture
def cut(request: pytest.FixtureRequest, store: Store) -> Cut:
    """Takes the entries behind a number out of a journal, as a restore of that table alone would."""

    def in_memory(saga_id: str, after_seq: int) -> None:
        assert isinstance(store, MemoryStore)
        del store._sagas[saga_id].journal[after_seq:]

    def in_database(saga_id: str, after_seq: int) -> None:
        kind = request.node.callspec.params["open_another"]
        engine = create_engine(
            request.getfixturevalue(f"store_{kind}_url").replace("postgresql://", "postgresql+psycopg://")
        )
        table = "saga.journal" if kind == "postgres" else "journal"
        with engine.begin() as connection:
            query = text(f"DELETE FROM {table} WHERE saga_id = :id AND seq > :seq")
            connection.execute(query, {"id": saga_id, "seq": after_seq})
        engine.dispose()

    return in_memory if isinstance(store, MemoryStore) else in_database


def journal_of(store: Store, saga_id: str) -> Journal:
    return store.load([saga_id])[saga_id]


def test_an_accepted_saga_remembers_its_first_entry(store: Store) -> None:
    """From the first moment on a journal that is gone is noticed."""
    journal = journal_of(store, accepted(store).saga_id)
    assert (journal.reached, journal.lacks) == (Reached(1, journal[0].hash), None)


def test_an_append_that_writes_the_columns_is_remembered_and_another_is_not(store: Store) -> None:
    """The memory may be behind the journal and never before it."""
    saga_id = accepted(store).saga_id
    store.append([append_of(store, saga_id, 2)])
    assert journal_of(store, saga_id).reached == Reached(1, journal_of(store, saga_id)[0].hash)
    store.append([moved(store, saga_id, 3, SagaStatus.COMPENSATING)])
    journal = journal_of(store, saga_id)
    assert (journal.reached, len(journal), journal.lacks) == (Reached(3, journal[2].hash), 3, None)


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_journal_without_its_last_entries_says_what_it_lacks(store: Store, cut: Cut, left: int) -> None:
    """Also one that has none left: the saga is in the answer, with an empty journal."""
    saga_id = accepted(store).saga_id
    store.append([append_of(store, saga_id, 2)])
    store.append([moved(store, saga_id, 3, SagaStatus.COMPENSATING)])
    cut(saga_id, left)
    journal = journal_of(store, saga_id)
    assert (len(journal), journal.lacks) == (left, f"its saga row remembers entry 3, and the journal has {left}")


def test_an_entry_that_was_written_anew_is_not_the_one_that_is_remembered(store: Store, cut: Cut) -> None:
    """Somebody who does not look went on after the cut: as long as before, and another story."""
    saga_id = accepted(store).saga_id
    store.append([moved(store, saga_id, 2, SagaStatus.COMPENSATING)])
    cut(saga_id, 1)
    store.append([replace(append_of(store, saga_id, 2, note="another"), answers_for_damage=True)])
    assert journal_of(store, saga_id).lacks == "entry 2 is not the one that its saga row remembers"


def test_a_damaged_saga_is_halted_and_nobody_is_due(store: Store) -> None:
    """By its row alone, since nothing can be appended that says so; the others are as they were."""
    damaged, other = accepted(store).saga_id, accepted(store).saga_id
    known = Reached(7, b"h" * 32)
    mark_damaged(store, damaged, known)
    row = store.row(damaged)
    assert row is not None
    assert (row.status, row.halt_reason, row.due_at) == (SagaStatus.HALTED, HaltReason.JOURNAL_DAMAGED, None)
    assert journal_of(store, damaged).reached == known
    assert [it.saga_id for it in store.find(SagaFilter(is_due=True), 10)] == [other]
    mark_damaged(store, damaged)
    assert journal_of(store, damaged).reached == known, "what is known is not forgotten"


def test_an_ended_saga_stays_ended(store: Store) -> None:
    """There is nothing left to hold; the audit tells what its journal lacks."""
    saga_id = accepted(store).saga_id
    store.append([moved(store, saga_id, 2, SagaStatus.COMPENSATED)])
    mark_damaged(store, saga_id)
    row = store.row(saga_id)
    assert row is not None
    assert row.status is SagaStatus.COMPENSATED
