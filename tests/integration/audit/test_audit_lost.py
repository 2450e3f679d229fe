"""The audit of a journal that was restored: what it cannot ask of the lost part, what somebody answers for, and what neither excuses."""

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from saga.core.keys import logical_key, wire_key
from saga.fulfilment.fulfil_order import fulfil_order
from saga.runtime.starting import answer, new_saga
from saga.store.port import SagaFilter
from saga.store.restoring import Restoration, Settled
from saga.store.schema import upgrade
from saga.surfaces.audit import AuditReport, render
from saga.surfaces.audit_lost import LostPart, has_lost_run
from saga.surfaces.cli.commands import app
from saga.surfaces.ledgers import read_ledgers
from saga.surfaces.order_rows import rebuild
from tests.integration.audit.books import serving
from tests.integration.audit.conftest import COMPLETED, DECLINED, DEFINITIONS, TWICE, World, order

DONE = COMPLETED[0]
HOUR = timedelta(hours=1)


def lost(world: World, begin: timedelta, end: timedelta = timedelta()) -> None:
    """A backup of `begin` ago was restored `end` ago."""
    now = world.store.now()
    world.store.restored(Restoration(f"r{now.isoformat()}", now - begin, now - end, "ops", "disk"))


def settle(world: World, entity: str, tenant: str = "audit") -> None:
    world.store.settle([Settled("test", tenant, entity, world.store.now(), "zoe", "by hand")])


def forget(world: World, order_id: str, run: int = 1) -> None:
    """The whole saga is of the lost part: nothing in the database knows it."""
    [row] = [it for it in world.store.find(SagaFilter(entity=order_id), 9) if it.run == run]
    with closing(sqlite3.connect(world.database)) as session, session:
        for table in ("journal", "effect", "request", "orders", "saga"):
            session.execute(f"DELETE FROM {table} WHERE saga_id = ?", (row.saga_id,))
    rebuild(world.store)  # of an order with an earlier run the row in the backup is of that one


def audited(world: World) -> AuditReport:
    return world.audit(oracle=None)


def told(report: AuditReport) -> set[tuple[str, str]]:
    return {(it.invariant.value, it.order_id) for it in report.violations}


def stray(world: World, order_id: str = DONE) -> None:
    """An undo under a key that no journal knows, which moved nothing."""
    world.books.keep("payment", "POST /v1/authorizations/undo", "stray", order_id, "undo", "null")


@pytest.mark.parametrize(
    ("after_s", "is_lost"), [(-2, False), (-0.5, True), (0, True), (60, True), (60.5, True), (62, False)]
)
def test_only_the_part_between_backup_and_restore_is_lost(after_s: float, is_lost: bool) -> None:
    """To the second that two clocks may differ by."""
    noon = datetime.fromisoformat("2026-01-01T12:00:00+00:00")
    part = LostPart([Restoration("r", noon, noon + timedelta(minutes=1), "ops", "disk")])
    assert part.has(noon + timedelta(seconds=after_s)) is is_lost


def test_one_restore_does_not_blind_the_audit_for_ever(world: World) -> None:
    """A stray effect of a known order is excused in the lost part, and told in what was before it and what came after."""
    stray(world)
    lost(world, 2 * HOUR, HOUR)
    assert told(audited(world)) == {("I3", DONE)}
    lost(world, HOUR)
    assert told(audited(world)) == set()


def test_an_order_that_no_journal_knows_is_told_until_somebody_answers(world: World) -> None:
    """With its mail. What is done under another order's key is told as before."""
    lost(world, HOUR)
    forget(world, DONE)
    assert told(audited(world)) == {("I3", DONE), ("I6", DONE)}
    settle(world, DONE)
    report = audited(world)
    assert told(report) == set()
    assert "1 orders, runs or returns that no journal knows, somebody answered for them" in render(report)


def test_an_answer_covers_a_run_and_not_the_order(world: World) -> None:
    """The second run of an order is lost, the first is known: money, stock, label and mail are too many, the page says what to
    type, and the answer takes that run off. What is wrong beside it is still told."""
    lost(world, HOUR)
    forget(world, TWICE, run=2)
    report = audited(world)
    assert told(report) == {(it, TWICE) for it in ("I1", "I2", "I6", "I8")}
    assert (
        f"rows are of a run of {TWICE} that no journal knows: send it again, or type  saga db settle {TWICE}"
        in render(report)
    )
    settle(world, TWICE)
    assert told(audited(world)) == set()
    posting = {"entry_id": "e", "amount": 500, "currency": "GBP"}
    world.books.write(
        "payment", "POST /v1/captures", "k", TWICE, debit=f"customer:{TWICE}", credit="merchant", **posting
    )
    assert ("I1", TWICE) in told(audited(world))


def test_an_answer_covers_nothing_behind_the_lost_part(world: World) -> None:
    """The second run was after the restore: its journal was lost in another way, and that is no answer's affair."""
    lost(world, 2 * HOUR, HOUR)
    forget(world, TWICE, run=2)
    settle(world, TWICE)
    assert ("I1", TWICE) in told(audited(world))


def test_an_answer_is_for_one_tenant(world: World) -> None:
    """Another tenant answers for an order of the same id: the audit stays as red, whether journals know the order or not."""
    new = new_saga(fulfil_order, order("SO-90"), world.store, environment="test", tenant="other")
    answer(new, world.store.accept([new])[0])
    lost(world, HOUR)
    forget(world, DONE)
    forget(world, TWICE, run=2)
    for entity in (DONE, TWICE):
        settle(world, entity, "other")
    assert {order_id for _, order_id in told(audited(world))} == {DONE, TWICE}
    for entity in (DONE, TWICE):
        settle(world, entity)
    assert told(audited(world)) == set()


def test_an_answer_does_not_excuse_a_known_order(world: World) -> None:
    """Not of its own tenant, nor of another with the same id: a stray effect behind the lost part is told."""
    stray(world)
    lost(world, 2 * HOUR, HOUR)
    settle(world, DONE)
    settle(world, DONE, "other")
    assert told(audited(world)) == {("I3", DONE)}


def test_a_known_order_is_settled_when_participants_have_a_later_run(world: World) -> None:
    """In the lost part, and of that order; that is what `saga db settle` asks."""

    def has(order_id: str) -> bool:
        rows = world.store.find(SagaFilter(entity=order_id), 9)
        with serving(world.books) as urls:
            return has_lost_run(world.store, DEFINITIONS, read_ledgers(urls), rows, order_id)

    forget(world, TWICE, run=2)
    assert not has(TWICE), "no backup was restored"
    lost(world, HOUR)
    assert (has(TWICE), has(DONE), has(DECLINED)) == (True, False, False)
    key = wire_key("test", "audit", logical_key("fulfil_order", DECLINED, 2, "reserve_inventory:c"))
    world.books.keep("inventory", "POST /v1/reservations/undo", key, "", "undo", "null")
    assert has(DECLINED), "a barrier row of it is enough"


def test_a_lost_run_is_settled_as_it_is_typed(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A known order of which participants have no later run is refused, with the books that were looked into."""
    lost(world, HOUR)
    forget(world, TWICE, run=2)
    upgrade(f"sqlite:///{world.database}", "test")
    given = {"HOME": tmp_path / "home", "DATABASE_URL": f"sqlite:///{world.database}", "TENANT": "audit"}
    with serving(world.books) as urls:
        addresses = {f"{name.upper()}_URL": url for name, url in urls.items()}
        for name, value in {**given, **addresses, "ENVIRONMENT": "test"}.items():
            monkeypatch.setenv(f"SAGA_{name}", str(value))
        done, refused = (
            CliRunner().invoke(app, ["db", "settle", order_id, "--reason", "by hand"]) for order_id in (TWICE, DONE)
        )
    assert (done.exit_code, done.stdout) == (0, f"1 settled: {TWICE}\n"), done.exception
    assert f"{DONE}: a journal knows this order, and nothing of a later run is known (the books of inventory," in str(
        refused.exception
    )
    assert [it.entity for it in world.store.settled()] == [TWICE]
