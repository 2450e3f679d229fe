"""Keeps what is started in a block on one processor core.

Of a Python process one thread runs at a time, whoever has the interpreter's lock. On several cores the lock, and the caches
with it, moves from core to core at each call that waits; a process full of threads is faster on one core (measured in
docs/performance.md). So an embedded stack gives its engine one core and its services another.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from saga.settings import Settings


def cores_of(settings: Settings) -> tuple[int | None, int | None]:
    """A core for the engine of this process and one for its services, the same at each call.

    None and None where nobody wants it, where this process may use one core only, and where the system does not tell (other
    than Linux). The next process of this machine is likely to be given the two the other way round.
    """
    if not settings.own_cores or not hasattr(os, "sched_getaffinity"):
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return None, None
    first = os.getpid() % len(allowed)
    return allowed[first], allowed[(first + 1) % len(allowed)]


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Threads and processes that are started in the block stay on `core`, and so does what they start; None changes nothing.

    The thread that runs the block is there meanwhile, and afterwards where it was.
    """
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
