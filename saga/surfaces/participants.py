"""Runs services of ours beside an embedded stack, all of them in one process of their own.

The engine meets them over HTTP and never imports them: a project of a user may have a package `services` itself, and in
this process that name is theirs. Their data lies under the stack's home, one SQLite file each, so a stack that is started
again finds its books. The subprocess answers from a core of its own, is not in this terminal's process group (a ctrl-C
must reach it last), is ended by its own id, and ends by itself when this process is killed.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from saga.bundled import place_of
from saga.errors import StoreUnavailable
from saga.private import make_private_folder, private
from saga.surfaces import services_program

STOP_S = 10.0


def services_command(*words: str) -> list[str]:
    """`python -m services WORDS...` for the package that came with this engine, in whatever directory it is run."""
    return [sys.executable, "-P", services_program.__file__, str(place_of("services")), *words]


Ended = Callable[[], int | None]
"""How the process of the services ended, as `subprocess` has it; None while it runs."""


@dataclass(frozen=True, slots=True)
class Services:
    """The process of the services, and where they answer."""

    urls: dict[str, str]
    """Name to address."""
    ended: Ended


@contextmanager
def running_services(names: Sequence[str], folder: Path, log: Path | None = None) -> Iterator[dict[str, str]]:
    """Name to address while the block runs. What they have to say goes to the file `log`, else to this process's stderr."""
    with watched_services(names, folder, log) as services:
        yield services.urls


@contextmanager
def watched_services(names: Sequence[str], folder: Path, log: Path | None = None) -> Iterator[Services]:
    """The same for whoever asks now and then whether they still run; nobody is told by itself, and nothing starts them again."""
    make_private_folder(folder)
    with open(log, "ab", opener=private) if log is not None else nullcontext() as errors:
        process = subprocess.Popen(
            services_command("all", "--data", str(folder), "--end-with-parent"),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        urls = _addresses(process)
        yield Services({name: url for name, url in urls.items() if name in names}, process.poll)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _addresses(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    urls: dict[str, str] = {}
    while len(urls) < 4:
        name, _, url = process.stdout.readline().strip().partition(" ")
        if not url:
            raise StoreUnavailable(f"the services did not start (exit code {process.wait()})")
        urls[name] = url
    return urls
