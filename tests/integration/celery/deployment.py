"""One test's store, saga, callers and workers, and what it asks them."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psycopg
from celery import Celery

from saga.core.definition import Saga
from saga.runtime.celery import Attachment, Publisher, ThreadWorker, attach, make_app, worker_in_thread
from saga.runtime.starting import Starter, first_hints
from saga.store.opening import open_store
from saga.store.port import Store
from saga.store.schema import upgrade
from tests.integration.celery.shop import Order, shop
from tests.integration.celery.worker_process import SCOPE, WorkerOptions
from tests.waiting import wait_until

DriverName = Literal["process", "task"]
ROOT = Path(__file__).parents[3]
STOP_S = 25.0


@dataclass
class Deployment:
    """A shop: orders are started here and run by whichever workers the test starts."""

    unique: str
    driver: DriverName
    broker_url: str
    store_url: str
    folder: Path
    saga: Saga[Any]
    app: Celery
    attachment: Attachment
    store: Store
    starter: Starter
    publisher: Publisher
    count: int = 0
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    threads: list[ThreadWorker] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def queue(self, name: str) -> str:
        return f"{self.unique}_{name}"

    def start(self, *, hint: bool = True, **facts: Any) -> str:
        """Accept one order, with a hint unless it is to be lost."""
        self.count += 1
        order = Order(order_id=f"{self.unique}-{self.count}", log=str(self.log), **facts)
        saga_id = self.starter.start(self.saga, order).saga_id
        if hint:
            self.publisher.publish(first_hints(self.saga, saga_id))
        return saga_id

    def start_unseen(self, count: int) -> list[str]:
        """Sagas that only a message can wake: they are due tomorrow."""
        saga_ids = [self.start(hint=False) for _ in range(count)]
        with psycopg.connect(self.store_url) as database:
            database.execute(
                "UPDATE saga.saga SET due_at = now() + interval '1 day' WHERE saga_id = ANY(%s)", [saga_ids]
            )
        return saga_ids

    def wait_ended(self, saga_ids: Sequence[str], timeout_s: float = 20.0) -> list[str]:
        """The statuses of these sagas once all of them have ended."""
        wait_until(lambda: all(self.has_ended(it) for it in saga_ids), timeout_s, what="every saga to end")
        return [self.status(it) for it in saga_ids]

    def has_ended(self, saga_id: str) -> bool:
        row = self.store.row(saga_id)
        return row is not None and row.ended_at is not None

    def status(self, saga_id: str) -> str:
        row = self.store.row(saga_id)
        assert row is not None
        return row.status.value

    def lines(self, step: str | None = None) -> list[list[str]]:
        """What ran, in order: step, order id, pid, thread."""
        text = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
        return [line.split() for line in text.splitlines() if step in (None, line.split()[0])]

    def thread_worker(self, **options: Any) -> ThreadWorker:
        self.threads.append(worker_in_thread(self.app, **options))
        return self.threads[-1]

    def process_worker(self, *, wait: bool = True, **facts: Any) -> subprocess.Popen[bytes]:
        """A worker process, ready to take messages unless `wait` is off (its broker is away)."""
        announced = self.folder / f"worker{len(self.processes)}"
        options = WorkerOptions(
            unique=self.unique,
            driver=self.driver,
            broker_url=self.broker_url,
            store_url=self.store_url,
            announce=str(announced),
            **facts,
        )
        command = [sys.executable, "-m", "tests.integration.celery.worker_process", options.model_dump_json()]
        with (self.folder / "stderr").open("ab") as stderr:
            child = subprocess.Popen(command, cwd=ROOT, stderr=stderr)
        self.processes.append(child)
        if wait:
            wait_until(lambda: announced.exists() or child.poll() is not None, 60, what="the worker to be ready")
            assert child.poll() is None, self.stderr()
        return child

    def stderr(self) -> str:
        return (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        for child in self.processes:
            child.terminate()
        for child in self.processes:
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for thread in self.threads:
            thread.stop()
        self.starter.stop()
        self.publisher.close()
        self.store.close()


@contextmanager
def deployment(unique: str, driver: DriverName, broker_url: str, store_url: str, folder: Path) -> Iterator[Deployment]:
    upgrade(store_url, SCOPE.environment)
    saga, store = shop(unique), open_store(store_url)
    app = make_app(broker_url, [saga])
    made = Deployment(
        unique,
        driver,
        broker_url,
        store_url,
        folder,
        saga,
        app,
        attach(app, [saga], store_url=store_url, scope=SCOPE, driver=driver),
        store,
        Starter(store, environment="test", tenant="test"),
        Publisher(app, ids_per_message=32 if driver == "process" else 1),
    )
    try:
        yield made
    finally:
        made.close()
