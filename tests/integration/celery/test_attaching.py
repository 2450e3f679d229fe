"""Sagas in an app that was there before, pools that fit, children that are recycled, hints that do not wait."""

import sqlite3
import threading
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import Celery
from celery.worker import WorkController
from pydantic import BaseModel

from saga.core.definition import Saga, readonly
from saga.errors import UsageError
from saga.runtime.celery import Attachment, Publisher, attach, make_app, worker_in_thread
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter, first_hints
from saga.runtime.task import TaskWorker
from saga.runtime.work import Hint, Limits
from saga.store.connecting import sqlite_path
from saga.store.opening import open_store
from saga.store.schema import upgrade
from saga.store.tables import to_micros
from tests.chaos.proxy import Proxy
from tests.integration.celery.conftest import NOBODY
from tests.integration.celery.deployment import Deployment, DriverName, deployment
from tests.integration.celery.shop import SALES, shop
from tests.integration.celery.shop import Order as ShopOrder
from tests.integration.celery.worker_process import SCOPE
from tests.waiting import wait_until


def test_attach_leaves_an_app_as_it_was(unique: str, sqlite_url: str, tmp_path: Path) -> None:
    """Settings, routes and other tasks of an existing app stay; its own task and a saga run in the same worker."""
    with deployment(unique, "task", "memory://", sqlite_url, tmp_path) as made:
        app = Celery(f"old_{unique}", broker="memory://", set_as_current=False)
        app.conf.update(broker_transport_options={"polling_interval": 0.01}, task_default_queue=f"old_{unique}")
        done: list[int] = []

        def double(number: int) -> None:
            done.append(2 * number)

        own = app.task(name="old.double", shared=False)(double)
        before, tasks = dict(app.conf), set(app.tasks)
        attach(app, [made.saga], store_url=sqlite_url, scope=SCOPE, driver="task")
        assert dict(app.conf) == before
        assert {it for it in set(app.tasks) - tasks if not it.startswith(made.saga.name)} == set()
        queues = [f"old_{unique}", *sorted({step.queue for step in made.saga.order})]
        worker = worker_in_thread(app, queues=queues)
        try:
            own.delay(21)
            made.wait_ended([made.start()])
            wait_until(lambda: done == [42], what="the old task")
        finally:
            worker.stop()


STRANGE: dict[str, Any] = {
    "accept_content": ["pickle", "json"],
    "broker_pool_limit": 0,
    "enable_utc": False,
    "task_acks_late": True,
    "task_compression": "zlib",
    "task_default_delivery_mode": "persistent",
    "task_default_exchange": "elsewhere",
    "task_default_exchange_type": "topic",
    "task_default_priority": 7,
    "task_default_rate_limit": "1/h",
    "task_default_routing_key": "elsewhere",
    "task_ignore_result": False,
    "task_protocol": 1,
    "task_queue_max_priority": 10,
    "task_reject_on_worker_lost": True,
    "task_routes": {"*": {"queue": "elsewhere"}},
    "task_serializer": "pickle",
    "task_soft_time_limit": 0.001,
    "task_store_errors_even_if_ignored": True,
    "task_time_limit": 0.001,
    "task_track_started": True,
    "timezone": "Asia/Kathmandu",
    "worker_enable_remote_control": False,
}


@pytest.mark.parametrize("driver", ["process", "task"])
def test_settings_of_an_app_that_change_nothing_for_a_saga(
    unique: str, sqlite_url: str, tmp_path: Path, driver: DriverName
) -> None:
    """With all of them at once hints reach the steps: a saga that is due tomorrow, which only messages move, ends now."""
    with deployment(unique, driver, "memory://", sqlite_url, tmp_path) as made:
        app = Celery(f"strange_{unique}", broker="memory://", set_as_current=False)
        app.conf.update(STRANGE, broker_transport_options={"polling_interval": 0.01})
        attachment = attach(app, [made.saga], store_url=sqlite_url, driver=driver, scope=SCOPE)
        saga_id = made.start(hint=False)
        with closing(sqlite3.connect(sqlite_path(sqlite_url))) as database, database:
            database.execute("UPDATE saga SET due_at = ?", [to_micros(made.store.now() + timedelta(days=1))])
        queues = sorted({step.queue for step in made.saga.order})
        worker = worker_in_thread(app, queues=queues)
        try:
            attachment.publisher.publish(first_hints(made.saga, saga_id))
            assert made.wait_ended([saga_id], 40) == ["completed"]
        finally:
            worker.stop()


def test_an_attached_worker_runs_its_own_tenant_alone(embedded: Deployment) -> None:
    """Whichever driver: an order of another tenant, of which it is told, stays at its first entry while its own ends."""
    store = open_store(embedded.store_url)
    starter = Starter(store, environment="test", tenant="other")
    theirs = starter.start(embedded.saga, ShopOrder(order_id="SO-1", log=str(embedded.log))).saga_id
    embedded.publisher.publish(first_hints(embedded.saga, theirs))
    embedded.thread_worker()
    assert embedded.wait_ended([embedded.start()]) == ["completed"]
    assert len(store.load([theirs])[theirs]) == 1
    starter.stop()
    store.close()


@pytest.mark.parametrize("pool", ["prefork"])
def test_the_process_driver_is_refused_under_a_pool_that_recycles(unique: str, sqlite_url: str, pool: str) -> None:
    """The error says what to type instead."""
    app = make_app("memory://", [shop(unique)])
    attach(app, [shop(unique)], store_url=sqlite_url, driver="process")
    app.conf.worker_max_tasks_per_child = 1000
    options: dict[str, Any] = {"pool": pool, "concurrency": 1}
    with pytest.raises(UsageError) as refused:
        WorkController(app=app, **options)
    assert "driver=process under prefork, worker_max_tasks_per_child=1000" in str(refused.value)
    assert "saga worker" in str(refused.value)
    assert "SAGA_DRIVER=task" in str(refused.value)


def test_recycled_children_lose_no_saga(unique: str, amqp_url: str, postgres_url: str, tmp_path: Path) -> None:
    """Under a prefork worker whose children end after ten tasks, fifty sagas complete, and each child's lease is given
    back."""
    with deployment(unique, "task", amqp_url, postgres_url, tmp_path) as made:
        made.process_worker(pool="prefork", max_tasks_per_child=10)
        saga_ids = [made.start() for _ in range(50)]
        assert set(made.wait_ended(saga_ids, 40)) == {"completed"}
        pids = {line[2] for line in made.lines()}
        assert len(pids) >= 10
        assert len(made.lines()) == 150
        wait_until(lambda: len(made.store.workers()) <= 4, what="the leases of the children that ended")


def test_a_prefork_worker_finds_what_no_hint_tells(
    unique: str, amqp_url: str, postgres_url: str, tmp_path: Path
) -> None:
    """Its children were forked before the worker began, and no message ever reaches one of them: each looks for itself. The
    first hints of a shop are lost in this way whenever its queues are not declared yet."""
    with deployment(unique, "task", amqp_url, postgres_url, tmp_path) as made:
        made.process_worker(pool="prefork")
        assert made.wait_ended([made.start(hint=False)], 30) == ["completed"]


def test_no_result_backend(unique: str) -> None:
    """Results are journalled, so none are stored."""
    app = make_app("memory://", [shop(unique)])
    assert app.conf["result_backend"] is None
    assert app.conf.accept_content == ["json"]


def test_a_publisher_without_broker_never_holds_up_its_caller(unique: str) -> None:
    """Ten thousand hints to a broker that is away are dropped in less than a second, and counted."""
    publisher = Publisher(make_app(NOBODY, [shop(unique)]))
    began = time.monotonic()
    for number in range(10_000):
        publisher.publish([Hint(f"id-{number}", "task", unique)])
    assert time.monotonic() - began < 1
    wait_until(lambda: publisher.is_away and publisher.dropped_count == 10_000, what="the hints to be dropped")
    publisher.close()


def test_hints_travel_up_to_32_in_a_message(unique: str) -> None:
    """A hundred hints at one node that wait together need a few messages, each of at most 32 ids, each id once."""
    saga = shop(unique)
    app = make_app("memory://", [saga])
    publisher = Publisher(app)
    publisher.publish([hint for number in range(100) for hint in first_hints(saga, f"id-{number}")])
    found: list[list[str]] = []
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(f"{unique}_{SALES}")

        def all_came() -> bool:
            try:
                message = queue.get(timeout=0.1)
            except queue.Empty:
                return False
            message.ack()
            assert message.headers["task"] == f"{saga.name}.check"
            found.append(message.payload[0][0])
            return sum(map(len, found)) == 100

        wait_until(all_came, what="the hints")
        queue.close()
    assert max(map(len, found)) <= 32
    assert len({it for ids in found for it in ids}) == 100
    publisher.close()


@pytest.mark.parametrize("broker", ["memory", "rabbitmq"])
def test_a_hint_expires(unique: str, broker: str, request: pytest.FixtureRequest) -> None:
    """A hint that nobody takes is not kept: its message carries an expiry of a minute and is not written to disk."""
    saga = shop(unique)
    app = make_app("memory://" if broker == "memory" else request.getfixturevalue("amqp_url"), [saga])
    with app.connection_for_read() as connection:
        unconsumed = connection.SimpleQueue(f"{unique}_{SALES}")
        publisher = Publisher(app)
        publisher.publish(first_hints(saga, "id-1"))
        message = unconsumed.get(timeout=10)
        message.ack()
        publisher.close()
        unconsumed.close()
        unconsumed.queue.delete()
    assert message.payload[0] == [["id-1"]]
    assert message.properties["expiration"] == "60000"
    assert int(message.properties["delivery_mode"]) == 1


class Order(BaseModel):
    """The input of the two versions below."""

    order_id: str


def _step(_order: Order) -> None: ...


@pytest.mark.parametrize("driver", ["process", "task"])
def test_sagas_of_an_older_version_end_on_their_old_queue(unique: str, sqlite_url: str, driver: DriverName) -> None:
    """Version 2 moved its step to another queue, which any deploy may do; a worker without a choice consumes both."""
    upgrade(sqlite_url, "test")
    versions = [
        Saga(
            f"moved_{unique}",
            version=version,
            input=Order,
            entity=lambda order: order.order_id,
            steps=[readonly(_step, name="only", queue=f"{unique}_{version}")],
        )
        for version in (1, 2)
    ]
    app, store = make_app("memory://", versions), open_store(sqlite_url)
    attach(app, versions, store_url=sqlite_url, scope=SCOPE, driver=driver)
    starter = Starter(store, environment="test", tenant="test")
    ids = [starter.start(saga, Order(order_id=f"SO-{saga.version}")).saga_id for saga in versions]
    worker = worker_in_thread(app)
    try:
        wait_until(lambda: all((row := store.row(it)) is not None and row.ended_at for it in ids), 20)
    finally:
        worker.stop()
        starter.stop()
        store.close()


def test_a_signal_to_stop_waits_for_nobody(unique: str, sqlite_url: str) -> None:
    """It comes in the very thread that opens a database which does not answer."""
    upgrade(sqlite_url)
    attachment = attach(make_app("memory://", [shop(unique)]), [shop(unique)], store_url=sqlite_url, driver="task")
    done = threading.Event()

    def opens_and_is_told() -> None:
        with attachment._lock:
            attachment.request_stop()
        done.set()

    threading.Thread(target=opens_and_is_told, daemon=True).start()
    assert done.wait(5)


def test_a_database_that_is_missing_is_said_once_with_what_mends_it(
    unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A child asks every second, and tells each cause when it is new: first the file is missing, then it is no database of ours. What
    it says can be typed: the default of `saga db upgrade` is another file."""
    monkeypatch.setenv("SAGA_HOME", str(tmp_path / "home"))
    url = f"sqlite:///{tmp_path / 'saga.db'}"
    looks, may_look = threading.Semaphore(0), threading.Semaphore(0)

    class Watched(Attachment):
        def task_worker(self) -> TaskWorker:
            may_look.acquire()
            try:
                return super().task_worker()
            finally:
                looks.release()

    app = make_app("memory://", [shop(unique)])
    child = Watched(
        app,
        Definitions([shop(unique)]),
        store_url=url,
        scope=SCOPE,
        url_of=str,
        driver="task",
        limits=Limits(),
        pool_size=1,
        broken=None,
    )
    child._is_worker = True
    child.begin_child()
    for _ in range(2):
        may_look.release()
        assert looks.acquire(timeout=10)
    sqlite3.connect(tmp_path / "saga.db").close()
    for _ in range(2):
        may_look.release()
        assert looks.acquire(timeout=10)
    upgrade(url, SCOPE.environment)
    may_look.release()
    assert looks.acquire(timeout=10)
    child.end()
    said = [it.getMessage() for it in caplog.records if "worker_not_begun" in it.getMessage()]
    assert len(said) == 2
    assert f"there is no such file; type SAGA_DATABASE_URL={url} saga db upgrade" in said[0]
    assert said[1].endswith(f"no tables of this release: type SAGA_DATABASE_URL={url} saga db upgrade")


def test_a_prefork_child_waits_for_its_database(unique: str, amqp_url: str, postgres_url: str, tmp_path: Path) -> None:
    """The database does not answer when the children are forked: each asks again, and then finds what is due."""
    parts = urlsplit(postgres_url)
    proxy = Proxy((parts.hostname or "127.0.0.1", parts.port or 5432))
    proxy.cut()
    behind = parts._replace(netloc=f"{(parts.username or 'postgres')}@127.0.0.1:{proxy.port}").geturl()
    try:
        with deployment(unique, "task", amqp_url, postgres_url, tmp_path) as made:
            made.process_worker(pool="prefork", database_url=behind)
            saga_id = made.start(hint=False)
            wait_until(lambda: "worker_not_begun" in made.stderr(), 40, what="a child to find the database away")
            proxy.heal()
            assert made.wait_ended([saga_id], 40) == ["completed"]
    finally:
        proxy.close()
