"""What a `--wait` says once when nothing has ended for a while: mostly nobody works on the database.

Rules of this file: the remark goes to stderr, once. It is said again when the wait ends without an end of the saga.
"""

from collections.abc import Callable

from saga.clock import monotonic
from saga.core.states import SagaStatus
from saga.surfaces.cli.options import say

PATIENCE_S = 5.0


class Reminder:
    """Told where a saga stands as often as somebody looks; says so when it has been told for `PATIENCE_S` seconds."""

    def __init__(self, name: str, clock: Callable[[], float] = monotonic) -> None:
        self._name, self._clock = name, clock
        self._say_at: float | None = clock() + PATIENCE_S

    def look(self, status: SagaStatus) -> None:
        if self._say_at is not None and self._clock() >= self._say_at:
            self._say_at = None
            self.say(status)

    def say(self, status: SagaStatus) -> None:
        say(f"saga: {self._name} is still {status}; is a worker running? saga status")
