"""Whether a worker ended because it was asked to: Celery gives a stop by SIGINT the exit code of a failure.

Rules of this file: it listens to Celery's own signal and decides nothing. A warm stop is one in which the steps in flight
end first; a second signal makes it a cold one, and that keeps Celery's exit code.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celery.signals import worker_shutting_down


@dataclass(slots=True)
class Stop:
    """How the worker was last asked to stop; empty while nobody did."""

    how: str = ""

    @property
    def is_warm(self) -> bool:
        return self.how == "Warm"


@contextmanager
def stopping() -> Iterator[Stop]:
    """Listen for the length of the block."""
    stop = Stop()

    def note(how: str, **_facts: Any) -> None:
        stop.how = how

    worker_shutting_down.connect(note, weak=False)
    try:
        yield stop
    finally:
        worker_shutting_down.disconnect(note)
