"""Hints of a process that ends at once reach the broker; nobody waits for one that is away."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty

import pytest
from celery import Celery

from saga.runtime.celery import Publisher, make_app
from saga.runtime.starting import Starter, start_and_hint
from saga.runtime.work import Hint
from saga.store.memory import MemoryStore
from tests.integration.celery.conftest import NOBODY
from tests.integration.celery.deployment import ROOT
from tests.integration.celery.shop import SALES, Order, shop
from tests.waiting import wait_until

ENDS_AT_ONCE = """
import sys
from saga.runtime.celery import Publisher, make_app
from saga.runtime.work import Hint
url, queue = sys.argv[1:]
app = make_app(url, [])
app.connection_for_write().connect()  # what it imports is none of the time that a hint may take
Publisher(app).publish([Hint("id-1", "shop.check", queue)])
"""


@contextmanager
def queue_of(app: Celery, name: str) -> Iterator[list[list[str]]]:
    """The queue, declared; at the end of the block what lies in it, without waiting."""
    found: list[list[str]] = []
    with app.connection_for_read() as connection, connection.SimpleQueue(name) as queue:
        yield found
        try:
            while True:
                message = queue.get(timeout=5 if not found else 0.1)
                message.ack()
                found.append(message.payload[0][0])
        except Empty:
            queue.queue.purge()


@pytest.mark.parametrize("url", ["amqp_url", "redis_url"])
def test_a_process_that_ends_at_once_loses_no_hint(unique: str, url: str, request: pytest.FixtureRequest) -> None:
    """It neither flushes nor closes: its last statement is the hint."""
    broker: str = request.getfixturevalue(url)
    with queue_of(make_app(broker, []), unique) as found:
        subprocess.run([sys.executable, "-c", ENDS_AT_ONCE, broker, unique], cwd=ROOT, check=True, timeout=60)
    assert found == [["id-1"]]


def test_a_flush_returns_when_the_broker_has_what_was_put(unique: str) -> None:
    """On the memory broker what was sent lies in its queue, so there is nothing to wait for after a flush."""
    publisher = Publisher(make_app("memory://", []))
    with queue_of(make_app("memory://", []), unique) as found:
        publisher.publish([Hint(f"id-{number}", "shop.check", unique) for number in range(100)])
        assert publisher.flush(30)
    assert sorted(it for ids in found for it in ids) == sorted(f"id-{number}" for number in range(100))
    publisher.close()


def test_a_flush_of_nothing_is_done(unique: str) -> None:
    """Before the first hint there is no thread that could answer, and after the end none any more."""
    publisher = Publisher(make_app("memory://", [shop(unique)]))
    assert publisher.flush(0.0)
    publisher.publish([Hint("id-1", "shop.check", unique)])
    publisher.close(30)
    assert not publisher.flush(0.0)


def test_a_flush_does_not_wait_for_a_broker_that_refuses(unique: str) -> None:
    """It answers as soon as that is known, however long it might wait; and from then on at once."""
    publisher = Publisher(make_app(NOBODY, []))
    publisher.publish([Hint("id-1", "shop.check", unique)])
    assert not publisher.flush(60)
    assert publisher.is_away
    assert not publisher.flush(60)
    publisher.close()


def test_a_flush_has_a_bound_when_a_broker_takes_connections_and_says_nothing(unique: str) -> None:
    """A black hole costs the bound once; the close after it costs no second one."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        publisher = Publisher(make_app(f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}//", []))
        publisher.publish([Hint("id-1", "shop.check", unique)])
        assert not publisher.flush(0.2)
        began = time.monotonic()
        publisher.close(60)
        assert time.monotonic() - began < 1


def test_a_start_with_its_hint_in_one_call(unique: str) -> None:
    """On return the saga is durable and its hint lies in the queue of its first step; a repeat is the same saga."""
    saga, app = shop(unique), make_app("memory://", [])
    starter, publisher = Starter(MemoryStore(), environment="test", tenant="test"), Publisher(app)
    order = Order(order_id="SO-1", log="")
    with queue_of(app, f"{unique}_{SALES}") as found:
        started = start_and_hint(starter, saga, order, publisher, request_key="once", patience_s=30)
        again = start_and_hint(starter, saga, order, publisher, request_key="once", patience_s=30)
    assert (again.saga_id, again.is_replayed) == (started.saga_id, True)
    assert {it for ids in found for it in ids} == {started.saga_id}
    publisher.close()
    starter.stop()


def test_a_start_does_not_fail_for_its_hint(unique: str) -> None:
    """The broker refuses; the saga is stored all the same."""
    starter, publisher = Starter(MemoryStore(), environment="test", tenant="test"), Publisher(make_app(NOBODY, []))
    started = start_and_hint(starter, shop(unique), Order(order_id="SO-1", log=""), publisher)
    assert started.saga_id
    wait_until(lambda: publisher.dropped_count == 1, what="the hint to be dropped")
    publisher.close()
    starter.stop()
