"""Statuses, halt reasons, node states and the tables that say which may follow which.

Rules of this file
------------------
There is one enum per concept and no boolean beside it. A transition is legal when its (status, kind) stands in
`STATUS_AFTER`; a missing key *is* the illegal transition, and `saga.core.machine.evolve` raises `IllegalTransition` for
it before it changes anything. `docs/states.md` is generated from these tables, and a test compares the two.

A saga is `running` while it goes forward and `compensating` from the moment a rollback was requested: from then on no
action is sent, not even a repeat. `halted` stands in front of a person, or in front of a participant that is down; it
remembers the status it came from and goes back there. `completed` and `compensated` are the ends.

A *node* is one step instance in one direction (`reserve_inventory:a`, `reserve_inventory:c`). Its states:

  waiting ──started──▶ open ──┬─ succeeded ─▶ done
     ▲                        ├─ rejected, defect, given up ─▶ failed
     └────── due again ◀──────┴─ not_sent, throttled, unknown ─▶ backoff
                              └─ pending ─▶ pending (settled by its deadline)

A node that is in backoff when the saga turns round is `closed` as it stands: its effect is whatever its attempts left.
"""

from enum import StrEnum


class SagaStatus(StrEnum):
    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    HALTED = "halted"


class HaltReason(StrEnum):
    """Why a saga stands still. The first two heal themselves: the engine keeps trying at the cap."""

    PARTICIPANT_DOWN = "participant_down"
    COMPENSATION_RETRYING = "compensation_retrying"
    DEFECT = "defect"
    UNRESOLVED_EFFECT = "unresolved_effect"
    PIVOT_UNRESOLVED = "pivot_unresolved"
    POISON = "poison"
    RETRIABLE_REJECTED = "retriable_rejected"
    JOURNAL_DAMAGED = "journal_damaged"
    """The journal is shorter than its saga row remembers; nothing of it is sent any more."""
    RESTORED = "restored"
    """A backup was restored: what happened after it is not in the journal. Nothing is sent until somebody lets it go."""


HELD = frozenset({HaltReason.JOURNAL_DAMAGED, HaltReason.RESTORED})
"""Nothing moves, in no direction, until a person lets the saga go: what its journal says may not be all that happened."""
SELF_HEALING = frozenset({HaltReason.PARTICIPANT_DOWN, HaltReason.COMPENSATION_RETRYING})
ENDED = frozenset({SagaStatus.COMPLETED, SagaStatus.COMPENSATED})


class NodePhase(StrEnum):
    WAITING = "waiting"
    OPEN = "open"
    BACKOFF = "backoff"
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    CLOSED = "closed"


class Direction(StrEnum):
    ACTION = "a"
    COMPENSATION = "c"


class Effect(StrEnum):
    """What a node left in the world, as far as anybody can know: a fold over all its attempts."""

    ABSENT = "absent"
    UNKNOWN = "unknown"
    APPLIED = "applied"


class EntryState(StrEnum):
    """One entry of the frozen plan; every entry ends as exactly one of the last two. Null: the undo proved that its
    action, whose answer was lost, had done nothing."""

    OPEN = "open"
    STUCK = "stuck"
    COMPENSATED = "compensated"
    NULL = "null"


# (status, kind of transition) -> status after it. `saga_resumed` goes back to the status that was halted, and None is
# "before entry 1". A pair that is not here is illegal.
STATUS_AFTER: dict[tuple[SagaStatus | None, str], SagaStatus] = {
    (None, "saga_accepted"): SagaStatus.RUNNING,
    (SagaStatus.RUNNING, "attempt_started"): SagaStatus.RUNNING,
    (SagaStatus.RUNNING, "attempt_ended"): SagaStatus.RUNNING,
    (SagaStatus.RUNNING, "step_broke"): SagaStatus.RUNNING,
    (SagaStatus.RUNNING, "evidence_kept"): SagaStatus.RUNNING,
    (SagaStatus.RUNNING, "cancel_requested"): SagaStatus.RUNNING,
    (SagaStatus.RUNNING, "cancel_refused"): SagaStatus.RUNNING,
    (SagaStatus.RUNNING, "rollback_requested"): SagaStatus.COMPENSATING,
    (SagaStatus.RUNNING, "saga_halted"): SagaStatus.HALTED,
    (SagaStatus.RUNNING, "saga_completed"): SagaStatus.COMPLETED,
    (SagaStatus.COMPENSATING, "attempt_started"): SagaStatus.COMPENSATING,
    (SagaStatus.COMPENSATING, "attempt_ended"): SagaStatus.COMPENSATING,
    (SagaStatus.COMPENSATING, "step_broke"): SagaStatus.COMPENSATING,
    (SagaStatus.COMPENSATING, "evidence_kept"): SagaStatus.COMPENSATING,
    (SagaStatus.COMPENSATING, "plan_frozen"): SagaStatus.COMPENSATING,
    (SagaStatus.COMPENSATING, "saga_halted"): SagaStatus.HALTED,
    (SagaStatus.COMPENSATING, "saga_compensated"): SagaStatus.COMPENSATED,
    (SagaStatus.HALTED, "attempt_started"): SagaStatus.HALTED,
    (SagaStatus.HALTED, "attempt_ended"): SagaStatus.HALTED,
    (SagaStatus.HALTED, "step_broke"): SagaStatus.HALTED,
    (SagaStatus.HALTED, "evidence_kept"): SagaStatus.HALTED,
    (SagaStatus.HALTED, "cancel_requested"): SagaStatus.HALTED,
    (SagaStatus.HALTED, "cancel_refused"): SagaStatus.HALTED,
    (SagaStatus.HALTED, "rollback_requested"): SagaStatus.COMPENSATING,
    (SagaStatus.HALTED, "saga_halted"): SagaStatus.HALTED,
    (SagaStatus.HALTED, "saga_resumed"): SagaStatus.RUNNING,
    (SagaStatus.COMPLETED, "evidence_kept"): SagaStatus.COMPLETED,
    (SagaStatus.COMPENSATED, "evidence_kept"): SagaStatus.COMPENSATED,
}
