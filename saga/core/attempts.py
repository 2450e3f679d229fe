"""What one outcome means for its node: the phase that follows, the effect, when to try again, whether to halt.

The table in prose (DESIGN section 5); "repeatable" is a readonly step, or one whose participant serialises keys:

| outcome   | action, going forward                          | action, saga turned round | compensation                |
|-----------|------------------------------------------------|---------------------------|-----------------------------|
| succeeded | done                                           | done                      | done                        |
| pending   | pending until its own deadline                 | closed                    | pending                     |
| rejected  | failed; retriable: halt, or done when recorded | failed                    | failed, halt                |
| not_sent  | backoff; spent: halt participant_down          | closed                    | backoff; spent: halt        |
| throttled | backoff as told                                | closed                    | backoff as told; spent: halt|
| unknown   | repeatable: backoff, else failed and halt      | closed                    | the same as forward         |
| defect    | failed, halt                                   | closed                    | failed, halt                |

Unknown because of a definite answer that the connector does not list: the third time in a row it is for a person, however
repeatable the step is. An action that the frozen plan repeats, since its compensation is no undo by key, has rules of its own
(`_repeating`): a rejection by a participant that serialises keys and remembers rejections proves that nothing was done.

A death of the worker process is `unknown` and tried again at once. A node that was open in `LONE_DEATHS` processes that
died with nothing else open is poison and halts; one that merely stood beside it does not.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from saga.core.definition import Kind, Saga, Step
from saga.core.fold import NodeState, SagaState
from saga.core.outcomes import EffectChange, Outcome, OutcomeCode, effect_after
from saga.core.plan import action_of, may_be_past_return, node_of_entry
from saga.core.retry import RetryPolicy
from saga.core.states import Direction, Effect, EntryState, HaltReason, NodePhase

LONE_DEATHS = 3
SAME_ANSWERS = 3
"""So often in a row a participant may give one and the same definite answer that nobody foresaw."""
MUST_BE_SETTLED = "not known whether it was applied; settle it before it can be compensated"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the machine makes of one outcome."""

    phase: NodePhase
    effect: Effect
    next_at: datetime | None = None
    halt: HaltReason | None = None
    spent: bool = False
    effects: tuple[EffectChange, ...] = ()
    is_null: bool = False
    same_count: int = 0


@dataclass(frozen=True, slots=True)
class _Case:
    """One outcome with everything the rules may look at."""

    definition: Saga[Any]
    state: SagaState
    step: Step
    direction: Direction
    name: str
    node: NodeState
    outcome: Outcome
    at: datetime
    is_lost: bool
    effect: Effect

    @property
    def is_repeat(self) -> bool:
        """Whether it is an action that the frozen plan repeats."""
        return self.direction is Direction.ACTION and self.state.plan is not None

    @property
    def policy(self) -> RetryPolicy:
        return self.step.retry_in(Direction.COMPENSATION if self.is_repeat else self.direction)

    @property
    def same_count(self) -> int:
        """How often in a row the participant has said this, by now; 0 for what is no definite answer."""
        if not self.outcome.is_answer:
            return 0
        return 1 + (self.node.same_count if self.node.detail == self.outcome.detail else 0)

    @property
    def settles_all(self) -> bool:
        """Whether a rejection also says what became of every earlier attempt: each copy hears the same answer."""
        return self.step.remembers_rejections_in(self.direction) and self.step.serialises_in(self.direction)

    @property
    def is_spent(self) -> bool:
        """The budget of attempts and time, once spent for good; what was not sent or throttled costs time only."""
        is_free = self.outcome.code in (OutcomeCode.NOT_SENT, OutcomeCode.THROTTLED)
        elapsed_s = (self.at - self.node.first_at).total_seconds() if self.node.first_at else 0.0
        return self.node.spent or self.policy.is_spent(0 if is_free else self.node.tries + 1, elapsed_s)

    def again_at(self) -> datetime:
        if self.is_lost:
            return self.at
        wait_s = self.policy.delay_s(self.state.saga_id, self.name, self.node.epoch)
        if self.outcome.code is OutcomeCode.THROTTLED and self.outcome.retry_after_s is not None:
            wait_s = min(self.outcome.retry_after_s, self.policy.cap_s)
        return self.at + timedelta(seconds=wait_s)


def judge(
    definition: Saga[Any], state: SagaState, name: str, outcome: Outcome, at: datetime, *, is_lost: bool = False
) -> Verdict:
    """The verdict on `outcome` of the open attempt of node `name`."""
    step, direction = definition.node(name)
    node = state.node(name)
    effect = effect_after(node.effect, outcome.code)
    case = _Case(definition, state, step, direction, name, node, outcome, at, is_lost, effect)
    if direction is Direction.ACTION and state.cause is not None and not case.is_repeat:
        return _settling(case)  # it is not attempted again, so it can kill nobody any more
    if is_lost and node.alone and node.lone_death_count + 1 >= LONE_DEATHS:
        return Verdict(NodePhase.FAILED, effect, halt=HaltReason.POISON)
    if case.is_repeat:
        return _repeating(case)
    return _forward(case) if direction is Direction.ACTION else _backward(case)


def waiting_for_person(definition: Saga[Any], state: SagaState) -> list[tuple[HaltReason, str, str]]:
    """What the machine does not go on from by itself, each as (reason, node, detail), read from the state: nodes that failed,
    and entries of the plan that must be settled first."""
    stuck = [(definition.by_name[it.step], it.mode) for it in state.plan or () if it.state is EntryState.STUCK]
    settle = [action_of(step) for step, mode in stuck if mode == "settle"]
    failed = list(state.nodes)
    if state.cause is not None:
        failed = [node_of_entry(state, step, mode)[0] for step, mode in stuck if mode != "settle"]
    reasons = [(person_reason(definition, state, name), name) for name in failed]
    return [
        *((HaltReason.UNRESOLVED_EFFECT, name, MUST_BE_SETTLED) for name in settle),
        *((reason, name, state.node(name).detail) for reason, name in reasons if reason is not None),
    ]


def person_reason(definition: Saga[Any], state: SagaState, name: str) -> HaltReason | None:
    """Why this node stands in front of a person, read from the state: the reason that its verdict had. None for one that did
    not fail, or failed in a way that turns the saga round."""
    node = state.node(name)
    step, direction = definition.node(name)
    if node.phase is not NodePhase.FAILED:
        return None
    if node.code is OutcomeCode.DEFECT:
        return HaltReason.DEFECT
    is_unknown = node.code is OutcomeCode.UNKNOWN
    if is_unknown and node.lone_death_count >= LONE_DEATHS:
        return HaltReason.POISON
    if direction is Direction.COMPENSATION or state.cause is not None:
        return HaltReason.UNRESOLVED_EFFECT
    if step.kind is Kind.PIVOT:
        is_open = is_unknown or node.effect is not Effect.ABSENT or _was_sent_before(state, step)
        return HaltReason.PIVOT_UNRESOLVED if is_open else None
    if is_unknown:
        turns = step.on_unknown == "compensate" and (step.kind is Kind.COMPENSATABLE or node.spent)
        is_late = _is_late(definition, state, step) or state.may_be_past_return
        return None if turns and not is_late else HaltReason.UNRESOLVED_EFFECT
    goes_forward = step.kind is Kind.RETRIABLE or _is_late(definition, state, step)
    return HaltReason.RETRIABLE_REJECTED if goes_forward else None


def _forward(case: _Case) -> Verdict:
    match case.outcome.code:
        case OutcomeCode.SUCCEEDED:
            return Verdict(NodePhase.DONE, case.effect, effects=case.outcome.effects or ())
        case OutcomeCode.PENDING:
            return _pending(case)
        case OutcomeCode.REJECTED:
            return _rejected(case)
        case OutcomeCode.DEFECT:
            return Verdict(NodePhase.FAILED, case.effect, halt=HaltReason.DEFECT)
        case OutcomeCode.UNKNOWN if not case.step.is_repeatable_in(case.direction) or case.step.on_unknown == "halt":
            return _unrepeatable(case)
        case OutcomeCode.UNKNOWN if case.same_count >= SAME_ANSWERS:
            return _unrepeatable(case)
    may_turn = case.step.on_unknown == "compensate" and case.outcome.code is OutcomeCode.UNKNOWN
    is_late = _is_late(case.definition, case.state, case.step) or case.state.may_be_past_return
    can_turn = case.step.kind is not Kind.RETRIABLE and not is_late
    if case.is_spent and may_turn and can_turn:
        return Verdict(NodePhase.FAILED, case.effect, spent=True)
    return _again(case, HaltReason.PARTICIPANT_DOWN)


def _again(case: _Case, reason: HaltReason) -> Verdict:
    spent = case.is_spent
    halt = reason if spent else None
    return Verdict(NodePhase.BACKOFF, case.effect, case.again_at(), halt, spent, same_count=case.same_count)


def _pending(case: _Case) -> Verdict:
    until_at = case.outcome.until_at or case.at + timedelta(seconds=case.step.pending_s)
    return Verdict(NodePhase.PENDING, case.effect, until_at, spent=case.node.spent)


def _is_late(definition: Saga[Any], state: SagaState, step: Step) -> bool:
    """Whether the step stands behind the point of no return, or beside one that may have been passed."""
    return definition.after_pivot(step) or may_be_past_return(definition, state)


def _unrepeatable(case: _Case) -> Verdict:
    if case.step.kind is Kind.PIVOT:
        return Verdict(NodePhase.FAILED, case.effect, halt=HaltReason.PIVOT_UNRESOLVED)
    is_late = _is_late(case.definition, case.state, case.step) or case.state.may_be_past_return
    turns = case.step.on_unknown == "compensate" and case.step.kind is Kind.COMPENSATABLE and not is_late
    return Verdict(NodePhase.FAILED, case.effect, halt=None if turns else HaltReason.UNRESOLVED_EFFECT)


def _rejected(case: _Case) -> Verdict:
    step = case.step
    if step.on_rejected == "record":
        return Verdict(NodePhase.DONE, case.effect)
    if step.kind is Kind.RETRIABLE or (step.kind is not Kind.PIVOT and _is_late(case.definition, case.state, step)):
        return Verdict(NodePhase.FAILED, case.effect, halt=HaltReason.RETRIABLE_REJECTED)
    if step.kind is not Kind.PIVOT:
        return Verdict(NodePhase.FAILED, case.effect)
    if case.settles_all and not case.state.is_past_return:
        return Verdict(NodePhase.FAILED, Effect.ABSENT)
    is_absent = case.effect is Effect.ABSENT and not _was_sent_before(case.state, step)
    return Verdict(NodePhase.FAILED, case.effect, halt=None if is_absent else HaltReason.PIVOT_UNRESOLVED)


def _was_sent_before(state: SagaState, step: Step) -> bool:
    """Whether a "no" of this step of no return is not the last word: the books have it as done, or it may have been sent in what the
    journal lacks, and its participant does not answer every copy alike."""
    forgets = not (step.remembers_rejections_in(Direction.ACTION) and step.serialises_in(Direction.ACTION))
    return state.is_past_return or (state.may_be_past_return and forgets)


def _settling(case: _Case) -> Verdict:
    if case.outcome.code is OutcomeCode.SUCCEEDED:
        return Verdict(NodePhase.DONE, case.effect, effects=case.outcome.effects or ())
    is_rejected = case.outcome.code is OutcomeCode.REJECTED
    return Verdict(NodePhase.FAILED if is_rejected else NodePhase.CLOSED, case.effect)


def _repeating(case: _Case) -> Verdict:
    match case.outcome.code:
        case OutcomeCode.SUCCEEDED:
            return Verdict(NodePhase.DONE, case.effect, effects=case.outcome.effects or ())
        case OutcomeCode.PENDING:
            return _pending(case)
        case OutcomeCode.DEFECT:
            return Verdict(NodePhase.FAILED, case.effect, halt=HaltReason.DEFECT)
        case OutcomeCode.REJECTED if case.settles_all:
            return Verdict(NodePhase.FAILED, Effect.ABSENT, is_null=True)
        case OutcomeCode.REJECTED:
            return Verdict(NodePhase.FAILED, case.effect, halt=HaltReason.UNRESOLVED_EFFECT)
        case OutcomeCode.UNKNOWN if case.same_count >= SAME_ANSWERS:
            return Verdict(NodePhase.FAILED, case.effect, halt=HaltReason.UNRESOLVED_EFFECT)
    return _again(case, HaltReason.COMPENSATION_RETRYING)


def _backward(case: _Case) -> Verdict:
    match case.outcome.code:
        case OutcomeCode.SUCCEEDED:
            return Verdict(NodePhase.DONE, case.effect, effects=_undone(case), is_null=_is_null(case))
        case OutcomeCode.PENDING:
            return _pending(case)
        case OutcomeCode.DEFECT:
            return Verdict(NodePhase.FAILED, case.effect, halt=HaltReason.DEFECT)
        case OutcomeCode.REJECTED:
            return Verdict(NodePhase.FAILED, case.effect, halt=HaltReason.UNRESOLVED_EFFECT)
        case OutcomeCode.UNKNOWN if not case.step.is_repeatable_in(case.direction) or case.same_count >= SAME_ANSWERS:
            return Verdict(NodePhase.FAILED, case.effect, halt=HaltReason.UNRESOLVED_EFFECT)
    return _again(case, HaltReason.COMPENSATION_RETRYING)


def _is_null(case: _Case) -> bool:
    """Whether the undo proved that an action of unknown effect had done nothing: its answer reports no movement."""
    return case.outcome.effects == () and case.state.node(action_of(case.step)).effect is not Effect.APPLIED


def _undone(case: _Case) -> tuple[EffectChange, ...]:
    """The effects of a compensation: as its answer reports them, else the mirror image of its action's.

    When the action's answer was lost, what it did is learned from what the undo gave back: both are recorded.
    """
    action = case.state.node(action_of(case.step))
    reported = case.outcome.effects
    if reported is None:
        return tuple(_turned(change) for change in action.effects)
    if action.effect is Effect.APPLIED:
        return reported
    return tuple(_turned(change) for change in reported) + reported


def _turned(change: EffectChange) -> EffectChange:
    return EffectChange(change.kind, change.unit, change.quantity, -change.sign)
