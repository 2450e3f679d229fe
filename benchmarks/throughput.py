"""Sagas per second, latency and CPU of both drivers beside a Celery chain of the same five no-op steps.

What is compared, in turn in every round, each in worker processes of its own started here:

- `process`: `saga worker` on PostgreSQL and RabbitMQ, durable. `unhinted`: the same, and every hint is lost.
- `serialised` and `ignored`: the same with a pivot at the end, of a participant that serialises keys or ignores them. What the
  second costs more is the saga row's memory of a claim that must not be made twice.
- `task`: the task driver under a prefork worker with two children, durable.
- `chain`: five no-op Celery tasks as a chain, prefork 2, results in Redis, not durable.

Per round and peer: all sagas at once from 64 threads of one client process (sagas/s until the last has ended), then
200 one at a time (latency from the call until the end is seen). CPU is that of client, workers, and of the database
backends, RabbitMQ and Redis meanwhile, as a sum and each alone, so other users of these servers show in it. Only ratios within one run count.

    python benchmarks/throughput.py --sagas 5000 --rounds 3 --json
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from celery import Celery, chain
from pydantic import BaseModel

from saga.core.definition import Saga, pivot, readonly
from saga.runtime.celery import Publisher, attach, make_app, run_worker
from saga.runtime.starting import Starter, first_hints
from saga.runtime.work import Limits
from saga.scope import Scope
from saga.store.opening import open_store
from saga.store.schema import upgrade

STEPS = 5
WARM_UP = 100
CALLERS = 64
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PEERS = ("process", "unhinted", "serialised", "ignored", "task", "chain")
USUAL = ("process", "unhinted", "task", "chain")
END_S = 600.0
SCOPE = Scope("benchmark", ("benchmark",))


class Order(BaseModel):
    order_id: str


def _no_op(order: Order) -> None:
    """The step: nothing."""


def five_steps(queue: str, peer: str) -> Saga[Any]:
    steps = [readonly(_no_op, name=f"step_{number}", queue=queue) for number in range(1, STEPS + 1)]
    if peer == "serialised":
        steps[-1] = pivot(_no_op, name="pay", queue=queue, keys="serialise")
    if peer == "ignored":
        steps[-1] = pivot(_no_op, name="pay", queue=queue, on_unknown="halt")
    return Saga(f"five_steps_{peer}", version=1, input=Order, entity=lambda order: order.order_id, steps=steps)


@dataclass(frozen=True)
class Place:
    """Where a run happens."""

    store_url: str
    broker_url: str
    redis_url: str
    queue: str
    threads: int


def chain_app(place: Place) -> tuple[Celery, list[Any]]:
    app = Celery("chain", broker=place.broker_url, backend=place.redis_url)
    app.conf.update(task_default_queue=f"{place.queue}_chain", worker_enable_remote_control=False)
    tasks = [app.task(name=f"chain.step_{number}")(_pass_on) for number in range(1, STEPS + 1)]
    return app, tasks


def _pass_on(order_id: str) -> str:
    return order_id


# ---- worker processes


def be_worker(peer: str, place: Place) -> None:
    if peer == "chain":
        _prefork(chain_app(place)[0])
        return
    saga = five_steps(place.queue, peer)
    app = make_app(place.broker_url, [saga])
    driver: Any = "task" if peer == "task" else "process"
    limits = Limits(slots=256, threads=place.threads, held=512)
    attach(app, [saga], store_url=place.store_url, scope=SCOPE, driver=driver, limits=limits)
    if driver == "process":
        run_worker(app, loglevel="WARNING")
    else:
        _prefork(app)


def _prefork(app: Celery) -> None:
    options: dict[str, Any] = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}
    app.Worker(pool="prefork", concurrency=2, loglevel="WARNING", quiet=True, **options).start()


# ---- client process: prints one JSON object


@dataclass(frozen=True)
class Client:
    """How one peer is asked for sagas: start one, wait until all of these have ended, stop."""

    start: Callable[[str], Any]
    wait: Callable[[list[Any]], None]
    stop: Callable[[], None]


def saga_client(place: Place, peer: str) -> Client:
    saga, ids_per_message = five_steps(place.queue, peer), 1 if peer == "task" else 32
    store = open_store(place.store_url, SCOPE, pool_size=4)
    starter = Starter(store, environment="benchmark", tenant="benchmark")
    publisher = Publisher(make_app(place.broker_url, [saga]), ids_per_message=ids_per_message)

    def start(order_id: str) -> str:
        saga_id = starter.start(saga, Order(order_id=order_id)).saga_id
        if peer != "unhinted":
            publisher.publish(first_hints(saga, saga_id))
        return saga_id

    def wait(saga_ids: list[str]) -> None:
        if len(saga_ids) == 1:
            _until(lambda: _has_ended(store.row(saga_ids[0])), 0.0002)
        else:
            _until(lambda: not any(count for status, count in store.counts().items() if status == "running"), 0.02)

    def stop() -> None:
        starter.stop()
        publisher.close()
        store.close()

    return Client(start, wait, stop)


def _has_ended(row: Any) -> bool:
    return row is not None and row.ended_at is not None


def _until(condition: Callable[[], bool], interval_s: float) -> None:
    pause, ends_at = threading.Event(), time.monotonic() + END_S
    while not condition():
        if time.monotonic() > ends_at:
            sys.exit("the sagas did not end")
        pause.wait(interval_s)


def chain_client(place: Place) -> Client:
    _, tasks = chain_app(place)

    def start(order_id: str) -> Any:
        return chain(tasks[0].s(order_id), *(task.s() for task in tasks[1:])).apply_async()

    def wait(results: list[Any]) -> None:
        for result in results:
            result.get(timeout=END_S)

    return Client(start, wait, lambda: None)


def be_client(peer: str, place: Place, count: int, single: int) -> None:
    client = chain_client(place) if peer == "chain" else saga_client(place, peer)
    mark = f"{os.getpid()}"
    with ThreadPoolExecutor(CALLERS) as callers:
        client.wait(list(callers.map(client.start, (f"w{mark}-{number}" for number in range(WARM_UP)))))
        print("warm", flush=True)
        sys.stdin.readline()
        began = time.monotonic()
        started = list(callers.map(client.start, (f"o{mark}-{number}" for number in range(count))))
        accepted_s = time.monotonic() - began
        client.wait(started)
        took_s = time.monotonic() - began
    print(json.dumps({"took_s": took_s, "accepted_s": accepted_s}), flush=True)
    sys.stdin.readline()
    latencies_ms = []
    for number in range(single):
        began = time.monotonic()
        client.wait([client.start(f"s{mark}-{number}")])
        latencies_ms.append((time.monotonic() - began) * 1000)
    latencies_ms.sort()
    p99 = latencies_ms[max(0, round(single * 0.99) - 1)]
    print(json.dumps({"p50_ms": statistics.median(latencies_ms), "p99_ms": p99}), flush=True)
    client.stop()


# ---- the run


def cpu_s(roles: dict[int, str], place: Place) -> dict[str, float]:
    """CPU seconds so far by who used them: these processes with their children, and the servers they use."""
    database = place.store_url.rpartition("/")[2]
    total = dict.fromkeys((*roles.values(), "database", "broker", "redis"), 0.0)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            fields, title = rest.split(), (folder / "cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        server = {"beam.smp": "broker", "redis-server": "redis"}.get(name)
        backend = "database" if name == "postgres" and database in title else None
        who = roles.get(int(folder.name)) or roles.get(int(fields[1])) or server or backend
        if who:
            total[who] += (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return total


@contextmanager
def process(role: str, peer: str, args: list[str]) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, __file__, "--role", role, "--peer", peer, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        sys.exit("a client process ended early; its error stands above")
    return line


def _go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def measure(peer: str, place: Place, count: int, single: int, workers: int, args: list[str]) -> dict[str, float]:
    with ExitStack() as running:
        fleet = [running.enter_context(process("worker", peer, args)) for _ in range(workers)]
        client = running.enter_context(process("client", peer, [*args, "--sagas", str(count), "--single", str(single)]))
        _line(client)
        roles = {**{it.pid: "workers" for it in fleet}, client.pid: "client"}
        before_s = cpu_s(roles, place)
        _go(client)
        load = json.loads(_line(client))
        used_s = {who: after_s - before_s[who] for who, after_s in cpu_s(roles, place).items()}
        _go(client)
        alone = json.loads(_line(client))
    return {
        "sagas_per_s": count / load["took_s"],
        "accepted_per_s": count / load["accepted_s"],
        "cpu_ms_per_saga": sum(used_s.values()) * 1000 / count,
        **{f"cpu_ms_{who}": it_s * 1000 / count for who, it_s in used_s.items()},
        **alone,
    }


@contextmanager
def database(server_url: str, name: str) -> Iterator[str]:
    """A database with the schema; dropped at the end. Refuses a server that would lose what it confirms."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        for setting in ("fsync", "synchronous_commit"):
            row = connection.execute(f"SHOW {setting}").fetchone()
            if row is None or row[0] != "on":
                sys.exit(f"{setting} is off: figures without durability are not figures of this engine")
        connection.execute(f"CREATE DATABASE {name}")
        try:
            url = server_url.rpartition("/")[0] + f"/{name}"
            upgrade(url, SCOPE.environment)
            yield url
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def delete_queues(place: Place) -> None:
    """What the workers declared on the broker."""
    with make_app(place.broker_url, []).connection_for_write() as connection:
        channel: Any = connection.default_channel
        for queue in (place.queue, f"{place.queue}_chain"):
            channel.queue_delete(queue)
            channel.exchange_delete(queue)


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(it[key] for it in rounds), 2) for key in rounds[0]}


def run(options: argparse.Namespace) -> dict[str, Any]:
    name = f"saga_benchmark_{os.getpid()}"
    measured: dict[str, list[dict[str, float]]] = {peer: [] for peer in options.peers}
    with database(options.server_url, name) as store_url:
        place = Place(store_url, options.broker_url, options.redis_url, name, options.threads)
        args = ["--store-url", store_url, "--broker-url", place.broker_url, "--redis-url", place.redis_url]
        args += ["--queue", name, "--threads", str(options.threads)]
        for number in range(options.rounds):
            for peer in options.peers:
                workers = 1 if peer in ("task", "chain") else options.workers
                measured[peer].append(measure(peer, place, options.sagas, options.single, workers, args))
                print(f"round {number + 1} {peer}: {medians(measured[peer][-1:])}", file=sys.stderr, flush=True)
        delete_queues(place)
    result: dict[str, Any] = {peer: medians(rounds) for peer, rounds in measured.items()}
    if {"process", "unhinted"} <= result.keys():
        kept = result["unhinted"]["sagas_per_s"] / result["process"]["sagas_per_s"]
        result["unhinted_over_process"] = round(kept, 2)
    if "chain" in result:
        base = result["chain"]["sagas_per_s"]
        for peer in options.peers:
            result[f"{peer}_over_chain"] = round(result[peer]["sagas_per_s"] / base, 2)
    facts = {
        "steps": STEPS,
        "sagas": options.sagas,
        "rounds": options.rounds,
        "workers": options.workers,
    }
    return {**facts, "threads": options.threads, "cores": os.cpu_count(), **result}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sagas", type=int, default=5000, help="per round and peer; the task driver takes ten times as long"
    )
    parser.add_argument("--single", type=int, default=200, help="one at a time, for the latency")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--workers", type=int, default=2, help="processes of the process driver; the chain has two children"
    )
    parser.add_argument("--threads", type=int, default=8, help="step threads of the process driver")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(USUAL))
    parser.add_argument("--json", action="store_true", help="only the JSON")
    parser.add_argument("--server-url", default="postgresql://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--broker-url", default="amqp://guest:guest@127.0.0.1:5672//")
    parser.add_argument("--redis-url", default="redis://127.0.0.1:6379/14")
    for hidden in ("--role", "--peer", "--store-url", "--queue"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parsed()
    if options.role is None:
        print(json.dumps(run(options), indent=None if options.json else 2))
        return
    place = Place(options.store_url, options.broker_url, options.redis_url, options.queue, options.threads)
    if options.role == "worker":
        be_worker(options.peer, place)
    else:
        be_client(options.peer, place, options.sagas, options.single)


if __name__ == "__main__":
    main()
