"""Accepting a saga: one transaction for the idempotency row, the saga and journal entry 1 (T0 of the protocol).

Concurrent starts are grouped: whoever comes while a group is being written waits for the next one, and each caller gets
its own durable answer. `start_on` does the same inside the caller's own transaction instead, together with his rows.
The broker is not asked: a saga is due two seconds after it was accepted, whether or not a hint arrives.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from hashlib import sha256
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from saga.clock import after, monotonic
from saga.core.connector import Model
from saga.core.definition import Saga
from saga.core.fold import accepted
from saga.core.machine import HINT_S
from saga.core.outcomes import Payload
from saga.core.states import Direction
from saga.core.transitions import SagaAccepted
from saga.errors import (
    DataRefused,
    DefinitionError,
    DuplicateOrder,
    FingerprintChanged,
    KeyReused,
    SagaError,
    StoreUnavailable,
    UsageError,
)
from saga.forked import ForkGuard
from saga.ids import uuid7
from saga.log import logger
from saga.runtime.engine import GENESIS, row_of
from saga.runtime.readback import written
from saga.runtime.work import Hint, task_name
from saga.settings import read_settings
from saga.store.codec import encode
from saga.store.joining import Connection, accept_on
from saga.store.journal import JournalEntry
from saga.store.port import (
    AcceptResult,
    AcceptStatus,
    NewSaga,
    Store,
)
from saga.words import place_of, shown, words_of

GROUP_LIMIT = 64
ENTITY_LIMIT = 255
PATIENCE = 1.5
"""How long a caller waits for his answer, in walls of a statement: the one that hangs and the next on a new connection."""
STUCK_LIMIT = 2
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Started:
    """Where the order stands: the saga, and whether this is the kept answer of an earlier, equal request."""

    saga_id: str
    run: int
    is_replayed: bool


def new_saga(
    saga: Saga[Any],
    order: Model,
    store: Store,
    *,
    environment: str,
    tenant: str,
    request_key: str | None = None,
    traceparent: str | None = None,
    writer: str = "api",
    saga_id: str | None = None,
    asked: str | None = None,
    is_once: bool = False,
) -> NewSaga:
    """The row and first entry of a saga of `order`; nothing is stored yet. Raises `NotReadBack` for an input that its model does
    not read back as it is, `CodecError` for a NUL in it, and `UsageError` for a tenant that is not within the scope of the store.

    `saga_id` is made here unless a simulation gives one: backoff is a hash over it. `asked` is what the caller sent, where
    the input is made of more than that: a repeat is the same request when it sends the same. With `is_once` the entity has one
    run for good, whatever becomes of it.
    """
    if not store.scope.has(environment, tenant):
        raise UsageError(
            f"a saga of environment {environment}, tenant {tenant}: this store was opened for {store.scope}"
        )
    now = store.clock()
    saga_id, entity, text = (
        saga_id or uuid7(),
        entity_of(saga, order),
        written(order, f"input of {saga.name}", saga.input),
    )
    if not 1 <= len(entity) <= ENTITY_LIMIT:
        raise DataRefused(saga_id, f"its entity has {len(entity)} characters; 1 to {ENTITY_LIMIT} can be an index key")
    deadline_at = now + timedelta(seconds=saga.deadline_s) if saga.deadline_s else None

    def acceptance(run: int) -> SagaAccepted:
        return SagaAccepted(
            now,
            saga_id,
            saga.name,
            saga.version,
            saga.fingerprint,
            environment,
            tenant,
            entity,
            run,
            Payload(text),
            deadline_at,
            traceparent,
        )

    def first_entry(run: int) -> JournalEntry:
        return JournalEntry(1, now, writer, writer, None, encode([acceptance(run)]), GENESIS)

    first_entry(1)
    # With the saga's name: one key for an order and for its return are two requests, and the second must not be swallowed.
    request_hash = hash_of(saga, text if asked is None else asked) if request_key is not None else None
    return NewSaga(
        saga_id,
        environment,
        tenant,
        saga.name,
        saga.version,
        saga.fingerprint,
        entity,
        after(now, HINT_S),
        first_entry,
        request_key,
        request_hash,
        row=lambda run: row_of(saga, accepted(acceptance(run))),
        is_once=is_once,
    )


def entity_of(saga: Saga[Any], order: Model) -> str:
    """What the definition says the saga is about. Raises `DefinitionError`."""
    try:
        entity: object = saga.entity(order)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's function: `sys.exit`, too
        msg = f"saga {saga.name}: entity raised {words_of(error)}{place_of(error)} for this input"
        raise DefinitionError(msg) from error
    if not isinstance(entity, str):
        raise DefinitionError(
            f"saga {saga.name}: entity gave {shown(entity)}; it gives a text, such as str(order.number)"
        )
    return str.__str__(entity)


def hash_of(saga: Saga[Any], asked: str) -> str:
    """What is kept of a request beside its key."""
    return sha256(f"{saga.name}\n{asked}".encode()).hexdigest()


def first_hints(saga: Saga[Any], saga_id: str) -> list[Hint]:
    """The hints that bring a saga that was just accepted to its first steps; losing them costs two seconds."""
    return [
        Hint(saga_id, task_name(saga.name, f"{step.name}:{Direction.ACTION}"), step.queue_of(Direction.ACTION))
        for step in saga.order
        if not step.after
    ]


def answer(new: NewSaga, result: AcceptResult) -> Started:
    """The caller's answer. Raises `KeyReused`, `DuplicateOrder` or `DataRefused`; then nothing was stored."""
    match result.status:
        case AcceptStatus.KEY_REUSED:
            raise KeyReused(new.request_key or "", result.saga_id)
        case AcceptStatus.DUPLICATE:
            raise DuplicateOrder(new.entity, result.saga_id)
        case AcceptStatus.REFUSED:
            raise DataRefused(new.saga_id, result.reason or "refused")
        case AcceptStatus.ACCEPTED | AcceptStatus.REPLAYED:
            return Started(result.saga_id, result.run, result.status is AcceptStatus.REPLAYED)


def start_on(
    connection: Connection,
    store: Store,
    saga: Saga[Any],
    order: Model,
    *,
    environment: str,
    tenant: str,
    key: str | None = None,
) -> Started:
    """Accept a saga in the caller's own transaction: his rows and the saga are committed together, or neither.

    The caller commits and rolls back. Nobody is hinted at: the due index finds the saga within two seconds of the commit.
    On PostgreSQL his transaction is given `synchronous_commit = on` until it ends, if its database sets less: what it commits
    is kept. On SQLite the `PRAGMA synchronous` of his connection decides, which has to be FULL (2) for that.
    Raises what `answer` raises, `FingerprintChanged`, or `UsageError` for another connection; then nothing was stored, and the transaction goes on.
    """
    new = new_saga(saga, order, store, environment=environment, tenant=tenant, request_key=key)
    return answer(new, accept_on(connection, new))


@dataclass(slots=True)
class _Waiting:
    new: NewSaga | None
    """None for who only asks whether a saga could be accepted."""
    done: threading.Event = field(default_factory=threading.Event)
    result: AcceptResult | None = None
    error: SagaError | None = None
    has_left: bool = False


class Starter:
    """Groups concurrent starts of one process; make it after fork, with its store. `start` is thread-safe and returns when the saga
    is durable.

    Nobody waits for ever: a caller goes after `patience_s` (by default one and a half times `SAGA_STATEMENT_S`), and when the
    thread that accepts has hung for that long, another one takes its place.
    """

    def __init__(self, store: Store, *, environment: str, tenant: str, patience_s: float | None = None) -> None:
        self._store = store
        self.environment = environment
        self.tenant = tenant
        self._patience_s = patience_s or PATIENCE * read_settings().statement_s
        self._is_stopped = False
        self._guard, self._gate = ForkGuard("starter"), threading.Lock()
        self._known: set[tuple[str, int, str]] = set()
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._stuck: list[threading.Thread] = []
        self._begin()

    def _begin(self) -> None:
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="saga-starter", daemon=True)
        self._thread.start()

    def start(
        self,
        saga: Saga[Any],
        order: Model,
        *,
        request_key: str | None = None,
        traceparent: str | None = None,
        asked: str | None = None,
        is_once: bool = False,
    ) -> Started:
        """Accept one saga; durable on return. Repeating it with the same `request_key` gives the same answer. `asked` and
        `is_once` are those of `new_saga`.

        Raises `KeyReused`, `DuplicateOrder`, `DataRefused`, `NotReadBack`, `CodecError`, `FingerprintChanged` (nothing stored) or
        `StoreUnavailable` (not known to be stored; repeat with the same `request_key`).
        """
        new = new_saga(
            saga,
            order,
            self._store,
            environment=self.environment,
            tenant=self.tenant,
            request_key=request_key,
            traceparent=traceparent,
            asked=asked,
            is_once=is_once,
        )
        waiting = _Waiting(new)
        self._wait(waiting, self._patience_s)
        if waiting.result is None:
            raise StoreUnavailable("the process is stopping")
        return answer(new, waiting.result)

    def probe(self, within_s: float) -> None:
        """Ask whether a saga could be accepted now, the way that one takes. Raises `StoreUnavailable`, or `UsageError` for a
        database that lacks a table or a right."""
        self._wait(_Waiting(None), within_s)

    def _wait(self, waiting: _Waiting, patience_s: float) -> None:
        self._guard.check()
        with self._gate:  # nothing is put behind the end that `stop` puts
            if self._is_stopped:
                raise StoreUnavailable("this process is stopping; start the saga in another")
            self._queue.put(waiting)
        if not waiting.done.wait(patience_s):
            waiting.has_left = True
            self._replace_stuck()
            raise StoreUnavailable(
                f"accept: the database did not answer within {patience_s:g} s; the call may be repeated"
            )
        if waiting.error is not None:
            raise waiting.error

    def stop(self) -> None:
        """Accept what already waits, and nothing after it; waits no longer than a caller would. Nothing waits in a child process."""
        if not self._guard.is_here:
            return
        with self._gate:
            self._is_stopped = True
            self._queue.put(None)
        self._thread.join(self._patience_s)

    def _replace_stuck(self) -> None:
        """Another thread for the one that has hung for as long as a caller waits; not without end, because each may hold a
        connection."""
        with self._gate:
            since = self._busy_since
            if self._is_stopped or since is None or monotonic() - since < self._patience_s:
                return
            self._stuck = [thread for thread in self._stuck if thread.is_alive()]
            if len(self._stuck) >= STUCK_LIMIT:
                return
            self._stuck.append(self._thread)
            why = f"no answer to an accept for {self._patience_s:g} s; another thread takes its place"
            logger.error("starter_stuck", count=len(self._stuck), reason=why)
            self._begin()

    def _prepare(self, waiting: _Waiting) -> None:
        """A saga whose version is stored with another fingerprint is run by nobody: refuse it instead of accepting it."""
        if waiting.new is None:
            self._store.hand_back([])  # a transaction that writes, of no row
            waiting.done.set()
            return
        mine = (waiting.new.definition, waiting.new.version, waiting.new.fingerprint)
        if mine not in self._known:
            stored = self._store.register_definition(*mine)
            if stored != waiting.new.fingerprint:
                raise FingerprintChanged(*mine[:2], stored, waiting.new.fingerprint)
            self._known.add(mine)

    def _run(self) -> None:
        stopping = False
        while not stopping and self._thread is threading.current_thread():
            group: list[_Waiting] = []
            taken = self._queue.get()
            while taken is not None:
                group.append(taken)
                try:
                    taken = self._queue.get_nowait() if len(group) < GROUP_LIMIT else None
                except Empty:
                    break
                if len(group) >= GROUP_LIMIT:
                    break
            else:
                stopping = True
            self._busy_since = monotonic()
            self._take(group)
            if self._thread is threading.current_thread():
                self._busy_since = None

    def _take(self, group: list[_Waiting]) -> None:
        """Answer each of them; whoever went away is not started behind his back."""
        here = [it for it in group if not it.has_left]
        for waiting in here:
            self._answering([waiting], partial(self._prepare, waiting))
        news = [(it, it.new) for it in here if it.new is not None and not it.done.is_set()]
        if news:
            results = self._answering([it for it, _ in news], lambda: self._store.accept([new for _, new in news]))
            for (waiting, _), waiting.result in zip(news, results or (), strict=False):
                waiting.done.set()

    def _answering(self, group: list[_Waiting], work: Callable[[], T]) -> T | None:
        try:
            return work()
        except Exception as error:  # the guard of an endless loop: a caller that waits must get an answer
            known = error if isinstance(error, SagaError) else StoreUnavailable(f"{type(error).__name__}: {error}")
            for waiting in group:
                waiting.error = known
                waiting.done.set()
            return None


class Hints(Protocol):
    """Whoever tells workers of a saga: a `Publisher`, or what `saga start` has in its place."""

    def publish(self, hints: Sequence[Hint], /) -> None: ...

    def flush(self, patience_s: float, /) -> bool: ...


def start_and_hint(
    starter: Starter,
    saga: Saga[Any],
    order: Model,
    hints: Hints,
    *,
    request_key: str | None = None,
    patience_s: float = HINT_S,
) -> Started:
    """`Starter.start`, and on return the broker has the hint: for a process that may end or be frozen right after.

    Waits for the broker up to `patience_s` and never fails for it: what is not heard is found by the due index. A process that
    stays up calls `start` and `Publisher.publish` instead and waits for nothing. Raises what `Starter.start` raises.
    """
    started = starter.start(saga, order, request_key=request_key)
    hints.publish(first_hints(saga, started.saga_id))
    hints.flush(patience_s)
    return started
