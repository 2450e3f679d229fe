"""A journal that is restored to before a cancel: the participants know better, and nobody is charged."""

import json
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pytest
import requests
from sqlalchemy.engine import make_url
from typer.testing import CliRunner, Result

from saga.core.fold import SagaState
from saga.core.outcomes import OutcomeCode, business_code
from saga.core.states import HaltReason, SagaStatus
from saga.errors import UsageError
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Order
from saga.runtime.engine import Definitions, fold
from saga.runtime.executor import Executor
from saga.runtime.starting import answer, new_saga
from saga.runtime.worker import Worker
from saga.store.connecting import sqlite_path
from saga.store.opening import open_store
from saga.store.port import Store
from saga.store.schema import upgrade
from saga.surfaces.cancelling import CancelRequest, cancel
from saga.surfaces.cli.commands import app
from saga.surfaces.cli.options import FAILED
from saga.surfaces.reading import read_cause
from saga.surfaces.workers import living_workers
from services.skeleton.server import NAMES, serve_in_thread
from tests import services_available as servers
from tests.restoring import told_long_ago
from tests.waiting import wait_until

DEFINITIONS = Definitions([fulfil_order])
ORDERS, PIECES, STOCK = 10, 2, 100
TENANT = "restored"
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
    upgrade(url, "test")
    return url


@pytest.fixture
def backup(journal_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator["Backup"]:
    if journal_url.startswith("sqlite"):
        yield Backup(journal_url, tmp_path / "restored.db")
        return
    server_url = request.getfixturevalue("postgres_server_url")
    made = Backup(journal_url, tmp_path / "journal.dump", server_url)
    yield made
    servers.drop_database(server_url, made.name)


@dataclass(frozen=True)
class Backup:
    """The journal as it was: a copy of the SQLite file by SQLite's own backup, or what pg_dump wrote."""

    url: str
    file: Path
    server_url: str = ""

    @property
    def name(self) -> str:
        return f"{make_url(self.url).database}_r"

    def take(self) -> datetime:
        """The instant that it is of."""
        store = open_store(self.url)
        at = store.now()
        store.close()
        if self.server_url:
            self._run("pg_dump", "--format=custom", f"--file={self.file}", self.url)
        else:
            with closing(sqlite3.connect(sqlite_path(self.url))) as source, closing(sqlite3.connect(self.file)) as copy:
                source.backup(copy)
        return at

    def restore(self) -> str:
        """The URL of a database that has what the backup has."""
        if not self.server_url:
            return f"sqlite:///{self.file}"
        url = servers.create_database(self.server_url, self.name)
        self._run("pg_restore", f"--dbname={url}", str(self.file))
        return url

    def _run(self, program: str, *words: str) -> None:
        subprocess.run([servers.postgres_program(program, self.server_url), *words], check=True, timeout=60)


@pytest.fixture
def typed(urls: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """What an operator types, and what it answers; `SAGA_DATABASE_URL` is for the test to set."""
    monkeypatch.chdir(tmp_path)
    settings = {
        "HOME": str(tmp_path / "home"),
        "ENVIRONMENT": "test",
        "TENANT": TENANT,
        "MAILBOX": str(tmp_path / "mails"),
    }
    settings |= {f"{name.upper()}_URL": url for name, url in urls.items()}
    for name, value in settings.items():
        monkeypatch.setenv(f"SAGA_{name}", value)

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(app, words)

    return invoke


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

    def hint(self, ids: list[str]) -> None:
        """What whoever started them does, so that a fresh order need not wait for its due instant."""
        self._worker.wake(ids)

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
        new = new_saga(fulfil_order, order, store, environment="test", tenant=TENANT)
        ids.append(answer(new, store.accept([new])[0]).saga_id)
    store.close()
    return ids


def nobody_lives(journal_url: str) -> None:
    """The backup may have the row of a worker that ran when it was taken, until its lease has ended."""
    store = open_store(journal_url)
    wait_until(lambda: not living_workers(store), END_S, what="the end of every lease")
    store.close()


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
@pytest.mark.parametrize(("dialect", "place", "is_told"), [
    ("sqlite", ACCEPTED, False), ("sqlite", FIRM, False), ("sqlite", CAPTURE, False),
    ("sqlite", CAPTURE, True), ("postgresql", FIRM, True),
], ids=lambda it: getattr(it, "name", str(it)))  # fmt: skip
def test_orders_that_were_cancelled_after_the_backup_are_not_charged(
    dialect: str,
    place: Place,
    is_told: bool,
    urls: dict[str, str],
    journal_url: str,
    backup: Backup,
    tmp_path: Path,
    typed: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten orders are authorised, cancelled and compensated; then the journal is the copy from before. When that is told, the
    books say that each order was undone, and it rolls back again. When nobody tells, it goes forward and hears so from the first
    participant that it asks. Each ends compensated: no capture, every authorization void, the shelf as it was, no mail. An order
    that was accepted after the backup is known to participants alone: the audit names it until somebody answers for it, and is
    then green."""
    ids, told_at = cancelled_after_the_backup(place, urls, journal_url, backup)
    before = {name: rows(urls, name) for name in ("inventory", "payment", "shipping")}

    restored_url = backup.restore()
    monkeypatch.setenv("SAGA_DATABASE_URL", restored_url)
    told = ("--actor", "ops", "--reason", "the disk died")
    if is_told:
        nobody_lives(restored_url)
        assert value(typed("db", "restored", "--at", told_at, *told, "-o", "json")) == {"held": ORDERS, "left": []}
    with Run(restored_url, urls) as run:
        if is_told:
            assert {it.halt and it.halt.reason for it in run.states(ids)} == {HaltReason.RESTORED}
            with told_long_ago(restored_url):
                assert value(typed("db", "reconcile", *told, "-o", "json")) == {"let_go": ORDERS, "left": []}
        run.hint(ids)
        states = run.wait_for_end(ids)
    if not is_told:
        value(typed("db", "restored", "--at", told_at, *told, "-o", "json"))
    report = typed("audit", "-o", "json")
    refused = typed("db", "settle", "SO-0", *told)
    assert value(typed("db", "settle", "SO-lost", *told, "-o", "json")) == {
        "settled": ["SO-lost"],
        "not_looked_for": [],
    }
    settled = typed("audit", "-o", "json")
    assert_each_turned_round(states, place, is_told=is_told)
    assert {name: rows(urls, name) for name in before} == before, "the restored journal moved something"
    assert_nobody_was_charged(urls, before["payment"], tmp_path / "mails")
    assert_only_the_lost_order_is_named(report)
    assert isinstance(refused.exception, UsageError)
    assert "a journal knows this order" in str(refused.exception)
    assert value(settled)["violations"] == []


def cancelled_after_the_backup(
    place: Place, urls: dict[str, str], journal_url: str, backup: Backup
) -> tuple[list[str], str]:
    """The ten orders, all compensated, and the instant of the backup."""
    rule = {"fault": place.fault, "operation": place.operation, "probability": 1.0}
    faults = f"{urls[place.service]}/v1/faults"
    assert requests.put(faults, json={"seed": 1, "rules": [rule]}, timeout=10).ok
    ids = accepted(journal_url)
    backup_at = backup.take() if place is ACCEPTED else None
    with Run(journal_url, urls) as run:
        run.hint(ids)
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
        run.hint(lost)
        assert {it.status for it in run.wait_for_end(ids)} == {SagaStatus.COMPENSATED}
        assert {it.status for it in run.wait_for_end(lost)} == {SagaStatus.COMPLETED}
    return ids, backup_at.isoformat()


def assert_only_the_lost_order_is_named(report: Result) -> None:
    assert report.exit_code == FAILED, report.output
    assert {it["order_id"] for it in json.loads(report.stdout)["violations"]} == {"SO-lost"}, report.output


def assert_each_turned_round(states: list[SagaState], place: Place, *, is_told: bool) -> None:
    """And says why in words."""
    assert {it.status for it in states} == {SagaStatus.COMPENSATED}
    causes = [it.cause for it in states]
    if is_told:
        assert {(it.cause, it.step) for it in causes if it} == {("undone", "reserve_inventory")}
        return
    assert {(it.cause, it.step, business_code(it.detail)) for it in causes if it} == {
        ("rejected", place.turns_at, place.says)
    }
    if place.says == "tombstoned":
        assert {it.detail for cause in causes if (it := read_cause(cause))} == {
            "this was undone before, nothing is done again (tombstoned)"
        }


def value(done: Result) -> Any:
    """What a command that succeeded printed."""
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)
