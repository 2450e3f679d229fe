"""A rollback read again from its journal, without the engine: was the plan right, and was it followed (invariant I4).

Rules of this file
------------------
- The plan must be what DESIGN section 5 says: every compensatable step whose effect is applied or unknown at that moment,
  in reverse order of the definition. The effects are folded here from the outcomes alone; what the engine wrote about
  them is not read.
- A journal that was held and let go may lack its last sends. So every step of it that serialises keys counts
  as one whose effect is unknown, whether the journal has an attempt of it or not, unless it was rejected, or one before it under a
  key, or books said that it was not done.
- Compensations start in the order of the plan. One may overtake another only when that one is stuck, or waits for a stuck
  one, or when both were parallel and the definition undoes branches together.
- After `rollback_requested` no attempt of an action starts, but for the repeats that the frozen plan itself names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from saga.core import transitions as t
from saga.core.connector import Undo
from saga.core.definition import Kind, Saga, Step
from saga.core.outcomes import TOMBSTONED, OutcomeCode, effect_after
from saga.core.states import HELD, Direction, Effect, HaltReason, NodePhase


@dataclass
class _Walk:
    """One journal read again, without the engine: what each action left, what was compensated and what is stuck."""

    definition: Saga[Any]
    effects: dict[str, Effect] = field(default_factory=dict)
    open_actions: set[str] = field(default_factory=set)
    is_turned: bool = False
    plan: list[str] | None = None
    repeats: set[str] = field(default_factory=set)
    """Steps of the plan whose action is sent again before it is compensated."""
    settles: set[str] = field(default_factory=set)
    """Steps of the plan that a person must find out about."""
    begun: list[str] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    """Steps whose results later ones can ask for."""
    rejected: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    """Those whose "no" proves that nothing behind them was sent."""
    hold: HaltReason | None = None
    may_lack: bool = False
    absent: set[str] = field(default_factory=set)
    """Steps that were not done in what it lacks, as the books said."""
    stuck: set[str] = field(default_factory=set)

    def started(self, it: t.AttemptStarted) -> Iterator[str]:
        step, direction = self.definition.node(it.node)
        if direction is Direction.ACTION:
            self.open_actions.add(step.name)
            if not self.is_turned:
                return
            if step.name not in self.repeats:
                yield f"attempt {it.epoch} of {it.node} started after the rollback was requested"
                return
        if self.plan is None:
            yield f"{it.node} started before the plan was frozen"
        elif step.name not in self.plan:
            yield f"{it.node} started and is not in the frozen plan [{', '.join(self.plan)}]"
        elif step.name not in self.begun:
            self.begun.append(step.name)
            if ahead := self._ahead_of(step):
                yield f"{it.node} started before {', '.join(ahead)}, which stand before it in the frozen plan"

    def _ahead_of(self, step: Step) -> list[str]:
        """The entries before `step` that hold it up: all but what has ended, is stuck, waits for a stuck one, or was
        parallel to it where the definition undoes branches together."""
        plan = self.plan or []
        held: list[Step] = []
        ahead = []
        for name in plan[: plan.index(step.name)]:
            entry = self.definition.by_name[name]
            if name in self.done:
                continue
            if name in self.stuck or any(name in other.asks_for() for other in held):
                held.append(entry)
            elif not (self.definition.parallel_compensation and _were_parallel(entry, step)):
                ahead.append(name)
        return [*ahead, *(other.name for other in held if step.name in other.asks_for())]

    def ended(self, it: t.AttemptEnded) -> None:
        step, direction = self.definition.node(it.node)
        if direction is Direction.ACTION:
            self.open_actions.discard(step.name)
            self.effects[step.name] = effect_after(self.effects.get(step.name, Effect.ABSENT), it.code)
            is_no = it.code is OutcomeCode.REJECTED
            has_key = step.kind is not Kind.READONLY and step.serialises_in(Direction.ACTION)
            (self.rejected.add if is_no else self.rejected.discard)(step.name)
            (self.refused.add if is_no and has_key and it.detail != TOMBSTONED else self.refused.discard)(step.name)
            if it.result is not None:
                self.answered.add(step.name)
            if it.null:
                self.done.add(step.name)
            elif it.phase is NodePhase.DONE:
                self.stuck.discard(step.name)
            elif step.name in self.repeats and (it.spent or it.phase is NodePhase.FAILED):
                self.stuck.add(step.name)
        elif it.phase is NodePhase.DONE:
            self.done.add(step.name)
        elif it.spent or it.phase is NodePhase.FAILED:
            self.stuck.add(step.name)

    def broke(self, it: t.StepBroke) -> None:
        name, _, direction = it.node.rpartition(":")
        if direction == Direction.COMPENSATION or name in self.repeats:
            self.stuck.add(name)

    def frozen(self, it: t.PlanFrozen) -> Iterator[str]:
        wanted = []
        for step in reversed(self.definition.order):
            effect = Effect.UNKNOWN if step.name in self.open_actions else self.effects.get(step.name, Effect.ABSENT)
            if effect is Effect.ABSENT and self._may_be_lost(step):
                effect = Effect.UNKNOWN
            if step.kind is Kind.COMPENSATABLE and effect is not Effect.ABSENT:
                wanted.append(t.PlannedEntry(step.name, self._mode(step, effect)))
        if tuple(wanted) != it.entries:
            yield f"the frozen plan is {_listed(it.entries)} and must be {_listed(wanted)}"
        self.plan = [entry.step for entry in it.entries]
        self.settles = {entry.step for entry in it.entries if entry.mode == "settle"}
        self.stuck |= self.settles
        self.repeats = {entry.step for entry in it.entries if entry.mode == "repeat"}

    def resumed(self, it: t.SagaResumed) -> None:
        if self.hold is None:
            return
        self.may_lack |= not self.is_turned or self.hold is HaltReason.JOURNAL_DAMAGED
        self.hold = None
        self.absent = {node.rpartition(":")[0] for node in it.absent if node.endswith(f":{Direction.ACTION}")}
        self.open_actions -= self.absent
        self.done |= self.absent & (self.repeats | self.settles)
        self.effects |= dict.fromkeys(self.absent & self.effects.keys(), Effect.ABSENT)

    def _may_be_lost(self, step: Step) -> bool:
        is_refused = step.name in self.rejected | self.absent or bool(self.refused & step.ancestors)
        return self.may_lack and not is_refused and step.serialises_in(Direction.ACTION)

    def _mode(self, step: Step, effect: Effect) -> str:
        """By what its compensation is: what is no undo by key may run only when it is known what the action did. What was never
        sent as far as the journal knows can be sent only with the results that it asks for."""
        if effect is Effect.APPLIED or isinstance(step.compensation, Undo):
            return "compensate" if effect is Effect.APPLIED or step.serialises_in(Direction.ACTION) else "settle"
        asks_for = {*(() if step.name in self.effects else step.takes.sources), *step.compensation_takes.sources}
        is_askable = {source for source in asks_for if source} - {step.name} <= self.answered
        return "repeat" if step.serialises_in(Direction.ACTION) and is_askable else "settle"


def _were_parallel(one: Step, other: Step) -> bool:
    return one.name not in other.ancestors and other.name not in one.ancestors


def _listed(entries: Sequence[t.PlannedEntry]) -> str:
    return "[" + ", ".join(it.step if it.mode == "compensate" else f"{it.mode} {it.step}" for it in entries) + "]"


def plan_faults(definition: Saga[Any], journal: Sequence[t.Transition]) -> Iterator[str]:
    """Compensations are the frozen plan in its order, and the plan is what the journal makes of the definition."""
    walk = _Walk(definition)
    for it in journal:
        match it:
            case t.AttemptStarted():
                yield from walk.started(it)
            case t.AttemptEnded():
                walk.ended(it)
            case t.StepBroke():
                walk.broke(it)
            case t.RollbackRequested():
                walk.is_turned = True
            case t.SagaHalted():
                walk.hold = it.reason if it.reason in HELD else None
            case t.SagaResumed():
                walk.resumed(it)
            case t.PlanFrozen():
                yield from walk.frozen(it)
            case t.SagaCompensated():
                left = [name for name in walk.plan or [] if name not in walk.done]
                if walk.plan is None or left:
                    yield f"ended compensated {'without ' + ', '.join(left) if left else 'without a plan'}"
            case _:
                pass  # says nothing of a rollback
