"""Worker processes and threads: `saga worker`, and the embedded mode with the memory broker.

Rules of this file: a worker runs sagas whether or not the broker answers, at the start and later. SIGTERM and SIGINT stop
it at a step boundary: what is in flight ends and is journalled, nothing more is started, the lease is given back. Ten seconds
after `SAGA_GRACE_S` it ends in any case (`saga.runtime.ending`).
"""

import threading
from collections.abc import Sequence
from typing import Any

from celery import Celery
from celery.signals import worker_shutting_down
from celery.worker import WorkController, state

from saga.log import logger
from saga.runtime.ending import END_S, end_within
from saga.settings import read_settings

OPTIONS: dict[str, Any] = {
    "pool": "threads",
    "concurrency": 1,
    "without_gossip": True,
    "without_mingle": True,
}
CLOSED = 0x2
"""`celery.bootsteps.CLOSE`, the state of a blueprint that is ending; Celery's annotations lack its name."""
START_S = 10.0
STOP_S = 5.0
FAREWELL_S = 5.0


def run_worker(
    app: Celery,
    *,
    queues: Sequence[str] | None = None,
    hostname: str | None = None,
    loglevel: str = "INFO",
    events: bool = False,
) -> int:
    """Be a worker of `app`, to which sagas were attached, until SIGTERM or SIGINT; the exit code.

    `queues` None: all queues that the app has. Call it in the main thread, for the signals. Raises `UsageError` for a
    driver that does not fit, `StoreUnavailable` when the database does not answer at the start.
    """
    _be_current(app)
    asked = threading.Event()
    end_within(read_settings().grace_s + END_S, asked)  # a broker that is silent would hold Celery's farewell for ever

    def stopping(**_facts: Any) -> None:
        asked.set()

    worker_shutting_down.connect(stopping, weak=False)
    worker = app.Worker(
        queues=None if queues is None else list(queues),
        hostname=hostname,
        loglevel=loglevel,
        task_events=events,
        without_heartbeat=not events,
        quiet=True,
        **OPTIONS,
    )
    worker.start()
    return int(worker.exitcode or 0)


class ThreadWorker:
    """A worker in a thread of this process; `stop` ends it."""

    def __init__(self, controller: Any, ready: threading.Event) -> None:
        self._controller = controller
        self._thread = threading.Thread(target=controller.start, name="saga-celery", daemon=True)
        self._thread.start()
        self.is_ready = ready.wait(START_S)
        """Whether the broker answered within 10 s; sagas run in either case."""

    def stop(self) -> None:
        """Stop at a step boundary and end the thread."""
        blueprint = self._controller.consumer.blueprint
        if blueprint is not None:
            blueprint.state = CLOSED  # the consumer's loop looks at it and returns, within 2 s
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            self._leave_connecting()
        farewell = threading.Thread(target=self._controller.stop, name="saga-celery-stop", daemon=True)
        farewell.start()
        farewell.join(FAREWELL_S)
        if farewell.is_alive():
            logger.warning("worker_thread_left", reason="the broker does not answer the farewell")

    def _leave_connecting(self) -> None:
        """A thread that still waits for a broker looks only at Celery's own flag, which is one for the whole process."""
        flags: Any = state
        flags.should_stop = 0
        try:
            self._thread.join(STOP_S)
        finally:
            flags.should_stop = None
        if self._thread.is_alive():
            logger.warning("worker_thread_left", reason="the broker neither answers nor refuses")


def worker_in_thread(app: Celery, *, queues: Sequence[str] | None = None, events: bool = False) -> ThreadWorker:
    """A worker of `app` in a thread, for the embedded mode: with a `memory://` broker no server is needed.

    Makes `app` the default app of the process, because Celery looks there for the tasks that a worker thread runs.
    """
    _be_current(app)
    ready = threading.Event()
    controller = WorkController(
        app=app,
        queues=None if queues is None else list(queues),
        task_events=events,
        without_heartbeat=not events,
        ready_callback=lambda _consumer: ready.set(),
        **OPTIONS,
    )
    return ThreadWorker(controller, ready)


def _be_current(app: Celery) -> None:
    app.finalize()
    app.set_current()
    app.set_default()
