"""The row that says a worker process lives, and the look for rows that nobody renews any more.

Both drivers stand on it: what a process claims carries the id of its lease, and whoever finds a lease run out closes it and
makes its sagas due. The renewing has a thread of its own, because neither a long step nor a slow sweep may cost the lease.
"""

import os
import socket
import threading
from collections.abc import Callable

from saga.errors import SagaError
from saga.ids import uuid7
from saga.log import logger
from saga.store.port import Store, WorkerRow

LEASE_TTL_S = 5.0
RENEW_S = 1.0


class Lease:
    """This process's row, from `open` until `close`. When it was declared dead it goes on under another id, which
    `renamed` is told: what was claimed under the old one may be taken over."""

    def __init__(self, store: Store, queues: frozenset[str], renamed: Callable[[str], None] = lambda _id: None) -> None:
        self._store = store
        self._queues = tuple(sorted(queues))
        self._renamed = renamed
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="saga-lease", daemon=True)
        self.worker_id = uuid7()

    def open(self) -> None:
        """Register before anything is claimed: nothing is held by a process that nobody could find dead."""
        self._register(self.worker_id)
        self._thread.start()

    def close(self) -> None:
        """Give it back: what this process still holds is due at once. Closing twice is closing once."""
        self._ending.set()
        self._thread.join()
        try:
            self._store.close_worker(self.worker_id)
        except SagaError as error:
            logger.warning("lease_not_given_back", worker_id=self.worker_id, error=str(error))

    def _register(self, worker_id: str) -> None:
        self._store.register_worker(WorkerRow(worker_id, socket.gethostname(), os.getpid(), self._queues, LEASE_TTL_S))

    def _renew(self) -> None:
        while not self._ending.wait(RENEW_S):
            try:
                if not self._store.renew_lease(self.worker_id):
                    self._take_another_id()
            except SagaError as error:
                logger.warning("lease_not_renewed", worker_id=self.worker_id, error=str(error))
            except Exception as error:  # the guard of an endless loop: a process without a lease loses its sagas
                logger.error("lease_failed", error=f"{type(error).__name__}: {error}")

    def _take_another_id(self) -> None:
        logger.warning("lease_lost", worker_id=self.worker_id)
        worker_id = uuid7()
        self._register(worker_id)
        self.worker_id = worker_id
        self._renamed(worker_id)


def close_dead_workers(store: Store) -> None:
    """Close every lease that ran out, which makes the sagas of its process due."""
    for dead in store.dead_workers():
        count = store.close_worker(dead)
        logger.warning("worker_gone", worker_id=dead, count=count)
