"""Whether this process was in contact with the database long enough to tell who is dead.

A lease that ran out proves a death only to somebody who could have seen it renewed. After a gap in contact longer than
a lease (the database hung, the network was cut, this machine slept) every other worker may have been cut off just the
same, so the first one back waits one lease, in which the living renew theirs, before it judges (DESIGN section 6). The same
when the database's clock was set back: until the living have renewed by the new clock, nothing can be told from a lease.

Instants are the database's. Opening a store counts as contact.
"""

import threading
from datetime import datetime, timedelta

from saga.settings import LEASE_S

SET_BACK = timedelta(seconds=1)
"""Answers overtake one another by less."""


class Contact:
    """Instants of the database at which this process heard from it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lease = timedelta(seconds=LEASE_S)
        self._heard_at: datetime | None = None
        self._judges_from: datetime | None = None

    def expect(self, lease_ttl_s: float) -> None:
        """The lease of the worker of this process; a longer gap than this makes the process wait."""
        with self._lock:
            self._lease = timedelta(seconds=lease_ttl_s)

    def heard(self, now: datetime) -> bool:
        """Note an answer of the database at its instant `now`; whether leases may be judged by it."""
        with self._lock:
            since = timedelta() if self._heard_at is None else now - self._heard_at
            if since > self._lease or since < -SET_BACK:
                self._judges_from = now + self._lease
                self._heard_at = now
            self._heard_at = now if self._heard_at is None else max(self._heard_at, now)
            return self._judges_from is None or now >= self._judges_from
