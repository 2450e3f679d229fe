"""Puts sagas into a Celery app: one task per node, and what a worker process of that app needs beside them.

Rules of this file
------------------
- An app that is attached to keeps its tasks, its settings and its routes: our tasks name their queue themselves.
- A task takes one argument, a list of up to 32 saga ids. Anything else is logged and forgotten, and an id that is well
  formed and unknown finds no journal: a forged message can only have somebody look. Celery never reads a message of ours as
  it came, but one that `receiving` made of its ids.
- **Process driver**: a message of ours is taken by the strategy below. It is acknowledged and its ids handed to the
  `Worker` of the process; no task body runs. The `Worker` starts before the consumer does and stops after it, so it runs
  sagas whether or not there is a broker. Only under the pools that are one process for good: threads and solo.
- **Task driver**: Celery runs the body, in any pool. The body makes one attempt. An attempt that failed raises
  `AttemptFailed` after its outcome is durable, so that Celery's signals and events tell it; a message that found nothing
  to do raises `Ignore`, and Celery tells neither success nor failure.
- What belongs to a process (store, executor, lease, threads) is made in it, after fork, and is known by its pid.
"""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from celery import Celery, bootsteps, signals
from celery.worker import state

from saga.clock import sleep
from saga.core.definition import Saga
from saga.errors import SagaError, UsageError
from saga.log import logger
from saga.runtime.celery.apps import queue_of_task, queues_of, wall_of_task
from saga.runtime.celery.attempts import Announcer, around_attempts
from saga.runtime.celery.consuming import Consuming
from saga.runtime.celery.demands import check_names, check_settings
from saga.runtime.celery.hiding import hide_secrets_of
from saga.runtime.celery.node_task import NodeTask, run_node
from saga.runtime.celery.prefetching import Prefetching
from saga.runtime.celery.publisher import Publisher
from saga.runtime.celery.receiving import Readable, ids_of, made_anew
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.task import TaskWorker
from saga.runtime.work import IDS_PER_MESSAGE, Limits
from saga.runtime.worker import Worker
from saga.scope import Scope
from saga.settings import read_settings
from saga.store.opening import open_store
from saga.store.port import Store
from saga.words import words_of

DriverName = Literal["process", "task"]
SINGLE_PROCESS_POOLS = frozenset({"celery.concurrency.thread", "celery.concurrency.solo"})
NONE_OF_OURS = "it is not short, or not JSON, or its argument is not a list of 1 to 32 saga ids"
STOP_LOOK_S = 0.25
BEGIN_AGAIN_S = 1.0


def no_participants(connector: str) -> str:
    """The addresses of a process whose sagas have function steps only."""
    raise UsageError(f"no address for connector {connector!r}: give attach(..., url_of=...) one")


class Attachment:
    """Sagas in one Celery app, and in a worker process of it the driver that runs them."""

    def __init__(
        self,
        app: Celery,
        definitions: Definitions,
        *,
        store_url: str,
        scope: Scope,
        url_of: Callable[[str], str],
        driver: DriverName,
        limits: Limits,
        pool_size: int,
        broken: Callable[[], None] | None,
    ) -> None:
        self.driver = driver
        self.publisher = Publisher(app, ids_per_message=IDS_PER_MESSAGE if driver == "process" else 1)
        self.worker: Worker | None = None
        """The process driver, while this process is a worker."""
        self._app = app
        self._definitions = definitions
        self._store_url, self._scope = store_url, scope
        self._url_of = url_of
        self._limits = limits
        self._pool_size = pool_size
        self._grace_s = read_settings().grace_s
        self._announcer = Announcer()
        self._broken = broken or self._end_this_process
        self._stopped: threading.Thread | None = None
        self._stopping = threading.Semaphore()
        self._lock = threading.Lock()
        self._task_worker: tuple[int, TaskWorker] | None = None
        self._resources: tuple[Store, Executor] | None = None
        self._is_worker = self._is_child = False

    def expect(self, pool: str) -> None:
        """A worker of this app is being made: its pool's children are forked before `begin`, and each begins by itself. Raises
        `UsageError` for a pool, a setting or a name that keeps sagas from running."""
        check_settings(self._app, self._definitions)
        check_names(self._app, self._definitions, self)
        hide_secrets_of(self._app)
        self._refuse_pool(pool)
        self._is_worker = True

    def _refuse_pool(self, pool: str) -> None:
        """Raises `UsageError` where the driver cannot live: children that are recycled take their sagas with them."""
        if self.driver == "process" and pool not in SINGLE_PROCESS_POOLS:
            name, recycled = pool.rpartition(".")[2], self._app.conf.worker_max_tasks_per_child
            msg = (
                f"driver=process under {name}, worker_max_tasks_per_child={recycled}: a child that ends would kill all "
            )
            msg += "steps in flight of it. Use  saga worker  or  --pool threads  or  SAGA_DRIVER=task"
            raise UsageError(msg)

    def begin(self, pool: str) -> None:
        """This process is a worker now. Under prefork the children have begun by themselves, after fork."""
        if self.driver == "process":
            self._begin_process()
        elif pool != "celery.concurrency.prefork":
            self.task_worker()

    def begin_child(self, **_: object) -> None:
        """A pool child of a worker of this app was forked. It looks for due sagas from now on, not from its first message on:
        all hints may be lost. A database that is away ends no child; it is asked again until it answers."""
        if self._is_worker and self.driver == "task":
            self._is_child = True
            threading.Thread(target=self._begin_patiently, name="saga-begin", daemon=True).start()

    def _begin_patiently(self) -> None:
        said = ""  # once per cause, not once per second and child
        while self._is_worker:
            try:
                self.task_worker()
            except (
                Exception
            ) as error:  # the guard of an endless loop: a child without a rescuer finds nothing by itself
                if (why := words_of(error)) != said:
                    logger.warning("worker_not_begun", error=why, again_in_s=BEGIN_AGAIN_S)
                said = why
                sleep(BEGIN_AGAIN_S)
            else:
                return

    def request_stop(self, **_: object) -> None:
        """Start nothing more from now on; returns at once, for the signal that stops a worker."""
        if self._task_worker is not None and self._task_worker[0] == os.getpid():
            self._task_worker[1].request_stop()
        # No lock that the thread below a signal may hold: opening a database that does not answer takes long.
        if self.worker is not None and self._stopping.acquire(blocking=False):
            self._stopped = threading.Thread(target=self.worker.stop, args=(self._grace_s,), name="saga-stop")
            self._stopped.start()

    def end_with(self, sender: Any, **_: object) -> None:
        """The worker of this app has stopped, its pool too: no body runs any more."""
        if getattr(sender, "app", None) is self._app:
            self.end()

    def end(self, **_: object) -> None:
        """Stop at a step boundary, give the lease back and close what this process opened."""
        if not self._is_worker:
            return
        self.request_stop()
        if self._stopped is not None:
            self._stopped.join()
            self._announcer.stop()
        if self._task_worker is not None and self._task_worker[0] == os.getpid():
            self._task_worker[1].stop(self._grace_s)
            self._announcer.stop()
        self.publisher.close()
        if self._resources is not None:
            store, executor = self._resources
            executor.close()
            store.close()
        self._task_worker = self._resources = self.worker = self._stopped = None
        self._stopping = threading.Semaphore()
        self._is_worker = False

    def taking(self, task: NodeTask, consumer: Any, run: Callable[..., None] | None) -> Callable[..., None]:
        """How messages of one task are taken: one that is none of ours is acknowledged and forgotten; of the others `run`,
        Celery's strategy, gets a message made anew, or, without, they are acknowledged and their ids handed to the driver
        of this process."""
        self._announcer.consumer = consumer

        def take(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **options: object) -> None:
            if consumer.hub is None:  # else Celery before 5.7 sends it only when the broker was silent for two seconds
                ack = message.ack_log_error
            ids = ids_of(message, body)
            if ids and run is not None:
                anew = made_anew(self._app, task.name, task.node_queue, message, body, ids)
                run(anew, None, ack, reject, callbacks, **options)
                return
            ack(logger, consumer.connection_errors)
            if not ids:
                logger.warning("message_refused", task=task.name, reason=NONE_OF_OURS)
            else:
                self.wake(ids)

        return take

    def wake(self, saga_ids: Sequence[str]) -> None:
        """Have the process driver look at these sagas, if this process runs it; returns at once."""
        if (worker := self.worker) is not None:
            worker.wake(saga_ids)

    def task_worker(self) -> TaskWorker:
        """The task driver's part of this process, made at first use."""
        made = self._task_worker
        if made is not None and made[0] == os.getpid():
            return made[1]
        with self._lock:
            if self._task_worker is None or self._task_worker[0] != os.getpid():
                store, executor = self._open()
                worker = TaskWorker(
                    store,
                    self._definitions,
                    executor,
                    queues=self._queues(),
                    publish=self.publisher.publish,
                    broker_is_away=lambda: self.publisher.is_away,
                    around=around_attempts(self._app, self._announcer),
                    broken=self._broken,
                )
                try:
                    worker.start()
                except BaseException:
                    self._resources = None
                    executor.close()
                    store.close()
                    raise
                self._announcer.start()
                self._task_worker = (os.getpid(), worker)
            return self._task_worker[1]

    def _end_this_process(self) -> None:
        """The driver of this process gave up: it must not go on taking its share of the messages, and whoever watches over it
        must see it end, with a code that says failure. A child of a pool ends at once, and its parent makes another."""
        if self._is_child:
            os._exit(os.EX_SOFTWARE)
        flags: Any = state
        flags.should_stop = os.EX_SOFTWARE

    def _begin_process(self) -> None:
        store, executor = self._open()
        self.worker = Worker(
            store,
            self._definitions,
            executor,
            queues=self._queues(),
            limits=self._limits,
            publish=self.publisher.publish,
            around=around_attempts(self._app, self._announcer),
            broken=self._broken,
        )
        self._announcer.start()
        self.worker.start()

    def _open(self) -> tuple[Store, Executor]:
        store = open_store(self._store_url, self._scope, pool_size=self._pool_size)
        try:
            for refused in self._definitions.register(store):
                logger.error("definition_refused", error=str(refused))
        except SagaError:
            store.close()
            raise
        self._resources = store, Executor(self._url_of, store.clock, self._limits.threads)
        return self._resources

    def _queues(self) -> frozenset[str]:
        """Those of our queues that this worker consumes."""
        ours = queues_of(self._definitions)
        consumed = ours & frozenset(self._app.amqp.queues.consume_from)
        if not consumed:
            logger.warning("no_queue_consumed", reason=f"this worker runs no saga; add -Q {','.join(sorted(ours))}")
        return consumed


def attach(
    app: Celery,
    sagas: Iterable[Saga[Any]],
    *,
    store_url: str,
    scope: Scope | None = None,
    url_of: Callable[[str], str] = no_participants,
    driver: DriverName | None = None,
    limits: Limits | None = None,
    pool_size: int = 4,
    broken: Callable[[], None] | None = None,
) -> Attachment:
    """Register every node of `sagas` as a task of `app`, so that its workers run them.

    The tasks are `<saga>.<step>` and `<saga>.<step>.compensation`; start workers with `-Q` and the steps' queues (each
    has a second one for compensations, `<queue>.rollback`). `url_of` gives a connector's address. `driver` is `process`
    or `task`; None takes `SAGA_DRIVER`, else `task`, which fits any pool. `store_url` is opened in each worker process,
    after fork; its schema must be there (`saga db upgrade`). `scope` is whose sagas they run, as `Scope("production", ("shop",))`;
    None takes `SAGA_ENVIRONMENT` and `SAGA_TENANTS`. A message that names another saga is forgotten. `broken` is called when the
    driver of this process gave up, because every thread hangs; without it the worker ends with a failing exit code. Raises
    `DefinitionError` for two definitions of one version, and `UsageError` for settings of the app that keep its workers from
    taking our messages, here or when a worker of it is made.
    """
    definitions = Definitions(sagas)
    check_settings(app, definitions)
    attachment = Attachment(
        app,
        definitions,
        store_url=store_url,
        scope=scope or read_settings().worker_scope,
        url_of=url_of,
        driver=driver or read_settings().driver or "task",
        limits=limits or Limits(),
        pool_size=pool_size,
        broken=broken,
    )
    walls = wall_of_task(definitions)
    for name, queue in queue_of_task(definitions).items():
        saga_name, step, *rest = name.split(".")
        options: dict[str, Any] = {
            "attachment": attachment,
            "saga_name": saga_name,
            "node": f"{step}:{'c' if rest else 'a'}",
            "node_queue": queue,
            "wall_s": walls[name],
        }
        register: Any = app.task(name=name, base=NodeTask, bind=True, shared=False, **options)
        register(run_node)
    if vars(app)["finalized"]:  # else the names are looked at when a worker is made
        check_names(app, definitions, attachment)
    app.steps["worker"].add(_bootstep(attachment))
    app.steps["consumer"].update((Readable, Consuming, Prefetching))
    receivers: dict[Any, Callable[..., None]] = {
        signals.worker_process_init: attachment.begin_child,
        signals.worker_process_shutdown: attachment.end,
        signals.worker_shutting_down: attachment.request_stop,
        signals.worker_shutdown: attachment.end_with,
    }
    for signal, receiver in receivers.items():
        # With a name: Celery before 5.7 takes one method of two objects for one receiver, and forgets the second.
        signal.connect(receiver, weak=False, dispatch_uid=f"saga.runtime.celery:{id(attachment)}")
    return attachment


def _bootstep(attachment: Attachment) -> type[bootsteps.StartStopStep]:
    """The step that begins and ends the driver with Celery's worker: before its consumer, and after it."""

    class Sagas(bootsteps.StartStopStep):
        requires = ("celery.worker.components:Pool",)
        name = f"saga.runtime.celery:{id(attachment)}"

        def __init__(self, parent: Any, **_: Any) -> None:
            super().__init__(parent)
            attachment.expect(parent.pool_cls.__module__)

        def start(self, parent: Any) -> None:
            attachment.begin(parent.pool_cls.__module__)

        def register_with_event_loop(self, _parent: Any, hub: Any) -> None:
            """Without a timer of its own Celery's loop looks for a signal to stop only every ten seconds."""
            hub.call_repeatedly(STOP_LOOK_S, lambda: None)

        def stop(self, _parent: Any) -> None:
            attachment.request_stop()

        def terminate(self, parent: Any) -> None:
            self.stop(parent)

    return Sagas
