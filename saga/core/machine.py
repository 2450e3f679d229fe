"""The machine: `decide(definition, state, event) -> Decision`. It holds every rule of the protocol and no clock.

How a decision is made
----------------------
1. The event itself becomes transitions: an outcome becomes `attempt_ended` with the phase that follows from it
   (`saga.core.attempts`), a wish to start becomes `attempt_started`, a look at the clock ends attempts whose deadline
   passed or whose process is gone.
2. `_advance` then draws every conclusion that the new state allows, until there is none: turn round, freeze the plan,
   complete, end compensated, resume. Conclusions are drawn from the *state*, never from the event, so it does not matter
   in which order two branches report, or whether the outcome that mattered was decided here or read from the tail.
3. What may be started now is returned as commands. Starting is a decision of its own, because the request must be made
   first and be part of the journal before anything is sent.

Forward and backward are one walk with a direction: `_ready` is the only place that looks which way.

Rules that look odd, and the trace each prevents
------------------------------------------------
- An event for an old epoch changes nothing (`evidence_kept`): a zombie must not close the attempt of the process that took
  over. A success that comes late but before anybody else attempted the node counts: it is what everybody waits for.
- `rollback_requested` closes nodes in backoff at once: a retry after the saga turned round is an effect nobody undoes. The
  one repeat that is left is an entry of the frozen plan itself, with the compensation behind it.
- While an attempt is in flight the plan is not frozen: freezing it would leave out the effect that is about to be known.
- A pivot that was rejected after an unknown attempt rolls back only where the participant serialises keys and remembers
  rejections, so that the late first attempt meets the rejection. Elsewhere it is `pivot_unresolved`.
- A halt that heals itself does not stop a rollback; a halt in front of a person does.
- A saga that is held does not even end an attempt whose deadline passed: what became of it is not for its journal to say. An
  outcome that somebody still brings is written down.
- `compensated` is refused while the reported effects do not net to zero.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from saga.core import transitions as t
from saga.core.attempts import Verdict, judge, person_reason, waiting_for_person
from saga.core.definition import Saga, Step
from saga.core.events import (
    CancelAsked,
    Decision,
    Ended,
    Event,
    HoldAsked,
    LetGo,
    PrepareFailed,
    Start,
    StartAsked,
    Woken,
)
from saga.core.fold import Halt, NodeState, SagaState, evolve
from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.plan import (
    action_of,
    has_reached_no_return,
    is_past_return,
    is_rolled_back,
    is_settling,
    make_plan,
    may_be_past_return,
    node_of_entry,
    runnable_entries,
)
from saga.core.states import ENDED, Direction, HaltReason, NodePhase, SagaStatus

GRACE_S = 2.0
"""How long after an attempt's deadline its outcome may still arrive before somebody else ends it as unknown."""
HINT_S = 2.0
"""How long work that is ready may wait for a hint to reach a process before the due index brings it up."""
SUSPECT_COUNT = 2
"""From this many deaths on, a node that was open in them runs alone."""

_IN_THE_AIR = frozenset({NodePhase.OPEN, NodePhase.BACKOFF, NodePhase.PENDING})


class _Draft:
    """Transitions so far and the state after them."""

    def __init__(self, definition: Saga[Any], state: SagaState) -> None:
        self.definition = definition
        self.state = state
        self.transitions: list[t.Transition] = []

    def add(self, transition: t.Transition) -> None:
        self.state = evolve(self.state, transition)
        self.transitions.append(transition)


def decide(definition: Saga[Any], state: SagaState, event: Event) -> Decision:
    """What follows from `event`. Pure: the same arguments give the same decision on every machine.

    An event that means nothing any more (an old epoch, a start of a node that is not ready, a second cancel) gives a
    decision without transitions. Raises `IllegalTransition` only for a bug.
    """
    draft = _Draft(definition, state)
    match event:
        case Woken():
            _woken(draft, event)
        case StartAsked():
            _start_asked(draft, event)
        case PrepareFailed():
            _prepare_failed(draft, event)
        case Ended():
            _ended(draft, event)
        case CancelAsked():
            _cancel_asked(draft, event)
        case HoldAsked():
            _hold_asked(draft, event)
        case LetGo():
            _let_go(draft, event)
        case _:
            assert_never(event)
    _advance(draft, event.at)
    return Decision(tuple(draft.transitions), draft.state, ready(definition, draft.state, event.at))


def ready(definition: Saga[Any], state: SagaState, at: datetime) -> tuple[Start, ...]:
    """The nodes that may be attempted at `at`, in the order of the walk."""
    return tuple(
        Start(node, step.queue_of(direction), alone=state.node(node).suspect_count >= SUSPECT_COUNT)
        for node, step, direction in _walk(definition, state)
        if _may_start(state, node, at)
    )


def due_at(definition: Saga[Any], state: SagaState, at: datetime) -> datetime | None:
    """By when somebody must look at this saga: the least over everything that waits for time to pass; None for an ended
    saga and for one that waits for a person with nothing in flight."""
    if state.status in ENDED or state.is_held:
        return None
    moments = [node.deadline_at + timedelta(seconds=GRACE_S) for node in state.nodes.values() if node.deadline_at]
    moments += [node.next_at for node in state.nodes.values() if node.phase is NodePhase.PENDING and node.next_at]
    for node, _, _ in _walk(definition, state):
        waits = state.node(node)
        if waits.phase in (NodePhase.WAITING, NodePhase.BACKOFF):
            moments.append(waits.again_at(at) or at + timedelta(seconds=HINT_S))
    if state.status is SagaStatus.RUNNING and state.deadline_at and not has_reached_no_return(definition, state):
        moments.append(state.deadline_at)
    return min(moments, default=None)


def _walk(definition: Saga[Any], state: SagaState) -> list[tuple[str, Step, Direction]]:
    """The nodes whose turn it is by order alone, in the direction the saga goes."""
    if state.is_held:
        return []
    if state.cause is not None:
        walk = []
        for step, mode in runnable_entries(definition, state):
            node, direction = node_of_entry(state, step, mode)
            walk.append((node, step, direction))
        return walk
    if state.status is SagaStatus.RUNNING:
        done = {step.name for step in definition.order if state.node(action_of(step)).phase is NodePhase.DONE}
        steps = [step for step in definition.order if step.after <= done and step.name not in done]
        return [(action_of(step), step, Direction.ACTION) for step in steps]
    if state.halt is not None and state.halt.heals_itself:
        steps = [step for step in definition.order if state.node(action_of(step)).phase is NodePhase.BACKOFF]
        return [(action_of(step), step, Direction.ACTION) for step in steps]
    return []


def _may_start(state: SagaState, node: str, at: datetime) -> bool:
    waits = state.node(node)
    if waits.phase is NodePhase.WAITING:
        return True
    return waits.phase is NodePhase.BACKOFF and (again_at := waits.again_at(at)) is not None and again_at <= at


def _woken(draft: _Draft, event: Woken) -> None:
    if draft.state.is_held:
        return
    for name, node in list(draft.state.nodes.items()):
        if node.phase is NodePhase.OPEN and node.owner in event.closed_workers:
            _end(draft, event.at, name, Outcome(OutcomeCode.UNKNOWN, f"worker {node.owner} is gone"), is_lost=True)
        elif node.phase is NodePhase.OPEN and node.deadline_at and _is_past(node.deadline_at, event.at, GRACE_S):
            _end(draft, event.at, name, Outcome(OutcomeCode.UNKNOWN, "no outcome by the deadline"))
        elif node.phase is NodePhase.PENDING and node.next_at and _is_past(node.next_at, event.at):
            _end(draft, event.at, name, Outcome(OutcomeCode.UNKNOWN, "pending beyond its deadline"))


def _is_past(moment: datetime, at: datetime, grace_s: float = 0.0) -> bool:
    return at >= moment + timedelta(seconds=grace_s)


def _start_asked(draft: _Draft, event: StartAsked) -> None:
    if not _is_ready(draft, event.node, event.at):
        return
    node = draft.state.node(event.node)
    is_first = node.epoch == 0
    draft.add(
        t.AttemptStarted(
            at=event.at,
            node=event.node,
            epoch=node.epoch + 1,
            owner=event.owner,
            deadline_at=event.deadline_at,
            alone=event.alone,
            key=event.key if is_first else None,
            wire_key=event.wire_key if is_first else None,
            request=event.request if is_first else None,
        )
    )


def _is_ready(draft: _Draft, name: str, at: datetime) -> bool:
    return _may_start(draft.state, name, at) and any(
        node == name for node, _, _ in _walk(draft.definition, draft.state)
    )


def _prepare_failed(draft: _Draft, event: PrepareFailed) -> None:
    if _is_ready(draft, event.node, event.at):
        draft.add(t.StepBroke(event.at, event.node, event.detail))
        _halt(draft, event.at, HaltReason.DEFECT, event.node, event.detail)


def _ended(draft: _Draft, event: Ended) -> None:
    node = draft.state.node(event.node)
    is_open = node.phase is NodePhase.OPEN and node.epoch == event.epoch
    if is_open or _is_late_success(draft.state, node, event):
        _end(draft, event.at, event.node, event.outcome)
    elif event.outcome.code in (OutcomeCode.SUCCEEDED, OutcomeCode.REJECTED):
        it = event.outcome
        draft.add(t.EvidenceKept(event.at, event.node, event.epoch, it.code, it.detail, it.result))


def _is_late_success(state: SagaState, node: NodeState, event: Ended) -> bool:
    """Whether this success came after its attempt was ended as unknown and before anybody else attempted the node: nothing
    fences it, and it is the fact that everybody was waiting for. Once the plan is frozen it is evidence."""
    return (
        event.outcome.code is OutcomeCode.SUCCEEDED
        and node.epoch == event.epoch
        and node.code is OutcomeCode.UNKNOWN
        and node.phase in (NodePhase.BACKOFF, NodePhase.FAILED, NodePhase.CLOSED)
        and state.plan is None
    )


def _end(draft: _Draft, at: datetime, name: str, outcome: Outcome, *, is_lost: bool = False) -> None:
    verdict = judge(draft.definition, draft.state, name, outcome, at, is_lost=is_lost)
    node = draft.state.node(name)
    draft.add(
        t.AttemptEnded(
            at=at,
            node=name,
            epoch=node.epoch,
            code=outcome.code,
            phase=verdict.phase,
            effect=verdict.effect,
            detail=outcome.detail,
            next_at=verdict.next_at,
            result=outcome.result if verdict.phase is NodePhase.DONE else None,
            effects=verdict.effects,
            spent=verdict.spent,
            null=verdict.is_null,
            lost=is_lost,
            same_count=verdict.same_count,
        )
    )
    _halt_or_heal(draft, at, name, verdict, outcome.detail)


def _halt_or_heal(draft: _Draft, at: datetime, name: str, verdict: Verdict, detail: str) -> None:
    halt = draft.state.halt
    if verdict.halt is not None:
        _halt(draft, at, verdict.halt, name, detail)
    elif halt is not None and _heals(draft, halt, name, verdict):
        draft.add(t.SagaResumed(at, f"{name} {verdict.phase}"))


def _heals(draft: _Draft, halt: Halt, name: str, verdict: Verdict) -> bool:
    """Whether the halt is over: it healed itself, or what nobody knew is known after all. A halt for a person stands for
    every node that failed meanwhile and every entry of the plan that a person must settle, so it is over only when none is
    left; and from the frozen plan on no late fact counts."""
    if halt.heals_itself:
        return halt.node == name and verdict.phase not in _IN_THE_AIR
    if waiting_for_person(draft.definition, draft.state):
        return False
    waits_for_fact = halt.reason in (HaltReason.UNRESOLVED_EFFECT, HaltReason.PIVOT_UNRESOLVED, HaltReason.POISON)
    return waits_for_fact and verdict.phase is NodePhase.DONE


def _halt(draft: _Draft, at: datetime, reason: HaltReason, node: str | None, detail: str) -> None:
    """Halt; a saga that already waits for a person stays there, and a reason for a person replaces one that heals."""
    halt = draft.state.halt
    new = t.SagaHalted(at, reason, node, detail)
    if halt is None or (
        halt.heals_itself and reason not in (HaltReason.PARTICIPANT_DOWN, HaltReason.COMPENSATION_RETRYING)
    ):
        draft.add(new)


def _halt_for_person(draft: _Draft, at: datetime) -> None:
    for reason, node, detail in waiting_for_person(draft.definition, draft.state):
        _halt(draft, at, reason, node, detail)


def _cancel_asked(draft: _Draft, event: CancelAsked) -> None:
    state = draft.state
    if state.status in ENDED or state.cause is not None or state.cancel is not None:
        return
    if is_past_return(draft.definition, state):
        return
    draft.add(t.CancelRequested(event.at, event.actor, event.reason))


def _hold_asked(draft: _Draft, event: HoldAsked) -> None:
    if draft.state.status not in ENDED and not draft.state.is_held:
        draft.add(t.SagaHalted(event.at, event.why, None, event.detail, event.since))


def _let_go(draft: _Draft, event: LetGo) -> None:
    """Back to where it was held: to the halt in front of a person that it was in, or that it came to while it was held.

    A cancel, a "no" or the deadline turns it round only when nobody waits for a person: that is for `_advance`.
    """
    held = draft.state.halt
    if held is None or not held.is_hold:
        return
    # The event may be decided again behind an outcome that came late; that one counts.
    absent = tuple(it for it in event.absent if draft.state.node(it).has_no_answer)
    draft.add(t.SagaResumed(event.at, event.detail, event.is_past_return, absent, event.may_be_past_return))
    if event.cancel and draft.state.cancel is None:
        draft.add(replace(event.cancel, at=event.at))
    if event.cause and draft.state.cause is None:
        draft.add(replace(event.cause, at=event.at))
        return
    before = held.under
    if before and not before.heals_itself and before.node and _has_failed(draft.state, before.node):
        _halt(draft, event.at, before.reason, before.node, before.detail)
    _halt_for_person(draft, event.at)


def _has_failed(state: SagaState, name: str) -> bool:
    return state.node(name).phase is NodePhase.FAILED


def _advance(draft: _Draft, at: datetime) -> None:
    state = draft.state
    is_open_to_turn = state.status is SagaStatus.RUNNING or (state.halt is not None and state.halt.heals_itself)
    if state.cause is None and is_open_to_turn:
        _turn_or_complete(draft, at)
    if draft.state.cause is not None:
        _roll_back(draft, at)


def _turn_or_complete(draft: _Draft, at: datetime) -> None:
    definition, state = draft.definition, draft.state
    if state.cancel and not state.is_cancel_refused and is_past_return(definition, state):
        draft.add(t.CancelRefused(at))
    cause = _cause(definition, state, at)
    if cause is not None:
        draft.add(cause)
    elif state.status is SagaStatus.RUNNING and _is_done(definition, state):
        warnings = tuple(
            f"{step.name}: {state.node(action_of(step)).detail}"
            for step in definition.order
            if state.node(action_of(step)).code is OutcomeCode.REJECTED
        )
        draft.add(t.SagaCompleted(at, warnings))


def _is_done(definition: Saga[Any], state: SagaState) -> bool:
    return len(state.nodes) == len(definition.order) and all(
        node.phase is NodePhase.DONE for node in state.nodes.values()
    )


def _cause(definition: Saga[Any], state: SagaState, at: datetime) -> t.RollbackRequested | None:
    """Why the saga must turn round now, if it must: the first failed step of the definition, a cancel, the deadline."""
    failed = {name for name, node in state.nodes.items() if node.phase is NodePhase.FAILED}
    for step in definition.order if failed else ():
        name = action_of(step)
        if name in failed and person_reason(definition, state, name) is None:
            node = state.node(name)
            return t.RollbackRequested(at, str(node.code), step.name, node.detail)
    if state.cancel and not may_be_past_return(definition, state) and not state.may_be_past_return:
        return t.RollbackRequested(at, "cancelled", None, state.cancel.reason)
    is_late = state.deadline_at is not None and state.deadline_at <= at and state.status is SagaStatus.RUNNING
    if is_late and not has_reached_no_return(definition, state):
        return t.RollbackRequested(at, "deadline")
    return None


def _roll_back(draft: _Draft, at: datetime) -> None:
    if draft.state.plan is None:
        if draft.state.status is not SagaStatus.COMPENSATING or is_settling(draft.state):
            return
        plan = make_plan(draft.definition, draft.state)
        draft.add(t.PlanFrozen(at, plan))
        _halt_for_person(draft, at)
    if not is_rolled_back(draft.state):
        return
    net = draft.state.net_effects()
    if net:
        shown = ", ".join(f"{kind} {unit} {quantity:+d}" for (kind, unit), quantity in sorted(net.items()))
        _halt(draft, at, HaltReason.UNRESOLVED_EFFECT, None, f"effects do not net to zero: {shown}")
    elif draft.state.status is SagaStatus.COMPENSATING:
        draft.add(t.SagaCompensated(at))
