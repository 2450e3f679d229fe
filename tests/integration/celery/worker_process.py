"""A worker process of these tests: `python -m tests.integration.celery.worker_process '<json of WorkerOptions>'`."""

import os
import sys
import threading
from pathlib import Path
from typing import Any, Literal

from celery import signals
from pydantic import BaseModel

from saga.runtime.celery import attach, make_app, run_worker
from saga.runtime.work import Limits
from saga.scope import Scope
from tests.integration.celery.shop import shop

SCOPE = Scope("test", ("test",))


class WorkerOptions(BaseModel):
    """What kind of worker a test wants."""

    unique: str
    driver: Literal["process", "task"]
    broker_url: str
    store_url: str
    queues: list[str] | None = None
    pool: str = "threads"
    max_tasks_per_child: int | None = None
    threads: int | None = None
    check_timeout_s: float | None = None
    """The first step is late after so long; it is not part of the fingerprint."""
    database_url: str | None = None
    """Where this worker reaches the store, when that is another way than the callers'."""
    settings: dict[str, Any] = {}
    """What the app has beside ours, as one that was there before."""
    announce: str
    """A file: gets a line when the worker is ready, and one per task signal."""


def announce(path: str, *facts: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(" ".join([*facts, str(os.getpid()), threading.current_thread().name]) + "\n")


def main() -> int:
    options = WorkerOptions.model_validate_json(sys.argv[1])
    saga = shop(options.unique, options.check_timeout_s)
    app = make_app(options.broker_url, [saga])
    limits = None if options.threads is None else Limits(slots=options.threads, threads=options.threads)
    url = options.database_url or options.store_url
    attach(app, [saga], store_url=url, scope=SCOPE, driver=options.driver, limits=limits)
    app.conf.worker_max_tasks_per_child = options.max_tasks_per_child
    app.conf.update(options.settings)

    def ready(**_: object) -> None:
        announce(options.announce, "ready")

    signals.worker_ready.connect(ready, weak=False)
    if options.pool == "threads":
        return run_worker(app, queues=options.queues, loglevel="WARNING")
    flags: dict[str, Any] = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}
    worker = app.Worker(
        pool=options.pool, concurrency=2, queues=options.queues, loglevel="WARNING", quiet=True, **flags
    )
    worker.start()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
