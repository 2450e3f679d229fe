"""Orders through the real services, with every kind of fault firing: each ends where the oracle says, and the books agree."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from saga.runtime.executor import Executor
from saga.runtime.worker import Worker
from saga.store.opening import open_store
from saga.store.schema import upgrade
from saga.surfaces.audit import Floor, audit
from saga.testing.oracle import SERVICES, TECHNICAL_FAULTS, FaultScript, legal_ends
from services.skeleton.server import serve_in_thread
from tests.integration.audit.conftest import DEFINITIONS, accept, order, resting
from tests.waiting import wait_until

COUNT = 40
SCRIPT = FaultScript(seed=11, business_share=0.4, technical_share=0.3, delay_s=0.05)
ORDERS = [SCRIPT.prepare(order(f"SO-{number}")) for number in range(COUNT)]


@pytest.fixture
def urls(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The four services with the script, and with the stock that it wants."""
    with ExitStack() as stack:
        running = {name: serve_in_thread(name, f"sqlite:///{tmp_path / name}.db") for name in SERVICES}
        for service in running.values():
            stack.callback(service.stop)
        addresses = {name: service.url for name, service in running.items()}
        items = [{"sku": sku, "quantity": quantity} for sku, quantity in SCRIPT.stock_for(ORDERS).items()]
        answer = requests.post(
            f"{addresses['inventory']}/v1/stock", json={"items": items}, headers={"Idempotency-Key": "stock"}, timeout=5
        )
        assert answer.status_code == 200, answer.text
        for name, url in addresses.items():
            rules = SCRIPT.rules(name, [one.order_id for one in ORDERS])
            told = requests.put(f"{url}/v1/faults", json={"seed": SCRIPT.seed, "rules": rules}, timeout=5)
            assert told.status_code < 300, told.text
        yield addresses


def test_every_order_ends_where_the_oracle_says(
    urls: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three calls in ten fail in one of eight ways; the ends, the money, the stock, the labels and the mails are exact."""
    monkeypatch.setenv("SAGA_MAILBOX", str(tmp_path / "mails"))
    upgrade(f"sqlite:///{tmp_path / 'saga.db'}")
    store = open_store(f"sqlite:///{tmp_path / 'saga.db'}")
    worker = Worker(store, DEFINITIONS, Executor(urls.__getitem__, store.clock))
    worker.start()
    for one in ORDERS:
        accept(store, one)
    wait_until(lambda: resting(store) == COUNT, 90, what="every order ended")
    assert worker.stop()
    floor = Floor({"*": COUNT, "reject": 3} | dict.fromkeys(TECHNICAL_FAULTS, 1))
    ends = legal_ends(ORDERS, SCRIPT, SCRIPT.stock_for(ORDERS))
    report = audit(store, DEFINITIONS, urls, tmp_path / "mails", oracle=ends, floor=floor)
    store.close()
    assert [f"{it.invariant} {it.order_id}: {it.detail}" for it in report.violations] == []
    assert report.too_few == {}
    assert {end.cause for end in ends.values()} == {"", "declined", "out_of_stock", "undeliverable"}
    assert report.counts["completed"] + report.counts["compensated"] == COUNT
