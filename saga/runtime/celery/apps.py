"""A Celery app whose settings suit hints, for `saga worker` and the API; an existing app keeps its own.

Rules of this file: JSON only; no result backend; early acknowledgement; the connection is tried for ever, at the start as
well, because the rescuer runs sagas while the broker is away; every socket has a time-out, and a worker whose flows to the
broker were forgotten notices within 30 s.
"""

from collections.abc import Iterable
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from saga.core.definition import Saga
from saga.core.states import Direction
from saga.runtime.celery.broker import read_broker
from saga.runtime.work import task_name

HEARTBEAT_S = 6
"""Of AMQP. py-amqp notices silence after three of them at the latest: two are missed, and it looks twice in each. Connecting anew
may take two seconds, and twice that under load, within the 30 that are promised."""


def make_app(broker_url: str, sagas: Iterable[Saga[Any]], *, name: str = "saga", quorum: bool = False) -> Celery:
    """An app that knows the queues and task names of `sagas`; `attach` gives it the tasks themselves.

    It connects to nothing yet. A worker of it without a choice of queues consumes all queues of `sagas`. `quorum` asks
    RabbitMQ for quorum queues (a cluster); a queue that exists with another type is used as it is.
    """
    sagas = list(sagas)
    routes = queue_of_task(sagas)
    arguments = {"x-queue-type": "quorum"} if quorum else {}
    broker = read_broker(broker_url)
    app = Celery(name, broker=broker.url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=False,
        task_default_queue="saga",
        task_queues=[
            Queue(queue, Exchange(queue, type="direct"), routing_key=queue, queue_arguments=arguments)
            for queue in sorted(queues_of(sagas))
        ],
        task_routes={task: {"queue": queue} for task, queue in routes.items()},
        task_publish_retry=False,
        broker_heartbeat=HEARTBEAT_S,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=broker.options,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )
    return app


def queue_of_task(sagas: Iterable[Saga[Any]]) -> dict[str, str]:
    """Task name to queue, of every node; of two versions of a saga the later one decides where a message without a queue
    goes. Hints name their queue themselves."""
    queues: dict[str, str] = {}
    for saga in sorted(sagas, key=lambda it: it.version):
        for step in saga.order:
            directions = [Direction.ACTION] if step.compensation is None else list(Direction)
            for direction in directions:
                queues[task_name(saga.name, f"{step.name}:{direction}")] = step.queue_of(direction)
    return queues


def queues_of(sagas: Iterable[Saga[Any]]) -> frozenset[str]:
    """Every queue of every version: sagas of an older one wait on its queues until they have ended."""
    return frozenset(queue for saga in sagas for queue in queue_of_task([saga]).values())


def wall_of_task(sagas: Iterable[Saga[Any]]) -> dict[str, float]:
    """Task name to the seconds that one attempt of the node may take, in the version that gives it most."""
    walls: dict[str, float] = {}
    for saga in sagas:
        for step in saga.order:
            for direction in Direction:
                name = task_name(saga.name, f"{step.name}:{direction}")
                walls[name] = max(walls.get(name, 0.0), step.wall_s_in(direction))
    return walls
