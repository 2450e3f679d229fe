"""Celery's signals and events around each attempt of the process driver, in the very thread that runs the step.

Per attempt, under the node's task name and the id `<saga_id>:<node>:<epoch>`, exactly one of each: `task_prerun`, then
`task_success` (the outcome is succeeded or pending) or `task_failure` (any other outcome; the exception is
`AttemptFailed`), then `task_postrun`. While the step runs `celery.current_task` and its `request` are set. What listens to
these (Django's fixup, Sentry, OpenTelemetry) keeps its state in the thread, so the signals must fire there.

Events (task-received, -started, -succeeded, -failed) go through a thread of their own, because the worker's dispatcher
writes to the broker's socket, and a step must not wait for a broker that is stuck.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from celery import Celery, Task, _state, signals, states

from saga.clock import monotonic
from saga.core.outcomes import Outcome, OutcomeCode
from saga.errors import SagaError
from saga.log import logger
from saga.runtime.work import Call, task_name

EVENT_LIMIT = 10_000
CURRENT_TASK: Any = vars(_state)["_task_stack"]
"""The stack that `celery.current_task` looks at; Celery has no public way to push to it."""
SUCCESSES = frozenset({OutcomeCode.SUCCEEDED, OutcomeCode.PENDING})

if TYPE_CHECKING:
    AnyTask = Task[Any, Any]
else:
    AnyTask = Task  # takes types since Celery 5.7


class AttemptFailed(SagaError):
    """What Celery is shown of an attempt that did not succeed: its code. Celery logs exceptions, and the detail of an
    outcome may hold personal data, so that is only in the journal."""

    def __init__(self, saga_id: str, node: str, code: str) -> None:
        super().__init__(saga_id, node, code)
        self.saga_id, self.node, self.code = saga_id, node, code

    def __str__(self) -> str:
        return f"saga {self.saga_id}: {self.node} ended {self.code}; see `saga show {self.saga_id}`"


def failure_of(saga_id: str, node: str, outcome: Outcome | None) -> AttemptFailed | None:
    """The exception that stands for `outcome`; None for one that Celery is shown as a success."""
    if outcome is None:
        return AttemptFailed(saga_id, node, "interrupted")
    return None if outcome.code in SUCCESSES else AttemptFailed(saga_id, node, outcome.code.value)


class Announcer:
    """Sends task events of a worker that has them enabled; never holds up a step."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[str, dict[str, Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="saga-events", daemon=True)
        self.consumer: Any = None
        """The worker's consumer; its dispatcher is another after each new connection."""

    def start(self) -> None:
        self._thread.start()

    def stop(self, patience_s: float = 1.0) -> None:
        self._queue.put(None)
        self._thread.join(patience_s)

    def is_wanted(self, task: AnyTask) -> bool:
        """Whether anybody asked for task events."""
        dispatcher = self._dispatcher()
        return bool(
            task.send_events
            and dispatcher is not None
            and dispatcher.enabled
            and (not dispatcher.groups or "task" in dispatcher.groups)
        )

    def announce(self, kind: str, **fields: Any) -> None:
        if self._queue.qsize() < EVENT_LIMIT:
            self._queue.put((kind, fields))

    def _dispatcher(self) -> Any:
        return None if self.consumer is None else self.consumer.event_dispatcher

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            kind, fields = item
            try:
                dispatcher = self._dispatcher()
                if dispatcher is not None:
                    dispatcher.send(kind, **fields)
            except Exception as error:  # the guard of an endless loop: an event that cannot be sent is lost
                logger.warning("event_lost", error=f"{type(error).__name__}: {error}")


def around_attempts(
    app: Celery, announcer: Announcer
) -> Callable[[Call], AbstractContextManager[Callable[[Outcome], None]]]:
    """The context manager that the process driver puts around each attempt."""

    @contextmanager
    def around(call: Call) -> Iterator[Callable[[Outcome], None]]:
        told: list[Outcome] = []
        attempt = _Attempt(app, announcer, call)
        try:
            attempt.begin()
            yield told.append
        finally:
            attempt.end(told[-1] if told else None)

    return around


class _Attempt:
    """One attempt as Celery sees it."""

    def __init__(self, app: Celery, announcer: Announcer, call: Call) -> None:
        saga_id = call.state.saga_id
        self._task: AnyTask = app.tasks[task_name(call.saga.name, call.node)]
        self._id = f"{saga_id}:{call.node}:{call.epoch}"
        self._saga_id, self._node = saga_id, call.node
        self._args = [[saga_id]]
        self._announcer = announcer if announcer.is_wanted(self._task) else None
        self._began = monotonic()

    def begin(self) -> None:
        task = self._task
        CURRENT_TASK.push(task)
        task.push_request(
            id=self._id, root_id=self._id, task=task.name, args=self._args, kwargs={}, called_directly=False
        )
        if self._announcer is not None:
            shown = {"name": task.name, "args": repr(self._args), "kwargs": "{}", "root_id": self._id, "retries": 0}
            self._announcer.announce("task-received", uuid=self._id, **shown)
            self._announcer.announce("task-started", uuid=self._id)
        signals.task_prerun.send(sender=task, task_id=self._id, task=task, args=self._args, kwargs={})

    def end(self, outcome: Outcome | None) -> None:
        task, failure = self._task, failure_of(self._saga_id, self._node, outcome)
        try:
            if failure is None:
                signals.task_success.send(sender=task, result=None)
            else:
                signals.task_failure.send(
                    sender=task,
                    task_id=self._id,
                    exception=failure,
                    args=self._args,
                    kwargs={},
                    traceback=None,
                    einfo=None,
                )
            state = states.SUCCESS if failure is None else states.FAILURE
            signals.task_postrun.send(
                sender=task, task_id=self._id, task=task, args=self._args, kwargs={}, retval=failure, state=state
            )
            self._announce_end(failure)
        finally:
            task.pop_request()
            CURRENT_TASK.pop()

    def _announce_end(self, failure: AttemptFailed | None) -> None:
        if self._announcer is None:
            return
        if failure is None:
            runtime = monotonic() - self._began
            self._announcer.announce("task-succeeded", uuid=self._id, result="None", runtime=runtime)
        else:
            self._announcer.announce("task-failed", uuid=self._id, exception=repr(failure), traceback="")
