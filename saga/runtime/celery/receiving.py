"""What arrives under the name of a task of ours, read as if a stranger had sent it, and made anew before Celery reads it.

Rules of this file
------------------
- Of a message three things count: that it is JSON, that it is short, and its one argument, up to 32 saga ids. Its id is kept
  when it looks like one, so that whoever watches Celery's events finds the message again.
- Everything else is made here: no time limit, eta, expiry, count of retries, callback, stamp, priority, place to reply to or
  name to be shown reaches Celery. One `timelimit` of two texts ends a prefork worker, again after each restart, since the
  message comes back.
- Whatever `accept_content` allows, the body of a message of ours is read as JSON, and before that its length is looked at.
- A message on which Celery's consumer breaks before it has found a task (`Readable`) is acknowledged and forgotten: it would
  end the worker, come back, and end the next.
"""

import json
from collections.abc import Callable, Container
from typing import Any

from celery import Celery, bootsteps
from kombu.exceptions import KombuError
from kombu.message import Message

from saga.ids import uuid7
from saga.log import logger
from saga.runtime.work import SAGA_ID, ids_in

JSON = "application/json"
BODY_MAX = 16_384
"""Bytes; 32 ids of 64 characters are 2 kB."""
KNOWN_BODIES = (bytes, bytearray, memoryview, str)


def ids_of(message: Any, body: object) -> list[str]:
    """The saga ids that a message names, empty for what is none of ours. `body` is there when Celery decoded it to find the
    task's name, which it does for protocol 1."""
    payload = _json_of(message) if body is None else body
    args: object = None
    if isinstance(payload, dict):
        args = payload.get("args")
    elif isinstance(payload, list) and payload:
        args = payload[0]
    return ids_in(args[0]) if isinstance(args, list) and len(args) == 1 else []


def made_anew(app: Celery, task: str, queue: str, message: Any, body: object, ids: list[str]) -> Message:
    """A message of protocol 2 with these ids and nothing of the sender's."""
    made = app.amqp.as_task_v2(_id_of(message, body), task, args=(ids,), ignore_result=True)
    return Message(
        body=json.dumps(made.body),
        content_type=JSON,
        content_encoding="utf-8",
        headers=made.headers,
        properties=made.properties,
        delivery_info={"exchange": "", "routing_key": queue},
        delivery_tag=message.delivery_tag,
        channel=message.channel,
        accept={JSON},
    )


def _json_of(message: Any) -> object:
    given = message.body
    if message.content_type != JSON or not isinstance(given, KNOWN_BODIES) or len(given) > BODY_MAX:
        return None
    try:
        found: object = json.loads(bytes(given) if isinstance(given, memoryview) else given)
    except (ValueError, RecursionError):
        return None
    return found


def _id_of(message: Any, body: object) -> str:
    given = body.get("id") if isinstance(body, dict) else message.headers.get("id")
    return given if isinstance(given, str) and SAGA_ID.fullmatch(given) else uuid7()


class Readable(bootsteps.StartStopStep):
    """Stands before Celery's choice of a task, in the consumer of a worker that sagas are attached to."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    name = "saga.runtime.celery:readable"

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        choose = parent.create_task_handler

        def create() -> Callable[[Any], None]:
            chosen = choose()

            def take(message: Any) -> None:
                if is_readable(message, parent.strategies):
                    chosen(message)
                else:
                    logger.warning(
                        "message_refused", task="", reason="it names no task, or is of an unknown one and has no id"
                    )
                    message.ack_log_error(logger, parent.connection_errors)

            return take

        parent.create_task_handler = create


def is_readable(message: Any, tasks: Container[str]) -> bool:
    """Whether Celery can find out whose message this is, or say that it knows no such task: for that it needs an id."""
    named = message.headers
    if "task" not in named:  # protocol 1 has name and id in its body
        try:
            named = message.payload
        except (KombuError, AttributeError, TypeError, ValueError):
            return True  # and Celery forgets what it cannot decode
        if not isinstance(named, dict) or "task" not in named:
            return True  # and Celery forgets what is no message of a task
    task = named["task"]
    return isinstance(task, str) and (task in tasks or isinstance(named.get("id"), str))
