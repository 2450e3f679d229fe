"""The process driver's threads: they carry values between the driver, the store and the executor, and decide nothing.

    loader ──journals──▶ ┌────────┐ ──calls──▶ step threads ──outcomes──┐
    rescuer ──ids──▶ ... │ driver │ ◀────────────────────────────────────┘
                         │ thread │ ──appends─▶ committer ──answers──┐
    hints ◀──────────────└────────┘ ◀────────────────────────────────┘

One driver thread owns the `Driver`; it drains its inbox, steps, and deals out what came of it. The committer takes
everything that is waiting as one group and never lingers: while one group is being written the next one gathers. A store
that is away is asked again until it answers, because appending again is idempotent; nothing else in the process waits
for it but what needs it.

`wake` may be called from any thread with saga ids; too many at once are dropped, because the due index knows them.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from saga.clock import monotonic, sleep
from saga.core.events import Start
from saga.core.outcomes import Outcome, OutcomeCode
from saga.errors import JournalDamaged, StoreUnavailable
from saga.log import logger
from saga.runtime import failpoints
from saga.runtime.calls import CallQueue, reserved_of
from saga.runtime.driver import LEASE_LOST, Driver
from saga.runtime.engine import Definitions, Loaded, load
from saga.runtime.executor import Executor
from saga.runtime.holding import fell_behind
from saga.runtime.work import Call, Committed, EndedCall, Hint, Limits, Message, Work, log_of, open_owners
from saga.store.journal import JournalEntry
from saga.store.port import (
    Append,
    AppendResult,
    Store,
)
from saga.words import words_of

GROUP_LIMIT = 128
LOAD_LIMIT = 32
HINT_LIMIT = 10_000
"""Ids that may wait to be loaded; what comes beyond is dropped, because the due index has it."""
_TICK_S = 0.25
_STORE_RETRY_S = 0.2
CUT_OFF_S = 5.0
"""How long the journalling of what was cut off may take."""

T = TypeVar("T")
Item = EndedCall | Committed | Message
Around = Callable[[Call], AbstractContextManager[Callable[[Outcome], None]]]


@contextmanager
def plain(_call: Call) -> Iterator[Callable[[Outcome], None]]:
    """Around an attempt where no Celery is: nothing."""
    yield lambda _outcome: None


def attempted(executor: Executor, call: Call, around: Around, may_call: Callable[[], bool] = lambda: True) -> Outcome:
    """The outcome of one attempt, with what stands around it; never raises: a receiver of a signal that does, or that finds
    its thread's state gone, ends no thread and costs no outcome. `may_call`: whether the process still knows its lease."""
    outcome = Outcome(OutcomeCode.NOT_SENT, "what stands around an attempt failed before the call")
    try:
        with around(call) as ended:
            outcome = Outcome(OutcomeCode.UNKNOWN, "the thread of the step was ended")
            outcome = executor.perform(call) if may_call() else LEASE_LOST
            ended(outcome)
    except BaseException as error:  # receivers of Celery's signals are the user's code
        logger.error("around_attempt_failed", saga_id=call.state.saga_id, node=call.node, error=words_of(error))
    return outcome


class Committer:
    """Appends what is waiting as one group; a store that is away is asked until it answers."""

    def __init__(self, store: Store, deliver: Callable[[Item], None]) -> None:
        self._store = store
        self._deliver = deliver
        self._queue: SimpleQueue[Append | None] = SimpleQueue()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="saga-committer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, append: Append) -> None:
        self._queue.put(append)

    def stop(self) -> None:
        """Write what waits, and no longer than for `CUT_OFF_S`."""
        self._queue.put(None)
        self._thread.join(CUT_OFF_S)
        self.abandon()

    def abandon(self) -> None:
        """Ask a store that is away no more."""
        self._is_over.set()

    def _run(self) -> None:
        with suppress(StoreUnavailable):  # it was abandoned
            self._write()

    def _write(self) -> None:
        stopping = False
        while not stopping:
            group: list[Append] = []
            taken = self._queue.get()
            while taken is not None:
                group.append(taken)
                if len(group) == GROUP_LIMIT:
                    break  # before the next one is taken out of the queue, or it would be lost
                try:
                    taken = self._queue.get_nowait()
                except Empty:
                    break
            else:
                stopping = True
            if group:
                self._commit(group)

    def _commit(self, group: list[Append]) -> None:
        for append in group:
            failpoints.before_commit(append.saga_id, append.entry.seq, append.entry.body)
        results = patiently(self._store.append, group, is_over=self._is_over.is_set)
        for append, result in zip(group, results, strict=True):
            tail: Sequence[JournalEntry] = ()
            if result is AppendResult.CONFLICT:
                last = append.entry.seq - 1
                tail = patiently(self._store.tail, append.saga_id, last, is_over=self._is_over.is_set)
            self._deliver(Committed(append.saga_id, result, tail))


def patiently(ask: Callable[..., T], *args: Any, is_over: Callable[[], bool] = lambda: False) -> T:
    """`ask`'s answer, however long the store is away: the outcome of a call that was made is never dropped. Raises
    `StoreUnavailable` once the process must end."""
    while True:
        try:
            return ask(*args)
        except StoreUnavailable as error:
            if is_over():
                raise
            logger.warning("store_unavailable", error=str(error))
            sleep(_STORE_RETRY_S)


class Loop:
    """One process's driver with its threads. `start`, `wake` from anywhere, `stop` at a step boundary."""

    def __init__(
        self,
        store: Store,
        definitions: Definitions,
        executor: Executor,
        worker_id: str,
        *,
        limits: Limits | None = None,
        runs: Callable[[str, Start], bool] = lambda _saga, _start: True,
        publish: Callable[[Sequence[Hint]], None] = lambda _hints: None,
        around: Around = plain,
        leave: Callable[[Sequence[str]], None] = lambda _saga_ids: None,
        rest: Callable[[Sequence[tuple[str, datetime]]], None] = lambda _rests: None,
        may_call: Callable[[], bool] = lambda: True,
    ) -> None:
        self._limits = limits or Limits()
        self._store = store
        self._definitions = definitions
        self._executor = executor
        self._driver = Driver(worker_id, limits=self._limits, runs=runs)
        self._publish = publish
        self._around = around
        self._leave, self._rest = leave, rest
        self._may_call = may_call
        self._inbox: SimpleQueue[Item | None] = SimpleQueue()
        self._calls = CallQueue()
        self._ids: SimpleQueue[str | None] = SimpleQueue()
        self._behind: deque[Loaded] = deque()
        self._committer = Committer(store, self._inbox.put)
        self._stopping = threading.Event()
        self._is_cut_off = threading.Event()
        self._room = threading.Event()
        self._free, self._back = self._driver.free_count, self._driver.back_count
        self._room.set()
        reserved = reserved_of(self._limits.threads)
        self._threads = [
            threading.Thread(target=self._drive, name="saga-driver", daemon=True),
            threading.Thread(target=self._load, name="saga-loader", daemon=True),
            *(
                threading.Thread(target=self._perform, args=(n < reserved,), name=f"saga-step-{n}", daemon=True)
                for n in range(self._limits.threads)
            ),
        ]

    @property
    def free_count(self) -> int:
        """How many more sagas this process would take now, beyond those that already wait to be loaded."""
        return max(0, self._free - self._ids.qsize())

    @property
    def is_whole(self) -> bool:
        """Whether every thread that must run does, and one of them is free for a step or will be by its deadline."""
        if self._stopping.is_set():
            return True
        return (
            not self._driver.is_stuck
            and self._committer.is_alive
            and all(thread.is_alive() for thread in self._threads)
        )

    def rename(self, worker_id: str) -> None:
        """Claim under this id from now on: the old one was declared dead. What it holds may be taken over, and is fenced."""
        self._driver.worker_id = worker_id

    @property
    def back_count(self) -> int:
        """How many sagas that are rolling back it would take now, as of the driver's last step."""
        return self._back

    def look_at(self, saga_ids: Sequence[str]) -> None:
        """Have a look at these sagas now, past those that wait for room; in the caller's thread."""
        for message in messages_for(self._store, self._definitions, saga_ids) if saga_ids else ():
            self._inbox.put(message)

    def start(self) -> None:
        self._committer.start()
        for thread in self._threads:
            thread.start()

    def wake(self, saga_ids: Sequence[str]) -> None:
        """Have a look at these sagas. Returns at once; ids beyond what fits are dropped (the due index has them)."""
        if self._stopping.is_set() or self._ids.qsize() > HINT_LIMIT:
            return
        for saga_id in saga_ids:
            self._ids.put(saga_id)

    def abandon(self) -> None:
        """Start nothing any more, without waiting: what this process claimed from now on would be taken over at once."""
        self._stopping.set()
        self._inbox.put(None)

    def stop(self, grace_s: float = 30.0) -> bool:
        """Start nothing more, let what is in flight end and be written, then end the threads. True when all of it did
        within `grace_s`; otherwise what still runs is journalled as unknown, so that whoever takes over does not count it
        as a death. When the driver's thread died, not even that."""
        self._stopping.set()
        self._inbox.put(None)
        driver, loader, *steps = self._threads
        driver.join(grace_s)
        is_clean = not driver.is_alive() and self._driver.is_idle
        if driver.is_alive():
            self._is_cut_off.set()
            driver.join(CUT_OFF_S)
        self._ids.put(None)
        self._calls.close()
        if is_clean:
            for thread in (loader, *steps):
                thread.join(CUT_OFF_S)
            self._committer.stop()
        else:
            self._committer.abandon()
        return is_clean

    def _drive(self) -> None:
        while True:
            finished: list[EndedCall] = []
            committed: list[Committed] = []
            messages: list[Message] = []
            for item in self._drain():
                match item:
                    case EndedCall():
                        finished.append(item)
                    case Committed():
                        committed.append(item)
                    case Message():
                        messages.append(item)
                    case None:
                        self._driver.stop()
            if self._is_cut_off.is_set():
                finished += self._driver.cut_off()
            self._deal(self._driver.step(self._store.clock(), finished, committed, messages))
            if self._stopping.is_set() and self._driver.is_idle:
                return

    def _drain(self) -> Iterator[Item | None]:
        try:
            yield self._inbox.get(timeout=_TICK_S)
            for _ in range(self._inbox.qsize()):
                yield self._inbox.get_nowait()
        except Empty:
            return

    def _deal(self, work: Work) -> None:
        for append in work.appends:
            self._committer.submit(append)
        for call in work.calls:
            self._calls.put(call)
        if work.hints:
            self._publish(work.hints)
        if work.not_here:
            self._leave(work.not_here)
        if work.rests:
            self._rest(work.rests)
        for memory in work.behind:
            self._behind.append(memory)
            self._ids.put(memory.state.saga_id)
        log_of(work)
        self._free, self._back = self._driver.free_count, self._driver.back_count
        if self._free:
            self._room.set()
        else:
            self._room.clear()

    def _perform(self, back_only: bool) -> None:
        while (call := self._calls.take(back_only=back_only)) is not None:
            began = monotonic()
            outcome = attempted(self._executor, call, self._around, self._may_call)
            self._inbox.put(EndedCall(call.state.saga_id, call.node, call.epoch, outcome))
            took_s = monotonic() - began
            logger.debug("attempt_ended", saga_id=call.state.saga_id, node=call.node, code=outcome.code, took_s=took_s)

    def _load(self) -> None:
        while (first := self._ids.get()) is not None:
            while not self._room.wait(_TICK_S) and not self._stopping.is_set():
                pass
            wanted = {first: None}
            while len(wanted) < min(LOAD_LIMIT, self._free):
                try:
                    more = self._ids.get_nowait()
                except Empty:
                    break
                if more is None:
                    return
                wanted[more] = None
            for message in self._messages(list(wanted)):
                self._inbox.put(message)

    def _messages(self, saga_ids: list[str]) -> list[Message]:
        """Asked until the store answers, or until this process stops: nothing is lost by not having looked."""
        while not self._stopping.is_set():
            try:
                while self._behind:
                    fell_behind(self._store, self._behind[0])
                    self._behind.popleft()
                return messages_for(self._store, self._definitions, saga_ids)
            except StoreUnavailable as error:
                logger.warning("store_unavailable", error=str(error))
                self._stopping.wait(_STORE_RETRY_S)
        return []


def messages_for(store: Store, definitions: Definitions, saga_ids: Sequence[str]) -> list[Message]:
    """The journals of these sagas as messages to a driver, with those of their owners that are gone.

    One journal that cannot be read is logged and left out: one bad row never stops the scan. One that is not whole is halted
    in front of a person.
    """
    found: list[Loaded] = []
    for saga_id, entries in store.load(saga_ids).items():
        try:
            loaded = load(definitions, saga_id, entries)
        except JournalDamaged as error:
            store.mark_damaged(saga_id, entries.reached)
            logger.error("journal_damaged", saga_id=saga_id, error=str(error))
            continue
        except Exception as error:  # whatever stands in a row that somebody spoiled
            logger.error("journal_unreadable", saga_id=saga_id, error=f"{type(error).__name__}: {error}")
            continue
        if loaded is not None:
            found.append(loaded)
    owners = {loaded.state.saga_id: open_owners(loaded.state) for loaded in found}
    everybody = sorted(set().union(*owners.values())) if owners else []
    is_open = store.worker_is_open(everybody) if everybody else {}
    gone = frozenset(owner for owner in everybody if not is_open.get(owner, False))
    return [Message(it.state.saga_id, it, gone & owners[it.state.saga_id]) for it in found]
