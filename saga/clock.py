"""The only `now` and the only `sleep` of the project, so that a test or the simulator can replace both.

Durations are float seconds (`*_s`), instants are aware UTC datetimes (`*_at`).
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the runtime may know of time."""

    def now(self) -> datetime:
        """The present instant, UTC."""
        ...


class SystemClock:
    """The clock of this machine; leases and timers of a store on a server use the server's instead."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class SteeredClock:
    """A clock that runs at the pace of this machine and shows the time of another, the database.

    A worker whose own clock is an hour off must not see leases expire an hour early (RELIABILITY 24): the store calls
    `steer` with each `now()` that the database answers, and between two answers the monotonic clock carries on.
    """

    def __init__(self) -> None:
        self._offset = datetime.now(UTC).timestamp() - time.monotonic()

    def steer(self, server_now: datetime) -> None:
        """Adopt the server's instant; the error is at most the time that its answer took to arrive."""
        self._offset = server_now.timestamp() - time.monotonic()

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.monotonic() + self._offset, UTC)


def monotonic() -> float:
    """Seconds that only grow, for measuring durations inside one process."""
    return time.monotonic()


def sleep(duration_s: float) -> None:
    """Wait; for loops of adapters and the command line only, never for tests and never with a transaction open."""
    time.sleep(duration_s)


def after(instant: datetime, duration_s: float) -> datetime:
    """The instant `duration_s` seconds later."""
    return instant + timedelta(seconds=duration_s)
