"""E: what a broker has is not trusted: queues that somebody else made are consumed as they are, and one that cannot be consumed ends no worker.

A queue of another type or with other arguments ended it, since RabbitMQ refuses a second declaration that is not the same."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kombu
import pytest
from sqlalchemy.engine import make_url

from saga.runtime.celery import ThreadWorker, attach, make_app, worker_in_thread
from saga.runtime.work import Hint
from tests import services_available as servers
from tests.integration.celery.deployment import Deployment, deployment
from tests.integration.celery.shop import SALES
from tests.integration.celery.worker_process import SCOPE
from tests.waiting import wait_until

ODD: dict[str, dict[str, Any]] = {
    "quorum": {"arguments": {"x-queue-type": "quorum"}},
    "stream": {"arguments": {"x-queue-type": "stream"}},
    "priorities": {"arguments": {"x-max-priority": 9}},
    "a dead letter exchange": {"arguments": {"x-dead-letter-exchange": "amq.fanout"}},
    "bounds": {"arguments": {"x-max-length": 1000, "x-overflow": "reject-publish", "x-message-ttl": 60_000}},
    "lazy": {"arguments": {"x-queue-mode": "lazy"}},
    "one consumer at a time": {"arguments": {"x-single-active-consumer": True}},
    "not durable": {"durable": False},
    "goes with its consumer": {"auto_delete": True},
}
LOST = "Connection to broker lost"
# Celery says at each lost connection what it will do in its next major release.
pytestmark = pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning")


def consumers_of(shop: Deployment) -> int:
    """How many consume the queue of the first step; 0 when it is not there."""
    with kombu.Connection(shop.broker_url) as connection:
        channel: Any = connection.channel()
        try:
            return int(channel.queue_declare(shop.queue(SALES), passive=True).consumer_count)
        except connection.channel_errors:
            return 0


def look_again(worker: ThreadWorker) -> None:
    """What the worker does every half minute."""
    consumer: Any = vars(worker)["_controller"].consumer
    consumer.call_soon(consumer.task_consumer.look_again)


@contextmanager
def declared(url: str, queue: str, **options: Any) -> Iterator[Any]:
    """A channel on which somebody else has declared the queue."""
    with kombu.Connection(url) as connection:
        channel: Any = connection.channel()
        channel.queue_declare(queue, **{"durable": True, "auto_delete": False, **options})
        yield channel


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "saga")


@pytest.mark.parametrize("kind", ODD)
def test_a_queue_is_consumed_as_it_is(kind: str, on_rabbitmq: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    """Of whichever kind: a saga that only a message can wake ends, the log says once what was found, and what it costs is one
    connection where the queue allows no prefetch count for a whole channel."""
    shop = on_rabbitmq
    with declared(shop.broker_url, shop.queue(SALES), **ODD[kind]):
        shop.thread_worker()
        saga_ids = shop.start_unseen(1)
        wait_until(lambda: "queue_taken_as_it_is" in caplog.text, 10, what="the queue to be found")
        shop.publisher.publish([Hint(saga_ids[0], f"{shop.saga.name}.check", shop.queue(SALES))])
        assert shop.wait_ended(saga_ids) == ["completed"]
    for_each = kind in ("quorum", "stream")
    assert caplog.text.count("queue_taken_as_it_is") == 1
    assert caplog.text.count(LOST) == for_each


@pytest.mark.parametrize("arguments", [{}, {"x-queue-type": "quorum"}], ids=["classic", "quorum"])
def test_an_app_that_asks_for_quorum_queues_takes_what_is_there(
    arguments: dict[str, str], on_rabbitmq: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    """`make_app(..., quorum=True)` on a broker whose queues were made before, and the same queue twice."""
    shop = on_rabbitmq
    app = make_app(shop.broker_url, [shop.saga], quorum=True)
    attach(app, [shop.saga], store_url=shop.store_url, scope=SCOPE, driver=shop.driver)
    with declared(shop.broker_url, shop.queue(SALES), arguments=arguments):
        shop.threads.append(worker_in_thread(app))
        saga_ids = shop.start_unseen(1)
        wait_until(lambda: consumers_of(shop) == 1, 20, what="a consumer")
        shop.publisher.publish([Hint(saga_ids[0], f"{shop.saga.name}.check", shop.queue(SALES))])
        assert shop.wait_ended(saga_ids) == ["completed"]
    assert caplog.text.count("queue_taken_as_it_is") == (0 if arguments else 1)


def test_an_exchange_of_another_type_is_left_as_it_is(
    on_rabbitmq: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    """Hints go to a queue by its name, so it needs none."""
    shop = on_rabbitmq
    name = shop.queue(SALES)
    with kombu.Connection(shop.broker_url) as connection:
        channel: Any = connection.channel()
        channel.exchange_declare(name, "fanout", durable=True, auto_delete=False)
        shop.thread_worker()
        saga_ids = shop.start_unseen(1)
        wait_until(lambda: consumers_of(shop) == 1, 20, what="a consumer")
        shop.publisher.publish([Hint(saga_ids[0], f"{shop.saga.name}.check", name)])
        assert shop.wait_ended(saga_ids) == ["completed"]
        channel.exchange_delete(name)
    assert "inequivalent arg 'type' for exchange" in caplog.text
    assert LOST not in caplog.text


def test_a_queue_that_is_deleted_is_made_again(on_rabbitmq: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    """It costs one connection."""
    shop = on_rabbitmq
    shop.thread_worker()
    assert shop.wait_ended([shop.start()]) == ["completed"]  # Celery overlooks what happens while it begins to consume
    with kombu.Connection(shop.broker_url) as connection:
        channel: Any = connection.channel()
        channel.queue_delete(shop.queue(SALES))
    wait_until(lambda: LOST in caplog.text and consumers_of(shop) == 1, 20, what="a consumer of the new queue")
    saga_ids = shop.start_unseen(1)
    shop.publisher.publish([Hint(saga_ids[0], f"{shop.saga.name}.check", shop.queue(SALES))])
    assert shop.wait_ended(saga_ids) == ["completed"]
    assert caplog.text.count(LOST) == 1


def test_a_queue_that_is_added_is_declared_by_celery(on_rabbitmq: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    """`celery control add_consumer`: consumed without being there, it took the whole connection with it, for good."""
    shop = on_rabbitmq
    worker = shop.thread_worker()
    assert shop.wait_ended([shop.start()]) == ["completed"]
    consumer: Any = vars(worker)["_controller"].consumer
    name = f"{shop.queue(SALES)}.added"
    consumer.call_soon(consumer.add_task_queue, name)

    def consumed() -> int:
        with kombu.Connection(shop.broker_url) as connection:
            channel: Any = connection.channel()
            try:
                return int(channel.queue_declare(name, passive=True).consumer_count)
            except connection.channel_errors:
                return 0

    wait_until(lambda: consumed() == 1, 20, what="a consumer of the queue that was added")
    assert consumers_of(shop) == 1
    assert LOST not in caplog.text


@pytest.mark.parametrize("kind", ["a queue of one connection", "a consumer that has it alone"])
def test_a_queue_that_cannot_be_consumed_ends_no_worker(
    kind: str, on_rabbitmq: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    """Its sagas move when they are due, its reason and what mends it are said once, and the other queues are consumed. When it is
    looked at again and free it is consumed."""
    shop = on_rabbitmq
    queue = shop.queue(SALES)
    alone = kind.startswith("a consumer")
    with declared(shop.broker_url, queue, exclusive=not alone) as channel:  # it goes with the connection
        if alone:
            channel.basic_consume(queue, exclusive=True, callback=print)
        worker = shop.thread_worker()
        wait_until(lambda: "queue_not_consumed" in caplog.text, 20, what="the queue to be named")
        assert shop.wait_ended([shop.start()]) == ["completed"]
        [said] = [it.getMessage() for it in caplog.records if "queue_not_consumed" in it.getMessage()]
        assert queue in said
        assert "rabbitmqctl list_" in said
        assert caplog.text.count(LOST) == alone
    look_again(worker)
    wait_until(lambda: consumers_of(shop) == 1, 20, what="a consumer of ours")
    assert caplog.text.count("queue_consumed_again") == 1


def test_an_app_of_one_s_own_consumes_what_is_there(on_rabbitmq: Deployment) -> None:
    """A worker process of an attached app, under the task driver in a prefork pool: one connection more, and nothing else."""
    shop = on_rabbitmq
    with declared(shop.broker_url, shop.queue(SALES), **ODD["quorum"]):
        child = shop.process_worker(pool="prefork" if shop.driver == "task" else "threads")
        saga_ids = shop.start_unseen(1)
        wait_until(lambda: consumers_of(shop) == 1, 20, what="a consumer")
        shop.publisher.publish([Hint(saga_ids[0], f"{shop.saga.name}.check", shop.queue(SALES))])
        assert shop.wait_ended(saga_ids) == ["completed"]
        assert child.poll() is None
        assert shop.stderr().count(LOST) == 1


RIGHTS = {"configure": ("none", ".*", ".*"), "write": (".*", "none", ".*"), "read": (".*", ".*", "none")}


@pytest.fixture
def poor(
    request: pytest.FixtureRequest, unique: str, run_name: str, sqlite_url: str, tmp_path: Path
) -> Iterator[Deployment]:
    """A shop in a virtual host of its own, whose user lacks one right there."""
    server_url = servers.RABBITMQ.find() or servers.RABBITMQ.is_missing("nothing answers on 127.0.0.1:5672")
    name = f"{run_name}_{unique}"
    url = servers.create_vhost(server_url, name)
    if url is None or not servers.rabbitmqctl("add_user", name, "pw"):
        servers.RABBITMQ.is_missing("virtual hosts and users cannot be made here")
    servers.rabbitmqctl("set_permissions", "-p", name, name, *RIGHTS[request.param])
    poor_url = make_url(url).set(username=name, password="pw").render_as_string(hide_password=False)
    with deployment(unique, "process", poor_url, sqlite_url, tmp_path) as made:
        yield made
    servers.rabbitmqctl("delete_vhost", name)
    servers.rabbitmqctl("delete_user", name)


@pytest.mark.parametrize(("poor", "told"), [(it, it) for it in RIGHTS], indirect=["poor"])
def test_a_right_that_is_missing_ends_no_worker(poor: Deployment, told: str, caplog: pytest.LogCaptureFixture) -> None:
    """Sagas move when they are due. Queues are named with the command that mends it, and a broker that takes no hints once."""
    poor.thread_worker()
    for _ in range(2):
        assert poor.wait_ended([poor.start()]) == ["completed"]
    if told == "write":
        poor.publisher.publish([Hint("s", f"{poor.saga.name}.check", poor.queue(SALES))])
        wait_until(lambda: poor.publisher.is_away, 20, what="the refusal")
        assert poor.wait_ended([poor.start(hint=False)]) == ["completed"]
        assert poor.publisher.is_away  # for ten seconds, not for half a one
    assert caplog.text.count("queue_not_consumed") == {"configure": 4, "write": 0, "read": 4}[told]
    assert ("set_permissions" in caplog.text) == (told != "write")
    refused = [it for it in caplog.records if "broker_away" in it.getMessage() and "ACCESS_REFUSED" in it.getMessage()]
    assert len(refused) <= 2 * (told == "write")  # the worker has a publisher, and the test
    assert caplog.text.count(LOST) == (told == "read")
    assert "pw@" not in caplog.text
