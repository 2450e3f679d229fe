"""The row that says a worker process lives, and the look for rows that nobody renews any more.

Both drivers stand on it: what a process claims carries the id of its lease, and whoever finds a lease run out closes it and
makes its sagas due. The renewing has a thread of its own, because neither a long step nor a slow sweep may cost the lease.

A process that does not know that its row is open, because the database did not answer for as long as a lease lasts, starts
nothing: others may have closed it. It says so once, and goes on when it was heard.

It also sees when the clock of the store is set, against the monotonic one of this machine, and when it stands before what is
written down already. Both are said, and after a step back everything that waits is looked at again (`saga.store.setback`), in a thread
of its own: there may be a million sagas, and the lease goes on meanwhile.
"""

import os
import socket
import threading
from collections.abc import Callable

from saga.clock import monotonic
from saga.errors import SagaError
from saga.ids import uuid7
from saga.log import logger
from saga.settings import read_settings
from saga.store.port import Store, WorkerRow

RENEWALS, RENEW_MAX_S = 5, 1.0
"""A lease is renewed five times in its length, and at least once a second: that is how fast a killed process is told from one
whose connection was cut."""
CLOCK_SET_S = 2.0
"""A clock is steered by less between two renewals; what is more was set, or the machine slept."""
CLOSE_S = 3.0
"""How long giving it back may take; it runs out by itself as well."""


class Lease:
    """This process's row, from `open` until `close`. When it was declared dead it goes on under another id, which
    `renamed` is told: what was claimed under the old one may be taken over."""

    def __init__(self, store: Store, queues: frozenset[str], renamed: Callable[[str], None] = lambda _id: None) -> None:
        self._store = store
        self._queues = tuple(sorted(queues))
        self._renamed = renamed
        self._ttl_s = read_settings().lease_s
        self._known_until = 0.0
        self._is_said = False
        self._ahead_s = 0.0
        self._looking: threading.Thread | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="saga-lease", daemon=True)
        self.worker_id = uuid7()

    @property
    def is_known(self) -> bool:
        """Whether nobody can have declared this process dead yet; only then it may start anything."""
        return monotonic() < self._known_until

    def open(self) -> None:
        """Register before anything is claimed: nothing is held by a process that nobody could find dead."""
        self._register(self.worker_id)
        self._ahead_s = self._store.clock().timestamp() - monotonic()
        self._thread.start()
        if behind_s := self._store.behind_s():
            logger.warning("clock_set_back", by_s=round(behind_s, 3), reason="it stands before what is written down")
            self._look_again()

    def close(self) -> None:
        """Give it back: what this process still holds is due at once. Closing twice is closing once. Takes `CLOSE_S` at most,
        whether or not the database answers."""
        self._ending.set()
        closing = threading.Thread(target=self._give_back, name="saga-lease-end", daemon=True)
        closing.start()
        closing.join(CLOSE_S)
        if closing.is_alive():
            logger.warning("lease_not_given_back", worker_id=self.worker_id, error="the database does not answer")

    def _give_back(self) -> None:
        self._thread.join()
        try:
            self._store.close_worker(self.worker_id)
        except SagaError as error:
            logger.warning("lease_not_given_back", worker_id=self.worker_id, error=str(error))

    def _register(self, worker_id: str) -> None:
        asked = monotonic()
        process = (socket.gethostname(), os.getpid(), self._queues, self._ttl_s, self._store.scope)
        self._store.register_worker(WorkerRow(worker_id, *process))
        self._known_until = asked + self._ttl_s

    def _renew(self) -> None:
        while not self._ending.wait(min(self._ttl_s / RENEWALS, RENEW_MAX_S)):
            try:
                asked = monotonic()
                if self._store.renew_lease(self.worker_id):
                    self._known_until = asked + self._ttl_s
                else:
                    self._take_another_id()
                self._mind_the_clock()
            except SagaError as error:
                logger.warning("lease_not_renewed", worker_id=self.worker_id, error=str(error))
            except Exception as error:  # the guard of an endless loop: a process without a lease loses its sagas
                logger.error("lease_failed", error=f"{type(error).__name__}: {error}")
            self._tell()

    def _mind_the_clock(self) -> None:
        before_s, self._ahead_s = self._ahead_s, self._store.clock().timestamp() - monotonic()
        by_s = self._ahead_s - before_s
        if by_s < -CLOCK_SET_S:
            logger.warning("clock_set_back", by_s=round(-by_s, 3), reason="everything that waits is looked at again")
            self._look_again()
        elif by_s > CLOCK_SET_S:
            why = "it was set, or this machine slept: what waits is due earlier, and a deadline may have passed"
            logger.warning("clock_set_forward", by_s=round(by_s, 3), reason=why)

    def _look_again(self) -> None:
        looking = threading.Thread(target=self._until_looked, args=(self._looking,), name="saga-set-back", daemon=True)
        looking.start()
        self._looking = looking

    def _until_looked(self, before: threading.Thread | None) -> None:
        """Until the store has taken it, or this process ends; one look after the other."""
        if before is not None:
            before.join()
        while not self._ending.is_set():
            try:
                self._store.look_again()
                return
            except SagaError as error:
                logger.warning("set_back_not_answered", error=str(error))
                self._ending.wait(RENEW_MAX_S)

    def _tell(self) -> None:
        if not self.is_known and not self._is_said:
            why = f"not renewed for {self._ttl_s:g} s: this process starts nothing until the database answers"
            logger.error("lease_unknown", worker_id=self.worker_id, reason=why)
        elif self.is_known and self._is_said:
            logger.info("lease_known_again", worker_id=self.worker_id)
        self._is_said = not self.is_known

    def _take_another_id(self) -> None:
        self._known_until = 0.0
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
