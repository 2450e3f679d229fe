"""Returns in the audit: real books of an order that came back in two parts and of a return that was refused, each falsified once."""

import copy
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from saga.core.states import SagaStatus
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.runtime.engine import Definitions
from saga.settings import Settings
from saga.store.opening import open_store
from saga.store.port import SagaFilter, Store
from saga.store.restoring import Restoration, Settled
from saga.surfaces.audit import audit
from saga.surfaces.audit_report import AuditReport, render
from saga.surfaces.audit_returns import ReturnRecord
from saga.surfaces.embedded import embedded
from saga.surfaces.invariants import Ending, OrderRecord, money_faults, order_stock_faults
from saga.surfaces.ledgers import PAYMENT, SERVICES, STOCK, WITH_BARRIER, Ledgers, Movement
from saga.surfaces.taking_back import ReturnRequest, WantedLine, take_back
from tests.integration.audit.books import Books, serving
from tests.integration.audit.conftest import order
from tests.integration.returns.test_returns import Shop

ORDER, REFUSED = "SO-1", "SO-2"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
Row = dict[str, Any]
Falsify = Callable[[Books], None]


@dataclass
class Case:
    """What the run left."""

    home: Path
    books: Books


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Two mugs, then a tin of one order came back; of the other the refund was refused, so its return was rolled back."""
    home = tmp_path_factory.mktemp("returned")
    settings = Settings(home=home)
    with embedded(settings, [fulfil_order, return_order], port=None, with_broker=False) as stack:
        shop = Shop(stack)
        items = {"items": [{"sku": "mug", "quantity": 10}, {"sku": "tin", "quantity": 10}]}
        url = f"{stack.urls['inventory']}/v1/stock"
        assert requests.post(url, json=items, headers={"Idempotency-Key": "stock"}, timeout=20).ok
        for order_id in (ORDER, REFUSED):
            assert shop.completed(order_id).status is SagaStatus.COMPLETED
        ends = [returned(shop, ORDER, "mug", 2), returned(shop, ORDER, "tin", 1)]
        no = {"fault": "reject", "operation": "POST /v1/refunds", "code": "refund_exceeds_capture"}
        faults = f"{stack.urls['payment']}/v1/faults"
        assert requests.put(faults, json={"seed": 1, "rules": [no]}, timeout=10).ok
        ends.append(returned(shop, REFUSED, "mug", 1))
        assert ends == [SagaStatus.COMPLETED, SagaStatus.COMPLETED, SagaStatus.COMPENSATED]
        return Case(home, copied(stack.urls))


def returned(shop: Shop, order_id: str, sku: str, count: int) -> SagaStatus:
    request = ReturnRequest(lines=(WantedLine(sku=sku, quantity=count),), reason="broken")
    taken = take_back(shop.stack.store, shop.stack.starter, return_order, order_id, request, key=None)
    return shop.ended(taken.returned.state.saga_id).status


@pytest.fixture
def store(finished: Case) -> Iterator[Store]:
    settings = Settings(home=finished.home)
    store = open_store(settings.store_url)
    yield store
    store.close()


def copied(urls: Mapping[str, str]) -> Books:
    """What the services say of themselves, as books that a test may falsify."""
    books = Books()
    for service in SERVICES:
        for kind, kept in (("ledger", books.ledger), ("barrier", books.barrier)):
            if kind == "ledger" or service in WITH_BARRIER:
                page = requests.get(f"{urls[service]}/v1/{kind}?after=0&limit=5000", timeout=20).json()
                assert page["next_after"] is None
                kept[service] = page["rows"]
    stock = requests.get(f"{urls['inventory']}/v1/stock", timeout=20).json()["items"]
    books.stock = {
        it["sku"]: {name: it[name] for name in ("initial", "available", "reserved", "shipped")} for it in stock
    }
    return books


def audited(store: Store, finished: Case, change: Falsify | None = None) -> AuditReport:
    """The audit over a copy of the books, after `change`."""
    books = copy.deepcopy(finished.books)
    if change is not None:
        change(books)
    with serving(books) as urls:
        mailbox = Settings(home=finished.home).mail_folder
        return audit(store, Definitions([fulfil_order, return_order]), urls, mailbox)


def rows_of(books: Books, service: str, operation: str, order_id: str = ORDER) -> list[Row]:
    found = [it for it in books.ledger[service] if it["operation"] == operation and it["order_id"] == order_id]
    assert found, f"{service} has no {operation} of {order_id}"
    return found


def refunds_swapped(books: Books) -> None:
    """Two refunds change places, so the order's sum is what it was."""
    one, other = rows_of(books, "payment", "POST /v1/refunds")
    one["amount"], other["amount"] = other["amount"], one["amount"]


def a_penny_more(books: Books) -> None:
    rows_of(books, "payment", "POST /v1/refunds")[0]["amount"] += 1


def one_more_piece(books: Books) -> None:
    rows_of(books, "inventory", "POST /v1/restocks")[0]["quantity"] += 1


def no_restock(books: Books) -> None:
    books.ledger["inventory"].remove(rows_of(books, "inventory", "POST /v1/restocks")[1])


def without_movement(movement: str, order_id: str) -> Falsify:
    """No row of shipping of that kind."""

    def change(books: Books) -> None:
        rows = books.ledger["shipping"]
        left = [it for it in rows if (it["movement"], it["order_id"]) != (movement, order_id)]
        assert len(left) < len(rows)
        books.ledger["shipping"] = left

    return change


def test_the_books_of_returns_are_right(store: Store, finished: Case) -> None:
    """Nothing is told of books that nobody falsified; both orders are judged."""
    report = audited(store, finished)
    assert [f"{it.invariant} {it.detail}" for it in report.violations] == []
    assert report.money["GBP"][0] == report.money["GBP"][1] > 0


@pytest.mark.parametrize(
    ("change", "invariant", "order_id", "says"),
    [
        (a_penny_more, "I1", ORDER, "captured - refunded is"),
        (refunds_swapped, "I1", ORDER, "return R1.SO-1 refunded £6.00 and must have refunded £12.00"),
        (one_more_piece, "I2", ORDER, "return R1.SO-1 put 3 of mug on the shelf again, and 2 must be"),
        (no_restock, "I2", ORDER, "return R2.SO-1 put 0 of tin on the shelf again, and 1 must be"),
        (without_movement("return_bought", ORDER), "I8", ORDER, "return R1.SO-1 is completed and has 0 labels"),
        (without_movement("return_voided", REFUSED), "I8", REFUSED, "return R1.SO-2 was rolled back and has label"),
    ],
)
def test_books_that_are_wrong_of_a_return_are_told(
    store: Store,
    finished: Case,
    change: Falsify,
    invariant: str,
    order_id: str,
    says: str,
) -> None:
    """Each return by its own keys: a sum that is right over the order does not hide two that are wrong."""
    report = audited(store, finished, change)
    found = [f"{it.invariant} {it.order_id} {it.detail}" for it in report.violations]
    assert any(it.startswith(f"{invariant} {order_id}") and says in it for it in found), found
    assert {it.order_id for it in report.violations} <= {order_id, ""}
    assert report.exit_code == 1


def test_more_that_came_back_than_was_sold_is_told() -> None:
    """Also when the shelf agrees with the returns: a mug was sold, and two came back."""
    sold = order(ORDER, mug_count=1)
    sold = sold.model_copy(update={"lines": sold.lines[:1]})
    one = ReturnRecord("R1", "s1", ORDER, True, False, 250, "GBP", {"mug": 1}, restock_key="r1")
    back = (one, replace(one, return_id="R2", restock_key="r2"))
    record = OrderRecord(ORDER, "s", 1, Ending.COMPLETED, SagaStatus.COMPLETED, order=sold, returns=back)
    ledgers = Ledgers()
    moves = [("hold", "available", "reserved"), ("commit", "reserved", "shipped")]
    moves += [(key, "shipped", "available") for key in ("r1", "r2")]
    for number, (key, source, target) in enumerate(moves):
        ledgers.add(Movement(STOCK, number, NOON, "POST", key, ORDER, "mug", source, target, 1))
    details = [it.detail for it in order_stock_faults(record, ledgers)]
    assert details == ["completed, 1 of mug came back more than were sold"]


def refunded_of(*returns: tuple[int, int, int], tax: int) -> list[str]:
    """What I1 says of an order of two mugs for £5.00 and this tax, of which returns came back: pieces, what the input says is
    refunded, what the ledger says."""
    sold = order(ORDER)
    sold = sold.model_copy(update={"lines": sold.lines[:1]})
    kept = [
        ReturnRecord(f"R{n}", f"s{n}", ORDER, True, False, promised, "GBP", {"mug": pieces}, refund_key=f"r{n}")
        for n, (pieces, promised, _) in enumerate(returns, 1)
    ]
    record = OrderRecord(
        ORDER, "s", 1, Ending.COMPLETED, SagaStatus.COMPLETED, order=sold, tax=tax, returns=tuple(kept)
    )
    ledgers = Ledgers()
    customer = f"customer:{ORDER}"
    moves = [("hold", customer, "holds", 500 + tax), ("capture", "holds", "merchant", 500 + tax)]
    moves += [(f"r{n}", "merchant", customer, amount) for n, (*_, amount) in enumerate(returns, 1)]
    for number, (key, source, target, amount) in enumerate(moves):
        ledgers.add(Movement(PAYMENT, number, NOON, "POST", key, ORDER, "GBP", source, target, amount))
    return [it.detail for it in money_faults(record, ledgers)]


def test_refunds_are_held_against_what_the_order_paid() -> None:
    """Returns and ledger agree with each other in every case; only the order's own journal knows that the tax of all of it went
    back, that a piece of it stayed with the shop, or that a penny too much went."""
    assert refunded_of((1, 300, 300), (1, 300, 300), tax=100) == []
    assert refunded_of((1, 250, 250), tax=100) == []
    assert refunded_of((1, 250, 250), (1, 250, 250), tax=100) == [
        "completed, all of it came back and £5.00 were refunded; its goods and tax are £6.00"
    ]
    assert refunded_of((1, 601, 601), tax=100)[0] == "completed, £6.01 were refunded, and its goods and tax are £6.00"


def test_a_refund_is_what_the_return_says() -> None:
    """The customer got the right sum over both returns, and neither got its own."""
    assert refunded_of((1, 300, 301), (1, 300, 299), tax=100) == [
        "completed, return R1 refunded £3.01 and must have refunded £3.00",
        "completed, return R2 refunded £2.99 and must have refunded £3.00",
    ]


def test_a_lost_return_is_told_until_somebody_answers(finished: Case, tmp_path: Path) -> None:
    """The order is known and the return is not: its money, pieces and mail are too many, the page says what to type, and the answer
    takes that return off, and not the other one."""
    home = tmp_path / "copy"
    shutil.copytree(finished.home, home)
    with closing(open_store(Settings(home=home).store_url)) as store:
        [row] = store.find(SagaFilter(entity=f"R2.{ORDER}"), 9)
        with closing(sqlite3.connect(Settings(home=home).store_url.removeprefix("sqlite:///"))) as session, session:
            for table in ("journal", "effect", "request", "saga"):
                session.execute(f"DELETE FROM {table} WHERE saga_id = ?", (row.saga_id,))
        now = store.now()
        store.restored(Restoration("r", now - timedelta(hours=1), now, "ops", "disk"))
        report = audited(store, finished)
        assert {it.invariant.value for it in report.violations} >= {"I1", "I2", "I6"}
        assert f'type  saga db settle {row.entity} --reason "…"' in render(report)
        store.settle([Settled(row.environment, row.tenant, row.entity, now, "zoe", "by hand")])
        assert audited(store, finished).violations == ()
        assert audited(store, finished, a_penny_more).violations != ()
