"""Tells whoever waits in this process what becomes of a saga: callers that hold a request open, and event streams.

Rules of this file
------------------
- Nobody who waits holds a thread or a connection. He is a coroutine; one thread per process looks at the database for all of
  them, on one connection at a time, and it exists only while somebody waits.
- One look asks once for the rows of all orders that are waited for (`ORDERS`, by its key), and once per stream for the tail
  of its journal, which a stream that has not yet sent what it got is spared.
- A database that is away is looked at again at the next tick; whoever waits has a bound of his own. Any other failure is of
  the stream or of the few hundred orders that were looked at, and costs nobody else his look.
- There are bounds for both. A caller above it is not made to wait, which is his server's right (RFC 7240); a stream above it is
  refused.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from saga.core.states import SELF_HEALING, SagaStatus
from saga.errors import StoreUnavailable
from saga.fulfilment.orders_table import ORDERS
from saga.log import logger
from saga.store.journal import JournalEntry
from saga.store.port import (
    RowFilter,
    Store,
)
from saga.surfaces.draining import is_over

TICK_S = 0.1
STOP_S = 5.0
CHUNK = 500
WITHOUT_ROW_MAX = 20
"""An order that has no row in the table (it was accepted before there was one) costs a read of its own; so many a tick."""
MOVING = (SagaStatus.RUNNING, SagaStatus.COMPENSATING, SagaStatus.HALTED)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long and by how many a process may be waited for, and how long it waits for a body."""

    wait_s: int = 30
    waiters: int = 1_000
    streams: int = 100
    stream_s: float = 600.0
    """Then a stream ends, and its reader comes back behind the last event that he saw."""
    heartbeat_s: float = 15.0
    body_s: float = 20.0
    """Then a body that is not whole is given up."""


@dataclass(eq=False, slots=True)
class _Waiter:
    order_id: str
    saga_id: str
    loop: asyncio.AbstractEventLoop
    is_at_rest: "asyncio.Future[bool]"

    def tell(self, is_at_rest: bool) -> None:
        def settle() -> None:
            if not self.is_at_rest.done():
                self.is_at_rest.set_result(is_at_rest)

        _call(self.loop, settle)


@dataclass(eq=False, slots=True)
class Stream:
    """The entries behind `seq` of one journal, as they come; `next` is called by one reader."""

    saga_id: str
    seq: int
    loop: asyncio.AbstractEventLoop
    is_hungry: bool = True
    _arrived: "asyncio.Queue[list[JournalEntry]]" = field(default_factory=asyncio.Queue)

    async def next(self, bound_s: float) -> list[JournalEntry]:
        """What was appended meanwhile; nothing after `bound_s` seconds without, or when the process stops."""
        self.is_hungry = self._arrived.empty()
        try:
            return await asyncio.wait_for(self._arrived.get(), bound_s)
        except TimeoutError:
            return []

    def feed(self, entries: list[JournalEntry]) -> None:
        """Hand over what was found; called by the thread that looks."""
        self.is_hungry = False
        if entries:
            self.seq = entries[-1].seq
        _call(self.loop, lambda: self._arrived.put_nowait(entries))


class Follower:
    """One per process. `at_rest` and `stream` are called in the event loop of the server, the rest anywhere."""

    def __init__(self, store: Store, environment: str, tenant: str, bounds: Bounds) -> None:
        self.bounds = bounds
        self._store, self._scope = store, {"environment": environment, "tenant": tenant}
        self._gate = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._waiters: set[_Waiter] = set()
        self._streams: set[Stream] = set()
        self._told: set[str] = set()
        """What went wrong at the last look; it is not said again until it went well once."""

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    @property
    def waiter_count(self) -> int:
        return len(self._waiters)

    async def at_rest(self, order_id: str, saga_id: str, bound_s: float) -> bool | None:
        """Wait until nobody but a person can move the saga, at most so many seconds; whether that came. None: nobody can be
        made to wait now."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter(order_id, saga_id, loop, loop.create_future())
        with self._gate:
            if self.is_stopping or len(self._waiters) >= self.bounds.waiters:
                return None
            self._waiters.add(waiter)
            self._look_on()
        try:
            return await asyncio.wait_for(waiter.is_at_rest, bound_s)
        except TimeoutError:
            return False
        finally:
            with self._gate:
                self._waiters.discard(waiter)

    def stream(self, saga_id: str, seq: int) -> Stream | None:
        """A stream of what comes behind entry `seq`; None when there are too many. It is given back by `close`."""
        stream = Stream(saga_id, seq, asyncio.get_running_loop())
        with self._gate:
            if self.is_stopping or len(self._streams) >= self.bounds.streams:
                return None
            self._streams.add(stream)
            self._look_on()
        return stream

    def close(self, stream: Stream) -> None:
        """Forget a stream; again is no error."""
        with self._gate:
            self._streams.discard(stream)

    def stop(self) -> None:
        """Let everybody go: streams end, callers get the answer of a wait that was in vain. Call it before the server
        waits for its connections to end."""
        self._stopping.set()
        with self._gate:
            thread, waiters, streams = self._thread, list(self._waiters), list(self._streams)
        for waiter in waiters:
            waiter.tell(False)
        for stream in streams:
            stream.feed([])
        if thread is not None:
            thread.join(STOP_S)  # a look that hangs in the database holds up nobody; the thread dies with the process

    def _look_on(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="saga-follower", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._is_wanted():
            self._look()
            self._stopping.wait(TICK_S)

    def _is_wanted(self) -> bool:
        with self._gate:
            if self.is_stopping or not (self._waiters or self._streams):
                self._thread = None  # under the lock: whoever comes next starts another
                return False
            return True

    def _look(self) -> None:
        with self._gate:
            waiters = list(self._waiters)
            streams = [stream for stream in self._streams if stream.is_hungry]
        chunks = (waiters[start : start + CHUNK] for start in range(0, len(waiters), CHUNK))
        looks = [partial(self._look_at_orders, chunk) for chunk in chunks]
        looks += [partial(self._look_at_journal, stream) for stream in streams]
        troubles: set[str] = set()
        for look in looks:
            try:
                look()
            except StoreUnavailable as error:
                troubles.add(f"{type(error).__name__}: {error}")
                break  # it would say the same to the others, after as long a wait
            except Exception as error:  # the guard of an endless loop: one bad row never ends the looks of all others
                troubles.add(f"{type(error).__name__}: {error}")
        for trouble in troubles - self._told:
            logger.error("follower_cannot_look", error=trouble)
        self._told = troubles

    def _look_at_journal(self, stream: Stream) -> None:
        if entries := self._store.tail(stream.saga_id, stream.seq):
            stream.feed(entries)

    def _look_at_orders(self, waiters: list[_Waiter]) -> None:
        order_ids = tuple({waiter.order_id for waiter in waiters})
        wanted = RowFilter(order=("order_id",), equal=self._scope, one_of={"order_id": order_ids})
        rows = {row["order_id"]: row for row in self._store.rows(ORDERS, wanted, len(order_ids))}
        for waiter in waiters:
            row = rows.get(waiter.order_id)
            # The row of an order is that of its latest run: another saga in it means that this one has ended.
            if row is not None and (
                row["saga_id"] != waiter.saga_id or _is_at_rest(str(row["saga_status"]), row["halt_reason"])
            ):
                waiter.tell(True)
        self._look_at_sagas(waiter for waiter in waiters if waiter.order_id not in rows)

    def _look_at_sagas(self, waiters: Iterable[_Waiter]) -> None:
        for waiter in islice(waiters, WITHOUT_ROW_MAX):
            row = self._store.row(waiter.saga_id)
            if row is not None and is_over(row):
                waiter.tell(True)


def _is_at_rest(status: str, halt_reason: object) -> bool:
    """A status or a reason of a later release is at rest here: whoever waits then asks the journal, and is told."""
    if halt_reason is not None:
        return halt_reason not in SELF_HEALING
    return status not in MOVING


def _call(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # its loop was closed, and the one who waited went with it
        loop.call_soon_threadsafe(work)
