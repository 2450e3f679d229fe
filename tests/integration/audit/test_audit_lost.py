"""The audit of a journal that was restored: what it cannot ask of the lost part, what somebody answers for, and what neither excuses."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from saga.core.keys import logical_key, wire_key
from saga.errors import UsageError
from saga.fulfilment.fulfil_order import fulfil_order
from saga.runtime.executor import Executor
from saga.runtime.starting import answer, new_saga
from saga.runtime.worker import Worker
from saga.store.port import SagaFilter
from saga.store.restoring import Restoration, Settled
from saga.store.schema import upgrade
from saga.surfaces import restoring
from saga.surfaces.audit import AuditReport, render
from saga.surfaces.audit_lost import LostPart, has_lost_run
from saga.surfaces.cancelling import CancelRequest, cancel
from saga.surfaces.cli.commands import app
from saga.surfaces.ledgers import read_ledgers
from saga.surfaces.order_rows import rebuild
from tests.integration.audit.books import serving
from tests.integration.audit.conftest import ACCEPTED, COMPLETED, DECLINED, DEFINITIONS, TWICE, World, order
from tests.waiting import wait_until

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
        whose = SagaFilter(environment="test", tenant="audit", entity=order_id)
        with serving(world.books) as urls:
            return has_lost_run(world.store, DEFINITIONS, read_ledgers(urls), world.store.find(whose, 9), whose)

    forget(world, TWICE, run=2)
    assert not has(TWICE), "no backup was restored"
    lost(world, HOUR)
    assert (has(TWICE), has(DONE), has(DECLINED)) == (True, False, False)
    key = wire_key("test", "audit", logical_key("fulfil_order", DECLINED, 2, "reserve_inventory:c"))
    world.books.keep("inventory", "POST /v1/reservations/undo", key, "", "undo", "null")
    assert has(DECLINED), "a barrier row of it is enough"


def test_a_row_without_an_order_is_nobodys(world: World) -> None:
    """An answer without a name, as an earlier release took it, covers nothing: a barrier row that names no order is told."""
    world.books.keep("inventory", "POST /v1/reservations", "stray", "", "action", "tombstone")
    lost(world, 2 * HOUR, HOUR)
    settle(world, "")
    assert told(audited(world)) == {("I3", "")}


def test_a_restored_order_that_is_cancelled_leaves_tombstones(world: World) -> None:
    """It undoes what its journal does not have, by the keys that the lost part would have sent: nothing is there, tombstones stay,
    and the audit is green. A tombstone under a key of nobody is told, and so is an effect under one of these keys."""
    restoring.restored(world.store, DEFINITIONS, restored_to=world.store.now(), actor="ops", reason="disk")
    saga_id = world.saga_id(ACCEPTED)
    with serving(world.books) as urls:  # those of the others are not at hand
        read_at = world.store.now() + timedelta(minutes=5)
        books = restoring.Books(read_ledgers({"payment": urls["payment"]}), read_at)
    assert restoring.reconciled(world.store, DEFINITIONS, books, actor="ops", reason="compared").count
    cancel(world.store, DEFINITIONS, saga_id, CancelRequest(actor="zoe", reason="no"), surface="cli")
    with serving(world.books) as urls:
        worker = Worker(world.store, DEFINITIONS, Executor(urls.__getitem__, world.store.clock))
        worker.start()
        wait_until(lambda: world.store.row(saga_id).ended_at is not None, 30, what="it is rolled back")  # type: ignore[union-attr]
        assert worker.stop()
    tombs = [it for rows in world.books.barrier.values() for it in rows if it["outcome"] == "tombstone"]
    assert len(tombs) > 1
    for it in tombs:  # the restore is long over
        it["at"] = (datetime.fromisoformat(it["at"]) + HOUR).isoformat()
    assert told(audited(world)) == set()
    world.books.keep("inventory", "POST /v1/reservations", "stray", "", "action", "tombstone")
    report = audited(world)
    assert [(it.order_id, "key stray, tombstone" in it.detail) for it in report.violations] == [("", True)]
    posting = {"entry_id": "e", "amount": 500, "currency": "GBP", "debit": "holds", "credit": "merchant"}
    key = wire_key("test", "audit", logical_key("fulfil_order", ACCEPTED, 1, "reserve_inventory:a"))
    assert key in {it["key"] for it in tombs}
    world.books.write("payment", "POST /v1/authorizations", key, "", **posting)
    assert any(f"key {key})" in it.detail for it in audited(world).violations)


@pytest.fixture
def settled(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`saga db settle` over that world, with the addresses of its participants but those that are said to be out of reach."""
    upgrade(f"sqlite:///{world.database}", "test")
    given = {"HOME": tmp_path / "home", "DATABASE_URL": f"sqlite:///{world.database}", "TENANT": "audit"}

    def typed(*names: str, without: str = "", down: str = "") -> Result:
        with serving(world.books) as urls:
            addresses = {f"{name.upper()}_URL": url for name, url in urls.items() if name != without}
            addresses |= {f"{down.upper()}_URL": "http://127.0.0.1:1"} if down else {}
            for name, value in {**given, **addresses, "ENVIRONMENT": "test"}.items():
                monkeypatch.setenv(f"SAGA_{name}", str(value))
            return CliRunner().invoke(app, ["db", "settle", *names, "--reason", "by hand"])

    return typed


def test_a_lost_run_is_settled_as_it_is_typed(world: World, settled: Callable[..., Result]) -> None:
    """A known order of which participants have no later run is refused, with the books that were looked into."""
    lost(world, HOUR)
    forget(world, TWICE, run=2)
    done, refused = settled(TWICE), settled(DONE)
    assert (done.exit_code, done.stdout) == (0, f"1 settled: {TWICE}\n"), done.exception
    assert f"{DONE}: a journal knows this order, and nothing of a later run is known (the books of inventory," in str(
        refused.exception
    )
    assert [it.entity for it in world.store.settled()] == [TWICE]


@pytest.mark.parametrize("name", ["", " ", "a\nb", "SO-1\u202e"])
def test_what_names_no_order_is_not_settled(world: World, settled: Callable[..., Result], name: str) -> None:
    """Nor is what was typed beside it."""
    lost(world, HOUR)
    forget(world, DONE)
    done = settled(DONE, name)
    assert isinstance(done.exception, UsageError)
    assert str(done.exception).startswith(f"{name!a} is no name of an order or return")
    assert not world.store.settled()


def test_an_order_of_which_nobody_has_anything_is_not_settled(world: World, settled: Callable[..., Result]) -> None:
    """A slip of the keyboard is refused. One that somebody has is taken, by whichever of its rows."""
    lost(world, HOUR)
    forget(world, DONE)
    refused = settled(DONE, "SO-10")
    assert isinstance(refused.exception, UsageError)
    where = "the books of inventory, payment, shipping, tax"
    assert str(refused.exception).startswith(f"SO-10: no journal knows it, and {where} have nothing of it")
    assert not world.store.settled()
    world.books.keep("inventory", "POST /v1/reservations", "key", "SO-11", "action", "rejected")
    key = wire_key("test", "audit", logical_key("fulfil_order", "SO-12", 1, "reserve_inventory:c"))
    world.books.keep("inventory", "POST /v1/reservations/undo", key, "", "undo", "null")
    done = settled(DONE, "SO-11", "SO-12")
    assert (done.exit_code, done.stdout) == (0, f"3 settled: {DONE}, SO-11, SO-12\n"), done.exception


@pytest.mark.parametrize(
    ("reach", "why"),
    [({"without": "tax"}, "to look there, set SAGA_TAX_URL"), ({"down": "tax"}, "tax: cannot read its books")],
)
def test_who_cannot_look_says_so(world: World, settled: Callable[..., Result], reach: dict[str, str], why: str) -> None:
    """Where a participant is out of reach an order that no journal knows is settled, and the answer says that nobody looked."""
    lost(world, HOUR)
    done = settled("SO-10", **reach)
    assert done.exit_code == 0, done.exception
    assert done.stdout.startswith(f"1 settled: SO-10\nnot looked for at the participants: SO-10; {why}")
