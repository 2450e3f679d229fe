"""The rows around the journal are audited as well: each is broken once by hand, and I5 tells, with the ids, and nothing else."""

from dataclasses import replace

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, readonly
from saga.runtime.engine import Definitions, fold
from saga.runtime.starting import answer, new_saga
from saga.store.journal import JournalEntry, Reached
from saga.store.sqlite import SqliteStore
from saga.surfaces.audit import AuditReport, audit, render
from saga.surfaces.audit_rows import lost_requests, lost_sagas, settled
from saga.surfaces.invariants import Invariant
from tests.conformance.building import mark_damaged
from tests.integration.audit.books import serving
from tests.integration.audit.conftest import (
    ACCEPTED,
    COMPLETED,
    DECLINED,
    DEFINITIONS,
    HALTED,
    OUT_OF_STOCK,
    TWICE,
    World,
)
from tests.integration.audit.falsifying import execute

DONE = COMPLETED[0]
ENDED = (DONE, DECLINED)
EVERY = (DONE, DECLINED, OUT_OF_STOCK, HALTED, ACCEPTED, TWICE)


def tells(report: AuditReport, saga_id: str, order_id: str, *words: str) -> None:
    """Only I5 is broken, only for this saga, once, and the page names it; the detail has all of the words."""
    found = [f"{it.invariant} {it.order_id} {it.saga_id}: {it.detail}" for it in report.violations]
    assert len(found) == 1, found
    [fault] = report.violations
    assert (fault.invariant.value, fault.order_id, fault.saga_id) == ("I5", order_id, saga_id), found
    assert all(word in fault.detail for word in words), found
    assert report.exit_code == 1
    assert f"(saga {saga_id})" in render(report)


def change(world: World, order_id: str, assignment: str, *values: object) -> str:
    """Change columns of a saga row; the saga's id."""
    saga_id = world.saga_id(order_id)
    execute(world.database, f"UPDATE saga SET {assignment} WHERE saga_id = ?", *values, saga_id)
    return saga_id


def test_a_running_saga_that_is_due_never(world: World) -> None:
    """Without `due_at` no sweeper sees a saga that runs: it is lost for ever, and its status looks right."""
    saga_id = change(world, ACCEPTED, "due_at = NULL")
    tells(world.audit(), saga_id, ACCEPTED, "no due_at")


def test_a_saga_that_waits_for_a_person_and_is_due(world: World) -> None:
    """A halted saga with nothing in flight waits for nobody's clock."""
    saga_id = change(world, HALTED, "due_at = 1")
    tells(world.audit(), saga_id, HALTED, "due_at", "nothing in the journal waits")


def test_only_whether_it_is_due_is_compared(world: World) -> None:
    """A sweeper pushes the due instant whenever it likes."""
    change(world, ACCEPTED, "due_at = due_at + 3600000000")
    assert world.audit().violations == ()


def test_whether_a_saga_is_due_is_not_judged_without_its_definition(world: World) -> None:
    """Only the definition says what waits; of an ended saga it is known without."""
    change(world, ACCEPTED, "due_at = NULL")
    ended = change(world, DONE, "due_at = 1")
    with serving(world.books) as urls:
        report = audit(world.store, Definitions([]), urls, world.mailbox)
    tells(report, ended, DONE, "the saga ended")


@pytest.mark.parametrize("order_id", ENDED)
def test_an_ended_saga_that_is_due(world: World, order_id: str) -> None:
    """A saga that ended and is due is looked at again and again."""
    saga_id = change(world, order_id, "due_at = 1")
    tells(world.audit(), saga_id, order_id, "the saga ended", "due_at")


@pytest.mark.parametrize("order_id", ENDED)
@pytest.mark.parametrize("assignment", ["ended_at = NULL", "ended_at = ended_at + 1"])
def test_an_end_at_another_instant(world: World, order_id: str, assignment: str) -> None:
    """`ended_at` is the journal's, to the microsecond."""
    saga_id = change(world, order_id, assignment)
    tells(world.audit(), saga_id, order_id, "ended_at")


@pytest.mark.parametrize("order_id", [HALTED, ACCEPTED])
def test_an_end_of_a_saga_that_goes_on(world: World, order_id: str) -> None:
    """A saga that has not ended has no end."""
    saga_id = change(world, order_id, "ended_at = 1")
    tells(world.audit(), saga_id, order_id, "ended_at", "the journal None")


@pytest.mark.parametrize("order_id", [DONE, DECLINED, HALTED, ACCEPTED])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("entity", "SO-OTHER"),
        ("run", 9),
        ("definition", "return_order"),
        ("version", 9),
        ("fingerprint", "f" * 64),
        ("environment", "live"),
        ("tenant", "other"),
    ],
)
def test_a_column_that_is_not_entry_1(world: World, order_id: str, column: str, value: object) -> None:
    """What the row copied from entry 1 is checked, and the violation names the order that the journal names."""
    saga_id = change(world, order_id, f"{column} = ?", value)
    tells(world.audit(), saga_id, order_id, f"has {column} {value}", "entry 1")


def test_a_journal_of_another_saga(world: World) -> None:
    """Two journals that changed places are both whole, and neither is its row's."""
    ids = [world.saga_id(order_id) for order_id in COMPLETED]
    for old, new in ((ids[0], "away"), (ids[1], ids[0]), ("away", ids[1])):
        for table in ("journal", "effect"):
            execute(world.database, f"UPDATE {table} SET saga_id = ? WHERE saga_id = ?", new, old)
    report = world.audit()
    assert {it.invariant.value for it in report.violations} == {"I5"}
    assert any(f"has saga_id {ids[0]}, and entry 1 of the journal {ids[1]}" in it.detail for it in report.violations)


@pytest.mark.parametrize("order_id", EVERY)
def test_a_saga_row_that_is_gone(world: World, order_id: str) -> None:
    """An accepted order whose row was deleted is lost; its journal names it, and nothing else is said about its order."""
    saga_id = world.saga_id(order_id)
    execute(world.database, "DELETE FROM saga WHERE saga_id = ?", saga_id)
    tells(world.audit(), saga_id, order_id, "there is no saga row", "journal entries")


def test_a_lost_saga_whose_journal_cannot_be_read(world: World) -> None:
    """It is told by its id: nobody knows of which order it was."""
    saga_id = world.saga_id(ACCEPTED)
    execute(world.database, "DELETE FROM saga WHERE saga_id = ?", saga_id)
    execute(world.database, "UPDATE journal SET body = 'no JSON' WHERE saga_id = ?", saga_id)
    oracle_free = world.audit(oracle=None)
    tells(oracle_free, saga_id, "", "there is no saga row")


@pytest.mark.parametrize("order_id", EVERY)
def test_a_journal_that_is_gone(world: World, order_id: str) -> None:
    """A saga row without a journal, with its effect rows or without."""
    saga_id = world.saga_id(order_id)
    execute(world.database, "DELETE FROM journal WHERE saga_id = ?", saga_id)
    tells(world.audit(), saga_id, order_id, "there is no journal")


def test_effect_rows_of_nobody(world: World) -> None:
    """Effects of a saga of which nothing else is left."""
    execute(world.database, "INSERT INTO effect VALUES ('gone', 2, 0, 'pay:a', 'money', 'GBP', 1, 1, NULL)")
    tells(world.audit(), "gone", "", "0 journal entries and 1 effect rows")


def test_the_engine_fills_the_effects(world: World) -> None:
    """The world has effect rows to be falsified: what completed orders left, and what was undone of a declined one."""
    kinds = [(row.kind, row.sign) for row in world.store.effects(world.saga_id(DONE))]
    assert sorted(kinds) == [("label", 1), ("money", 1), ("stock", 1), ("stock", 1)]
    undone = [(row.kind, row.sign) for row in world.store.effects(world.saga_id(DECLINED))]
    assert sorted(undone) == sorted([("label", 1), ("label", -1), *[("stock", 1), ("stock", -1)] * 2])


@pytest.mark.parametrize("order_id", [DONE, DECLINED, HALTED])
@pytest.mark.parametrize(
    "assignment",
    [
        "quantity = quantity + 1",
        "sign = -sign",
        "kind = 'points'",
        "unit = 'XYZ'",
        "node = 'capture_payment:a'",
        "expires_at = coalesce(expires_at, 0) + 1",
    ],
)
def test_an_effect_row_that_was_changed(world: World, order_id: str, assignment: str) -> None:
    """Every column of an effect row is what the journal's outcome reported."""
    saga_id = world.saga_id(order_id)
    first = "SELECT min(rowid) FROM effect WHERE saga_id = ?"
    execute(world.database, f"UPDATE effect SET {assignment} WHERE rowid = ({first})", saga_id)
    tells(world.audit(), saga_id, order_id, "effect row 1 is", "and the journal says")


@pytest.mark.parametrize("order_id", [DONE, DECLINED, HALTED])
def test_an_effect_row_less(world: World, order_id: str) -> None:
    """A row that was deleted, at the front as at the end."""
    saga_id = world.saga_id(order_id)
    last = "SELECT max(rowid) FROM effect WHERE saga_id = ?"
    execute(world.database, f"DELETE FROM effect WHERE rowid = ({last})", saga_id)
    tells(world.audit(), saga_id, order_id, "is nothing, and the journal says")


@pytest.mark.parametrize("order_id", EVERY)
def test_an_effect_row_more(world: World, order_id: str) -> None:
    """A row that no outcome reported, also of a saga that has done nothing yet."""
    saga_id = world.saga_id(order_id)
    row = "INSERT INTO effect VALUES (?, 99, 0, 'authorize_payment:a', 'money', 'GBP', 5, 1, NULL)"
    execute(world.database, row, saga_id)
    tells(world.audit(), saga_id, order_id, "authorize_payment:a money GBP +5, and the journal says nothing")


def test_a_request_of_a_saga_that_is_not_there(world: World) -> None:
    """A caller who repeats himself would be sent to a saga that nobody has."""
    row = "INSERT INTO request VALUES ('test', 'audit', ?, 'hash', ?, 1)"
    execute(world.database, row, "mine", world.saga_id(DONE))
    assert world.audit().violations == ()
    execute(world.database, row, "yours", "gone")
    tells(world.audit(), "gone", "", "request key yours of test/audit")


def test_every_page_of_what_is_lost_is_read(world: World) -> None:
    """More lost sagas and requests than one page holds are each told, once."""
    for number in range(5):
        row = "INSERT INTO effect VALUES (?, 2, 0, 'pay:a', 'money', 'GBP', 1, 1, NULL)"
        execute(world.database, row, f"gone-{number}")
        row = "INSERT INTO request VALUES ('test', 'audit', ?, 'hash', ?, 1)"
        execute(world.database, row, f"key-{number}", f"away-{number}")
    told = sorted(it.saga_id for it in world.audit().violations)
    assert told == [f"{name}-{number}" for name in ("away", "gone") for number in range(5)]
    for page_rows in (1, 2, 5):
        sagas = [it.saga_id for it in lost_sagas(world.store, page_rows)]
        requests = [it.saga_id for it in lost_requests(world.store, page_rows)]
        assert sorted([*requests, *sagas]) == told


def test_what_names_a_lost_saga_is_told_once(world: World) -> None:
    """Journal, effects and request of one saga without a row are one violation."""
    saga_id = world.saga_id(DONE)
    execute(world.database, "INSERT INTO request VALUES ('test', 'audit', 'mine', 'hash', ?, 1)", saga_id)
    execute(world.database, "DELETE FROM saga WHERE saga_id = ?", saga_id)
    tells(world.audit(), saga_id, DONE, "there is no saga row")


class _Busy(SqliteStore):
    """Whenever the audit looks whether a saga moved, it did."""

    def tail(self, saga_id: str, after_seq: int) -> list[JournalEntry]:
        return super().tail(saga_id, after_seq - 1)


def test_a_saga_that_moves_while_it_is_read(world: World) -> None:
    """What is appended during every look is not called wrong, and the report says that it was not judged."""
    change(world, ACCEPTED, "due_at = NULL")
    busy = _Busy(f"sqlite:///{world.database}")
    report = replace(world, store=busy).audit()
    busy.close()
    assert report.violations == ()
    assert "1 sagas moved while they were read, their rows are not compared" in report.notes


def test_a_row_that_was_read_too_early_is_read_again(world: World) -> None:
    """The page is older than the journal that is read after it: what was right then is no violation."""
    saga_id = world.saga_id(DONE)
    row, entries = world.store.row(saga_id), world.store.load([saga_id])[saga_id]
    assert row is not None
    seen = settled(world.store, DEFINITIONS, row, entries, [])
    assert (seen.faults, len(seen.effects), fold(seen.entries)[0]) == ((), 4, seen.state)


def test_a_row_that_is_no_order_is_one_violation_and_ends_no_audit(world: World) -> None:
    """Somebody's own saga of that name, or a spoiled input: told with its id, and the others are judged as ever."""

    class Other(BaseModel):
        note: str

    def look(_other: Other) -> None: ...

    stranger = Saga("fulfil_order", 1, Other, lambda other: other.note, [readonly(look)])
    new = new_saga(stranger, Other(note="SO-note"), world.store, environment="test", tenant="test")
    saga_id = answer(new, world.store.accept([new])[0]).saga_id
    report = world.audit()
    told = [it for it in report.violations if it.saga_id == saga_id]
    assert [it.invariant for it in told] == [Invariant.JOURNAL]
    assert [it for it in report.violations if it.saga_id != saga_id] == []


def test_a_journal_that_is_shorter_than_its_row_remembers(world: World) -> None:
    """The last entries of an order that had ended are gone: the audit names the order, also when nothing else shows it."""
    saga_id = world.saga_id(DONE)
    entries = world.store.load([saga_id])[saga_id]
    execute(world.database, f"DELETE FROM journal WHERE saga_id = '{saga_id}' AND seq = {len(entries)}")
    report = world.audit()
    told = [it.detail for it in report.violations if it.saga_id == saga_id]
    assert any(f"remembers entry {len(entries)}, and the journal has {len(entries) - 1}" in it for it in told), told
    assert any(it.endswith(f'saga db let-go {saga_id} --reason "…"') for it in told), told


def test_a_journal_that_is_marked_as_damaged_is_one_fault(world: World) -> None:
    """Its row is halted, which what is left of the journal cannot say; that is told once, with what to type."""
    saga_id = world.saga_id(ACCEPTED)
    reached = Reached(2, bytes(32))
    mark_damaged(world.store, saga_id, reached)
    words = ("remembers entry 2, and the journal has 1", f'saga db let-go {saga_id} --reason "…"')
    tells(world.audit(), saga_id, ACCEPTED, *words)
