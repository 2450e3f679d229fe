"""State is the fold of the journal: `evolve` is the only code that changes it, `replay` is `evolve` over a journal.

`evolve` first looks the transition up in the table (`saga.core.states.STATUS_AFTER`) and raises `IllegalTransition`
before it touches anything, so a refused transition leaves the state as it was. It makes no decision and knows no
definition: whatever a transition implies was written into it by `saga.core.machine.decide`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from saga.core import transitions as t
from saga.core.outcomes import EffectChange, OutcomeCode, Payload, Request
from saga.core.states import (
    HELD,
    SELF_HEALING,
    STATUS_AFTER,
    Direction,
    Effect,
    EntryState,
    HaltReason,
    NodePhase,
    SagaStatus,
)
from saga.errors import IllegalTransition

CLOCKS_DIFFER_S = 2.0
"""By less than this two processes may read the time of one database."""
FREE_CODES = frozenset({OutcomeCode.NOT_SENT, OutcomeCode.THROTTLED})
"""Outcomes that cost no attempt, because the participant did no work."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """One step instance in one direction."""

    phase: NodePhase = NodePhase.WAITING
    epoch: int = 0
    tries: int = 0
    """Attempts that cost one, out of the retry budget."""
    effect: Effect = Effect.ABSENT
    owner: str = ""
    deadline_at: datetime | None = None
    first_at: datetime | None = None
    next_at: datetime | None = None
    ended_at: datetime | None = None
    alone: bool = False
    suspect_count: int = 0
    """In how many processes that died it was open."""
    lone_death_count: int = 0
    """How many of those had nothing else open."""
    spent: bool = False
    key: str = ""
    wire_key: str = ""
    request: Request | None = None
    code: OutcomeCode | None = None
    detail: str = ""
    same_count: int = 0
    """How often in a row it was answered so."""
    result: Payload | None = None
    effects: tuple[EffectChange, ...] = ()

    def again_at(self, at: datetime) -> datetime | None:
        """When it is tried again, as of `at`. Well before the end of its last attempt the clock was set back, and how much of the wait
        has passed is not known: it is tried at once, since nothing waits for longer than was asked for."""
        if self.next_at is None or self.ended_at is None or self.ended_at - at <= timedelta(seconds=CLOCKS_DIFFER_S):
            return self.next_at
        return at

    @property
    def has_no_answer(self) -> bool:
        """Whether nobody knows what came of it, or it was never sent: books may say that it was not done."""
        is_lost = self.phase is NodePhase.FAILED and self.code is OutcomeCode.UNKNOWN
        return is_lost or self.phase in (NodePhase.WAITING, NodePhase.OPEN, NodePhase.BACKOFF, NodePhase.PENDING)


@dataclass(frozen=True, slots=True)
class PlanEntry:
    """One entry of the frozen plan and how far it is."""

    step: str
    mode: str
    state: EntryState


@dataclass(frozen=True, slots=True)
class Halt:
    """Why the saga stands still and where it goes back to."""

    reason: HaltReason
    at: datetime
    resumes: SagaStatus
    node: str | None
    detail: str
    under: "Halt | None" = None
    """What it was halted for when it was held."""

    @property
    def heals_itself(self) -> bool:
        return self.reason in SELF_HEALING

    @property
    def is_hold(self) -> bool:
        return self.reason in HELD


@dataclass(frozen=True, slots=True)
class SagaState:
    """Everything the journal says about one saga."""

    saga_id: str
    definition: str
    version: int
    fingerprint: str
    environment: str
    tenant: str
    entity: str
    run: int
    input: Payload
    accepted_at: datetime
    status: SagaStatus = SagaStatus.RUNNING
    nodes: dict[str, NodeState] = field(default_factory=dict)
    cause: t.RollbackRequested | None = None
    plan: tuple[PlanEntry, ...] | None = None
    halt: Halt | None = None
    cancel: t.CancelRequested | None = None
    is_cancel_refused: bool = False
    may_lack: bool = False
    """Whether its journal may lack sends of actions: it was held, and has been let go."""
    absent: frozenset[str] = frozenset()
    """Nodes that were not sent in what the journal lacks: the books say so."""
    is_past_return: bool = False
    """Whether the participants' books have its step of no return, whatever the journal says."""
    may_be_past_return: bool = False
    """Whether nobody knows if they have: then a cancel and the deadline wait for its answer. A "no" before it turns the saga round."""
    deadline_at: datetime | None = None
    traceparent: str | None = None
    warnings: tuple[str, ...] = ()
    ended_at: datetime | None = None

    @property
    def is_held(self) -> bool:
        """Whether nothing of it may move, since its journal may not be whole."""
        return self.halt is not None and self.halt.is_hold

    def node(self, node: str) -> NodeState:
        """The state of a node; one that was never touched waits."""
        return self.nodes.get(node, _UNTOUCHED)

    def net_effects(self) -> dict[tuple[str, str], int]:
        """What is left in the world by (kind, unit), as reported; a compensated saga has none."""
        net: dict[tuple[str, str], int] = {}
        for node in self.nodes.values():
            for change in node.effects:
                key = (change.kind, change.unit)
                net[key] = net.get(key, 0) + change.sign * change.quantity
        return {key: quantity for key, quantity in net.items() if quantity}


_UNTOUCHED = NodeState()


def accepted(first: t.SagaAccepted) -> SagaState:
    """The state after entry 1."""
    return SagaState(
        saga_id=first.saga_id,
        definition=first.definition,
        version=first.version,
        fingerprint=first.fingerprint,
        environment=first.environment,
        tenant=first.tenant,
        entity=first.entity,
        run=first.run,
        input=first.input,
        accepted_at=first.at,
        deadline_at=first.deadline_at,
        traceparent=first.traceparent,
    )


def replay(journal: Iterable[t.Transition]) -> SagaState:
    """The state that a journal's transitions add up to; the same on every machine."""
    rest = iter(journal)
    first = next(rest, None)
    if not isinstance(first, t.SagaAccepted):
        raise IllegalTransition("?", "nothing", first.kind if first else "an empty journal")
    state = accepted(first)
    for transition in rest:
        state = evolve(state, transition)
    return state


def evolve(state: SagaState, transition: t.Transition) -> SagaState:
    """The state after one more transition. Raises `IllegalTransition` and changes nothing when the table forbids it."""
    after = STATUS_AFTER.get((state.status, transition.kind))
    if after is None:
        raise IllegalTransition(state.saga_id, state.status, transition.kind)
    if after is not state.status:
        state = replace(state, status=after)
    return _APPLY[transition.kind](state, transition)


def _with_node(state: SagaState, name: str, node: NodeState, **changes: Any) -> SagaState:
    return replace(state, nodes={**state.nodes, name: node}, **changes)


def _attempt_started(state: SagaState, it: t.AttemptStarted) -> SagaState:
    before = state.node(it.node)
    node = replace(
        before,
        phase=NodePhase.OPEN,
        epoch=it.epoch,
        owner=it.owner,
        deadline_at=it.deadline_at,
        next_at=None,
        first_at=before.first_at or it.at,
        alone=it.alone,
        key=it.key or before.key,
        wire_key=it.wire_key or before.wire_key,
        request=it.request or before.request,
    )
    return _with_node(state, it.node, node)


def _attempt_ended(state: SagaState, it: t.AttemptEnded) -> SagaState:
    before = state.node(it.node)
    node = replace(
        before,
        phase=it.phase,
        tries=before.tries + (it.code not in FREE_CODES),
        effect=it.effect,
        deadline_at=None,
        next_at=it.next_at,
        ended_at=it.at,
        suspect_count=before.suspect_count + it.lost,
        lone_death_count=before.lone_death_count + (it.lost and before.alone),
        spent=it.spent,
        code=it.code,
        detail=it.detail,
        same_count=it.same_count,
        result=it.result or before.result,
        effects=before.effects + it.effects,
    )
    return _mark_entry(_with_node(state, it.node, node), it.node, node, is_null=it.null)


def _mark_entry(state: SagaState, name: str, node: NodeState, *, is_null: bool = False) -> SagaState:
    step, _, direction = name.rpartition(":")
    if state.plan is None:
        return state
    if is_null:
        mark = EntryState.NULL
    elif node.phase is NodePhase.DONE:
        # An action that was repeated has its answer at last: now its compensation can run.
        mark = EntryState.COMPENSATED if direction == Direction.COMPENSATION else EntryState.OPEN
    else:
        mark = EntryState.STUCK if node.spent or node.phase is NodePhase.FAILED else EntryState.OPEN
    plan = tuple(replace(entry, state=mark) if entry.step == step else entry for entry in state.plan)
    return replace(state, plan=plan)


def _step_broke(state: SagaState, it: t.StepBroke) -> SagaState:
    node = replace(
        state.node(it.node), phase=NodePhase.FAILED, code=OutcomeCode.DEFECT, detail=it.detail, ended_at=it.at
    )
    return _mark_entry(_with_node(state, it.node, node), it.node, node)


def _evidence_kept(state: SagaState, _: t.EvidenceKept) -> SagaState:
    return state


def _cancel_requested(state: SagaState, it: t.CancelRequested) -> SagaState:
    return replace(state, cancel=it)


def _cancel_refused(state: SagaState, _: t.CancelRefused) -> SagaState:
    return replace(state, is_cancel_refused=True)


def _rollback_requested(state: SagaState, it: t.RollbackRequested) -> SagaState:
    nodes = dict(state.nodes)
    for name, node in state.nodes.items():
        if node.phase is NodePhase.BACKOFF or node.phase is NodePhase.PENDING:
            nodes[name] = replace(node, phase=NodePhase.CLOSED, next_at=None)
    return replace(state, cause=it, halt=None, nodes=nodes)


def _plan_frozen(state: SagaState, it: t.PlanFrozen) -> SagaState:
    first = {"compensate": EntryState.OPEN, "repeat": EntryState.OPEN, "settle": EntryState.STUCK}
    nodes = dict(state.nodes)
    for name in (f"{entry.step}:{Direction.ACTION}" for entry in it.entries if entry.mode == "repeat"):
        nodes[name] = replace(state.node(name), phase=NodePhase.BACKOFF, next_at=it.at, spent=False, same_count=0)
    plan = tuple(PlanEntry(entry.step, entry.mode, first[entry.mode]) for entry in it.entries)
    return replace(state, plan=plan, nodes=nodes)


def _saga_halted(state: SagaState, it: t.SagaHalted) -> SagaState:
    resumes = SagaStatus.RUNNING if state.cause is None else SagaStatus.COMPENSATING
    since = state.halt.at if state.halt else (it.since or it.at)
    under = state.halt if it.reason in HELD else None
    return replace(state, halt=Halt(it.reason, since, resumes, it.node, it.detail, under))


def _saga_resumed(state: SagaState, it: t.SagaResumed) -> SagaState:
    if state.halt is None:
        raise IllegalTransition(state.saga_id, state.status, it.kind)
    deadline_at = state.deadline_at + (it.at - state.halt.at) if state.deadline_at else None
    nodes = dict(state.nodes)
    for name in it.absent:
        if state.node(name).phase is not NodePhase.WAITING:
            nodes[name] = replace(
                nodes[name], phase=NodePhase.BACKOFF, effect=Effect.ABSENT, deadline_at=None, next_at=it.at
            )
    return replace(
        state,
        nodes=nodes,
        plan=_without(state.plan, it.absent),
        status=state.halt.resumes,
        halt=None,
        deadline_at=deadline_at,
        may_lack=state.may_lack
        or (state.halt.is_hold and (state.cause is None or state.halt.reason is HaltReason.JOURNAL_DAMAGED)),
        is_past_return=state.is_past_return or it.is_past_return,
        absent=frozenset(it.absent) if state.halt.is_hold else state.absent,
        may_be_past_return=it.may_be_past_return if state.halt.is_hold else state.may_be_past_return,
    )


def _without(plan: tuple[PlanEntry, ...] | None, absent: tuple[str, ...]) -> tuple[PlanEntry, ...] | None:
    """The plan, in which there is nothing to do for an action of unknown effect that was not done after all."""
    if plan is None:
        return None
    return tuple(
        replace(entry, state=EntryState.NULL)
        if entry.mode != "compensate" and f"{entry.step}:{Direction.ACTION}" in absent
        else entry
        for entry in plan
    )


def _saga_completed(state: SagaState, it: t.SagaCompleted) -> SagaState:
    return replace(state, warnings=it.warnings, ended_at=it.at)


def _saga_compensated(state: SagaState, it: t.SagaCompensated) -> SagaState:
    return replace(state, ended_at=it.at)


_APPLY: dict[str, Callable[[SagaState, Any], SagaState]] = {
    "attempt_started": _attempt_started,
    "attempt_ended": _attempt_ended,
    "step_broke": _step_broke,
    "evidence_kept": _evidence_kept,
    "cancel_requested": _cancel_requested,
    "cancel_refused": _cancel_refused,
    "rollback_requested": _rollback_requested,
    "plan_frozen": _plan_frozen,
    "saga_halted": _saga_halted,
    "saga_resumed": _saga_resumed,
    "saga_completed": _saga_completed,
    "saga_compensated": _saga_compensated,
}
