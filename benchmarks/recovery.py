"""How long after kill -9 of the only worker that holds a saga another worker goes on with it.

Two worker processes on one database; the saga's step reports its process id and then blocks. The process that runs it is
killed with SIGKILL, and the clock runs until the journal holds an attempt by another worker (its `attempt_started`), read
from the database and not from the workers. The other worker is at work the whole time and not told.

    python -m benchmarks.recovery --rounds 20 --database-url postgresql://127.0.0.1/postgres [--json]

A database (PostgreSQL) or a file (SQLite) of its own is made for the run and dropped at its end.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg import sql
from pydantic import BaseModel

from saga.core.binding import StepContext
from saga.core.definition import Saga, readonly
from saga.core.transitions import AttemptStarted
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import Starter
from saga.runtime.worker import Worker
from saga.store.codec import decode
from saga.store.opening import open_store
from saga.store.port import Store
from saga.store.schema import upgrade

BOUND_S = 30.0


class Held(BaseModel):
    order_id: str
    folder: str


class Done(BaseModel):
    pid: int


def hold(held: Held, context: StepContext) -> Done:
    """Say which process runs this attempt; the first attempt then waits for its death."""
    path = Path(held.folder) / f"{held.order_id}.{context.attempt}"
    path.with_suffix(".part").write_text(str(os.getpid()))
    path.with_suffix(".part").rename(path)
    while context.attempt == 1:
        time.sleep(1.0)
    return Done(pid=os.getpid())


recovery = Saga(
    "recovery", version=1, input=Held, entity=lambda held: held.order_id, steps=[readonly(hold, timeout_s=60)]
)


def work(url: str) -> None:
    """One worker process; it lives until it is killed."""
    store = open_store(url)
    definitions = Definitions([recovery])
    definitions.register(store)
    worker = Worker(store, definitions, Executor(lambda name: name, store.clock))
    worker.start()
    signal.pause()


def one_round(store: Store, starter: Starter, url: str, folder: str, number: int) -> float:
    """Seconds from SIGKILL to the other worker's claim in the journal."""
    order_id = f"SO-{number}"
    command = [sys.executable, "-m", "benchmarks.recovery", "--work", url]
    workers = [subprocess.Popen(command) for _ in range(2)]
    try:
        saga_id = starter.start(recovery, Held(order_id=order_id, folder=folder)).saga_id
        pid = int(_wait_for(Path(folder) / f"{order_id}.1"))
        victim = next(worker for worker in workers if worker.pid == pid)
        killed = time.monotonic()
        victim.kill()
        while time.monotonic() - killed < BOUND_S:
            if len(_claims(store, saga_id)) > 1:
                return time.monotonic() - killed
            time.sleep(0.01)
        raise SystemExit(f"round {number}: nobody went on within {BOUND_S} s")
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _wait_for(path: Path) -> str:
    until = time.monotonic() + BOUND_S
    while time.monotonic() < until:
        if path.exists():
            return path.read_text()
        time.sleep(0.01)
    raise SystemExit(f"{path} did not appear within {BOUND_S} s")


def _claims(store: Store, saga_id: str) -> list[str]:
    entries = store.load([saga_id])[saga_id]
    return [it.owner for entry in entries for it in decode(entry.body) if isinstance(it, AttemptStarted)]


def measure(url: str, rounds: int) -> dict[str, object]:
    upgrade(url)
    store = open_store(url)
    starter = Starter(store, environment="benchmark", tenant="recovery")
    with tempfile.TemporaryDirectory() as folder:
        seconds = [one_round(store, starter, url, folder, number) for number in range(rounds)]
    starter.stop()
    store.close()
    return {
        "rounds": rounds,
        "median_s": round(statistics.median(seconds), 2),
        "worst_s": round(max(seconds), 2),
        "seconds": [round(it, 2) for it in seconds],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--database-url", default="postgresql://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return
    results = {"sqlite": _on_sqlite(options.rounds), "postgresql": _on_postgresql(options.database_url, options.rounds)}
    print(json.dumps(results))


def _on_sqlite(rounds: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        return measure(f"sqlite:///{folder}/recovery.db", rounds)


def _on_postgresql(admin_url: str, rounds: int) -> dict[str, object]:
    name = sql.Identifier(f"saga_recovery_{os.getpid()}")
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("create database {}").format(name))
        try:
            return measure(f"{admin_url.rpartition('/')[0]}/{name.as_string(admin).strip(chr(34))}", rounds)
        finally:
            admin.execute(sql.SQL("drop database {} with (force)").format(name))


if __name__ == "__main__":
    main()
