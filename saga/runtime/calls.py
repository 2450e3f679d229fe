"""The calls that wait for a step thread. Compensations go first, and some threads are for them alone.

Actions that turn slow may hold every thread that they can get; a rollback must not stand behind them, however fast they were
when they were claimed.
"""

import threading
from collections import deque

from saga.core.states import Direction
from saga.runtime.work import Call


def reserved_of(threads: int) -> int:
    """How many of so many threads run compensations only: an eighth, at least one of several."""
    return max(1, threads // 8) if threads > 1 else 0


class CallQueue:
    """Thread-safe; `take` waits, and gives None once the queue was closed and is empty."""

    def __init__(self) -> None:
        lock = threading.Lock()
        self._for_any, self._for_back = threading.Condition(lock), threading.Condition(lock)
        self._forward: deque[Call] = deque()
        self._back: deque[Call] = deque()
        self._is_closed = False

    def put(self, call: Call) -> None:
        """Wakes one thread that may take it, of each sort, and not all: most would find nothing and had the interpreter
        change hands for it."""
        with self._for_any:
            if call.direction is Direction.COMPENSATION:
                self._back.append(call)
                self._for_back.notify()
            else:
                self._forward.append(call)
            self._for_any.notify()

    def close(self) -> None:
        with self._for_any:
            self._is_closed = True
            self._for_any.notify_all()
            self._for_back.notify_all()

    def take(self, *, back_only: bool) -> Call | None:
        changed = self._for_back if back_only else self._for_any
        with changed:
            while True:
                if self._back:
                    return self._back.popleft()
                if self._forward and not back_only:
                    return self._forward.popleft()
                if self._is_closed:
                    return None
                changed.wait()
