"""The queues of steps, consumed as they are found on RabbitMQ.

RabbitMQ refuses to declare a queue that is there already with another type, a dead-letter exchange, priorities or less durability, and
Celery's worker ends of that. Whoever runs the broker may have good reasons for such a queue, and to a hint it makes no difference.

Rules of this file
------------------
- Only the queues of steps are treated so. What an app has beside them is declared and consumed by Celery, as ever.
- Each is tried on a channel of its own, because a refusal takes from a channel what it consumed: declared with exchange and binding;
  else alone, since hints go to a queue by its name; else it has to be there already.
- One that cannot be consumed is left out, since messages are only hints: its sagas move when they are due. The log says once what was
  refused and what mends it. It is looked at again every `LOOK_S`.
- A refusal that comes only when the consuming begins costs that connection. From then on consuming is tried beforehand too, which
  takes a message and gives it back.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from celery import bootsteps
from celery.worker.consumer.tasks import Tasks
from kombu import Consumer, Queue

from saga.log import logger
from saga.runtime.celery.node_task import NodeTask

LOOK_S = 30.0
ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED = 403, 404, 405
"""AMQP's reply codes."""


class Consuming(bootsteps.StartStopStep):
    """Has a worker that sagas are attached to consume by `AsFound`."""

    requires = (Tasks,)
    name = "saga.runtime.celery:consuming"

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self.worker = parent
        self.tries_consuming = False
        self._said: dict[str, str] = {}
        if parent.app.connection_for_read().transport.driver_type == "amqp":
            parent.app.amqp.Consumer = partial(AsFound, self)

    def is_ours(self, queue: Queue) -> bool:
        """Whether steps wait on it."""
        return any(isinstance(it, NodeTask) and it.node_queue == queue.name for it in self.worker.app.tasks.values())

    def say(self, log: Callable[..., None], event: str, queue: Queue, reason: str) -> None:
        """Once for each reason, however often a connection is made."""
        if self._said.get(queue.name) != reason:
            self._said[queue.name] = reason
            log(event, queue=queue.name, reason=reason)


class AsFound(Consumer):
    """kombu's consumer of one connection, without the queues that cannot be consumed."""

    def __init__(self, step: Consuming, channel: Any, **options: Any) -> None:
        self._step = step
        self._left_out: list[Queue] = []
        super().__init__(channel, **options)
        self.auto_declare = False  # what comes later was looked at before
        self._look_later()

    def declare(self) -> None:
        """Declare what can be declared, and leave out what cannot be consumed."""
        with self._aside() as aside:
            for queue in self.queues:
                if not self._step.is_ours(queue):
                    queue.declare()
                elif not self._is_usable(queue, aside, tries_consuming=self._step.tries_consuming):
                    self.cancel_by_queue(queue)
                    self._left_out.append(queue)

    def add_queue(self, queue: Any) -> Any:
        """Whoever adds a queue that is none of ours, as `celery control add_consumer` does, has it declared as ever."""
        if not self._step.is_ours(queue):
            queue(self.channel).declare()
        return super().add_queue(queue)

    def consume(self, no_ack: bool | None = None) -> None:
        """Consume all queues. Raises `ConnectionError`, after which Celery connects anew, when one of ours is refused."""
        try:
            super().consume(no_ack)
        except self._refusals as refusal:
            if self._step.tries_consuming or not any(self._step.is_ours(queue) for queue in self.queues):
                raise
            self._step.tries_consuming = True
            raise ConnectionError("a queue may not be consumed; each is tried from now on") from refusal

    def look_again(self) -> None:
        """Consume what was left out, as far as that is possible now."""
        if self._step.worker.task_consumer is not self:
            return  # there is another connection, which looked for itself
        left_out, self._left_out = self._left_out, []
        with self._aside() as aside:
            for queue in left_out:
                if self._is_usable(queue, aside, tries_consuming=True):
                    logger.info("queue_consumed_again", queue=queue.name)
                    self.add_queue(queue)
                else:
                    self._left_out.append(queue)
        self.consume()
        self._look_later()

    def _look_later(self) -> None:
        if self._left_out:
            worker = self._step.worker
            worker.timer.call_after(LOOK_S, worker.call_soon, (self.look_again,))

    @property
    def _refusals(self) -> tuple[type[Exception], ...]:
        errors: tuple[type[Exception], ...] = self._step.worker.channel_errors
        return errors

    @contextmanager
    def _aside(self) -> Iterator[Any]:
        """A channel for questions; py-amqp opens it anew after each refusal."""
        aside: Any = self._step.worker.connection.channel()
        try:
            yield aside
        finally:
            aside.close()

    def _is_usable(self, queue: Queue, aside: Any, *, tries_consuming: bool) -> bool:
        """Whether the queue is there now and may be consumed."""
        ways: list[Callable[[], object]] = [
            lambda: queue.declare(channel=aside),
            lambda: queue.queue_declare(channel=aside),
            lambda: queue.queue_declare(passive=True, channel=aside),
        ]
        refusals: list[Any] = []
        for way in ways:
            try:
                way()
                break
            except self._refusals as refusal:
                refusals.append(refusal)
        is_there = len(refusals) < len(ways)
        if is_there and refusals:
            self._step.say(logger.info, "queue_taken_as_it_is", queue, refusals[-1].reply_text)
        if is_there and tries_consuming:
            try:
                self._try_to_consume(queue, aside)
            except self._refusals as refusal:
                is_there = False
                refusals.append(refusal)
        if not is_there:
            told = refusals[0] if refusals[-1].code == NOT_FOUND else refusals[-1]
            reason = f"{told.reply_text}; {self._what_mends(queue, told.code, told.reply_text)}"
            self._step.say(logger.warning, "queue_not_consumed", queue, reason)
        return is_there

    def _try_to_consume(self, queue: Queue, aside: Any) -> None:
        aside.basic_qos(0, 1, False)
        tag = f"saga-tries-{queue.name}"
        queue.bind(aside).consume(tag, _keep, no_ack=False)
        aside.basic_cancel(tag)

    def _what_mends(self, queue: Queue, code: int, reason: str) -> str:
        connection = self._step.worker.connection
        vhost = f"-p '{connection.virtual_host}'"
        if code == RESOURCE_LOCKED:
            who = f"one connection has it for itself; it is named by  rabbitmqctl list_queues {vhost} name owner_pid"
        elif code == ACCESS_REFUSED and "exclusive use" in reason:
            who = f"one consumer has it for itself; it is named by  rabbitmqctl list_consumers {vhost}"
        elif code in (ACCESS_REFUSED, NOT_FOUND):
            who = f"the user lacks rights:  rabbitmqctl set_permissions {vhost} '{connection.userid}' '.*' '.*' '.*'"
        else:
            who = f"hints are all that is lost with it:  rabbitmqctl delete_queue {vhost} '{queue.name}'"
        return f"{who}. Until then its steps run when they are due, up to two seconds later"


def _keep(*_message: Any) -> None:
    """What comes while consuming is tried is given back when the channel closes."""
