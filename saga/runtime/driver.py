"""The steppable driver: `step(now, finished calls, committed appends, messages) → (calls, appends, hints)`.

It has no thread, socket, clock, lock or Celery in it. Adapters (`saga.runtime.loop` with threads, `saga.runtime.task`
inside one Celery task, the simulator in tests) move values in and out of it and decide nothing, so what the tests drive
is what production runs.

The protocol it keeps
---------------------
- **One append in flight per saga.** Whatever is told about a saga meanwhile waits in its inbox. Many sagas' appends
  travel as a group.
- **No call before its claim is durable.** `attempt_started` is the claim. A call is handed out only when the append
  that holds its claim came back `APPENDED`.
- **The outcome and the next claim share an append.** When a call ends and its slot is free, the next node of the same
  saga is prepared, claimed and written in the same journal entry: N sequential steps cost N + 1 commits.
- **A conflict is read, not fought.** The tail is folded in and the same events are decided again. The machine fences: an
  outcome whose epoch is old changes nothing. The outcome of a call that was made is never dropped by a conflict, however
  many there are: each one means that somebody else got further.
- **A journal that is behind is read anew.** A conflict without a tail, or with one that others began at another entry, means
  that entries which this process knows to have been durable are gone (a crash without durable commits, a fail-over): what is
  in memory is dropped, but for outcomes that came meanwhile, and `saga.runtime.holding.fell_behind` judges whether the saga
  may go on.
- **What cannot be written is said.** An outcome is given up only for a saga that nobody here can decide any more (a newer
  release writes its journal); the log then names the node, the epoch and the code, and its deadline settles it.
- **Refused data halts its own saga only**: what could not be stored becomes a defect that can be.
- **A suspect runs alone.** A node that was open in two processes that died is started only when nothing else is in
  flight here, and nothing else starts until it ended, so that only its own deaths count against it.
- **Slow calls are not hoarded**, and **compensations have a share of the slots** that no action may take, so a backlog
  forward cannot starve a rollback: `saga.runtime.slots`.

A saga is in memory only while something of it is in flight or ready here; otherwise it is forgotten, and the due index
brings it back. Losing this object at any moment loses speed and nothing else.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from saga.core.definition import Saga
from saga.core.events import Decision, Ended, Event, PrepareFailed, Start, StartAsked, Woken
from saga.core.fold import SagaState
from saga.core.machine import decide, due_at
from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.states import Direction, NodePhase
from saga.core.transitions import AttemptStarted, SagaHalted, Transition
from saga.errors import CodecError
from saga.runtime.engine import append_for, followed_by
from saga.runtime.held import FIRST_TRY, Draft, Held, Tries, is_of, storable
from saga.runtime.prepare import BrokenStep, prepare
from saga.runtime.slots import Slots
from saga.runtime.work import Call, Committed, EndedCall, Hint, Limits, Message, Work, task_name
from saga.store.port import AppendResult

QUEUE_ALLOWANCE_S = 5.0
"""How long a claimed call may wait for a thread, on top of its own time."""
REFUSAL_LIMIT = 3
LOOK_AGAIN_S = 5.0
LEASE_LOST = Outcome(OutcomeCode.NOT_SENT, "the lease of the process was lost before the call")


class Driver:
    """Moves sagas forward as far as this process may; see the top of this file. Not thread-safe: one caller at a time."""

    def __init__(
        self,
        worker_id: str,
        *,
        limits: Limits | None = None,
        runs: Callable[[str, Start], bool] = lambda _saga, _start: True,
        goes_on: bool = True,
        has_company: Callable[[], bool] = lambda: False,
    ) -> None:
        self.worker_id = worker_id
        self._limits = limits or Limits()
        self._runs = runs
        self._goes_on = goes_on
        self._has_company = has_company
        self._held: dict[str, Held] = {}
        self._unwritten: dict[str, list[Ended]] = {}
        """Outcomes of sagas whose journals fell behind, until they were read anew."""
        self._slots = Slots(self._limits)
        self._waiting: deque[str] = deque()
        self._waiting_back: deque[str] = deque()
        self._suspects: deque[str] = deque()
        self._stopping = False

    @property
    def free_count(self) -> int:
        """How many more sagas it would take now; none while a suspect waits for quiet."""
        return 0 if self._suspects else self._slots.room_for(len(self._held))

    @property
    def back_count(self) -> int:
        """How many sagas that are rolling back it would take now, beyond what it takes of the others."""
        return 0 if self._suspects else self._slots.room_back(len(self._held))

    @property
    def is_idle(self) -> bool:
        """Nothing in flight: no call, no append."""
        return not self._slots and not any(held.draft for held in self._held.values())

    def stop(self) -> None:
        """Start nothing any more; what is in flight is still finished and written: a step boundary."""
        self._stopping = True

    def step(
        self,
        now: datetime,
        finished: Sequence[EndedCall] = (),
        committed: Sequence[Committed] = (),
        messages: Sequence[Message] = (),
    ) -> Work:
        """Take in what happened and say what to do; see the top of this file for what holds."""
        work = Work()
        for done in finished:
            with self._leaving_alone(done.saga_id, work):
                self._take_outcome(now, done, work)
        for answer in committed:
            with self._leaving_alone(answer.saga_id, work):
                self._take_commit(now, answer, work)
        for message in messages:
            with self._leaving_alone(message.saga_id, work):
                self._take_message(now, message, work)
        self._wake_waiting(now, work)
        for saga_id, node, epoch in self._slots.newly_overdue(now):
            work.troubles.append(
                f"{saga_id}: attempt {epoch} of {node} still runs past its deadline and holds a thread"
            )
        return work

    @property
    def is_stuck(self) -> bool:
        """Every thread is in a call past its deadline."""
        return self._slots.is_stuck

    def cut_off(self) -> list[EndedCall]:
        """The process must go before what is in its threads has ended: each ends as unknown, which is the truth and, said
        in time, no death of a worker."""
        lost = Outcome(OutcomeCode.UNKNOWN, "the worker was stopped before this attempt ended")
        return [EndedCall(*claim, lost) for claim in self._slots.in_threads]

    @contextmanager
    def _leaving_alone(self, saga_id: str, work: Work) -> Iterator[None]:
        """One saga that cannot be worked on is told, with the outcomes that nobody wrote, and left alone; the others go on."""
        try:
            yield
        except Exception as error:  # a bug, or what somebody wrote into a journal: the other sagas go on
            held = self._held.get(saga_id)
            outcomes = [it for it in held.inbox if isinstance(it, Ended)] if held is not None else []
            unwritten = "".join(f"; not written: {it.node} attempt {it.epoch} {it.outcome.code}" for it in outcomes)
            work.troubles.append(f"{saga_id}: {type(error).__name__}: {error}{unwritten}")
            if held is not None and held.draft is None and held.call_count == 0:
                self._forget(saga_id)

    def _take_outcome(self, now: datetime, done: EndedCall, work: Work) -> None:
        was_held = self._slots.ended((done.saga_id, done.node, done.epoch), now)
        held = self._held.get(done.saga_id)
        if held is None:
            work.troubles.append(
                f"{done.saga_id}: outcome of {done.node} without its saga; its deadline will settle it"
            )
            return
        held.call_count -= was_held
        self._process(now, held, [Ended(now, done.node, done.epoch, done.outcome)], work)

    def _take_message(self, now: datetime, message: Message, work: Work) -> None:
        held = self._held.get(message.saga_id)
        if held is None:
            if len(self._held) >= self._limits.held:
                return
            unwritten = self._unwritten.pop(message.saga_id, ())
            kept: list[Event] = [it for it in unwritten if is_of(message.loaded.state, it, self.worker_id)]
            held = self._held[message.saga_id] = Held(message.loaded, inbox=kept)
            # A driver that goes on knows every call of its process: an open one that it does not hold is lost. One made
            # for a single message does not know what the other threads of its process run.
            gone = message.closed_workers | ({self.worker_id} if self._goes_on else frozenset())
        else:
            gone = message.closed_workers
            if held.draft is None and message.loaded.seq > held.loaded.seq:
                held.loaded = message.loaded
        before, held.inbox = held.inbox, []
        self._process(now, held, [*before, Woken(now, gone)], work)

    def _take_commit(self, now: datetime, answer: Committed, work: Work) -> None:
        held = self._held.get(answer.saga_id)
        if held is None or held.draft is None:
            return
        draft, held.draft = held.draft, None
        if answer.result is AppendResult.APPENDED:
            held.loaded, held.commands = draft.written.after, draft.commands
            work.halts.extend((held.loaded.state, it) for it in draft.transitions if isinstance(it, SagaHalted))
            self._hand_out(now, held, draft, work)
            inbox, held.inbox = held.inbox, []
            self._process(now, held, inbox, work)
            return
        self._release(answer.saga_id, draft.transitions)
        events, tries = draft.events, draft.tries
        if answer.result is AppendResult.REFUSED:
            tries = replace(tries, refusal_count=tries.refusal_count + 1)
        else:
            held.inbox = [*draft.events, *held.inbox]
            if (followed := followed_by(held.loaded, answer.tail)) is None:
                work.behind.append(held.loaded)
                if unwritten := [it for it in held.inbox if isinstance(it, Ended)]:
                    self._unwritten[answer.saga_id] = unwritten
                self._forget(answer.saga_id)
                return
            held.loaded = followed
            events, held.inbox = held.inbox or [Woken(now)], []
            # A claim that was refused says nothing about the events that came meanwhile.
            tries = replace(tries, refusal_count=tries.refusal_count if draft.events else 0)
        if tries.refusal_count <= REFUSAL_LIMIT:
            self._process(now, held, events, work, tries)
            return
        held.inbox = [*events, *held.inbox]
        work.troubles.append(f"{answer.saga_id}: {tries}, nothing could be written; tried again when it is looked at")
        if held.call_count == 0 and not any(isinstance(it, Ended) for it in held.inbox):
            self._forget(answer.saga_id)

    def _process(self, now: datetime, held: Held, events: list[Event], work: Work, tries: Tries = FIRST_TRY) -> None:
        """Decide `events` in turn, then claim what may start here; one append for all of it."""
        if held.draft is not None:
            held.inbox += events
            return
        events, rest = (events[:1], events[1:]) if tries.refusal_count else (events, [])
        held.inbox = rest + held.inbox
        if any(isinstance(it, Woken) for it in events):
            tries = replace(tries, is_message=True)
        loaded = held.loaded
        transitions: list[Transition] = []
        try:
            state, commands = self._decide(now, held, events, tries, transitions)
        except Exception:
            self._release(loaded.state.saga_id, transitions)
            held.inbox = [*events, *held.inbox]
            raise
        if not transitions:
            self._go_on_or_settle(now, held, commands, events, work, tries)
            return
        try:
            written = append_for(loaded, transitions, state, at=now, writer=self.worker_id)
        except CodecError as error:
            self._release(loaded.state.saga_id, transitions)
            refused = replace(tries, refusal_count=tries.refusal_count + 1, why=f"it cannot be journalled: {error}")
            self._process(now, held, events, work, refused)
            return
        held.draft = Draft(events, written, transitions, tries, commands)
        work.appends.append(written.append)

    def _decide(
        self, now: datetime, held: Held, events: Sequence[Event], tries: Tries, transitions: list[Transition]
    ) -> tuple[SagaState, tuple[Start, ...]]:
        """What follows from `events`, and the claims that may follow from that, added to `transitions` as they come."""
        definition, state, commands = held.loaded.definition, held.loaded.state, held.commands
        for event in events:
            decision = decide(definition, state, storable(event, tries))
            transitions += decision.transitions
            state, commands = decision.state, decision.commands
        for command in () if tries.refusal_count and events else commands:
            if self._may_start(definition.name, state.saga_id, command, is_message=tries.is_message):
                decision = self._claim(now, definition, state, command, tries)
                transitions += decision.transitions
                state, commands = decision.state, decision.commands
                if tries.refusal_count:
                    break
        return state, commands

    def _go_on_or_settle(
        self, now: datetime, held: Held, commands: tuple[Start, ...], events: list[Event], work: Work, tries: Tries
    ) -> None:
        """Nothing to write. An event that was decided by itself after a refusal leaves the others and the starts to do."""
        if tries.refusal_count and (events or held.inbox):
            held.commands = commands
            inbox, held.inbox = held.inbox, []
            self._process(now, held, inbox, work, Tries(refusal_count=1, is_message=tries.is_message))
        else:
            self._settle(now, held, commands, work)

    def _claim(self, now: datetime, saga: Saga[Any], state: SagaState, command: Start, tries: Tries) -> Decision:
        step, direction = saga.node(command.node)
        wait_s = self._limits.slots / self._limits.threads * step.wall_s_in(direction)
        deadline_at = now + timedelta(seconds=QUEUE_ALLOWANCE_S + wait_s)
        event = storable(self._start_event(now, saga, state, command, deadline_at), tries)
        decision = decide(saga, state, event)
        for it in decision.transitions:
            if isinstance(it, AttemptStarted):
                self._slots.claim((state.saga_id, it.node, it.epoch), alone=it.alone)
        return decision

    def _start_event(
        self, now: datetime, saga: Saga[Any], state: SagaState, command: Start, deadline_at: datetime
    ) -> StartAsked | PrepareFailed:
        step, direction = saga.node(command.node)
        node = state.node(command.node)
        if node.epoch:
            return StartAsked(now, command.node, self.worker_id, deadline_at, "", "", None, command.alone)
        try:
            ready = prepare(state, step, direction, deadline_at)
        except BrokenStep as error:
            return PrepareFailed(now, command.node, str(error))
        return StartAsked(
            now, command.node, self.worker_id, deadline_at, ready.key, ready.wire_key, ready.request, command.alone
        )

    def _may_start(self, saga: str, saga_id: str, command: Start, *, is_message: bool) -> bool:
        if self._stopping or not self._runs(saga, command) or not (self._goes_on or is_message):
            return False
        if (
            (saga_id, command.node) in self._slots
            or self._slots.has_lone
            or (not self._slots.is_quiet if command.alone else bool(self._suspects))
        ):
            return False
        if command.alone and self._has_company():
            return False
        is_action = command.node.endswith(f":{Direction.ACTION}")
        return len(self._slots) < (self._slots.forward if is_action else self._slots.total)

    def _hand_out(self, now: datetime, held: Held, draft: Draft, work: Work) -> None:
        loaded = held.loaded
        for it in draft.transitions:
            if not isinstance(it, AttemptStarted):
                continue
            step, direction = loaded.definition.node(it.node)
            node = loaded.state.node(it.node)
            # The lease was lost meanwhile: others may take this claim over at any moment.
            if it.owner != self.worker_id:
                self._slots.give_up((loaded.state.saga_id, it.node, it.epoch))
                held.inbox.append(Ended(now, it.node, it.epoch, LEASE_LOST))
                continue
            held.call_count += 1
            self._slots.handed_out((loaded.state.saga_id, it.node, it.epoch), now, it.deadline_at)
            work.calls.append(
                Call(
                    loaded.definition,
                    loaded.state,
                    step,
                    direction,
                    it.node,
                    it.epoch,
                    it.deadline_at,
                    node.request,
                    node.wire_key,
                )
            )

    def _settle(self, now: datetime, held: Held, commands: tuple[Start, ...], work: Work) -> None:
        """Nothing to write: wait for a slot here, hint at who runs the rest, or forget the saga."""
        saga_id, name = held.loaded.state.saga_id, held.loaded.definition.name
        held.commands = commands
        state = held.loaded.state
        due = None if commands else due_at(held.loaded.definition, state, now)
        if due is not None and due > now:
            # Whoever has an attempt of it open believes what the row said before, and leaves it so: look again soon.
            is_open = any(node.phase is NodePhase.OPEN for node in state.nodes.values())
            work.rests.append((saga_id, min(due, now + timedelta(seconds=LOOK_AGAIN_S)) if is_open else due))
        keeps = self._goes_on and not self._stopping
        mine = [command for command in commands if keeps and self._runs(name, command)]
        for command in commands:
            if command not in mine:
                work.hints.append(Hint(saga_id, task_name(name, command.node), command.queue))
        if any((saga_id, command.node) in self._slots for command in mine):
            work.not_here.append(saga_id)
            mine = [command for command in mine if (saga_id, command.node) not in self._slots]
        if mine:
            is_suspect = any(command.alone for command in mine)
            is_back = held.loaded.state.cause is not None
            line = self._suspects if is_suspect else self._waiting_back if is_back else self._waiting
            if saga_id not in line:
                line.append(saga_id)
        elif held.call_count == 0:
            self._forget(saga_id)

    def _wake_waiting(self, now: datetime, work: Work) -> None:
        """Give free slots to who waits: a suspect when all is quiet, then compensations, then actions."""
        if self._suspects and self._slots.is_quiet:
            suspect = self._suspects.popleft()
            if suspect in self._held:
                with self._leaving_alone(suspect, work):
                    self._process(now, self._held[suspect], [], work)
        for line, slots in ((self._waiting_back, self._slots.total), (self._waiting, self._slots.forward)):
            for _ in range(min(len(line), slots - len(self._slots))):
                saga_id = line.popleft()
                held = self._held.get(saga_id)
                if held is not None and not self._suspects and not self._slots.has_lone:
                    with self._leaving_alone(saga_id, work):
                        self._process(now, held, [], work)
                elif held is not None:
                    line.append(saga_id)

    def _forget(self, saga_id: str) -> None:
        self._held.pop(saga_id, None)

    def _release(self, saga_id: str, transitions: Sequence[Transition]) -> None:
        """Claims that were not written free their slots."""
        for it in transitions:
            if isinstance(it, AttemptStarted):
                self._slots.give_up((saga_id, it.node, it.epoch))
