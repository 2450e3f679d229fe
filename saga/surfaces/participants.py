"""Runs services of ours beside an embedded stack: in threads of this process, or all of them in a process of their own.

Their data lies under the stack's home, one SQLite file each, so a stack that is started again finds its books. The
subprocess answers from a core of its own, is not in this terminal's process group (a ctrl-C must reach it last), is ended
by its own id, and ends by itself when this process is killed.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from saga.errors import StoreUnavailable

STOP_S = 10.0


@contextmanager
def running_services(names: Sequence[str], folder: Path, *, in_subprocess: bool = False) -> Iterator[dict[str, str]]:
    """Name to address while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    if in_subprocess:
        with _process_of_all(folder) as urls:
            yield {name: url for name, url in urls.items() if name in names}
        return
    from services.skeleton.server import serve_in_thread

    with ExitStack() as parts:
        urls = {}
        for name in names:
            service = serve_in_thread(name, f"sqlite:///{folder / name}.db")
            parts.callback(service.stop)
            urls[name] = service.url
        yield urls


@contextmanager
def _process_of_all(folder: Path) -> Iterator[dict[str, str]]:
    command = [sys.executable, "-m", "services", "all", "--data", str(folder), "--end-with-parent"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        urls: dict[str, str] = {}
        while len(urls) < 4:
            name, _, url = process.stdout.readline().strip().partition(" ")
            if not url:
                raise StoreUnavailable(f"the services did not start (exit code {process.wait()})")
            urls[name] = url
        yield urls
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
