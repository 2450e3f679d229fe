"""What the surfaces read: rows, filtered pages, counts, definitions and the clock."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from saga.core.states import HaltReason, SagaStatus
from saga.errors import SagaError
from saga.store.port import Append, SagaColumns, SagaFilter, Store
from tests.conformance.building import accepted, entry_of, moved, new_saga


def found(store: Store, limit: int = 50, **fields: object) -> list[str]:
    """Ids that a filter lets through, in the order of the page."""
    return [row.saga_id for row in store.find(SagaFilter(**fields), limit)]  # type: ignore[arg-type]  # fields by name


def test_pages_go_backwards_and_miss_nobody(store: Store) -> None:
    """Pages of 4 by (accepted_at, saga_id) descending give all 10, each once, although a group has one instant."""
    group = [new_saga(store) for _ in range(10)]
    store.accept(group[:6])
    store.accept(group[6:])
    pages: list[str] = []
    before = None
    for length in (4, 4, 2, 0):
        page = store.find(SagaFilter(before=before), 4)
        assert len(page) == length
        pages += [row.saga_id for row in page]
        before = (page[-1].accepted_at, page[-1].saga_id) if page else None
    assert sorted(pages[:4]) == sorted(new.saga_id for new in group[6:])
    assert sorted(pages) == sorted(new.saga_id for new in group)


def test_filters(store: Store) -> None:
    """Definition, status, halt reason, entity and prefix each narrow the answer, and together they narrow more."""
    running = accepted(store, entity="SO-100").saga_id
    done = accepted(store, entity="SO-101").saga_id
    halted = accepted(store, definition="return_order", entity="so-100").saga_id
    store.append([moved(store, done, 2, SagaStatus.COMPLETED)])
    stuck = SagaColumns(SagaStatus.HALTED, HaltReason.POISON, None)
    store.append([Append(halted, entry_of(store, halted, 2), stuck)])
    assert found(store) == [halted, done, running]
    assert found(store, definition="return_order") == [halted]
    assert found(store, statuses=(SagaStatus.RUNNING, SagaStatus.COMPLETED)) == [done, running]
    assert found(store, halt_reason=HaltReason.POISON) == [halted]
    assert found(store, halt_reason=HaltReason.DEFECT) == []
    assert found(store, entity="SO-101") == [done]
    assert found(store, entities=("SO-101", "SO-100", "SO-9")) == [done, running]
    assert found(store, id_prefix="SO-10", statuses=(SagaStatus.RUNNING,)) == [running]
    assert found(store, limit=1) == [halted]


@pytest.mark.parametrize("wild", ["%", "_", "SO%", "s_", "\\"])
def test_a_prefix_is_no_pattern(store: Store, wild: str) -> None:
    """Wild cards of LIKE mean themselves, and case counts."""
    accepted(store, entity="SO-100")
    assert found(store, id_prefix=wild) == []
    assert found(store, id_prefix="so-") == []


def test_a_prefix_matches_id_or_entity(store: Store) -> None:
    """The beginning of either; a whole id too."""
    new = accepted(store, entity="SO-100")
    assert found(store, id_prefix="SO-1") == found(store, id_prefix=new.saga_id) == [new.saga_id]


def test_counts_by_status(store: Store) -> None:
    """Each status is there, with zero when no saga has it."""
    for _ in range(3):
        accepted(store)
    ended = accepted(store).saga_id
    store.append([moved(store, ended, 2, SagaStatus.COMPENSATED)])
    assert store.counts() == {
        SagaStatus.RUNNING: 3,
        SagaStatus.COMPENSATING: 0,
        SagaStatus.COMPLETED: 0,
        SagaStatus.COMPENSATED: 1,
        SagaStatus.HALTED: 0,
    }


def test_a_saga_that_is_not_there(store: Store) -> None:
    """No row and no effects, and no error."""
    assert store.row("nobody") is None
    assert store.effects("nobody") == []


def test_a_fingerprint_stands_once_stored(store: Store) -> None:
    """The first fingerprint of a version is the answer for ever; another version has its own."""
    assert store.register_definition("fulfil_order", 1, "aaa") == "aaa"
    assert store.register_definition("fulfil_order", 1, "bbb") == "aaa"
    assert store.register_definition("fulfil_order", 2, "bbb") == "bbb"


def test_the_clock_carries_the_database_clock_on(store: Store) -> None:
    """Both are aware UTC, and between two answers the carried one stands between them, within half a second."""
    before, carried, after = store.now(), store.clock(), store.now()
    assert before.utcoffset() == carried.utcoffset() == timedelta(0)
    assert before - timedelta(seconds=0.5) <= carried <= after + timedelta(seconds=0.5)


def test_an_id_that_no_database_can_hold(store: Store) -> None:
    """Asked for a NUL byte a store says that there is none, or refuses with an error of ours."""
    for ask in (store.row, store.effects, lambda saga_id: store.find(SagaFilter(entity=saga_id), 1), tail_of(store)):
        with suppress(SagaError):
            assert not ask("a\0b")


def tail_of(store: Store) -> Callable[[str], object]:
    return lambda saga_id: store.tail(saga_id, 0)
