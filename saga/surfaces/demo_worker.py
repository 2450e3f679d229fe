"""The demonstration's worker: a Celery worker in a process of its own, so that it can be killed and frozen like one.

Rules of this file
------------------
- `main` is the program of that process. It imports everything, then waits for one line of JSON that says where the journal,
  the broker and the participants are; so it can start before they do. It says `ready` when it runs sagas, and it stops at a step
  boundary when its input ends, which is also what the end of the parent does to it.
- `WorkerProcess` is the same process seen from its parent. It is in a process group of its own: a ctrl-C at the terminal does
  not reach it, and a frozen one whose parent is killed is ended by the kernel.
- What it logs goes to a file: the terminal belongs to the screen.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

from saga.errors import StoreUnavailable
from saga.fulfilment.fulfil_order import fulfil_order
from saga.private import private
from saga.runtime.engine import Definitions
from saga.settings import read_settings
from saga.surfaces.embedded import limits_of, url_of

READY = "ready"
PROGRAM = "import sys; sys.path.append(sys.argv.pop()); from saga.surfaces.demo_worker import main; main()"
"""The place of this package comes last on the path, so that a checkout that is not installed is found and hides nothing."""
STOP_S = 10.0


def main() -> None:
    """Be the worker, until the input ends."""
    from saga.runtime.celery import attach, make_app, worker_in_thread
    from saga.runtime.celery.folder import url_of_folder

    line = sys.stdin.readline()
    if not line:
        return
    told = json.loads(line)
    definitions = Definitions([fulfil_order])
    app = make_app(url_of_folder(Path(told["broker"])), definitions)
    attach(
        app,
        definitions,
        store_url=told["store_url"],
        scope=read_settings().scope,
        url_of=url_of(told["urls"]),
        driver="process",
        limits=limits_of(read_settings()),
    )
    worker = worker_in_thread(app)
    print(READY, flush=True)
    sys.stdin.read()
    worker.stop()


class WorkerProcess:
    """The worker, for whoever started it. Each method may be called in any state of it."""

    def __init__(self, log: Path) -> None:
        with open(log, "ab", opener=private) as file:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, str(Path(__file__).resolve().parents[2])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                process_group=0,
            )
        self._log = log
        self.is_frozen = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self, store_url: str, broker: Path, urls: dict[str, str]) -> None:
        """Tell it where everything is."""
        assert self._process.stdin is not None
        told = {"store_url": store_url, "broker": str(broker.resolve()), "urls": urls}
        try:
            self._process.stdin.write(json.dumps(told) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def await_ready(self) -> None:
        """Return when it runs sagas. Raises `StoreUnavailable` when it ended before."""
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != READY:
            raise self._ended()

    def check(self) -> None:
        """Raises `StoreUnavailable` when it ended and nobody asked it to."""
        if self._process.poll() is not None:
            raise self._ended()

    def _ended(self) -> StoreUnavailable:
        return StoreUnavailable(f"the worker ended with code {self._process.wait()}; its log is {self._log}")

    def freeze(self) -> None:
        """Stop it where it stands: it answers nobody and renews no lease."""
        self._signal(signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)
        self.is_frozen = False

    def kill(self) -> None:
        """`kill -9`: nothing of it is given back, nothing is written."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._close()

    def stop(self) -> None:
        """At a step boundary; killed when that takes too long."""
        self.thaw()
        self._close_input()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def _close_input(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended, and never read what it was told

    def _close(self) -> None:
        self._close_input()
        if self._process.stdout is not None:
            self._process.stdout.close()
