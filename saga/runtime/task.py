"""The task driver without Celery: one message, one node of one saga, in the thread that brought the message.

    message ─▶ driver ─▶ append (claim) ─▶ call ─▶ append (outcome) ─▶ hints for what is ready now

The steppable `Driver` is made anew for each message, runs one node, and does not go on; whatever is ready afterwards is
hinted at, so the broker spreads the work over whichever processes there are. It fits the pools that Celery has: a child that it
recycles has nothing in memory that the journal lacks.

`TaskWorker` is what a process needs beside it: a lease, renewed by a thread of its own, because a step may take longer
than a lease, and a rescuer. The rescuer hints at due sagas instead of running them, so that they run where the queues
say. While the broker is away, and for a saga that nobody moved after a hint, it runs what this process consumes, one node
after another (DESIGN, P5): a connection that something between here and the broker cut in silence takes hints and delivers
none, for ever.

Which hints are sent: those for nodes that became ready by what this message brought about. A message that finds nothing to do
sends none, or two copies of a message would answer each other for ever.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from saga.clock import monotonic
from saga.core.events import Ended, Start
from saga.core.outcomes import Outcome, OutcomeCode
from saga.errors import SagaError
from saga.forked import ForkGuard
from saga.log import logger
from saga.runtime import failpoints
from saga.runtime.driver import Driver
from saga.runtime.engine import Definitions, tell
from saga.runtime.executor import Executor
from saga.runtime.foreign import Foreign
from saga.runtime.holding import fell_behind
from saga.runtime.lease import Lease, close_dead_workers
from saga.runtime.loop import CUT_OFF_S, Around, attempted, messages_for, patiently, plain
from saga.runtime.work import Call, Committed, EndedCall, Hint, Limits, Message, log_of
from saga.settings import read_settings
from saga.store.journal import JournalEntry
from saga.store.port import Append, AppendResult, Store, Wanted

SWEEP_S = 1.0
"""Rarer than that of a process driver: every pool child sweeps."""
QUIET_S = 20.0
"""How long a suspect waits for the other bodies of its process to end, and they for it; then the due index brings it back."""
PUSH_S = 5.0
SWEEP_LIMIT = 64
BUSY_SWEEP_LIMIT, BUSY_PUSHES = 4, 2
"""While messages keep this process at work there may be a long queue of them, and what is due is mostly in it: the rescuer
looks at the few that are due longest, and runs itself only what nobody moved after so many hints. A hint for each saga of a
backlog is a message more in that queue, and cost more than the work itself."""
END_S = 5.0
RESCUE_LIMIT, THREAD_LIMIT = 4, 16
"""How many sagas the rescuer has run at once, each in a thread of its own; and how many such threads there may be, those that
hang beyond their deadlines with them. At that many this process gives up."""
ONE_NODE = Limits(slots=1, threads=1, held=1)

Runs = Callable[[str, Start], bool]


@dataclass(frozen=True, slots=True)
class Advance:
    """What one message brought about."""

    outcome: Outcome | None
    """Of the attempt that was made; None when there was nothing to do here."""
    hints: tuple[Hint, ...]
    was_crowded: bool = False
    """A suspect did not start because other messages are worked on in this process."""


def never(_saga: str, _start: Start) -> bool:
    """Runs nothing: the driver only says what is ready."""
    return False


class TaskWorker:
    """One process of task bodies. `start` after fork; `run` from any thread; `stop` when the process ends."""

    def __init__(
        self,
        store: Store,
        definitions: Definitions,
        executor: Executor,
        *,
        queues: frozenset[str],
        publish: Callable[[Sequence[Hint]], None],
        broker_is_away: Callable[[], bool] = lambda: False,
        quiet_s: float = QUIET_S,
        around: Around = plain,
        broken: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._executor = executor
        self._broken = broken
        self._has_given_up = False
        self._queues = queues
        self._publish = publish
        self._broker_is_away = broker_is_away
        self._around = around
        self._foreign = Foreign(store)
        self._lease = Lease(store, queues)
        self._last_at = datetime.min.replace(tzinfo=UTC)
        self._looked_at = monotonic()
        self._rescues: list[threading.Thread] = []
        self._open: set[tuple[str, str, int]] = set()
        self._rescued: dict[tuple[str, str, int], datetime] = {}
        """Deadlines of what the rescuer has run."""
        self._is_busy = False
        """Whether a message was worked on since the last sweep."""
        self._quiet_s = quiet_s
        self._gate = threading.Condition()
        self._body_count = 0
        self._is_lone = False
        """Whether a suspect runs alone here, or waits to: no other body begins."""
        self._stopping = threading.Event()
        self._ends_at = 0.0
        self._rescuer = threading.Thread(target=self._rescue, name="saga-rescuer", daemon=True)
        self._guard = ForkGuard("worker")

    @property
    def worker_id(self) -> str:
        return self._lease.worker_id

    def start(self) -> None:
        self._guard.check()
        self._lease.open()
        self._rescuer.start()

    def request_stop(self) -> None:
        """Start nothing more from now on; returns at once. A body that runs ends and journals its outcome, if the database
        answers within `SAGA_GRACE_S`."""
        if not self._stopping.is_set():
            self._ends_at = monotonic() + read_settings().grace_s
            self._stopping.set()

    def _is_over(self) -> bool:
        return self._stopping.is_set() and monotonic() >= self._ends_at

    def stop(self, grace_s: float = 30.0) -> None:
        """Give the lease back, when no body runs any more. Takes ten seconds more at most, whatever does not answer."""
        self.request_stop()
        until = monotonic() + grace_s
        for thread in (self._rescuer, *self._rescues):
            thread.join(max(0.0, until - monotonic()))
        cutting_off = threading.Thread(target=self._cut_off, name="saga-cut-off", daemon=True)
        cutting_off.start()
        cutting_off.join(CUT_OFF_S)
        self._lease.close()

    def _cut_off(self) -> None:
        """What still runs ends as unknown, which is the truth and, said before the lease is given back, no death."""
        with self._gate:
            still_open = sorted(self._open)
        lost = Outcome(OutcomeCode.UNKNOWN, "the worker was stopped before this attempt ended")
        for saga_id, node, epoch in still_open:
            try:
                tell(
                    self._store, self._definitions, saga_id, Ended(self._now(), node, epoch, lost), actor=self.worker_id
                )
            except SagaError as error:
                logger.warning("cut_off_not_journalled", saga_id=saga_id, node=node, error=str(error))

    def run(self, saga_id: str, saga: str, node: str) -> Outcome | None:
        """Make one attempt of this node if it is ready; the outcome is durable on return and the next nodes hinted at.
        Once the process is stopping, or its lease may have run out, nothing is started: the due index brings the saga to
        somebody else."""
        self._guard.check()
        if self._stopping.is_set() or not self._lease.is_known:
            return None
        self._is_busy = True
        with self._body() as may_run:
            if not may_run:
                return None
            done = self._attempt(saga_id, lambda name, start: name == saga and start.node == node)
        if done.hints:
            self._publish(done.hints)
        return done.outcome

    def _attempt(self, saga_id: str, runs: Runs, around: Around = plain) -> Advance:
        """One attempt of what `runs` allows; a suspect waits until it is alone."""
        first = self._advance(saga_id, runs, around)
        if not first.was_crowded or not self._falls_quiet():
            return first
        then = self._advance(saga_id, runs, around)
        return Advance(then.outcome or first.outcome, tuple(dict.fromkeys((*first.hints, *then.hints))))

    def _advance(self, saga_id: str, runs: Runs, around: Around = plain) -> Advance:
        """One saga, by at most one node, by hand: every value the driver asks for is brought by this thread."""
        crowds: list[bool] = []

        def has_company() -> bool:
            crowds.append(self._has_company())
            return crowds[-1]

        driver = Driver(self.worker_id, limits=ONE_NODE, runs=runs, goes_on=False, has_company=has_company)
        load_now = (self._store, self._definitions, [saga_id])
        messages: list[Message] = patiently(messages_for, *load_now, is_over=self._stopping.is_set)
        finished: list[EndedCall] = []
        committed: list[Committed] = []
        outcome: Outcome | None = None
        known: set[Hint] = set()
        has_written = False
        while True:
            driver.worker_id = self.worker_id  # another one when the lease was lost while the database was asked
            work = driver.step(self._now(), finished, committed, messages)
            log_of(work)
            self._foreign.rests(work.rests)
            for memory in work.behind:
                patiently(fell_behind, self._store, memory, is_over=self._is_over)
            has_written |= any(it.result is AppendResult.APPENDED for it in committed)
            if work.calls:
                known.update(work.hints)
            if not work.calls and not work.appends:
                fresh = tuple(hint for hint in work.hints if hint not in known)
                return Advance(outcome, fresh if has_written or runs is never else (), was_crowded=any(crowds))
            messages = []
            finished = [self._perform(call, around) for call in work.calls]
            committed = [self._commit(append) for append in work.appends]
            outcome = finished[-1].outcome if finished else outcome

    def _now(self) -> datetime:
        """An instant that no other body of this process has: what two bodies would write at one instant, under one id, is
        one entry to the store, and both would make the call."""
        with self._gate:
            now = self._store.clock()
            if timedelta() <= self._last_at - now < timedelta(seconds=1):  # further ahead it was a clock that was wrong
                now = self._last_at + timedelta(microseconds=1)
            self._last_at = now
            return now

    def _perform(self, call: Call, around: Around) -> EndedCall:
        claim = (call.state.saga_id, call.node, call.epoch)
        is_rescue = threading.current_thread() in self._rescues
        with self._gate:
            self._open.add(claim)
            if is_rescue:
                self._rescued[claim] = call.deadline_at
        try:
            outcome = attempted(self._executor, call, around, lambda: self._lease.is_known)
        finally:
            with self._gate:
                self._open.discard(claim)
                self._rescued.pop(claim, None)
        return EndedCall(*claim, outcome)

    @contextmanager
    def _body(self) -> Iterator[bool]:
        """One message being worked on. While a suspect runs alone in this process the others wait for it, so that only the
        suspect is open should the process die; False when that takes too long: the due index brings the saga back."""
        with self._gate:
            may_run = self._gate.wait_for(lambda: not self._is_lone, self._quiet_s)
            self._body_count += may_run
        try:
            yield may_run
        finally:
            with self._gate:
                self._body_count -= may_run
                self._is_lone = self._is_lone and self._body_count > 0
                self._gate.notify_all()

    def _has_company(self) -> bool:
        """Asked for a suspect: whether another message is being worked on here. If not, nothing else begins until it ended."""
        with self._gate:
            count = self._body_count - self._late_rescues()
            if count > 1:
                return True
            self._is_lone = count == 1
            return False

    def _falls_quiet(self) -> bool:
        """Have no other body begin, and wait until those that run have ended; or a busy thread pool would never be empty
        enough for a suspect. False when they take too long, or another suspect waits already."""
        with self._gate:
            if self._is_lone:
                return False
            self._is_lone = True
            is_quiet = self._gate.wait_for(lambda: self._body_count - self._late_rescues() == 1, self._quiet_s)
            self._is_lone = is_quiet
            self._gate.notify_all()
            return is_quiet

    def _commit(self, append: Append) -> Committed:
        failpoints.before_commit(append.saga_id, append.entry.seq, append.entry.body)
        result = patiently(self._store.append, [append], is_over=self._is_over)[0]
        tail: Sequence[JournalEntry] = ()
        if result is AppendResult.CONFLICT:
            tail = patiently(self._store.tail, append.saga_id, append.entry.seq - 1, is_over=self._is_over)
        return Committed(append.saga_id, result, tail)

    def _rescue(self) -> None:
        while not self._stopping.wait(SWEEP_S):
            try:
                self._look_for_dead()
                while self._sweep() and not self._stopping.is_set():
                    self._look_for_dead()
            except SagaError as error:
                logger.warning("rescue_postponed", error=str(error))
            except Exception as error:  # the guard of an endless loop: recovery is repeated for ever
                logger.error("rescue_failed", error=f"{type(error).__name__}: {error}")

    def _sweep(self) -> bool:
        """Have due sagas looked at; whether there were so many that another look is due at once."""
        self._rescues = [thread for thread in self._rescues if thread.is_alive()]
        is_busy, self._is_busy = self._is_busy, False
        is_away = self._broker_is_away()
        # Also with no room for a rescue it looks, at a few: deadlines pass, and what it cannot run it hands back to others.
        limit = (max(self._room_for_rescue, 1) if is_away else SWEEP_LIMIT) if not is_busy else BUSY_SWEEP_LIMIT
        patience = BUSY_PUSHES if is_busy else 1
        without = self._foreign.hand_back()
        due = self._store.sweep_due(limit, PUSH_S, Wanted(self._definitions.versions, without=without))
        self._foreign.took(due)
        for it in due:
            hints = self._advance(it.saga_id, never).hints
            if hints and not is_away:
                self._publish(hints)
            if it.pushes >= patience or is_away:
                self._have_run(it.saga_id)
        return bool(due) and not is_busy and self._room_for_rescue > 0

    @property
    def _room_for_rescue(self) -> int:
        """How many more sagas the rescuer may have run; what runs past its deadline holds no place, or it would for ever."""
        with self._gate:
            late = self._late_rescues()
        return min(RESCUE_LIMIT - len(self._rescues) + late, THREAD_LIMIT - len(self._rescues))

    def _late_rescues(self) -> int:
        """How many of them run beyond their deadlines; they end nothing and wait for nothing any more."""
        now = self._store.clock()
        return sum(deadline_at < now for deadline_at in self._rescued.values())

    def _have_run(self, saga_id: str) -> None:
        """In a thread of its own; with no place for one, others may have the saga."""
        if self._room_for_rescue <= 0:
            self._foreign.hinted([saga_id])
            if len(self._rescues) >= THREAD_LIMIT:
                self._give_up()
            return
        rescue = threading.Thread(target=self._help, args=(saga_id,), name="saga-rescued", daemon=True)
        self._rescues.append(rescue)
        rescue.start()

    def _give_up(self) -> None:
        """So many steps hang here that no more may begin. What is open ends as unknown, the lease is given back, and whoever
        runs this process ends it; nothing of it would ever come back by itself."""
        if self._has_given_up:
            return
        self._has_given_up = True
        why = f"{len(self._rescues)} steps hang beyond their deadlines; restart this process"
        logger.error("worker_broken", worker_id=self.worker_id, reason=why)
        self.request_stop()
        threading.Thread(target=self._end, name="saga-end", daemon=True).start()

    def _end(self) -> None:
        """Bodies that run well end first."""
        self.stop(END_S)
        self._broken()

    def _help(self, saga_id: str) -> None:
        """Run what nobody ran, in a thread of its own: a step that hangs must not end the looking."""
        try:
            if not self._go_on(saga_id):
                self._foreign.hinted([saga_id])
        except Exception as error:  # the saga stays due, and is looked at again
            logger.error("rescue_failed", saga_id=saga_id, error=f"{type(error).__name__}: {error}")

    def _look_for_dead(self) -> None:
        if monotonic() - self._looked_at >= SWEEP_S:
            self._looked_at = monotonic()
            close_dead_workers(self._store)

    def _go_on(self, saga_id: str) -> int:
        """Run what this process consumes of this saga, node after node, each with Celery's signals around it as in a task
        of its own; how many that were."""
        count = 0
        while not self._stopping.is_set():
            with self._body() as may_run:
                done = self._attempt(saga_id, self._consumes, self._around) if may_run else None
            if done is not None and done.hints and not self._broker_is_away():
                self._publish(done.hints)
            if done is None or done.outcome is None:
                break
            count += 1
        return count

    def _consumes(self, _saga: str, start: Start) -> bool:
        return self._lease.is_known and start.queue in self._queues
