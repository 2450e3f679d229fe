"""Append is compare-and-set on (saga, seq), whole or not at all, and idempotent: the same on all three stores."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from saga.core.states import HaltReason, SagaStatus
from saga.store.journal import Reached
from saga.store.port import Append, AppendResult, EffectRow, SagaColumns, Store
from tests.conformance.building import accepted, append_of, due_ago, entry, entry_of, mark_damaged, moved

APPENDED, CONFLICT, REFUSED = AppendResult.APPENDED, AppendResult.CONFLICT, AppendResult.REFUSED


def test_an_appended_entry_is_read_back_as_it_was(store: Store) -> None:
    """Every field of an entry survives, text outside ASCII, quotes and backslashes too."""
    saga_id = accepted(store).saga_id
    told = entry_of(store, saga_id, 2, note="größe “€” {,} \\\\ 日本", reason='he said "no", \\ NULL {a,b}')
    assert store.append([Append(saga_id, told)]) == [APPENDED]
    assert store.tail(saga_id, 1) == [told]


def test_a_taken_number_is_a_conflict_and_changes_nothing(store: Store) -> None:
    """The loser's entry, columns and effects are all absent."""
    saga_id = accepted(store).saga_id
    assert store.append([append_of(store, saga_id, 2, writer="w1")]) == [APPENDED]
    effect = EffectRow("pay:a", "money", "EUR", 100, 1)
    loser = replace(moved(store, saga_id, 2, SagaStatus.COMPLETED, [effect]), entry=entry(2, store.now(), writer="w2"))
    assert store.append([loser]) == [CONFLICT]
    row = store.row(saga_id)
    assert row is not None
    assert row.status is SagaStatus.RUNNING
    assert store.effects(saga_id) == []
    assert [one.writer for one in store.tail(saga_id, 1)] == ["w1"]


@pytest.mark.parametrize("seq", [3, 9])
def test_a_gap_is_a_conflict(store: Store, seq: int) -> None:
    """Entry n goes in only behind entry n - 1."""
    saga_id = accepted(store).saga_id
    assert store.append([append_of(store, saga_id, seq)]) == [CONFLICT]
    assert len(store.load([saga_id])[saga_id]) == 1


def test_an_entry_goes_behind_the_very_one_that_it_was_decided_on(store: Store) -> None:
    """After a fail-over another entry 2 may stand there, a cancel say: who decided on the lost one has to read and decide anew."""
    saga_id = accepted(store).saga_id
    lost = entry_of(store, saga_id, 2, note="a claim")
    assert store.append([append_of(store, saga_id, 2, note="a cancel")]) == [APPENDED]
    on_the_lost = Append(saga_id, entry(3, store.now(), prev_hash=lost.hash))
    assert store.append([on_the_lost]) == [CONFLICT]
    assert store.append([append_of(store, saga_id, 3)]) == [APPENDED]


def test_a_damaged_journal_takes_nothing_but_an_answer_for_it(store: Store) -> None:
    """Not from a process that has read it before it was marked, and the row stays as it is; what a person answers for goes in."""
    saga_id = accepted(store).saga_id
    ready = moved(store, saga_id, 2, SagaStatus.COMPENSATING)
    mark_damaged(store, saga_id)
    assert store.append([ready]) == [CONFLICT]
    row = store.row(saga_id)
    assert row is not None
    assert (row.status, row.halt_reason) == (SagaStatus.HALTED, HaltReason.JOURNAL_DAMAGED)
    assert store.load([saga_id])[saga_id].lacks == "its saga row says that it was damaged"
    assert store.append([replace(ready, answers_for_damage=True)]) == [APPENDED]
    assert store.load([saga_id])[saga_id].lacks is None


def test_a_row_that_remembers_more_takes_nothing(store: Store) -> None:
    """What it remembers is no less afterwards, whoever marks it."""
    saga_id = accepted(store).saga_id
    far = Reached(9, b"9" * 32)
    mark_damaged(store, saga_id, far)
    mark_damaged(store, saga_id, Reached(3, b"3" * 32))
    assert store.load([saga_id])[saga_id].reached == far
    assert store.append([append_of(store, saga_id, 2)]) == [CONFLICT]


def test_whoever_saw_the_damage_too_early_marks_nothing(store: Store) -> None:
    """A person has let the saga go since, and what goes on is not held again."""
    saga_id = accepted(store).saga_id
    mark_damaged(store, saga_id, Reached(2, b"2" * 32))
    seen = store.load([saga_id])[saga_id].reached
    assert store.append([replace(moved(store, saga_id, 2, SagaStatus.RUNNING), answers_for_damage=True)]) == [APPENDED]
    store.mark_damaged(saga_id, seen)
    row = store.row(saga_id)
    assert row is not None
    assert row.status is SagaStatus.RUNNING


def test_a_saga_that_does_not_exist_is_a_conflict(store: Store) -> None:
    """No journal row comes about without its saga."""
    assert store.append([append_of(store, "nobody", 1), append_of(store, "nobody-2", 2)]) == [CONFLICT, CONFLICT]
    assert store.load(["nobody", "nobody-2"]) == {}


def test_the_very_same_entry_again_is_appended(store: Store) -> None:
    """An unknown COMMIT is resolved by appending again, even when the saga has moved on."""
    saga_id = accepted(store).saga_id
    second = append_of(store, saga_id, 2)
    assert store.append([second]) == [APPENDED]
    assert store.append([append_of(store, saga_id, 3)]) == [APPENDED]
    assert store.append([second]) == [APPENDED]
    assert [one.seq for one in store.load([saga_id])[saga_id]] == [1, 2, 3]


@pytest.mark.parametrize("field", ["writer", "body", "prev_hash"])
def test_an_entry_that_differs_is_not_the_same(store: Store, field: str) -> None:
    """Writer, body and hash all count: another worker's equal decision is another decision."""
    saga_id = accepted(store).saga_id
    second = append_of(store, saga_id, 2)
    store.append([second])
    other = {"writer": "w2", "body": "[]", "prev_hash": b"\xff" * 32}[field]
    assert store.append([Append(saga_id, replace(second.entry, **{field: other}))]) == [CONFLICT]  # type: ignore[arg-type]  # one of three fields


def test_answers_stand_in_the_order_of_the_group(store: Store) -> None:
    """The group is sorted inside, not in the answer."""
    ids = [accepted(store).saga_id for _ in range(4)]
    group = [append_of(store, ids[3], 2), append_of(store, ids[0], 5), append_of(store, ids[2], 2)]
    assert store.append(group) == [APPENDED, CONFLICT, APPENDED]


def test_one_conflict_in_a_group_leaves_the_others(store: Store) -> None:
    """63 of 64 go in when one number is taken."""
    ids = [accepted(store).saga_id for _ in range(64)]
    store.append([append_of(store, ids[20], 2, writer="other")])
    results = store.append([append_of(store, saga_id, 2) for saga_id in ids])
    assert results == [CONFLICT if index == 20 else APPENDED for index in range(64)]


@pytest.mark.parametrize("spoiled", ["nul", "surrogate"])
def test_one_refused_text_in_a_group_leaves_the_others(store: Store, spoiled: str) -> None:
    """63 of 64 go in when one holds text that no database may take; repeating refuses the same one."""
    ids = [accepted(store).saga_id for _ in range(64)]
    group = [append_of(store, saga_id, 2) for saga_id in ids]
    bad = {"nul": "a\0b", "surrogate": "a\ud800b"}[spoiled]
    group[40] = Append(ids[40], replace(group[40].entry, reason=bad))
    expected = [REFUSED if index == 40 else APPENDED for index in range(64)]
    assert store.append(group) == expected
    assert store.append(group) == expected
    assert len(store.load([ids[40]])[ids[40]]) == 1


def test_values_out_of_range_are_refused(store: Store) -> None:
    """A quantity beyond 64 bits and a sign of 0 are data that is refused."""
    ids = [accepted(store).saga_id for _ in range(3)]
    group = [
        moved(store, ids[0], 2, SagaStatus.COMPLETED, [EffectRow("n", "money", "EUR", 2**63, 1)]),
        moved(store, ids[1], 2, SagaStatus.COMPLETED, [EffectRow("n", "money", "EUR", 1, 0)]),
        append_of(store, ids[2], 2),
    ]
    assert store.append(group) == [REFUSED, REFUSED, APPENDED]
    assert store.effects(ids[0]) == store.effects(ids[1]) == []


def test_columns_and_effects_go_in_with_their_entry(store: Store) -> None:
    """One append moves the saga row and adds the effect rows; appends beside it without columns leave their rows."""
    moving, standing = accepted(store).saga_id, accepted(store).saga_id
    effects = (
        EffectRow("pay:a", "money", "EUR", 1250, 1, store.now()),
        EffectRow("reserve:a", "stock", "85123A", 2, -1),
    )
    columns = SagaColumns(SagaStatus.HALTED, HaltReason.DEFECT, None)
    group = [Append(moving, entry_of(store, moving, 2), columns, effects), append_of(store, standing, 2)]
    assert store.append(group) == [APPENDED, APPENDED]
    row, other = store.row(moving), store.row(standing)
    assert row is not None
    assert other is not None
    assert (row.status, row.halt_reason, row.due_at, row.ended_at) == (SagaStatus.HALTED, HaltReason.DEFECT, None, None)
    assert (other.status, other.due_at is None) == (SagaStatus.RUNNING, False)
    assert store.effects(moving) == list(effects)
    assert store.append(group) == [APPENDED, APPENDED]
    assert store.effects(moving) == list(effects), "appending again must not add effects again"


def test_written_columns_start_the_pushes_anew(store: Store) -> None:
    """A saga that moved is swept as if for the first time."""
    new = accepted(store, due_at=due_ago(store, 1))
    store.sweep_due(10, 0.0)
    store.sweep_due(10, 0.0)
    columns = SagaColumns(SagaStatus.RUNNING, None, due_ago(store, 1))
    store.append([Append(new.saga_id, entry_of(store, new.saga_id, 2), columns)])
    assert [due.pushes for due in store.sweep_due(10, 5.0)] == [0]


def test_two_entries_of_one_saga_in_a_group_are_a_bug(store: Store) -> None:
    """The unit of append is one decision."""
    saga_id = accepted(store).saga_id
    with pytest.raises(ValueError, match="twice"):
        store.append([append_of(store, saga_id, 2), append_of(store, saga_id, 3)])


def test_an_empty_group_is_nothing(store: Store) -> None:
    """No rows, no answers, no error."""
    assert store.append([]) == []
    assert store.accept([]) == []


def test_of_many_writers_one_takes_each_number(store: Store) -> None:
    """16 threads append to the same 8 sagas: per saga and number exactly one is told APPENDED, and no gap is left."""
    ids = [accepted(store).saga_id for _ in range(8)]

    def race(writer: int) -> list[AppendResult]:
        results = []
        for seq in range(2, 7):
            results += store.append([append_of(store, saga_id, seq, writer=f"w{writer}") for saga_id in ids])
        return results

    with ThreadPoolExecutor(16) as threads:
        won = [result for results in threads.map(race, range(16)) for result in results]
    journals = store.load(ids)
    written = sum(len(journal) - 1 for journal in journals.values())
    assert won.count(APPENDED) == written
    for journal in journals.values():
        assert [one.seq for one in journal] == list(range(1, len(journal) + 1))


def test_load_and_tail(store: Store) -> None:
    """Whole journals ascending, ids that do not exist missing, and the entries behind a number."""
    one, two = accepted(store).saga_id, accepted(store).saga_id
    for seq in (2, 3, 4):
        store.append([append_of(store, one, seq)])
    journals = store.load([two, "nobody", one])
    assert {saga_id: [e.seq for e in journal] for saga_id, journal in journals.items()} == {one: [1, 2, 3, 4], two: [1]}
    assert [e.seq for e in store.tail(one, 2)] == [3, 4]
    assert [e.seq for e in store.tail(one, 0)] == [1, 2, 3, 4]
    assert store.tail(one, 4) == store.tail("nobody", 0) == []
