"""Single keys from the terminal, while a screen is redrawn.

Rules of this file
------------------
- There are keys only when stdin and stderr are terminals and this process is in the foreground of its own: whoever changes the
  terminal from the background is stopped by the kernel.
- Keys come one by one and without echo; ctrl-C stays what it is. The terminal gets its attributes back however the block is left,
  also by SIGTERM and SIGHUP, which become a `SystemExit` here.
"""

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Press = Callable[[float], str]
"""Waits for so many seconds at most; the keys that were pressed by then, mostly one or none."""
ENDINGS = (signal.SIGTERM, signal.SIGHUP)


def has_keys() -> bool:
    """Whether somebody can press keys and see what they do."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        return False  # a terminal that is not this session's


@contextmanager
def keys() -> Iterator[Press]:
    """The terminal gives single keys for the length of the block."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    signals = {number: signal.signal(number, _end) for number in ENDINGS}

    def press(bound_s: float) -> str:
        readable, _, _ = select.select([terminal], [], [], bound_s)
        return os.read(terminal, 64).decode(errors="ignore") if readable else ""

    try:
        tty.setcbreak(terminal)
        yield press
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        for number, old in signals.items():
            signal.signal(number, old)


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)
