"""Runs `saga` as a person does: real processes, an environment of their own, a home that is thrown away."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e import warm
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
COMMAND_S = 60.0


@dataclass(frozen=True)
class Finished:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


@dataclass(frozen=True)
class Place:
    """A working directory and a home for commands."""

    directory: Path
    home: Path
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SAGA_") or name.startswith("SAGA_TEST_")
        }
        own = {"SAGA_HOME": str(self.home), "PYTHONPATH": str(ROOT), "COLUMNS": "100", "NO_COLOR": "1"}
        return {**kept, **own, **self.more}

    def run(self, *arguments: str, given: str = "", timeout_s: float = COMMAND_S) -> Finished:
        """One command to its end; in an interpreter of its own only where that matters."""
        if warm.fits(self.more):
            return Finished(*warm.run(arguments, self.directory, self.environment, given, timeout_s))
        done = subprocess.run(
            [sys.executable, "-m", "saga", *arguments],
            cwd=self.directory,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def running(
        self, arguments: Sequence[str], ready: str, *, timeout_s: float = 30.0
    ) -> Iterator[subprocess.Popen[str]]:
        """A command that stays up, from the moment that its output holds `ready`; killed at the end if it still runs."""
        log = self.home.parent / f"{arguments[0]}-{len(list(self.home.parent.iterdir()))}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "saga", *arguments],
                cwd=self.directory,
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )
        try:
            wait_until(
                lambda: ready in log.read_text() or process.poll() is not None, timeout_s, what=f"{arguments} ready"
            )
            assert process.poll() is None, log.read_text()
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> int:
    """Ask the process to stop, and wait for it; its exit code."""
    process.send_signal(number)
    return process.wait(timeout=30)
