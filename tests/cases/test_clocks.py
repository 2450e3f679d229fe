"""I: the clock of the machine was set back an hour. A retry of 20 s waited an hour more, and `saga status` said `oldest -3569812 ms`."""

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel

from saga.clock import SystemClock, seconds_between
from saga.core.definition import Saga, readonly
from saga.core.states import NodePhase, SagaStatus
from saga.errors import Throttled
from saga.runtime.engine import Definitions, fold
from saga.runtime.executor import Executor
from saga.runtime.lease import Lease
from saga.runtime.starting import Starter
from saga.runtime.work import Limits
from saga.runtime.worker import Worker
from saga.store import schema
from saga.store.codec import decode
from saga.store.memory import MemoryStore
from saga.store.sqlite import SqliteStore
from saga.surfaces.attempts import read_attempts
from saga.surfaces.reading import read_row
from saga.surfaces.render import saga_list
from saga.surfaces.standing import standing
from saga.surfaces.status_page import status_page
from tests.conformance.test_set_back import Behind
from tests.waiting import wait_until

WAIT_S = 4.0
"""What the bank asks for: long enough for the clock to be set meanwhile."""
PATIENCE_S = 25.0


class Order(BaseModel):
    order_id: str


class Shop:
    """A file with one order whose bank asks once to wait."""

    def __init__(self, url: str) -> None:
        self.asked = threading.Event()
        self.store = SqliteStore(url)
        self.saga = Saga(
            "pays", version=1, input=Order, entity=lambda it: it.order_id, steps=[readonly(self.pay, name="pay")]
        )
        self.definitions = Definitions([self.saga])
        starter = Starter(self.store, environment="test", tenant="test")
        self.saga_id = starter.start(self.saga, Order(order_id="SO-1")).saga_id
        starter.stop()

    def pay(self, order: Order) -> None:
        if not self.asked.is_set():
            self.asked.set()
            raise Throttled(WAIT_S)

    def work(self) -> Worker:
        made = Worker(self.store, self.definitions, Executor(str, self.store.clock), limits=Limits(slots=2, threads=2))
        made.start()
        return made

    def set_back(self, by: timedelta = timedelta(hours=1)) -> None:
        self.store._clock = Behind(SystemClock(), by)  # type: ignore[assignment]  # of the same shape

    def waits(self) -> bool:
        return fold(self.store.load([self.saga_id])[self.saga_id])[0].node("pay:a").phase is NodePhase.BACKOFF

    def has_ended(self) -> bool:
        row = self.store.row(self.saga_id)
        return row is not None and row.status is SagaStatus.COMPLETED


@pytest.fixture
def shop(sqlite_url: str) -> Iterator[Shop]:
    schema.upgrade(sqlite_url)
    made = Shop(sqlite_url)
    yield made
    made.store.close()


def test_a_retry_waits_no_longer_than_it_asked_for(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """F22: the worker sees the step, says by how much, and the order ends within seconds; no duration is less than nothing."""
    worker = shop.work()
    try:
        wait_until(shop.waits, PATIENCE_S)
        with caplog.at_level(logging.WARNING, "saga"):
            shop.set_back()
            wait_until(shop.has_ended, PATIENCE_S)
    finally:
        worker.stop(5)
    (said,) = [it for it in caplog.records if "clock_set_back" in it.getMessage()]
    assert "everything that waits is looked at again" in said.getMessage()
    row = shop.store.row(shop.saga_id)
    assert row is not None
    assert row.ended_at is not None
    assert row.ended_at < row.accepted_at
    transitions = [it for entry in shop.store.load([shop.saga_id])[shop.saga_id] for it in decode(entry.body)]
    assert all(it.took_s is None or it.took_s >= 0 for it in read_attempts(transitions))
    assert "  0 ms  " in saga_list([read_row(row)])


def test_a_step_in_the_first_second_of_a_worker_is_seen(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """A time service sets the clock just when services start: the first renewal compares with the start."""
    worker = shop.work()
    try:
        with caplog.at_level(logging.WARNING, "saga"):
            shop.set_back()
            wait_until(lambda: any("clock_set_back" in it.getMessage() for it in caplog.records), PATIENCE_S)
            wait_until(shop.has_ended, PATIENCE_S)
    finally:
        worker.stop(5)


class SlowToLook(MemoryStore):
    """Has a million sagas to look at."""

    def __init__(self) -> None:
        super().__init__()
        self.looks, self.gate = threading.Event(), threading.Event()
        self.renewals = 0

    def renew_lease(self, worker_id: str) -> bool:
        self.renewals += self.looks.is_set()
        return super().renew_lease(worker_id)

    def look_again(self) -> None:
        self.looks.set()
        assert self.gate.wait(PATIENCE_S)
        super().look_again()


def test_the_lease_is_renewed_while_everything_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """It took six seconds for 100,000 sagas, and another process declared the one that looked dead."""
    monkeypatch.setenv("SAGA_LEASE_S", "1")
    store = SlowToLook()
    lease = Lease(store, frozenset())
    lease.open()
    try:
        store._clock = Behind(SystemClock())
        assert store.looks.wait(PATIENCE_S)
        wait_until(lambda: store.renewals >= 10, PATIENCE_S)
        assert lease.is_known
    finally:
        store.gate.set()
        lease.close()


def test_a_worker_that_starts_afterwards_sees_it_too(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody ran when the clock was set: what is written down tells it."""
    worker = shop.work()
    wait_until(shop.waits, PATIENCE_S)
    worker.stop(5)
    shop.set_back()
    text = status_page(standing(shop.store, shop.definitions))
    assert "✗ the clock is 60 min behind what is written down: it was set back" in text
    assert "oldest 0 ms" in text
    assert "-3" not in text
    with caplog.at_level(logging.WARNING, "saga"):
        worker = shop.work()
        try:
            wait_until(shop.has_ended, PATIENCE_S)
        finally:
            worker.stop(5)
    assert any(
        "clock_set_back" in it.getMessage() and "before what is written down" in it.getMessage()
        for it in caplog.records
    )


def test_a_step_forward_is_said(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """A deadline may have passed by it, and nobody would know why."""
    worker = shop.work()
    try:
        wait_until(shop.waits, PATIENCE_S)
        with caplog.at_level(logging.WARNING, "saga"):
            shop.set_back(-timedelta(hours=1))
            wait_until(lambda: any("clock_set_forward" in it.getMessage() for it in caplog.records), PATIENCE_S)
            wait_until(shop.has_ended, PATIENCE_S)
    finally:
        worker.stop(5)


def test_a_duration_is_never_less_than_nothing() -> None:
    """Whatever the clock did between two instants."""
    at = datetime(2026, 11, 29, 12, tzinfo=UTC)
    assert (seconds_between(at, at + timedelta(seconds=3)), seconds_between(at, at - timedelta(hours=1))) == (3.0, 0.0)
