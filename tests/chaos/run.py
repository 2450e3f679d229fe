"""Real orders through a real deployment while it is being broken, judged by the oracle and the services' own ledgers.

    python -m tests.chaos.run --orders 2000 --file online-retail.csv.gz --seed 7
    python -m tests.chaos.run --orders 2000 --file ... --stop-broker       # the broker is stopped in mid-run, for good
    python -m tests.chaos.run --orders 2000 --file ... --driver task       # Celery runs each node as a task body
    python -m tests.chaos.run --orders 2000 --file ... --embedded          # one process on SQLite, as saga dev runs it
    python -m tests.chaos.run --orders 20000 --file ... --returns          # and its cancellations: cancels and returns

PostgreSQL and RabbitMQ are those of `SAGA_TEST_DATABASE_URL` and `SAGA_TEST_AMQP_URL`, or on their default ports; a database and
a vhost of its own are made and dropped. The end: faults stop, everything must end within a bound, and the audit reads the
services' ledgers, the mailbox and the journals. Exit code 1 when one order ended where the oracle does not say, when
an invariant is broken, or when too few faults fired.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import requests

from saga.clock import monotonic
from saga.core.states import ENDED, SagaStatus
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.intake import Cancelled
from saga.fulfilment.models import Order
from saga.fulfilment.online_retail import read_online_retail
from saga.fulfilment.return_order import return_order
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.settings import Settings
from saga.store.connecting import sqlite_path
from saga.store.opening import open_store
from saga.store.port import SagaFilter, Store
from saga.store.schema import upgrade
from saga.surfaces.audit import audit, render
from saga.surfaces.embedded import embedded
from saga.surfaces.lookup import pages
from saga.testing.oracle import TECHNICAL_FAULTS, FaultScript, legal_ends
from tests import services_available as available
from tests.chaos.giving_back import GivingBack
from tests.chaos.proxy import Proxy
from tests.chaos.stack import ENVIRONMENT, Deployment, Killer, wait_for_start

BROKER_STOPS_AT = 0.25
TENANT = "default"


@dataclass(frozen=True)
class Plan:
    """What one run does."""

    orders: list[Order]
    seed: int
    cancellations: tuple[tuple[int, Cancelled], ...] = ()
    """What customers give back, each with how many orders stand before it in the file."""
    technical_share: float = 0.02
    business_share: float = 0.15
    kills_each: int = 3
    stop_broker: bool = False
    bound_s: float = 1800.0
    fault_floor: int = 3
    driver: str = "process"


@contextmanager
def servers(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    """A database and a vhost of one's own: their URLs."""
    server_url = available.postgres_server_url(folder / "pg")
    broker_url = available.RABBITMQ.find() or sys.exit("chaos needs RabbitMQ; set SAGA_TEST_AMQP_URL")
    database_url = available.create_database(server_url, name)
    try:
        yield database_url, available.create_vhost(broker_url, name) or broker_url
    finally:
        available.drop_database(server_url, name)
        available.rabbitmqctl("delete_vhost", name)


def run(plan: Plan, folder: Path, database_url: str, broker_url: str) -> dict[str, object]:
    """One run; the report as JSON values. `violations` counts everything that the audit found."""
    with ExitStack() as stack:
        split = urlsplit(broker_url)
        proxy = Proxy((split.hostname or "127.0.0.1", split.port or 5672))
        stack.callback(proxy.close)
        near = split._replace(netloc=f"{split.username}:{split.password}@127.0.0.1:{proxy.port}").geturl()
        upgrade(database_url, ENVIRONMENT)
        store = open_store(database_url)
        stack.callback(store.close)
        deployment = Deployment(folder, database_url, near, driver=plan.driver)
        stack.callback(deployment.stop)
        deployment.start_services()
        wait_for_start(deployment)
        return _drive(plan, deployment, store, proxy)


def run_embedded(plan: Plan, folder: Path) -> dict[str, object]:
    """The same orders and faults in one process on SQLite, as `saga dev` runs it; nobody is killed."""
    settings = Settings(home=folder, environment=ENVIRONMENT, tenant=TENANT)
    with embedded(settings, [fulfil_order, return_order], port=None) as stack:
        deployment = Deployment(folder, settings.store_url, "", worker_count=0, urls=dict(stack.urls))
        return _drive(plan, deployment, stack.store, None)


def _drive(plan: Plan, deployment: Deployment, store: Store, proxy: Proxy | None) -> dict[str, object]:
    script = FaultScript(plan.seed, business_share=plan.business_share, technical_share=plan.technical_share)
    orders = [script.prepare(order) for order in plan.orders]
    provision(deployment.urls["inventory"], script.stock_for(orders))
    deployment.script(script, [order.order_id for order in orders])
    definitions = Definitions([fulfil_order, return_order])
    definitions.register(store)
    began, cpu_before = monotonic(), deployment.cpu_s()
    starter = Starter(store, environment=ENVIRONMENT, tenant=TENANT)
    saga_of = submit(starter, orders)
    deployment.start_workers()
    killer = Killer(deployment, plan.seed, plan.kills_each)
    giving_back = GivingBack(store, starter, orders, plan.cancellations, saga_of)
    _watch(plan, store, killer, proxy, giving_back)
    took_s = monotonic() - began
    cpu_s = sum(now - cpu_before.get(pid, 0.0) for pid, now in deployment.cpu_s().items())
    returned = giving_back.finish(plan.bound_s)
    starter.stop()
    memory = deployment.memory_mb()
    killer.disarm()
    fired = deployment.fired()
    oracle = giving_back.legal_ends(legal_ends(orders, script, script.stock_for(orders)))
    report = audit(store, definitions, deployment.urls, deployment.mailbox, oracle=oracle)
    print(render(report), file=sys.stderr)
    few = {kind: fired[kind] for kind in TECHNICAL_FAULTS if fired[kind] < plan.fault_floor and plan.technical_share}
    missed = {name: count for name, count in _kinds(deployment).items() if count < plan.kills_each}
    counts = _counts(store, fulfil_order.name)
    return {
        "orders": len(orders),
        "completed": counts[SagaStatus.COMPLETED],
        "compensated": counts[SagaStatus.COMPENSATED],
        "halted": counts[SagaStatus.HALTED],
        "unended": len(orders) - sum(counts[status] for status in (*ENDED, SagaStatus.HALTED)),
        **returned,
        "seconds": round(took_s, 1),
        "orders_per_s": round(len(orders) / took_s, 1),
        "cpu_ms_per_order": round(1000 * cpu_s / len(orders), 1),
        "violations": len(report.violations),
        "faults": dict(sorted(fired.items())),
        "kills": _kinds(deployment),
        "worker_deaths": deployment.deaths,
        "too_few": {**few, **missed},
        "broker_was_cut_with_open_orders": proxy is not None and proxy.is_cut,
        "peak_memory_mb": memory,
        "database_mb": _database_mb(deployment.database_url),
        "seed": plan.seed,
        "driver": plan.driver,
    }


def _counts(store: Store, definition: str) -> Counter[SagaStatus]:
    return Counter(row.status for row in pages(store, SagaFilter(definition)))


def _database_mb(url: str) -> int:
    if url.startswith("sqlite"):
        return sum(part.stat().st_size for part in sqlite_path(url).parent.glob("saga.db*")) // 2**20
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) // 2**20 if row else 0


def _kinds(deployment: Deployment) -> dict[str, int]:
    return {name: deployment.kills[name] for name in ("before_send", "in_call", "before_commit", "in_rollback")}


def provision(inventory_url: str, stock: dict[str, int]) -> None:
    items = [{"sku": sku, "quantity": quantity} for sku, quantity in stock.items() if quantity]
    for place in range(0, len(items), 500):
        response = requests.post(
            f"{inventory_url}/v1/stock",
            json={"items": items[place : place + 500]},
            headers={"Idempotency-Key": f"provision-{place}"},
            timeout=60,
        )
        response.raise_for_status()


def submit(starter: Starter, orders: list[Order]) -> dict[str, str]:
    """Accept every order, from sixteen threads, so that starts are grouped; order id → saga."""
    saga_of: dict[str, str] = {}

    def some(first: int) -> None:
        for order in orders[first::16]:
            saga_of[order.order_id] = starter.start(fulfil_order, order, request_key=order.order_id).saga_id

    threads = [threading.Thread(target=some, args=(first,)) for first in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return saga_of


def _watch(plan: Plan, store: Store, killer: Killer, proxy: Proxy | None, giving_back: GivingBack) -> None:
    """Until all have ended or the bound is over: kill, give back, and stop the broker when the plan says so."""
    until, pause, count = monotonic() + plan.bound_s, threading.Event(), len(plan.orders)
    while monotonic() < until:
        counts = store.counts()
        ended = sum(counts[status] for status in (*ENDED, SagaStatus.HALTED))
        killer.look(ended / count)
        giving_back.look(ended)
        if plan.stop_broker and proxy and ended < count and ended / count >= BROKER_STOPS_AT:
            proxy.cut()
        if ended == count:
            return
        pause.wait(0.25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=2000)
    parser.add_argument("--file", type=Path, required=True, help="the Online Retail CSV, plain or gz")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--kills-each", type=int, default=3)
    parser.add_argument("--stop-broker", action="store_true")
    parser.add_argument("--embedded", action="store_true", help="one process, SQLite, memory broker, no kills")
    parser.add_argument("--driver", choices=["process", "task"], default="process")
    parser.add_argument("--returns", action="store_true", help="return what the cancellations of the file give back")
    parser.add_argument("--technical-share", type=float, default=0.02)
    options = parser.parse_args()
    orders: list[Order] = []
    cancellations: list[tuple[int, Cancelled]] = []
    for item in read_online_retail(options.file):
        if isinstance(item, Order):
            orders.append(item)
        elif isinstance(item, Cancelled) and options.returns:
            cancellations.append((len(orders), item))
        if len(orders) == options.orders:
            break
    plan = Plan(
        orders,
        options.seed,
        tuple(cancellations),
        technical_share=options.technical_share,
        kills_each=options.kills_each,
        stop_broker=options.stop_broker,
        driver=options.driver,
    )
    with tempfile.TemporaryDirectory(prefix="saga-chaos-") as name, ExitStack() as stack:
        folder = Path(name)
        if options.embedded:
            report = run_embedded(replace(plan, kills_each=0), folder)
        else:
            urls = stack.enter_context(servers(folder, f"saga_chaos_{os.getpid()}"))
            report = run(plan, folder, *urls)
    print(json.dumps(report))
    is_good = not report["violations"] and not report["too_few"] and not report["unended"] and not report["halted"]
    is_good = is_good and not report.get("returns_not_completed")
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
