"""A SQLite file whose write lock another process holds for ever."""

import logging
import sqlite3
import threading
from pathlib import Path

import pytest

from saga.clock import monotonic
from saga.core.definition import Saga, readonly
from saga.errors import StoreUnavailable
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import Starter
from saga.runtime.worker import Worker
from saga.store import schema
from saga.store.opening import open_store
from tests.simulation.sagas import Order
from tests.waiting import wait_until


@pytest.mark.timeout(60)
def test_a_worker_on_a_locked_file_says_what_is_locked_and_ends_in_its_time(
    sqlite_url: str, tmp_path: Path, short_bounds: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """An outcome cannot be written: the log names the file and who has to end, the lease is not known any more, and a stop ends
    within its grace and ten seconds. A caller gets his error too."""
    began, gate = threading.Event(), threading.Event()

    def step(order: Order) -> Order:
        began.set()
        gate.wait(30)
        return order

    saga = Saga("locked", version=1, input=Order, entity=lambda it: it.order_id, steps=[readonly(step)])
    schema.upgrade(sqlite_url)
    store = open_store(sqlite_url)
    definitions = Definitions([saga])
    definitions.register(store)
    starter = Starter(store, environment="test", tenant="test")
    starter.start(saga, Order(order_id="SO-1"))
    worker = Worker(store, definitions, Executor(str, store.clock))
    worker.start()
    assert began.wait(20)
    other = sqlite3.connect(tmp_path / "saga.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with caplog.at_level(logging.WARNING, "saga"):
        gate.set()
        wait_until(lambda: "store_unavailable" in caplog.text and "lease_unknown" in caplog.text, 20)
        with pytest.raises(StoreUnavailable):
            starter.start(saga, Order(order_id="SO-2"))
        asked_at = monotonic()
        worker.stop(float(short_bounds["SAGA_GRACE_S"]))
        took_s = monotonic() - asked_at
    other.close()
    starter.stop()
    store.close()
    assert took_s < float(short_bounds["SAGA_GRACE_S"]) + 10 + 1
    assert f"{tmp_path / 'saga.db'} is locked: another process holds its write lock" in caplog.text
