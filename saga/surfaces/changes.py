"""A journal as a person follows it: one change for each entry that moves the saga, its steps or what a customer is told.

Rules of this file: the fold of the journal is carried along entry by entry, so whoever begins at entry 1 and whoever comes
back later see the same changes under the same numbers. An entry that changes nothing (an answer kept as evidence) is no
change. No payloads: what is said of a step is its phase, its outcome and the detail that the journal has for people.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

from saga.core import transitions as t
from saga.core.fold import SagaState, accepted, evolve
from saga.core.outcomes import OutcomeCode
from saga.core.states import ENDED, Direction, NodePhase, SagaStatus
from saga.errors import IllegalTransition
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.view import OrderView, order_view
from saga.store.codec import decode
from saga.store.journal import JournalEntry
from saga.store.port import SagaRow
from saga.surfaces.partly import UNREADABLE, state_of
from saga.surfaces.reading import CancelReading, CauseReading, HaltReading, PlanEntryReading, read_cause


class ChangeKind(StrEnum):
    """What an entry is called by: the weightiest of its facts, the first of this list that it holds."""

    COMPLETED = "completed"
    COMPENSATED = "compensated"
    HALTED = "halted"
    ROLLBACK = "rollback"
    CANCEL = "cancel"
    RESUMED = "resumed"
    ACCEPTED = "accepted"
    STEP = "step"
    UNREADABLE = "unreadable"


_KIND_OF: dict[type[t.Transition], ChangeKind] = {
    t.SagaCompleted: ChangeKind.COMPLETED,
    t.SagaCompensated: ChangeKind.COMPENSATED,
    t.SagaHalted: ChangeKind.HALTED,
    t.RollbackRequested: ChangeKind.ROLLBACK,
    t.PlanFrozen: ChangeKind.ROLLBACK,
    t.CancelRequested: ChangeKind.CANCEL,
    t.CancelRefused: ChangeKind.CANCEL,
    t.SagaResumed: ChangeKind.RESUMED,
    t.SagaAccepted: ChangeKind.ACCEPTED,
    t.AttemptStarted: ChangeKind.STEP,
    t.AttemptEnded: ChangeKind.STEP,
    t.StepBroke: ChangeKind.STEP,
}
_WEIGHT = {kind: place for place, kind in enumerate(ChangeKind)}


class StepChange(BaseModel):
    """One step in one direction, after what happened to it."""

    step: str
    direction: Direction
    phase: NodePhase
    attempt: int = Field(description="the number of the attempt that this is about; 0 before the first")
    outcome: OutcomeCode | None = Field(default=None, description="how the attempt ended; null while it is open")
    detail: str
    next_at: datetime | None = Field(default=None, description="when it is tried again")


class Change(BaseModel):
    """One entry of the journal; what it does not touch is left out or null."""

    run: int = Field(description="2 and more: the runs before it were rolled back")
    seq: int
    at: datetime
    kind: ChangeKind
    status: OrderView | None = Field(
        default=None, description="what a customer is told; null for a saga that fulfils no order"
    )
    saga_status: SagaStatus
    steps: list[StepChange]
    cause: CauseReading | None = Field(
        default=None, description="why it turned round, in the entry that turned it round"
    )
    cancel: CancelReading | None = Field(
        default=None, description="in the entry that asked for a cancel or refused one"
    )
    plan: list[PlanEntryReading] | None = Field(
        default=None, description="the whole rollback, in the entry that froze it"
    )
    halt: HaltReading | None = Field(default=None, description="why it stands still, in the entry that halted it")
    warnings: list[str] | None = Field(default=None, description="what a completed saga left undone")
    unreadable: str | None = Field(default=None, description="why this entry cannot be read here; none follows")


class Narration:
    """The changes of one saga, entry after entry, each handed over once. An entry that cannot be read is the last of them."""

    def __init__(self, row: SagaRow) -> None:
        self.state: SagaState | None = None
        self.is_unreadable = False
        self._row = row

    @property
    def is_ended(self) -> bool:
        """Whether no change follows, though evidence may: the saga has ended, or its journal cannot be read on."""
        return self.is_unreadable or (self.state is not None and self.state.status in ENDED)

    def take(self, entries: Iterable[JournalEntry]) -> Iterator[Change]:
        """The changes of the next entries."""
        for entry in entries:
            if self.is_unreadable:
                return
            try:
                change = self._next(entry)
            except UNREADABLE as error:
                self.is_unreadable = True
                change = self._unreadable(entry, str(error))
            if change is not None:
                yield change

    @property
    def shown(self) -> SagaState:
        """The saga as of the last entry that was read; before the first, as its row has it."""
        return self.state or state_of(self._row)

    def _unreadable(self, entry: JournalEntry, why: str) -> Change:
        return _change(entry, ChangeKind.UNREADABLE, (), self.shown, []).model_copy(update={"unreadable": why})

    def _next(self, entry: JournalEntry) -> Change | None:
        facts = decode(entry.body)
        before, after, steps = self.state, self.state, []
        for fact in facts:
            after = _after(after, fact)
            if isinstance(fact, t.AttemptStarted | t.AttemptEnded | t.StepBroke):
                steps.append(_step(after, fact.node))
        self.state = after
        kinds = [_KIND_OF[type(fact)] for fact in facts if type(fact) in _KIND_OF]
        if not kinds or self.state is None:
            return None
        return _change(
            entry, min(kinds, key=_WEIGHT.__getitem__), facts, self.state, steps + _closed(before, self.state)
        )


def _after(state: SagaState | None, fact: t.Transition) -> SagaState:
    if state is not None:
        return evolve(state, fact)
    if not isinstance(fact, t.SagaAccepted):
        raise IllegalTransition("?", "nothing", fact.kind)
    return accepted(fact)


def _step(state: SagaState, name: str) -> StepChange:
    node = state.node(name)
    step, _, direction = name.rpartition(":")
    is_open = node.phase is NodePhase.OPEN
    return StepChange(
        step=step,
        direction=Direction(direction),
        phase=node.phase,
        attempt=node.epoch,
        outcome=None if is_open else node.code,
        detail="" if is_open else node.detail,
        next_at=node.next_at,
    )


def _closed(before: SagaState | None, after: SagaState) -> list[StepChange]:
    """The steps that were waiting for another try when the saga turned round: there will be none."""
    return [
        _step(after, name)
        for name, node in after.nodes.items()
        if node.phase is NodePhase.CLOSED and before is not None and before.node(name).phase is not NodePhase.CLOSED
    ]


def _change(
    entry: JournalEntry, kind: ChangeKind, facts: Sequence[t.Transition], state: SagaState, steps: list[StepChange]
) -> Change:
    seen: set[type[Any]] = {type(fact) for fact in facts}
    cancel, halt = state.cancel, state.halt
    return Change(
        run=state.run,
        seq=entry.seq,
        at=entry.at,
        kind=kind,
        status=order_view(state) if state.definition == fulfil_order.name else None,
        saga_status=state.status,
        steps=steps,
        cause=read_cause(state.cause) if t.RollbackRequested in seen else None,
        cancel=CancelReading(at=cancel.at, actor=cancel.actor, reason=cancel.reason, is_refused=state.is_cancel_refused)
        if cancel and seen & {t.CancelRequested, t.CancelRefused}
        else None,
        plan=[PlanEntryReading(step=it.step, mode=it.mode, state=it.state) for it in state.plan]
        if state.plan is not None and t.PlanFrozen in seen
        else None,
        halt=HaltReading(
            reason=halt.reason, at=halt.at, node=halt.node, detail=halt.detail, heals_itself=halt.heals_itself
        )
        if halt and t.SagaHalted in seen
        else None,
        warnings=list(state.warnings) if t.SagaCompleted in seen else None,
    )
