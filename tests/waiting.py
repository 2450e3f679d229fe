"""The one way in which a test waits: on a condition, with a bound, and with a message that says what never came.

A fixed pause is either too short on a busy machine or wasted on an idle one, so tests have no such call
(`tests/test_tidy.py` refuses it). The condition is asked every 20 ms; its truthy answer is returned.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

INTERVAL_S = 0.02


def wait_until(condition: Callable[[], T], timeout_s: float = 10.0, *, what: str = "") -> T:
    """Return the first truthy answer of `condition`; AssertionError with its last answer after `timeout_s` seconds."""
    pause = threading.Event()
    ends_at = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= ends_at:
            name = what or getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"waited {timeout_s:g} s for {name}; the last answer was {answer!r}")
        pause.wait(INTERVAL_S)
