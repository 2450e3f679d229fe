"""Runs `saga` at a terminal of its own, as a person does who presses keys and looks at the screen."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.commands import Place
from tests.waiting import wait_until

ROWS, COLUMNS = 40, 100
PROGRAM = """
import fcntl, runpy, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("saga", run_name="__main__", alter_sys=True)
"""
"""`python -m saga`, with stdin as the terminal that it is controlled by: else no key would be its own."""


class Terminal:
    """A command with a terminal as its stdin and stderr; its stdout is kept apart."""

    def __init__(self, place: Place, *arguments: str) -> None:
        self._ours, self._its = pty.openpty()
        fcntl.ioctl(self._its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.set_blocking(self._ours, False)
        self.before = self.attributes()
        self._seen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=place.directory,
            env={**place.environment, "TERM": "xterm"},
            stdin=self._its,
            stdout=subprocess.PIPE,
            stderr=self._its,
            text=True,
            start_new_session=True,
        )

    def attributes(self) -> list[Any]:
        """What the terminal does with a key: waits for the end of the line or not, shows it or not."""
        return termios.tcgetattr(self._its)

    @property
    def seen(self) -> str:
        """Everything that was on the screen until now."""
        try:
            while data := os.read(self._ours, 65536):
                self._seen += data.decode(errors="replace")
        except BlockingIOError:
            pass
        return self._seen

    def press(self, key: str) -> None:
        os.write(self._ours, key.encode())

    def wait_for(self, text: str, timeout_s: float = 60.0) -> None:
        """Until the screen has shown `text`; an AssertionError with the end of the screen when the command ended before."""
        wait_until(
            lambda: text in self.seen or self.process.poll() is not None, timeout_s, what=f"{text!r} on the screen"
        )
        assert text in self.seen, self.seen[-3000:]

    def ended(self, timeout_s: float = 90.0) -> tuple[int, str]:
        """Its exit code, and what it wrote to stdout, once it has ended."""
        # Nobody may wait for a screen that is not read.
        wait_until(lambda: (self.seen, self.process.poll() is not None)[1], timeout_s, what="the end of the command")
        assert self.process.stdout is not None
        return self.process.wait(), self.process.stdout.read()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        os.close(self._ours)
        os.close(self._its)


@contextmanager
def at_terminal(place: Place, *arguments: str) -> Iterator[Terminal]:
    """The command, until the block ends."""
    terminal = Terminal(place, *arguments)
    try:
        yield terminal
    finally:
        terminal.close()
