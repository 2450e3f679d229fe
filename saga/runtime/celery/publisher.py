"""Hints to the broker: at once for the caller, best effort, bounded.

Rules of this file
------------------
- `publish` never waits: it puts hints into a bounded queue. What does not fit, and what comes while the broker is away, is
  dropped, because the due index of the store has it.
- One thread sends. It alone owns the connection; whatever goes wrong there costs the hints at hand and a pause (0.5 s, doubling
  to 10 s; 10 s where the broker answers and refuses, which is said once) and then a new connection. Its sockets have time-outs, so
  a broker that accepts a connection and reads nothing (RabbitMQ under a memory alarm) stops this thread for 2 s at a time and nobody
  else.
- Plain messages of Celery's protocol 2 to the queue by name, without confirms, not persistent, expiring after 60 s: by
  then the rescuer has looked.
- `flush` and `close` wait until what was put before is with the broker, up to a bound. A process that ends without either
  closes by itself, so a hint that was put last is not lost with its thread.
- Thread and connection belong to one process. After a fork the child makes its own at its first hint.
"""

import atexit
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from celery import Celery
from kombu import Connection, Producer

from saga.ids import uuid7
from saga.log import logger
from saga.runtime.celery.broker import within
from saga.runtime.celery.hiding import hidden, secrets_of
from saga.runtime.work import IDS_PER_MESSAGE, Hint

HINT_LIMIT = 10_000
"""Hints that may wait to be sent."""
EXPIRES_S = 60
SOCKET_TIMEOUT_S = 2.0
FLUSH_S = 2.0
"""After so long the due index has the saga anyway."""
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 10.0
TRANSIENT = 1
"""AMQP's delivery mode: not written to disk."""


@dataclass(eq=False, slots=True)
class _Mark:
    """A place in the queue that somebody waits for."""

    passed: threading.Event = field(default_factory=threading.Event)
    is_sent: bool = False

    def pass_by(self, *, is_sent: bool) -> None:
        self.is_sent = is_sent
        self.passed.set()


class Publisher:
    """Sends hints for one process; `publish`, `flush` and `close` may be called from any thread.

    `ids_per_message` is 32 for a fleet of process drivers; with 1 each task body of the task driver has one node.
    `broker` is what the log calls it when it is away, if it has a name that a person knows.
    """

    def __init__(self, app: Celery, *, ids_per_message: int = IDS_PER_MESSAGE, broker: str = "") -> None:
        self._app = app
        self._broker = {"url": broker} if broker else {}
        self._ids_per_message = ids_per_message
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._queue: SimpleQueue[Hint | _Mark | None] = SimpleQueue()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_away = self._is_stuck = False
        self._refusal = ""
        """What the broker said when it was there and took no hint: a right that is missing."""
        self.dropped_count = 0

    @property
    def is_away(self) -> bool:
        """Whether the broker could not be reached when it was last tried."""
        return self._is_away and self._pid == os.getpid()

    def publish(self, hints: Sequence[Hint]) -> None:
        """Send these soon, or drop them; returns at once."""
        if self._thread is None or self._pid != os.getpid():
            self._ensure_thread()
        if self._is_away or self._queue.qsize() > HINT_LIMIT:
            self.dropped_count += len(hints)
            return
        for hint in hints:
            self._queue.put(hint)

    def flush(self, patience_s: float = FLUSH_S) -> bool:
        """Wait until the broker was given what was put so far, for a process that is about to end or to be frozen.

        False when the broker is away, which is known at once if it refuses, or when `patience_s` went by; then hints were
        dropped or still wait, and the due index of the store has their sagas.
        """
        if self._thread is None or self._pid != os.getpid():
            return True
        if self._is_away or self._closing.is_set():
            return False
        mark = _Mark()
        self._queue.put(mark)
        self._is_stuck = not mark.passed.wait(patience_s)
        return mark.is_sent

    def close(self, patience_s: float = FLUSH_S) -> None:
        """Send what waits if the broker answers within `patience_s`, then end the thread. A `flush` that waited in vain was
        patience enough."""
        atexit.unregister(self.close)
        self._closing.set()
        if self._thread is not None and self._pid == os.getpid():
            self._queue.put(None)
            self._thread.join(0.0 if self._is_stuck else patience_s)

    def _ensure_thread(self) -> None:
        if self._pid != os.getpid():
            # A fork copies a lock as it stood, perhaps held; the child is alone when it comes here first.
            self._lock = threading.Lock()
            self._begin()
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="saga-publisher", daemon=True)
                self._thread.start()
                atexit.register(self.close)

    def _run(self) -> None:
        pause_s, is_open = FIRST_PAUSE_S, True
        while is_open:
            try:
                with self._connect() as connection:
                    producer = connection.Producer(auto_declare=False)
                    self._came_back()
                    pause_s = FIRST_PAUSE_S
                    while is_open:
                        is_open = self._send(producer)
            except Exception as error:  # the guard of an endless loop: no failure of a broker ends the sending of hints
                self._went_away(error)
                is_open = not self._closing.wait(LAST_PAUSE_S if self._refusal else pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)

    def _connect(self) -> Connection:
        plain = self._app.connection_for_write()
        options = {
            "confirm_publish": False,
            **within(str(plain.transport_cls), plain.transport_options or {}, SOCKET_TIMEOUT_S),
        }
        connection = self._app.connection_for_write(
            transport_options=options, connect_timeout=SOCKET_TIMEOUT_S, heartbeat=0
        )
        connection.ensure_connection(max_retries=1, interval_start=0)  # `connect` sleeps 2 s before its second try
        return connection

    def _came_back(self) -> None:
        if self._is_away and not self._refusal:
            logger.info("broker_back", count=self.dropped_count)
        self._is_away = False

    def _went_away(self, error: Exception) -> None:
        said = hidden(f"{type(error).__name__}: {error}", secrets_of(self._app))
        if not self._is_away and said != self._refusal:
            logger.warning("broker_away", **self._broker, error=said)
        refusals = self._app.connection_for_write().channel_errors
        self._refusal = said if isinstance(error, refusals) else ""
        self._is_away = True
        while not self._queue.empty():
            match self._queue.get():
                case None:
                    self._closing.set()
                case _Mark() as mark:
                    mark.pass_by(is_sent=False)
                case _:
                    self.dropped_count += 1

    def _send(self, producer: Producer) -> bool:
        """Wait for hints and send them, grouped; False when there will be no more."""
        hints, marks, is_open = self._take()
        is_sent = False
        try:
            self._send_grouped(producer, hints)
            is_sent = True
        finally:
            for mark in marks:
                mark.pass_by(is_sent=is_sent)
        return is_open

    def _send_grouped(self, producer: Producer, hints: Sequence[Hint]) -> None:
        ids: dict[tuple[str, str], dict[str, None]] = {}
        for hint in hints:
            ids.setdefault((hint.task, hint.queue), {})[hint.saga_id] = None
        for (task, queue), wanted in ids.items():
            saga_ids = list(wanted)
            for start in range(0, len(saga_ids), self._ids_per_message):
                self._send_one(producer, task, queue, saga_ids[start : start + self._ids_per_message])

    def _take(self) -> tuple[list[Hint], list[_Mark], bool]:
        taken = self._queue.get()
        hints: list[Hint] = []
        marks: list[_Mark] = []
        try:
            while taken is not None:
                if isinstance(taken, _Mark):
                    marks.append(taken)
                else:
                    hints.append(taken)
                taken = self._queue.get_nowait()
        except Empty:
            return hints, marks, True
        return hints, marks, False

    def _send_one(self, producer: Producer, task: str, queue: str, saga_ids: list[str]) -> None:
        message = self._app.amqp.as_task_v2(uuid7(), task, args=(saga_ids,), ignore_result=True)
        producer.publish(
            message.body,
            exchange="",
            routing_key=queue,
            headers=message.headers,
            serializer="json",
            delivery_mode=TRANSIENT,
            expiration=EXPIRES_S,
            **message.properties,
        )
