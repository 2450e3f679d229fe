"""Bounded, jittered repetition of a database call: of the database part only, never of a call to a participant.

Every operation of the store may run twice: append and accept are idempotent, the others only set what they set. So an
operation that lost its connection, its lock or its snapshot is simply made again on another connection, and after
`ATTEMPTS` the caller gets `StoreUnavailable` and may decide for itself. Attempts that each take long end earlier: when the
time is over there is no third one.
"""

import os
import threading
import zlib
from collections.abc import Callable
from typing import TypeVar

from saga.clock import monotonic, sleep
from saga.errors import StoreUnavailable

Result = TypeVar("Result")

ATTEMPTS = 6
FIRST_WAIT_S = 0.02


class Retriable(Exception):
    """The attempt failed in a way that another attempt may mend; the cause is chained."""


def repeat(attempt: Callable[[], Result], what: str, within_s: float) -> Result:
    """Run `attempt` until it does not raise Retriable: at most `ATTEMPTS` times over about a second, and no more than twice
    when that took `within_s` or longer."""
    ends_at = monotonic() + within_s
    for number in range(ATTEMPTS):
        try:
            return attempt()
        except Retriable as error:
            if number == ATTEMPTS - 1 or (number and monotonic() >= ends_at):
                raise StoreUnavailable(f"{what}: {error}; the call may be repeated") from error
        sleep(jittered(FIRST_WAIT_S * 2**number))
    raise AssertionError("unreachable: the last attempt returns or raises")


def jittered(wait_s: float) -> float:
    """Between half and all of `wait_s`, spread over threads and processes that failed at the same moment."""
    seed = f"{os.getpid()}:{threading.get_ident()}:{monotonic()}".encode()
    return wait_s * (0.5 + zlib.crc32(seed) / 2**33)
