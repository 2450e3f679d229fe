"""A journal that was cut, changed, or written for another definition or a newer release is not worked on."""

from dataclasses import replace

import pytest

from saga.core.definition import Saga, readonly
from saga.core.transitions import READER_VERSION
from saga.errors import IllegalTransition
from saga.runtime.engine import Definitions, fold, known
from saga.store.journal import JournalEntry
from saga.store.memory import MemoryStore
from tests.simulation.sagas import SAGAS, Order, begin, f, fork, line
from tests.simulation.stepping import Process

DEFINITIONS = Definitions(SAGAS)


def journal() -> list[JournalEntry]:
    """Three entries: accepted, `a` claimed, `a` done and `b` claimed."""
    store = MemoryStore()
    saga_id = begin(store, line, "SO-1")
    worker = Process(store, DEFINITIONS, "w1")
    worker.wake(saga_id)
    worker.settle()
    worker.finish(worker.call("a"))
    worker.settle()
    return store.load([saga_id])[saga_id]


def changed() -> Saga[Order]:
    """Another saga under the name and version of `line`."""
    return Saga("line", version=1, input=Order, entity=lambda order: order.order_id, steps=[readonly(f)])


def test_a_whole_journal_is_read() -> None:
    """As it was written, by the release and the definition that wrote it."""
    loaded = known(DEFINITIONS, journal())
    assert loaded is not None
    assert loaded.seq == 3


def test_a_journal_with_a_gap_is_refused() -> None:
    """An entry is missing: whatever it said, the state would be a guess."""
    first, _, third = journal()
    with pytest.raises(IllegalTransition, match="the journal has a gap"):
        fold([first, third])


def test_a_journal_that_was_changed_is_refused() -> None:
    """The next entry carries the hash of what stood there."""
    first, second, third = journal()
    forged = replace(second, body=second.body.replace('"owner":"w1"', '"owner":"w2"'))
    assert forged != second
    with pytest.raises(IllegalTransition, match="the hash chain is broken"):
        fold([first, forged, third])


def test_a_journal_of_a_newer_release_is_left_alone() -> None:
    """One entry that says so is enough."""
    first, second, third = journal()
    assert known(DEFINITIONS, [first, replace(second, min_reader_version=READER_VERSION + 1), third]) is None


def test_a_saga_of_a_changed_definition_is_left_alone() -> None:
    """Name and version are equal, the steps are others: this process must not go on with it."""
    assert known(Definitions([changed()]), journal()) is None


def test_a_changed_definition_is_refused_and_the_others_run() -> None:
    """The fingerprint of a version stands once stored; who comes with another one may not use it."""
    store = MemoryStore()
    assert Definitions(SAGAS).register(store) == []
    mine = Definitions([changed(), fork])
    [refused] = mine.register(store)
    assert "line" in str(refused)
    assert mine.versions == (("fork", 1),)
