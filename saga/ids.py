"""The only source of random identity: uuid7, whose text sorts by the time it was made (RFC 9562, section 5.7)."""

import os
import threading
import time
import uuid

_lock = threading.Lock()
_last_ms = 0
_last_counter = 0


def _begin_anew() -> None:
    """In a child: the copy of the lock may be held by a thread that was not copied."""
    global _lock  # noqa: PLW0603  one counter per process is the point
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_begin_anew)


def uuid7() -> str:
    """A new id as text; ids made by one process ascend, also within a millisecond (12 bits count)."""
    global _last_ms, _last_counter  # noqa: PLW0603  one counter per process is the point
    with _lock:
        now_ms = time.time_ns() // 1_000_000
        if now_ms > _last_ms:
            _last_ms, _last_counter = now_ms, 0
        else:
            _last_counter += 1
            if _last_counter > 0xFFF:
                _last_ms, _last_counter = _last_ms + 1, 0
        stamp, counter = _last_ms, _last_counter
    noise = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    return str(uuid.UUID(int=(stamp << 80) | (7 << 76) | (counter << 64) | (2 << 62) | noise))
