"""A worker process without its broker: the loop, the lease that says it lives, and the rescuer that finds what nobody holds.

The lease is renewed until the last call in flight has been written, also while the process drains: a step that is longer than a
lease must not be taken over because its worker was told to stop.

The rescuer repeats one query for ever and trusts nothing it remembers: renew the lease, close workers that are gone
(which makes their sagas due), take due sagas up to the free slots. It is silent unless something happened, and one bad row
or a database that is away never ends it. It runs inside every worker process and, with no broker at all, as `saga drain`.
"""

import os
import socket
import threading
from collections.abc import Callable, Sequence

from saga.clock import monotonic
from saga.core.events import Start
from saga.errors import SagaError
from saga.ids import uuid7
from saga.log import logger
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.loop import Around, Loop, plain
from saga.runtime.work import Hint, Limits
from saga.store.port import Store, Wanted, WorkerRow

LEASE_TTL_S = 5.0
RENEW_S = 1.0
SWEEP_S = 0.25
BUSY_SWEEP_S = 0.01
PUSH_S = 5.0
SWEEP_LIMIT = 64


class Worker:
    """The process driver with its lease and its rescuer. `start`, `wake` from anywhere, `stop` at a step boundary."""

    def __init__(
        self,
        store: Store,
        definitions: Definitions,
        executor: Executor,
        *,
        queues: frozenset[str] | None = None,
        limits: Limits | None = None,
        publish: Callable[[Sequence[Hint]], None] = lambda _hints: None,
        around: Around = plain,
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._queues = queues
        self.worker_id = uuid7()
        self._loop = Loop(
            store,
            definitions,
            executor,
            self.worker_id,
            limits=limits,
            runs=self._consumes,
            publish=publish,
            around=around,
        )
        self._draining = threading.Event()
        self._stopping = threading.Event()
        self._rescuer = threading.Thread(target=self._rescue, name="saga-rescuer", daemon=True)
        self._renewed = 0.0

    def _consumes(self, _saga: str, start: Start) -> bool:
        return self._queues is None or start.queue in self._queues

    def start(self) -> None:
        """Register the lease first: nothing is claimed by a process that nobody could find dead."""
        self._register()
        self._loop.start()
        self._rescuer.start()

    def wake(self, saga_ids: Sequence[str]) -> None:
        """Somebody hints at these sagas; returns at once."""
        self._loop.wake(saga_ids)

    def stop(self, grace_s: float = 30.0) -> bool:
        """Finish what is in flight, up to `grace_s`, and give the lease back. True when nothing was left behind."""
        self._draining.set()
        is_clean = self._loop.stop(grace_s)
        self._stopping.set()
        self._rescuer.join()
        try:
            self._store.close_worker(self.worker_id)
        except SagaError as error:
            logger.warning("lease_not_given_back", worker_id=self.worker_id, error=str(error))
        return is_clean

    def _register(self) -> None:
        queues = tuple(sorted(self._queues or ()))
        self._store.register_worker(WorkerRow(self.worker_id, socket.gethostname(), os.getpid(), queues, LEASE_TTL_S))
        self._renewed = monotonic()

    def _rescue(self) -> None:
        pause_s = SWEEP_S
        while not self._stopping.wait(pause_s):
            try:
                if not self._loop.is_whole:
                    self._give_up()
                    return
                self._keep_lease()
                is_busy = not self._draining.is_set() and self._sweep()
                pause_s = BUSY_SWEEP_S if is_busy else SWEEP_S
            except SagaError as error:
                logger.warning("rescue_postponed", error=str(error))
            except Exception as error:  # the guard of an endless loop: recovery is repeated for ever
                logger.error("rescue_failed", error=f"{type(error).__name__}: {error}")

    def _give_up(self) -> None:
        """A thread of the loop died of a bug. A process that renews its lease and does nothing would hold its sagas for
        ever, so the lease is given back, and others take over what was in flight."""
        logger.error("worker_broken", worker_id=self.worker_id, reason="a thread died; restart this process")
        self._loop.abandon()
        self._store.close_worker(self.worker_id)

    def _keep_lease(self) -> None:
        if monotonic() - self._renewed < RENEW_S:
            return
        if self._store.renew_lease(self.worker_id):
            self._renewed = monotonic()
        else:
            logger.warning("lease_lost", worker_id=self.worker_id)
            self.worker_id = uuid7()
            self._register()
            self._loop.rename(self.worker_id)
        for dead in self._store.dead_workers():
            count = self._store.close_worker(dead)
            logger.warning("worker_gone", worker_id=dead, count=count)

    def _sweep(self) -> bool:
        """Take what is due, up to the room there is; whether there was so much that another look is due at once."""
        limit = min(self._loop.free_count, SWEEP_LIMIT)
        if not limit:
            self._sweep_turned()
            return False
        due = self._store.sweep_due(limit, PUSH_S, Wanted(self._definitions.versions))
        if due:
            self._loop.wake([it.saga_id for it in due])
        return len(due) == limit

    def _sweep_turned(self) -> None:
        """Slow actions hold every slot they may have; rollbacks have a share of their own."""
        limit = min(self._loop.back_count, SWEEP_LIMIT)
        if limit:
            due = self._store.sweep_due(limit, PUSH_S, Wanted(self._definitions.versions, turned_only=True))
            self._loop.look_at([it.saga_id for it in due])
