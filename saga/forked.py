"""A fork copies an object and none of its threads: a queue that nobody reads, a lock that nobody gives back, a socket that two hold.

Rules of this file: whoever has a thread, a connection or a lock knows the process that it was made in. Used in another one it says
so at once, instead of waiting for ever or talking into somebody else's answer (RELIABILITY 14).
"""

import os
import threading
from types import TracebackType

from saga.errors import UsageError


class ForkGuard:
    """Refuses what was carried into a child process. `what` it is stands in the message."""

    def __init__(self, what: str) -> None:
        self._what, self._pid = what, os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether this is the process that created it."""
        return os.getpid() == self._pid

    def check(self) -> None:
        """Raise `UsageError` in any process but the one that created this."""
        if not self.is_here:
            raise UsageError(
                f"this {self._what} was created in pid {self._pid} and is used in pid {os.getpid()}: "
                f"make a {self._what} in each process, after fork"
            )


class GuardedLock:
    """A lock that may be taken again by the thread that has it, in its own process only."""

    def __init__(self, what: str) -> None:
        self._guard, self._lock = ForkGuard(what), threading.RLock()

    def __enter__(self) -> None:
        self._guard.check()
        self._lock.acquire()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._lock.release()
