"""The facts of the journal: what happened to a saga, in the past tense, and nothing that can be computed from them.

A decision appends one journal entry, and an entry holds one or more of these values. `saga.core.fold.evolve` is the only
reader that changes state; `saga.store.codec` writes them as JSON objects whose `t` is the class's `kind`. A field that is
added later needs a default, so that older journals stay readable; a new class raises `MIN_READER_VERSION` of its entry.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from saga.core.outcomes import EffectChange, OutcomeCode, Payload, Request
from saga.core.states import HELD, Effect, HaltReason, NodePhase

READER_VERSION = 2
"""What this release can read; an entry that asks for more is left alone by its workers."""


@dataclass(frozen=True, slots=True)
class SagaAccepted:
    """Entry 1: the order is ours, and from here it ends or stands in front of a person."""

    kind: ClassVar[str] = "saga_accepted"
    at: datetime
    saga_id: str
    definition: str
    version: int
    fingerprint: str
    environment: str
    tenant: str
    entity: str
    run: int
    input: Payload
    deadline_at: datetime | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """The claim and the intent in one: no call leaves before this is committed."""

    kind: ClassVar[str] = "attempt_started"
    at: datetime
    node: str
    epoch: int
    owner: str
    deadline_at: datetime
    alone: bool = False
    """Runs by itself in its process, because it was open in processes that died."""
    key: str | None = None
    """The logical key; with the first attempt only, like the next two."""
    wire_key: str | None = None
    request: Request | None = None


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """The outcome of one attempt and what the machine made of it."""

    kind: ClassVar[str] = "attempt_ended"
    at: datetime
    node: str
    epoch: int
    code: OutcomeCode
    phase: NodePhase
    effect: Effect
    """What the node left in the world, this attempt included."""
    detail: str = ""
    next_at: datetime | None = None
    result: Payload | None = None
    effects: tuple[EffectChange, ...] = ()
    spent: bool = False
    """The budget is used up; attempts go on at the cap."""
    null: bool = False
    """A compensation whose participant proved that its action had done nothing."""
    lost: bool = False
    """The process that ran it is gone; nobody saw an outcome."""
    same_count: int = 0
    """How often in a row the participant has given this definite answer, which its connector does not list."""


@dataclass(frozen=True, slots=True)
class StepBroke:
    """The step's own code failed before anything was sent; the effect is what it was."""

    kind: ClassVar[str] = "step_broke"
    at: datetime
    node: str
    detail: str


@dataclass(frozen=True, slots=True)
class EvidenceKept:
    """A definite answer that came too late to count; it changes nothing and is kept for people."""

    kind: ClassVar[str] = "evidence_kept"
    at: datetime
    node: str
    epoch: int
    code: OutcomeCode
    detail: str = ""
    result: Payload | None = None


@dataclass(frozen=True, slots=True)
class CancelRequested:
    kind: ClassVar[str] = "cancel_requested"
    at: datetime
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class CancelRefused:
    """The pivot succeeded: forward only."""

    kind: ClassVar[str] = "cancel_refused"
    at: datetime


@dataclass(frozen=True, slots=True)
class RollbackRequested:
    """From here no action is sent, not even a repeat."""

    kind: ClassVar[str] = "rollback_requested"
    at: datetime
    cause: str
    """rejected, unknown, deadline, cancelled, or undone: the books of a participant have an undo of it."""
    step: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PlannedEntry:
    """One step of the rollback, in the order in which it runs."""

    step: str
    mode: str
    """`compensate`; `repeat` where the action is sent again first, because its effect is unknown, keys are serialised and its
    compensation is no undo by key; `settle` where a person must find out whether it was applied."""


@dataclass(frozen=True, slots=True)
class PlanFrozen:
    """The whole rollback, written down before the first compensation runs."""

    kind: ClassVar[str] = "plan_frozen"
    at: datetime
    entries: tuple[PlannedEntry, ...]


@dataclass(frozen=True, slots=True)
class SagaHalted:
    kind: ClassVar[str] = "saga_halted"
    at: datetime
    reason: HaltReason
    node: str | None = None
    detail: str = ""
    since: datetime | None = None
    """From when on the deadline stands still, where that is not `at`."""


@dataclass(frozen=True, slots=True)
class SagaResumed:
    kind: ClassVar[str] = "saga_resumed"
    at: datetime
    detail: str = ""
    is_past_return: bool = False
    """The participants' books have its step of no return, whatever the journal says."""
    absent: tuple[str, ...] = ()
    """Nodes of which the books have nothing and can get nothing any more, whether the journal has them as sent or not."""
    may_be_past_return: bool = False
    """Nobody knows whether its step of no return was sent in what the journal lacks."""


@dataclass(frozen=True, slots=True)
class SagaCompleted:
    kind: ClassVar[str] = "saga_completed"
    at: datetime
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SagaCompensated:
    kind: ClassVar[str] = "saga_compensated"
    at: datetime


Transition = (
    SagaAccepted
    | AttemptStarted
    | AttemptEnded
    | StepBroke
    | EvidenceKept
    | CancelRequested
    | CancelRefused
    | RollbackRequested
    | PlanFrozen
    | SagaHalted
    | SagaResumed
    | SagaCompleted
    | SagaCompensated
)
KINDS: dict[str, type[Transition]] = {cls.kind: cls for cls in Transition.__args__}


def min_reader_version(transitions: Iterable[Transition]) -> int:
    """Which release can read an entry of these: one that came before a word of it must leave the saga alone."""
    return 2 if any(_is_second(it) for it in transitions) else 1


def _is_second(it: Transition) -> bool:
    match it:
        case SagaHalted():
            return it.reason in HELD
        case AttemptEnded():
            return it.same_count > 0
        case PlanFrozen():
            return any(entry.mode == "repeat" for entry in it.entries)
        case _:
            return False
