"""One journal that cannot be read never stops the others, whatever stands in it (RELIABILITY 18)."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, readonly
from saga.core.states import SagaStatus
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import Starter
from saga.runtime.worker import Worker
from saga.store.opening import open_store
from saga.store.schema import upgrade
from tests.waiting import wait_until


class Order(BaseModel):
    order_id: str


def step(_order: Order) -> None: ...


SAGA = Saga("row", version=1, input=Order, entity=lambda it: it.order_id, steps=[readonly(step)])
LATE = "2020-01-01T00:00:00"


def _naive(body: Any) -> Any:
    body[0]["deadline_at"] = LATE
    return body


def _stranger(body: Any) -> Any:
    started = {"t": "attempt_started", "node": "zzz:a", "epoch": 1, "owner": "w0", "deadline_at": f"{LATE}+00:00"}
    return [*body, started]


SPOILED: dict[str, Callable[[Any], Any]] = {
    "an empty body": lambda _: [],
    "an object": lambda _: {},
    "a number": lambda _: 7,
    "an instant without a zone": _naive,
    "a node that no step has": _stranger,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_a_spoiled_journal_stops_nobody_else(tmp_path: Path, spoil: Callable[[Any], Any]) -> None:
    """The others end, and the worker is whole afterwards: it keeps its lease."""
    url = f"sqlite:///{tmp_path}/rows.db"
    upgrade(url)
    store = open_store(url)
    starter = Starter(store, environment="test", tenant="test")
    bad = starter.start(SAGA, Order(order_id="bad")).saga_id
    with sqlite3.connect(tmp_path / "rows.db") as database:
        [body] = database.execute("SELECT body FROM journal WHERE saga_id = ?", (bad,)).fetchone()
        spoiled = json.dumps(spoil(json.loads(body)))
        database.execute("UPDATE journal SET body = ? WHERE saga_id = ?", (spoiled, bad))
    database.close()
    for number in range(5):
        starter.start(SAGA, Order(order_id=f"SO-{number}"))
    starter.stop()
    worker = Worker(store, Definitions([SAGA]), Executor(str, store.clock))
    worker.start()
    try:
        wait_until(lambda: store.counts()[SagaStatus.COMPLETED] == 5, 20)
        again = Starter(store, environment="test", tenant="test")
        again.start(SAGA, Order(order_id="SO-late"))
        again.stop()
        wait_until(lambda: store.counts()[SagaStatus.COMPLETED] == 6, 20)
        assert store.worker_is_open([worker.worker_id]) == {worker.worker_id: True}
    finally:
        worker.stop()
        store.close()
