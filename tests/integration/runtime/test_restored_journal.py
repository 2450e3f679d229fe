"""A journal that is restored to before a cancel: the participants know better, and nobody is charged."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest
import requests
from psycopg.sql import SQL, Identifier

from saga.core.fold import SagaState
from saga.core.outcomes import OutcomeCode
from saga.core.states import HaltReason, SagaStatus
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Order
from saga.runtime.engine import Definitions, fold
from saga.runtime.executor import Executor
from saga.runtime.starting import answer, new_saga
from saga.runtime.worker import Worker
from saga.store.connecting import sqlite_path
from saga.store.opening import open_store
from saga.store.port import Store
from saga.store.restoring import Settled
from saga.store.schema import upgrade
from saga.surfaces.audit import audit
from saga.surfaces.cancelling import CancelRequest, cancel
from saga.surfaces.ledgers import read_ledgers
from saga.surfaces.reading import read_cause
from saga.surfaces.restoring import reconciled, restored
from services.skeleton.server import NAMES, serve_in_thread
from tests import services_available as servers
from tests.waiting import wait_until

DEFINITIONS = Definitions([fulfil_order])
ORDERS, PIECES, STOCK = 10, 2, 100
TEN = [f"SO-{number}" for number in range(ORDERS)]
END_S = 60.0


@dataclass(frozen=True)
class Place:
    """How far the copy of the journal goes, and where the restored saga turns round."""

    name: str
    fault: str
    operation: str
    service: str
    waits_at: str
    seen: OutcomeCode
    turns_at: str
    says: str


AT_CAPTURE = ("overloaded", "POST /v1/captures", "payment", "capture_payment:a", OutcomeCode.THROTTLED)
AT_FIRM = ("error_after", "POST /v1/reservations/firm", "inventory", "firm_reservation:a", OutcomeCode.UNKNOWN)
ACCEPTED = Place("accepted", *AT_CAPTURE, "reserve_inventory", "tombstoned")
FIRM = Place("firm", *AT_FIRM, "firm_reservation", "tombstoned")
CAPTURE = Place("capture", *AT_CAPTURE, "capture_payment", "voided")


@pytest.fixture
def urls(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The four services, with stock."""
    running = {name: serve_in_thread(name, f"sqlite:///{tmp_path / name}.db") for name in NAMES}
    urls = {name: service.url for name, service in running.items()}
    body = {"items": [{"sku": "mug", "quantity": STOCK}]}
    assert requests.post(f"{urls['inventory']}/v1/stock", json=body, headers={"Idempotency-Key": "s"}, timeout=10).ok
    yield urls
    for service in running.values():
        service.stop()


@pytest.fixture
def journal_url(dialect: str, request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("sqlite_url" if dialect == "sqlite" else "empty_postgres_url")
    upgrade(url)
    return url


@pytest.fixture
def backup(journal_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator["Backup"]:
    if journal_url.startswith("sqlite"):
        yield Backup(journal_url, f"sqlite:///{tmp_path / 'restored.db'}")
    else:
        name = f"{journal_url.rpartition('/')[2]}_r"
        yield Backup(journal_url, f"{journal_url}_r")
        servers.drop_database(request.getfixturevalue("postgres_server_url"), name)


@dataclass(frozen=True)
class Backup:
    """A copy of the journal as it was; nobody may have it open while it is taken."""

    url: str
    restored_url: str

    def take(self) -> datetime:
        """The instant that it is of."""
        store = open_store(self.url)
        at = store.now()
        store.close()
        self._copy()
        return at

    def _copy(self) -> None:
        if self.url.startswith("sqlite"):
            source, target = (sqlite3.connect(sqlite_path(url)) for url in (self.url, self.restored_url))
            source.backup(target)
            source.close()
            target.close()
            return
        names = [Identifier(url.rpartition("/")[2]) for url in (self.restored_url, self.url)]
        with psycopg.connect(f"{self.url.rpartition('/')[0]}/postgres", autocommit=True) as connection:
            connection.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))


class Run:
    """A worker on a journal, for the time of a `with`."""

    def __init__(self, journal_url: str, urls: dict[str, str]) -> None:
        self.store: Store = open_store(journal_url)
        DEFINITIONS.register(self.store)
        self._executor = Executor(urls.__getitem__, self.store.clock)
        self._worker = Worker(self.store, DEFINITIONS, self._executor)

    def __enter__(self) -> Self:
        self._worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._worker.stop()
        self._executor.close()
        self.store.close()

    def states(self, ids: list[str]) -> list[SagaState]:
        entries = self.store.load(ids)
        return [fold(entries[saga_id])[0] for saga_id in ids]

    def wait_for_end(self, ids: list[str]) -> list[SagaState]:
        def ended() -> bool:
            return all((row := self.store.row(saga_id)) is not None and row.ended_at is not None for saga_id in ids)

        wait_until(ended, END_S, what="the end of every order")
        return self.states(ids)


def accepted(journal_url: str, names: Sequence[str] = TEN) -> list[str]:
    """Orders in the journal; nobody works on them."""
    store = open_store(journal_url)
    address = {"name": "Zoë", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"}
    head = {"customer_id": "C7", "currency": "GBP", "country": "United Kingdom", "payment_method": "pm_card"}
    body = {**head, "address": address, "lines": [{"sku": "mug", "quantity": PIECES, "unit_price": 500}]}
    ids = []
    for name in names:
        order = Order.model_validate({**body, "order_id": name, "email": "zoe@example.org"})
        new = new_saga(fulfil_order, order, store, environment="test", tenant="restored")
        ids.append(answer(new, store.accept([new])[0]).saga_id)
    store.close()
    return ids


def cancel_all(journal_url: str, ids: list[str]) -> None:
    """Before a worker comes back: none of them may go on first."""
    store = open_store(journal_url)
    for saga_id in ids:
        cancel(store, DEFINITIONS, saga_id, CancelRequest(reason="customer called"), surface="test")
    store.close()


def rows(urls: dict[str, str], service: str, book: str = "ledger") -> list[dict[str, Any]]:
    found = requests.get(f"{urls[service]}/v1/{book}", params={"limit": 5000}, timeout=10).json()["rows"]
    assert isinstance(found, list)
    return found


def assert_nobody_was_charged(urls: dict[str, str], payments: list[dict[str, Any]], mails: Path) -> None:
    """But the order that was accepted and completed in the part that is lost."""
    assert {row["order_id"] for row in payments if "merchant" in (row["debit"], row["credit"])} == {"SO-lost"}
    assert [(row["debit"], row["credit"]) for row in payments].count(("holds", "customer:SO-0")) == 1
    assert len(payments) == 2 * ORDERS + 2
    item = requests.get(f"{urls['inventory']}/v1/stock/mug", timeout=10).json()
    assert (item["available"], item["reserved"], item["shipped"]) == (STOCK - PIECES, 0, PIECES)
    assert len(list(mails.glob("**/*.eml"))) == 1, "the mail of the lost order"


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("dialect", "place"), [
    ("sqlite", ACCEPTED), ("sqlite", FIRM), ("sqlite", CAPTURE), ("postgresql", FIRM),
], ids=lambda it: it if isinstance(it, str) else it.name)  # fmt: skip
def test_orders_that_were_cancelled_after_the_backup_are_not_charged(
    dialect: str,
    place: Place,
    urls: dict[str, str],
    journal_url: str,
    backup: Backup,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten orders are authorised, cancelled and compensated; then the journal is the copy from before. Each order goes
    forward, hears from the first participant that it asks that this was undone, and ends compensated: no capture, every
    authorization void, the shelf as it was, no mail. An order that was accepted after the backup is known to participants
    alone: the audit names it until somebody answers for it, and is then green."""
    monkeypatch.setenv("SAGA_MAILBOX", str(tmp_path / "mails"))
    rule = {"fault": place.fault, "operation": place.operation, "probability": 1.0}
    faults = f"{urls[place.service]}/v1/faults"
    assert requests.put(faults, json={"seed": 1, "rules": [rule]}, timeout=10).ok
    ids = accepted(journal_url)
    backup_at = backup.take() if place is ACCEPTED else None
    with Run(journal_url, urls) as run:
        wait_until(
            lambda: {it.node(place.waits_at).code for it in run.states(ids)} == {place.seen},
            END_S,
            what=f"{place.waits_at} of every order",
        )
    backup_at = backup_at or backup.take()
    cancel_all(journal_url, ids)
    assert requests.delete(faults, timeout=10).ok
    lost = accepted(journal_url, ["SO-lost"])
    with Run(journal_url, urls) as run:
        assert {it.status for it in run.wait_for_end(ids)} == {SagaStatus.COMPENSATED}
        assert {it.status for it in run.wait_for_end(lost)} == {SagaStatus.COMPLETED}
    before = {name: rows(urls, name) for name in ("inventory", "payment", "shipping")}

    told = {"actor": "ops", "reason": "the disk died"}
    with Run(backup.restored_url, urls) as run:
        assert (moved := restored(run.store, DEFINITIONS, restored_to=backup_at, **told)).left == []
        assert moved.count == ORDERS
        assert {it.halt and it.halt.reason for it in run.states(ids)} == {HaltReason.RESTORED}
        assert (moved := reconciled(run.store, DEFINITIONS, read_ledgers(urls), **told)).left == []
        assert moved.count == ORDERS
        states = run.wait_for_end(ids)
        report = audit(run.store, DEFINITIONS, urls, tmp_path / "mails")
        run.store.settle([Settled("test", "restored", "SO-lost", run.store.now(), **told)])
        settled = audit(run.store, DEFINITIONS, urls, tmp_path / "mails")
    assert {it.status for it in states} == {SagaStatus.COMPENSATED}
    causes = [it.cause for it in states]
    assert {(it.cause, it.step, it.detail) for it in causes if it} == {("rejected", place.turns_at, place.says)}
    if place.says == "tombstoned":
        assert {it.detail for cause in causes if (it := read_cause(cause))} == {
            "this was undone before, nothing is done again (tombstoned)"
        }
    assert {name: rows(urls, name) for name in before} == before, "the restored journal moved something"
    assert_nobody_was_charged(urls, before["payment"], tmp_path / "mails")
    assert {it.order_id for it in report.violations} == {"SO-lost"}, [str(it) for it in report.violations]
    assert list(settled.violations) == []
