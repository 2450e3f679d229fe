"""An audit beside a worker that works reports nothing that is only under way."""

from pathlib import Path

import pytest

from saga.runtime.executor import Executor
from saga.runtime.worker import Worker
from saga.store.opening import open_store
from saga.store.schema import upgrade
from saga.surfaces.audit import audit
from tests.integration.audit.books import Books, serving
from tests.integration.audit.conftest import DEFINITIONS, accept, order, resting

COUNT = 40


def test_audits_while_orders_are_fulfilled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledgers, rows and journals are read at different moments; until the last order ended no audit is wrong once."""
    monkeypatch.setenv("SAGA_MAILBOX", str(tmp_path / "mails"))
    upgrade(f"sqlite:///{tmp_path / 'saga.db'}")
    books = Books()
    books.provision("mug", 10_000)
    books.provision("tin", 10_000)
    store = open_store(f"sqlite:///{tmp_path / 'saga.db'}")
    with serving(books) as urls:
        worker = Worker(store, DEFINITIONS, Executor(urls.__getitem__, store.clock))
        worker.start()
        for number in range(COUNT):
            accept(store, order(f"SO-{number}", "pm_declined" if number % 4 == 0 else "pm_card"))
        under_way_count, is_over = 0, False
        while not is_over:
            is_over = resting(store) == COUNT
            report = audit(store, DEFINITIONS, urls, tmp_path / "mails")
            assert [f"{it.invariant} {it.order_id}: {it.detail}" for it in report.violations] == []
            under_way_count += bool(report.waiting)
        assert worker.stop()
    store.close()
    assert under_way_count > 0
