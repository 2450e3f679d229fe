"""An audit of a world that is consistent finds nothing, and says what it could not check and what is still under way."""

import json
from pathlib import Path

import pytest

from saga.errors import UsageError
from saga.store.opening import open_store
from saga.store.schema import upgrade
from saga.surfaces.audit import PAGE_SAGAS, Floor, audit, render
from saga.surfaces.audit_report import WIDTH
from tests.integration.audit.books import SERVICES, Books, serving
from tests.integration.audit.conftest import ACCEPTED, DEFINITIONS, ENDED, HALTED, ORACLE, World, accept, order


def test_a_consistent_world_is_green(world: World) -> None:
    """No invariant is broken by orders that completed, were declined, were out of stock, came again, are halted or wait."""
    report = world.audit()
    assert [f"{it.invariant} {it.order_id}: {it.detail}" for it in report.violations] == []
    assert report.exit_code == 0
    checked = {it.invariant.value: (it.ok_count, it.checked_count) for it in report.checks}
    assert checked["I1"] == (len(ENDED), len(ENDED))
    assert checked["I7"] == (len(ORACLE), len(ORACLE))
    assert all(count > 0 and ok == count for ok, count in checked.values())


def test_what_is_under_way_is_named(world: World) -> None:
    """A halted and a running order are no violation, and neither they nor what they hold is dropped."""
    report = world.audit()
    assert {(it.order_id, it.status, it.reason) for it in report.waiting} == {
        (HALTED, "halted", "defect"),
        (ACCEPTED, "running", ""),
    }
    assert report.to_json()["in_flight"] == {"money": {}, "items": {"reserved": 3}, "labels": 1}
    page = render(report)
    assert "in flight   2 sagas: reserved 3 items, 1 labels" in page
    assert f"{HALTED}  halted (defect)" in page


def test_held_money_of_an_order_under_way(world: World) -> None:
    """Money that a halted order has authorised is shown as in flight, and is not unexplained."""
    key = next(row["key"] for row in world.books.barrier["shipping"] if row["order_id"] == HALTED)
    posting = {"entry_id": "e", "debit": f"customer:{HALTED}", "credit": "holds", "amount": 900, "currency": "GBP"}
    world.books.write("payment", "POST /v1/authorizations", key, HALTED, **posting)
    report = world.audit()
    assert report.in_flight_money == {"GBP": {"holds": 900}}
    assert report.unexplained_money == {}


def test_the_page_is_for_a_terminal(world: World) -> None:
    """A green report fits a terminal, says how much was read, and ends with the counts."""
    page = render(world.audit())
    assert max(map(len, page.splitlines())) <= WIDTH
    assert "3 completed + 3 compensated + 1 halted" in page
    assert page.endswith("Unexplained: 0.00, 0 items.")


def test_the_json_holds_the_same(world: World) -> None:
    """The JSON shape has counts, violations, unexplained money and items, and survives a round trip."""
    shape = json.loads(json.dumps(world.audit().to_json()))
    assert shape["counts"] == {"running": 1, "compensating": 0, "completed": 3, "compensated": 3, "halted": 1}
    assert (shape["violations"], shape["unexplained"], shape["ok"]) == ([], {"money": {}, "items": 0}, True)
    assert shape["read"]["payment"] == 6


@pytest.mark.parametrize(("service", "invariant"), [("payment", "I1"), ("inventory", "I2"), ("shipping", "I8")])
def test_a_ledger_that_is_not_given_is_said_aloud(world: World, service: str, invariant: str) -> None:
    """What cannot be checked stands in the report as not checked, and is neither right nor wrong."""
    report = world.audit(without=service)
    assert report.violations == ()
    skipped = {it.invariant.value for it in report.checks if it.skipped}
    assert skipped == {invariant}
    assert f"NOT CHECKED: no ledger: the address of {service} is not given" in render(report)


@pytest.mark.parametrize("service", SERVICES)
def test_a_ledger_that_is_not_given_is_no_success(world: World, service: str) -> None:
    """With a ledger missing nothing is broken and nothing is proved: `ok` is neither, and the exit code is not 0."""
    report = world.audit(without=service)
    shape = report.to_json()
    assert (report.violations, report.exit_code) == ((), 2)
    assert (shape["ok"], shape["without_address"]) == (None, [service])


def test_a_violation_counts_more_than_a_ledger_that_is_not_given(world: World) -> None:
    """What is broken is broken, however little was read."""
    (world.mailbox / "x.eml").write_text(f"Subject: Your order {HALTED} is on its way\n\nhello\n", encoding="ascii")
    report = world.audit(without="tax")
    assert (report.ok, report.exit_code) == (False, 1)


def test_without_the_tax_ledger_the_journal_is_believed(world: World) -> None:
    """The total of an order is then held against the engine's own word, and the report says for how many orders."""
    notes = world.audit(without="tax").notes
    assert f"{len(ENDED)} orders have their tax from the journal: the address of tax is not given" in notes


def test_an_empty_journal_is_said_plainly(tmp_path: Path) -> None:
    """With every ledger read, no order is a success of nothing, and the page says so."""
    url = f"sqlite:///{tmp_path / 'saga.db'}"
    upgrade(url)
    store = open_store(url)
    with serving(Books()) as urls:
        report = audit(store, DEFINITIONS, urls, None)
    store.close()
    shape = report.to_json()
    assert (report.exit_code, shape["ok"], shape["sagas"]) == (0, True, 0)
    assert "The journal is empty: 0 orders, nothing was held against the ledgers." in render(report)


def test_no_mailbox_and_no_oracle_are_said_aloud(world: World) -> None:
    """Without a mailbox I6, and without an oracle I7, are reported as not checked."""
    report = world.audit(oracle=None, has_mailbox=False)
    assert {it.invariant.value for it in report.checks if it.skipped} == {"I6", "I7"}
    assert render(report).count("NOT CHECKED: ") == 2
    assert "0 violations where it was looked: I6, I7 NOT CHECKED." in render(report)


def test_a_service_that_does_not_answer(world: World) -> None:
    """Half an audit is none: a ledger that cannot be read ends it, with the name of the service."""
    with serving(world.books) as urls:
        gone = dict(urls)
    with pytest.raises(UsageError, match="inventory: cannot read its books"):
        audit(world.store, DEFINITIONS, gone, None)


def test_a_ledger_with_another_shape(world: World) -> None:
    """A row without a column of the contract is not guessed at."""
    del world.books.ledger["payment"][0]["credit"]
    with pytest.raises(UsageError, match=r"payment: /v1/ledger .*credit"):
        world.audit()


def test_a_run_that_did_not_look_hard_enough_fails(world: World) -> None:
    """Too few faults fired: no violation, and no green report either."""
    world.books.fired = {"late": 3, "refuse": 1}
    enough = Floor({"late": 3, "*": 5, "kill before send": 1}, {"kill before send": 1})
    assert world.audit(floor=enough).exit_code == 0
    report = world.audit(floor=Floor({"late": 4, "overloaded": 1}))
    assert report.too_few == {"late": (3, 4), "overloaded": (0, 1)}
    assert report.exit_code == 1
    assert "✗ late: 3 of at least 4" in render(report)


def test_every_page_of_sagas_is_read(world: World) -> None:
    """More sagas than one page holds are all counted, each once."""
    more = PAGE_SAGAS + 5
    for number in range(more):
        accept(world.store, order(f"MORE-{number}"))
    report = world.audit()
    assert report.counts["running"] == more + 1
    assert len({it.saga_id for it in report.waiting}) == more + 2
    assert report.violations == ()
