"""The Celery task of a node: what `attach` registers, and what its body does under the task driver.

Rules of this file
------------------
- What an app's settings and annotations say about every task is right for tasks whose message is the work. Here a message is
  a hint, so `PINNED` stays: taken late, a hint that ends its worker comes back for ever; a rate limit counts messages, and keeps
  other tasks from a worker while due sagas are found without a message; a soft time limit raises in the middle of an attempt,
  which makes a defect of it.
- A hard time limit, which ends a child whose step never returns, stays. It is raised to `GRACE_S` beyond what one attempt may
  take by its own `timeout_s`, so it ends nothing that would have had an outcome.
- A body makes one attempt, of one saga, in a worker. Celery's eager mode, which would run it in the caller, is refused.
"""

from math import ceil
from typing import TYPE_CHECKING, Any, NoReturn

from celery import Celery
from celery.exceptions import Ignore

from saga.errors import UsageError
from saga.log import logger
from saga.runtime.celery.attempts import AnyTask, AttemptFailed, failure_of
from saga.runtime.work import Hint, ids_in

if TYPE_CHECKING:
    from saga.runtime.celery.attaching import Attachment

GRACE_S = 30.0
NO_LIMIT_S = 10 * 365 * 86_400
"""Ten years: a task without a limit of its own gets that of its pool."""
PINNED: dict[str, object] = {
    "acks_late": False,
    "ignore_result": True,
    "max_retries": 0,
    "priority": None,
    "rate_limit": None,
    "reject_on_worker_lost": False,
    "retry_on_worker_lost": False,
    "serializer": "json",
    "soft_time_limit": NO_LIMIT_S,
    "store_errors_even_if_ignored": False,
    "track_started": False,
}


class NodeTask(AnyTask):
    """A node of a saga as a Celery task; `attach` makes one of these per node."""

    abstract = True
    throws = (AttemptFailed,)
    typing = False
    attachment: "Attachment"
    saga_name: str
    node: str
    node_queue: str
    wall_s: float
    """What one attempt may take."""

    @classmethod
    def bind(cls, app: Celery) -> Any:
        """Celery's own, which takes over settings and annotations, more than once; then what must stay as it is."""
        settled: Any = super()
        settled.bind(app)
        for name, value in PINNED.items():
            setattr(cls, name, value)
        return app

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """Celery's own, to the step's queue; so that no route has to be put into the app's settings."""
        return super().apply_async(*args, **{"queue": self.node_queue, **options})

    def apply(self, *_: Any, **__: Any) -> NoReturn:
        """What `task_always_eager` makes of a call. Raises `UsageError`: a step runs in a worker, never in its caller."""
        raise UsageError(f"{self.name}: task_always_eager would run a step in its caller; start the saga and a worker")

    def start_strategy(self, app: Celery, consumer: Any, **options: Any) -> Any:
        """How a worker takes this task's messages: handed to the process, or run as a body."""
        given = self.time_limit or consumer.controller.time_limit
        self.time_limit = ceil(max(given, self.wall_s + GRACE_S)) if given else None
        run = None if self.attachment.driver == "process" else super().start_strategy(app, consumer, **options)
        return self.attachment.taking(self, consumer, run)


def run_node(task: NodeTask, argument: object = None, *_: object, **__: object) -> None:
    """The body of every task under the task driver: the first saga here, each other one as a message of its own, since
    one body is one attempt."""
    ids = ids_in(argument)
    if not ids:
        logger.warning("message_refused", task=task.name, reason="its argument is not a list of 1 to 32 saga ids")
        raise Ignore
    attachment = task.attachment
    attachment.publisher.publish([Hint(saga_id, task.name, task.node_queue) for saga_id in ids[1:]])
    outcome = attachment.task_worker().run(ids[0], task.saga_name, task.node)
    if outcome is None:
        raise Ignore
    failure = failure_of(ids[0], task.node, outcome)
    if failure is not None:
        raise failure
