"""What holds under either driver, on every broker."""

import json
import signal
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta

import pytest
from kombu import Producer

from saga.store.connecting import sqlite_path
from saga.store.tables import to_micros
from tests.integration.celery.deployment import Deployment
from tests.integration.celery.shop import MONEY, SALES, STOCK
from tests.waiting import wait_until

COMPLETED, COMPENSATED = "completed", "compensated"


def _runs_and_rolls_back(shop: Deployment) -> None:
    good, bad = shop.start(), shop.start(declines=True)
    assert shop.wait_ended([good, bad]) == [COMPLETED, COMPENSATED]
    steps = {order: [line[0] for line in shop.lines() if line[1] == order] for order in {it[1] for it in shop.lines()}}
    assert sorted(steps.values()) == [["check", "reserve", "pay"], ["check", "reserve", "pay", "release"]]


def test_embedded_a_saga_completes_and_a_rejected_one_is_compensated(embedded: Deployment) -> None:
    """With no server at all, every step runs once, and a rejection undoes what was done."""
    assert embedded.thread_worker().is_ready
    _runs_and_rolls_back(embedded)


def test_on_servers_a_saga_completes_and_a_rejected_one_is_compensated(on_servers: Deployment) -> None:
    """The same over RabbitMQ and over Redis, in a worker process."""
    on_servers.process_worker()
    _runs_and_rolls_back(on_servers)


def test_a_node_runs_only_where_its_queue_is_consumed(on_rabbitmq: Deployment) -> None:
    """Of two workers with different queues each runs its own steps, whichever of them the saga was brought to."""
    shop = on_rabbitmq
    stock = shop.process_worker(queues=[shop.queue(STOCK), shop.queue(f"{STOCK}.rollback")])
    front = shop.process_worker(queues=[shop.queue(SALES), shop.queue(MONEY)])
    saga_ids = [shop.start(declines=number % 2 == 0) for number in range(6)]
    assert sorted(set(shop.wait_ended(saga_ids))) == [COMPENSATED, COMPLETED]
    ran_in = {step: {line[2] for line in shop.lines(step)} for step in ("check", "reserve", "pay", "release")}
    assert ran_in["check"] == ran_in["pay"] == {str(front.pid)}
    assert ran_in["reserve"] == ran_in["release"] == {str(stock.pid)}


def test_lost_hints_cost_time_and_nothing_else(embedded: Deployment) -> None:
    """A saga for which no hint was ever sent is found by the rescuer of a worker."""
    embedded.thread_worker()
    assert embedded.wait_ended([embedded.start(hint=False)]) == [COMPLETED]


def test_everything_ends_while_the_broker_is_away(without_broker: Deployment) -> None:
    """A worker whose broker refuses every connection, from the start, runs what is accepted, and stops when told to."""
    child = without_broker.process_worker(wait=False)
    saga_ids = [without_broker.start(declines=number == 1) for number in range(4)]
    assert without_broker.wait_ended(saga_ids, 40) == [COMPLETED, COMPENSATED, COMPLETED, COMPLETED]
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 0


FORGED: dict[str, object] = {
    "a saga that does not exist": [["0192f000-0000-7000-8000-000000000000"]],
    "no argument": [],
    "a number": [7],
    "ids that are no text": [[{"saga_id": 1}, None]],
    "an id with SQL in it": [["'; DROP TABLE saga; --"]],
    "an id with NUL in it": [["\0"]],
    "two arguments": [["a"], ["b"]],
}


def test_a_forged_message_harms_nothing(embedded: Deployment) -> None:
    """Whatever arrives under a task's name, the worker goes on, and the next saga ends as it should."""
    shop = embedded
    shop.thread_worker()
    bodies = [json.dumps([args, {}, {}]) for args in FORGED.values()] + ["no json", "[]", "null", '{"args": 1}']
    _forge(shop, bodies)
    saga_id = shop.start()
    assert shop.wait_ended([saga_id]) == [COMPLETED]
    assert len(shop.lines()) == 3


def _forge(shop: Deployment, bodies: Sequence[str]) -> None:
    """Send these under the name of the first step's task."""
    task = f"{shop.saga.name}.check"
    with shop.app.connection_for_write() as connection:
        producer = Producer(connection.channel())
        for number, body in enumerate(bodies):
            producer.publish(
                body,
                exchange="",
                routing_key=shop.queue(SALES),
                headers={"task": task, "id": f"forged-{number}", "lang": "py", "argsrepr": "", "kwargsrepr": ""},
                content_type="application/json",
                content_encoding="utf-8",
            )


def test_a_message_wakes_32_sagas_and_33_none(embedded: Deployment) -> None:
    """Of 33 sagas that only a message can wake, none begins when one names them all; 32 of them end when one names those."""
    shop = embedded
    saga_ids = [shop.start(hint=False) for _ in range(33)]
    with closing(sqlite3.connect(sqlite_path(shop.store_url))) as database, database:
        database.execute("UPDATE saga SET due_at = ?", [to_micros(shop.store.now() + timedelta(days=1))])
    shop.thread_worker()
    _forge(shop, [json.dumps([[saga_ids], {}, {}])])
    # Taken after the forged message from the same queue: when it has ended, what that one woke has begun.
    marker = shop.start()
    assert shop.wait_ended([marker]) == [COMPLETED]
    assert {it: len(entries) for it, entries in shop.store.load(saga_ids).items()} == dict.fromkeys(saga_ids, 1)
    _forge(shop, [json.dumps([[saga_ids[:32]], {}, {}])])
    assert set(shop.wait_ended(saga_ids[:32])) == {COMPLETED}
    assert len(shop.store.load(saga_ids[32:])[saga_ids[32]]) == 1


def test_a_doubled_message_runs_nothing_twice(embedded: Deployment) -> None:
    """Twenty copies of a hint lead to one attempt of each step."""
    shop = embedded
    shop.thread_worker()
    saga_id = shop.start()
    for _ in range(20):
        shop.app.send_task(f"{shop.saga.name}.check", args=[[saga_id]])
        shop.app.send_task(f"{shop.saga.name}.pay", args=[[saga_id]])
    shop.wait_ended([saga_id])
    assert [line[0] for line in shop.lines()] == ["check", "reserve", "pay"]


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_sigterm_stops_at_a_step_boundary(on_rabbitmq: Deployment, pool: str) -> None:
    """A step in flight at SIGTERM ends and is journalled, nothing more is started, and another worker goes on."""
    shop = on_rabbitmq
    if (shop.driver, pool) == ("process", "prefork"):
        pool = "solo"
    gate = shop.folder / "gate"
    first = shop.process_worker(pool=pool)
    saga_id = shop.start(gate=str(gate))
    wait_until(lambda: shop.lines("check"), what="the first step to begin")
    first.send_signal(signal.SIGTERM)
    # A later order is the proof that nothing is started: a rescuer that still ran it would have by now.
    late = shop.start()
    wait_until(lambda: _is_old(shop, late), 10, what="the late order to be three seconds old")
    assert first.poll() is None
    gate.touch()
    assert first.wait(20) == 0
    assert [line[0] for line in shop.lines()] == ["check"]
    assert '"code":"succeeded"' in shop.store.load([saga_id])[saga_id][-1].body
    shop.process_worker()
    assert shop.wait_ended([saga_id, late]) == [COMPLETED, COMPLETED]
    assert len(shop.lines("check")) == 2


def _is_old(shop: Deployment, saga_id: str) -> bool:
    row = shop.store.row(saga_id)
    return row is not None and (shop.store.now() - row.accepted_at).total_seconds() > 3


def test_a_worker_gives_its_lease_back(embedded: Deployment) -> None:
    """After a stop no worker row is open, so nobody waits for a lease to expire."""
    worker = embedded.thread_worker()
    wait_until(embedded.store.workers, what="the lease")
    embedded.threads.remove(worker)
    worker.stop()
    assert embedded.store.workers() == []
