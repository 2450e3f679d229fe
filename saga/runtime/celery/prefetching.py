"""How many messages a consumer is given ahead, on queues of either kind.

RabbitMQ's quorum queues know a prefetch count for each consumer only, and refuse the one for a whole channel that Celery asks for: the
connection is closed, and Celery connects again, for ever. Celery asks otherwise when its configuration says that a queue is a quorum
queue. It cannot see that a virtual host makes them (`default_queue_type`), or that somebody else has declared one. So the first
refusal is remembered here, and every connection from then on asks for each consumer. Classic queues are asked as ever. A stream
refuses too, in words of its own (`consuming` makes a lost connection of them).
"""

from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.worker.consumer.tasks import Tasks

from saga.log import logger

PRECONDITION_FAILED, NOT_IMPLEMENTED = 406, 540
"""AMQP's reply codes."""


class Prefetching(bootsteps.StartStopStep):
    """Stands around the consumer of a worker that sagas are attached to."""

    requires = (Tasks,)
    name = "saga.runtime.celery:prefetching"

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._is_for_each_consumer = False
        tasks: Any = next(step for step in parent.blueprint.order if isinstance(step, Tasks))
        tasks.start = self._asking(tasks.start)
        parent.loop = self._learning(parent.loop)

    def _learning(self, loop: Callable[..., None]) -> Callable[..., None]:
        """Celery's loop; a refusal of its first messages is remembered, and still costs this connection."""

        def run(consumer: Any, *arguments: Any) -> None:
            try:
                loop(consumer, *arguments)
            except consumer.connection_errors as error:
                if _refuses_a_count(error) and not self._is_for_each_consumer:
                    self._is_for_each_consumer = True
                    logger.info("prefetch_for_each_consumer", reason="the broker has quorum queues or streams")
                raise

        return run

    def _asking(self, start: Callable[[Any], None]) -> Callable[[Any], None]:
        """Celery's start of the consumer, which asks for a prefetch count and declares the queues."""

        def begin(consumer: Any) -> None:
            if self._is_for_each_consumer:
                channel = consumer.connection.default_channel
                ask = channel.basic_qos

                def for_each(size: int, count: int, _is_global: bool = False, **named: Any) -> Any:
                    return ask(size, count, False, **{key: it for key, it in named.items() if key != "a_global"})

                channel.basic_qos = for_each
            start(consumer)
            if self._is_for_each_consumer:
                consumer.qos_global = False

        return begin


def _refuses_a_count(error: BaseException) -> bool:
    """Whether the broker wants a prefetch count for each consumer."""
    codes = getattr(error, "code", None), getattr(error.__cause__, "code", None)
    return codes[0] == NOT_IMPLEMENTED or codes[1] == PRECONDITION_FAILED
