"""A small world that went through once: five orders that ended, one of them at the second go, one that is halted, one that was only accepted."""

import copy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from saga.core.states import SagaStatus
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Address, Order, OrderLine
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import answer, new_saga
from saga.runtime.worker import Worker
from saga.store.opening import open_store
from saga.store.port import SagaFilter, Store
from saga.store.schema import upgrade
from saga.surfaces.audit import AuditReport, Floor, Oracle, audit
from tests.integration.audit.books import Books, serving
from tests.waiting import wait_until

DEFINITIONS = Definitions([fulfil_order])
COMPLETED = ("SO-1", "SO-2")
DECLINED, OUT_OF_STOCK, HALTED, ACCEPTED, TWICE = "SO-3", "SO-4", "SO-5", "SO-6", "SO-7"
"""TWICE was declined, ordered again with another card, and completed."""
ENDED = (*COMPLETED, DECLINED, OUT_OF_STOCK, TWICE)
ORACLE: Oracle = {
    **dict.fromkeys((*COMPLETED, TWICE), (SagaStatus.COMPLETED, "")),
    DECLINED: (SagaStatus.COMPENSATED, "declined"),
    OUT_OF_STOCK: (SagaStatus.COMPENSATED, "out_of_stock"),
}


def order(order_id: str, method: str = "pm_card", mug_count: int = 2) -> Order:
    lines = (OrderLine(sku="mug", quantity=mug_count, unit_price=250), OrderLine(sku="tin", quantity=1, unit_price=999))
    home = Address(name="A", street="B", city="C", postcode="N1 1AA")
    return Order(
        order_id=order_id,
        customer_id="7",
        currency="GBP",
        country="United Kingdom",
        address=home,
        lines=lines,
        payment_method=method,
    )


ORDERS = (
    order("SO-1"),
    order("SO-2"),
    order(DECLINED, "pm_declined"),
    order(OUT_OF_STOCK, mug_count=1_000),
    order(HALTED, "pm_broken"),
    order(TWICE, "pm_declined"),
)


@dataclass
class World:
    """A copy of what the run left, to be falsified by one test."""

    store: Store
    database: Path
    books: Books
    mailbox: Path

    def audit(
        self, *, oracle: Oracle | None = ORACLE, floor: Floor | None = None, without: str = "", has_mailbox: bool = True
    ) -> AuditReport:
        with serving(self.books) as urls:
            urls.pop(without, None)
            mailbox = self.mailbox if has_mailbox else None
            return audit(self.store, DEFINITIONS, urls, mailbox, oracle=oracle, floor=floor)

    def saga_id(self, order_id: str) -> str:
        return next(row.saga_id for row in self.store.find(SagaFilter(), 100) if row.entity == order_id)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Books]:
    """The run itself: the real worker, the real store, calls over HTTP."""
    home = tmp_path_factory.mktemp("audited")
    url = f"sqlite:///{home / 'saga.db'}"
    upgrade(url)
    books = Books()
    books.provision("mug", 100)
    books.provision("tin", 100)
    with pytest.MonkeyPatch.context() as patch, serving(books) as urls:
        patch.setenv("SAGA_MAILBOX", str(home / "mails"))
        store = open_store(url)
        worker = Worker(store, DEFINITIONS, Executor(urls.__getitem__, store.clock))
        worker.start()
        for one in ORDERS:
            accept(store, one)
        wait_until(lambda: resting(store) == len(ORDERS), 30, what="every order ended or halted")
        accept(store, order(TWICE))
        wait_until(lambda: resting(store) == len(ORDERS) + 1, 30, what="the order that was placed again ended")
        assert worker.stop()
        accept(store, order(ACCEPTED))
        store.close()
    return home, books


def accept(store: Store, one: Order) -> None:
    """Put one order into the store; nobody is woken."""
    new = new_saga(fulfil_order, one, store, environment="test", tenant="audit")
    answer(new, store.accept([new])[0])


def resting(store: Store) -> int:
    """How many sagas ended or wait for a person."""
    counts = store.counts()
    return sum(counts[status] for status in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.HALTED))


@pytest.fixture
def world(finished: tuple[Path, Books], tmp_path: Path) -> Iterator[World]:
    home, books = finished
    shutil.copytree(home, tmp_path / "copy")
    database = tmp_path / "copy" / "saga.db"
    store = open_store(f"sqlite:///{database}")
    yield World(store, database, copy.deepcopy(books), tmp_path / "copy" / "mails")
    store.close()
