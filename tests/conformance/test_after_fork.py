"""D: an object that was used and then forked. `start()` in the child waited for ever for a thread that was not copied.

Each says so at once in the child, and goes on in its parent."""

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from saga import ids
from saga.core.definition import Saga, readonly
from saga.runtime.celery import Publisher, make_app
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.http import Sender
from saga.runtime.starting import Starter
from saga.runtime.task import TaskWorker
from saga.runtime.work import Hint
from saga.runtime.worker import Worker
from saga.store.port import Store
from saga.store.postgres import PostgresStore

PATIENCE_S = 20


class Order(BaseModel):
    order_id: str


def look(_order: Order) -> None:
    """The step."""


SHOP = Saga("shop", 1, Order, lambda order: order.order_id, [readonly(look)])


def in_child(work: Callable[[], object]) -> str:
    """What `work` comes to in a child process, which is ended if it hangs."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:  # nothing of pytest may run here
        said = b"nothing"
        try:
            said = repr(work()).encode()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}".encode()
        finally:
            os.write(writes, said[:4000])
            os._exit(0)
    os.close(writes)
    ending = threading.Timer(PATIENCE_S, lambda: os.kill(child, 9))
    ending.start()
    try:
        with os.fdopen(reads, "rb") as pipe:
            return pipe.read().decode() or "it hung and was killed"
    finally:
        ending.cancel()
        os.waitpid(child, 0)


@pytest.fixture
def starter(store: Store) -> Iterator[Starter]:
    starter = Starter(store, environment="test", tenant="shop")
    starter.start(SHOP, Order(order_id="SO-1"))
    yield starter
    starter.stop()


def session_of(store: Store) -> int | None:
    """The process of the server that answers the next statement; None where there is no server."""
    if not isinstance(store, PostgresStore):
        return None
    rows = store._connections.run(lambda it: it.execute("SELECT pg_backend_pid()").fetchone(), "asking")
    return int(rows[0]) if rows else None


def says(what: str) -> str:
    return f"UsageError: this {what} was created in pid {os.getpid()} and is used in pid "


def test_a_starter_says_that_it_was_forked(starter: Starter) -> None:
    """F6: it waited for ever. Its parent starts on, and the child may stop it."""
    assert in_child(lambda: starter.start(SHOP, Order(order_id="SO-2"))).startswith(says("starter"))
    assert in_child(lambda: starter.probe(1.0)).startswith(says("starter"))
    assert in_child(starter.stop) == "None"
    assert starter.start(SHOP, Order(order_id="SO-3")).run == 1


def test_a_store_says_that_it_was_forked(store: Store) -> None:
    """Two processes would read one another's answers. The child may close it: its parent goes on over its connections."""
    before = session_of(store)
    assert in_child(store.counts).startswith(says("store"))
    assert in_child(store.close) == "None"
    assert (set(store.counts().values()), session_of(store)) == ({0}, before)


def test_a_worker_says_that_it_was_forked(store: Store) -> None:
    """Under either driver; a hint to the copy would wake nobody."""
    worker = Worker(store, Definitions([SHOP]), Executor(str, store.clock))
    task = TaskWorker(
        store, Definitions([SHOP]), Executor(str, store.clock), queues=frozenset(), publish=lambda _: None
    )
    for work in (worker.start, lambda: worker.wake(["s"]), task.start, lambda: task.run("s", "shop", "look:a")):
        assert in_child(work).startswith(says("worker"))


def test_a_sender_says_that_it_was_forked() -> None:
    """Nothing was sent: two processes would read one answer of a participant."""
    sender = Sender()

    def send() -> Any:
        return sender.send("POST", "http://127.0.0.1:9/", "{}", {}, connect_timeout_s=1.0, wall_s=1.0)

    assert "this sender was created in pid" in in_child(send)
    assert "OutcomeCode.NOT_SENT" in in_child(send)


def test_a_publisher_opens_anew(store: Store) -> None:
    """A hint is best effort: the child makes its own thread and connection, and loses nothing that its parent had."""
    publisher = Publisher(make_app("memory://", [SHOP]))
    publisher.publish([Hint("s", "saga.shop.look:a", "saga")])
    assert publisher.flush(PATIENCE_S)

    def again() -> bool:
        publisher.publish([Hint("s", "saga.shop.look:a", "saga")])
        return publisher.flush(PATIENCE_S)

    assert in_child(again) == "True"
    publisher.close()


def test_an_id_is_made_after_a_fork_in_the_middle_of_another() -> None:
    """The lock of a module is copied as it stands, perhaps held."""
    with ids._lock:
        assert len(in_child(ids.uuid7)) == len("'01a22807-142f-7000-a6c9-ae57a1ec5737'")
