"""A deployment of real processes on this machine: four services, workers, and somebody who kills them.

Workers die by their failpoints (`saga.runtime.failpoints`): a kill is armed by a file, exactly one worker takes it, and what
it was doing stands in the file that it leaves. So a kill counts only when it hit an open attempt of that kind, and every
worker that died is replaced.
"""

import json
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import requests

from saga.runtime import failpoints
from saga.testing.oracle import SERVICES, FaultScript
from tests.waiting import wait_until

START_S = 60.0
ENVIRONMENT = "chaos"


@dataclass
class Deployment:
    """Where everything of one run is, and what its processes are told."""

    folder: Path
    database_url: str
    broker_url: str
    worker_count: int = 2
    threads: int = 8
    driver: str = "process"
    urls: dict[str, str] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    deaths: int = 0
    _services: subprocess.Popen[str] | None = None
    _workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _keeper: threading.Thread | None = None

    @property
    def failpoints(self) -> Path:
        return self.folder / "failpoints"

    @property
    def mailbox(self) -> Path:
        return self.folder / "mailbox"

    def environment(self) -> dict[str, str]:
        urls = {f"SAGA_{name.upper()}_URL": url for name, url in self.urls.items()}
        return {
            **os.environ,
            **urls,
            "SAGA_DATABASE_URL": self.database_url,
            "SAGA_BROKER_URL": self.broker_url,
            "SAGA_ENVIRONMENT": ENVIRONMENT,
            "SAGA_HOME": str(self.folder / "home"),
            "SAGA_MAILBOX": str(self.mailbox),
            "SAGA_FAILPOINTS": str(self.failpoints),
            "SAGA_THREADS": str(self.threads),
            "SAGA_DRIVER": self.driver,
            "SAGA_LOG_LEVEL": "warning",
        }

    def start_services(self) -> None:
        for name in ("failpoints", "mailbox", "home", "data"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "services", "all", "--base-port", "0", "--data", str(self.folder / "data")]
        with (self.folder / "services.log").open("a") as log:
            self._services = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=self.environment()
            )
        assert self._services.stdout is not None
        while len(self.urls) < len(SERVICES):
            line = self._services.stdout.readline()
            assert line, "the services ended before they answered"
            for name in (it for it in SERVICES if it in line.split()[0]):
                self.urls[name] = next(word for word in line.split() if word.startswith("http")).rstrip("/")

    def script(self, script: FaultScript, order_ids: list[str]) -> None:
        """Tell the services which faults to fire."""
        for name, url in self.urls.items():
            body = {"seed": script.seed, "rules": script.rules(name, order_ids)}
            requests.put(f"{url}/v1/faults", json=body, timeout=10).raise_for_status()

    def heal(self) -> None:
        for url in self.urls.values():
            requests.delete(f"{url}/v1/faults", timeout=10).raise_for_status()

    def fired(self) -> Counter[str]:
        """How often each kind of fault fired, as the services tell."""
        total: Counter[str] = Counter()
        for url in self.urls.values():
            for rule in requests.get(f"{url}/v1/faults", timeout=10).json()["rules"]:
                total[rule["fault"]] += rule["fired"]
        return total

    def start_workers(self) -> None:
        self._workers = [self._worker() for _ in range(self.worker_count)]
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def _worker(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "saga", "worker"]
        with (self.folder / "worker.log").open("ab") as log:
            return subprocess.Popen(command, env=self.environment(), stdout=log, stderr=log)

    def _keep(self) -> None:
        """Replace workers that died."""
        while not self._stopping.wait(0.2):
            for place, worker in enumerate(self._workers):
                if worker.poll() is not None and not self._stopping.is_set():
                    self.deaths += 1
                    self._workers[place] = self._worker()

    def memory_mb(self) -> dict[str, int]:
        """Peak resident memory of each live process, from the kernel."""
        found = {}
        for name, pid in self._pids().items():
            status = Path(f"/proc/{pid}/status")
            if status.exists():
                line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
                found[name] = int(line.split()[1]) // 1024
        return found

    def cpu_s(self) -> dict[int, float]:
        """CPU time of each live process so far, by its id, from the kernel."""
        found = {}
        for pid in self._pids().values():
            stat = Path(f"/proc/{pid}/stat")
            if stat.exists():
                user, system = stat.read_text().rpartition(")")[2].split()[11:13]
                found[pid] = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        return found

    def _pids(self) -> dict[str, int]:
        processes = [("services", self._services), *((f"worker {n}", it) for n, it in enumerate(self._workers))]
        pids = {name: process.pid for name, process in processes if process}
        if pids:
            return pids
        # Embedded: this process, and that of the services.
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return {"this": os.getpid(), **{f"child {n}": int(pid) for n, pid in enumerate(children)}}

    def stop(self) -> None:
        self._stopping.set()
        if self._keeper:
            self._keeper.join()
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.wait(60)
        if self._services:
            self._services.terminate()
            self._services.wait(30)
            if self._services.stdout:
                self._services.stdout.close()


class Killer:
    """Arms the failpoints one after the other, in an order drawn from the seed, spread over the run."""

    def __init__(self, deployment: Deployment, seed: int, each: int) -> None:
        self._deployment = deployment
        self._plan: list[str] = []
        dice = random.Random(seed)
        for _ in range(each):  # each round from its end; a rollback first, because at the end of a run none may be left
            others = [name for name in failpoints.NAMES if name != failpoints.IN_ROLLBACK]
            self._plan += [*dice.sample(others, len(others)), failpoints.IN_ROLLBACK]
        self._planned = len(self._plan)
        self.hits: list[dict[str, str]] = []

    def look(self, progress: float) -> None:
        """Called again and again with the share of orders that ended: arm the next kill when its time has come."""
        self._collect()
        is_armed = any((self._deployment.failpoints / name).exists() for name in failpoints.NAMES)
        done = self._planned - len(self._plan)
        if self._plan and not is_armed and progress >= 0.9 * done / self._planned:
            (self._deployment.failpoints / self._plan.pop()).touch()

    def disarm(self) -> None:
        for name in failpoints.NAMES:
            (self._deployment.failpoints / name).unlink(missing_ok=True)
        self._collect()

    def _collect(self) -> None:
        for path in self._deployment.failpoints.glob("*.fired"):
            text = path.read_text()
            if text:
                hit = json.loads(text)
                self.hits.append(hit)
                self._deployment.kills[hit["failpoint"]] += 1
                path.rename(path.with_suffix(".counted"))


def wait_for_start(deployment: Deployment) -> None:
    """Until every service answers."""
    for url in deployment.urls.values():
        wait_until(lambda it=url: requests.get(f"{it}/healthz", timeout=5).ok, START_S)  # type: ignore[misc]
