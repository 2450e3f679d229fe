"""The only `now` and the only `sleep` of the project, so that a test or the simulator can replace both.

Durations are float seconds (`*_s`), instants are aware UTC datetimes (`*_at`).
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

STEP_S = 0.5


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
    `steer` with every instant that the database answers, at least once a second in a process with a lease, and between two
    answers the monotonic clock carries on. That clock stands still while a machine is suspended, and the database may move to
    a server with another time, so one answer at the start would not do.
    """

    def __init__(self) -> None:
        self._offset: float | None = None

    def steer(self, server_now: datetime, asked: float) -> None:
        """Adopt the server's instant, asked for at `asked` of the monotonic clock. An answer is late by the time that it took to
        arrive, so one that took longer than `STEP_S` says nothing; of two that nearly agree the later one is right; one that is
        off by more than `STEP_S` is a clock that was changed."""
        if self._offset is not None and time.monotonic() - asked > STEP_S:
            return
        offset = server_now.timestamp() - time.monotonic()
        if self._offset is None or offset > self._offset or self._offset - offset > STEP_S:
            self._offset = offset

    def now(self) -> datetime:
        if self._offset is None:
            return datetime.now(UTC)
        return datetime.fromtimestamp(time.monotonic() + self._offset, UTC)


def monotonic() -> float:
    """Seconds that only grow, for measuring durations inside one process."""
    return time.monotonic()


def sleep(duration_s: float) -> None:
    """Wait; for loops of adapters and the command line only, never for tests and never with a transaction open."""
    time.sleep(duration_s)


def seconds_between(earlier: datetime, later: datetime) -> float:
    """How long it took, or how old it is; 0 where a clock that was set back makes it less than nothing."""
    return max((later - earlier).total_seconds(), 0.0)


def after(instant: datetime, duration_s: float) -> datetime:
    """The instant `duration_s` seconds later."""
    return instant + timedelta(seconds=duration_s)
