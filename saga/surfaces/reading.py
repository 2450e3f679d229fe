"""What a saga, its journal and an order look like as JSON: one shape for the HTTP API and for `-o json`.

Rules of this file: functions of values that were already read, no store and no clock. Personal data stays in the
journal: of a payload (input, request body, result) the shape holds codec, key id, length and sha256, so that two people
can say whether they speak of the same bytes without showing them. Details are texts for people: business codes, never
payloads. Fields are added, never renamed or taken away.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from saga.clock import seconds_between
from saga.core.definition import Saga
from saga.core.fold import NodeState, SagaState
from saga.core.outcomes import TOMBSTONED, OutcomeCode, business_code
from saga.core.plan import action_of, compensation_of
from saga.core.states import Direction, Effect, EntryState, HaltReason, NodePhase, SagaStatus
from saga.core.transitions import RollbackRequested
from saga.store.port import SagaRow, WorkerRow
from saga.surfaces.partly import UnreadableReading
from saga.surfaces.proxies import Link

UNDONE_BEFORE = f"this was undone before, nothing is done again ({TOMBSTONED})"
"""What a participant means by its tombstone; the journal keeps the code."""


class SagaSummary(BaseModel):
    """One saga in a list: what its row says."""

    saga_id: str
    environment: str
    tenant: str
    definition: str
    version: int
    entity: str
    run: int
    status: SagaStatus
    halt_reason: HaltReason | None
    accepted_at: datetime
    due_at: datetime | None
    ended_at: datetime | None


class WorkerReading(BaseModel):
    """One worker whose row is open, at the instant of the database at which it was read."""

    worker_id: str
    host: str
    pid: int
    queues: list[str]
    lease_until: datetime
    is_alive: bool = Field(description="its lease has not run out; a row stays open until another worker closes it")
    gone_s: float | None = Field(description="seconds since the lease ran out")
    environment: str | None = Field(default=None, description="null: whose sagas it runs is not known")
    tenants: list[str] | None = Field(default=None, description="whose sagas it runs; null: every tenant's")


class HaltReading(BaseModel):
    """Why the saga stands still."""

    reason: HaltReason
    at: datetime
    node: str | None
    detail: str
    heals_itself: bool


class CauseReading(BaseModel):
    """Why the saga turned round."""

    cause: str
    at: datetime
    step: str | None
    detail: str = Field(description="of a rejection its business code")
    reason: str = Field(default="", description="of a rejection what the participant says beside its code")


class CancelReading(BaseModel):
    """Who asked for a cancel, and whether it came too late."""

    at: datetime
    actor: str
    reason: str
    is_refused: bool


class PlanEntryReading(BaseModel):
    """One entry of the frozen plan."""

    step: str
    mode: str
    state: EntryState


class NodeReading(BaseModel):
    """One step in one direction."""

    node: str
    step: str
    direction: Direction
    kind: str | None = Field(description="null when this process does not have the definition")
    phase: NodePhase
    attempts: int = Field(description="how often it was started")
    tries: int = Field(description="attempts that cost one, out of the retry budget")
    outcome: OutcomeCode | None
    detail: str
    effect: Effect
    started_at: datetime | None
    ended_at: datetime | None
    took_s: float | None = Field(description="from the first start to the last outcome")
    next_at: datetime | None
    deadline_at: datetime | None
    owner: str | None = Field(description="the worker that holds the open attempt")


class NetEffect(BaseModel):
    """What is left in the world of one kind and unit, as the participants reported it."""

    kind: str
    unit: str
    quantity: int


class SagaReading(BaseModel):
    """One saga as of journal entry `seq`."""

    saga_id: str
    definition: str
    version: int
    environment: str
    tenant: str
    entity: str
    run: int
    seq: int
    status: SagaStatus
    accepted_at: datetime
    ended_at: datetime | None
    deadline_at: datetime | None
    traceparent: str | None
    halt: HaltReading | None
    cause: CauseReading | None
    cancel: CancelReading | None
    plan: list[PlanEntryReading] | None
    nodes: list[NodeReading]
    net_effects: list[NetEffect]
    warnings: list[str]
    unreadable: UnreadableReading | None = Field(default=None, description="what of the journal cannot be read here")


class SagaLinks(BaseModel):
    saga: Link
    journal: Link
    cancel: Link = Field(description="POST: its rollback, before the point of no return")


def read_row(row: SagaRow) -> SagaSummary:
    """A row of the list."""
    return SagaSummary(**{name: getattr(row, name) for name in SagaSummary.model_fields})


def read_worker(row: WorkerRow, lease_until: datetime, now: datetime) -> WorkerReading:
    """A worker as of `now`, which is the database's clock as its lease is."""
    is_alive = row.lives(lease_until, now)
    return WorkerReading(
        worker_id=row.worker_id,
        host=row.host,
        pid=row.pid,
        queues=list(row.queues),
        lease_until=lease_until,
        is_alive=is_alive,
        gone_s=None if is_alive else round(seconds_between(lease_until, now), 3),
        environment=row.scope.environment,
        tenants=None if row.scope.tenants is None else list(row.scope.tenants),
    )


def participant_of(definition: Saga[Any] | None, step_name: str, direction: Direction) -> str | None:
    """Whom a step calls in that direction; None when it calls nobody, and when the definition is not at hand."""
    step = definition.by_name.get(step_name) if definition else None
    connector = step.connector_in(direction) if step else None
    return connector.name if connector else None


def read_saga(
    state: SagaState, seq: int, definition: Saga[Any] | None, unreadable: UnreadableReading | None = None
) -> SagaReading:
    """The whole saga. Without its definition the nodes that were never touched are not known and not listed."""
    halt, cancel = state.halt, state.cancel
    return SagaReading(
        saga_id=state.saga_id,
        definition=state.definition,
        version=state.version,
        environment=state.environment,
        tenant=state.tenant,
        entity=state.entity,
        run=state.run,
        seq=seq,
        status=state.status,
        accepted_at=state.accepted_at,
        ended_at=state.ended_at,
        deadline_at=state.deadline_at,
        traceparent=state.traceparent,
        halt=halt
        and HaltReading(
            reason=halt.reason, at=halt.at, node=halt.node, detail=halt.detail, heals_itself=halt.heals_itself
        ),
        cause=read_cause(state.cause),
        cancel=cancel
        and CancelReading(at=cancel.at, actor=cancel.actor, reason=cancel.reason, is_refused=state.is_cancel_refused),
        plan=_plan(state),
        nodes=[_node(name, state.node(name), definition) for name in _node_names(state, definition)],
        net_effects=[
            NetEffect(kind=kind, unit=unit, quantity=quantity)
            for (kind, unit), quantity in sorted(state.net_effects().items())
        ],
        warnings=list(state.warnings),
        unreadable=unreadable,
    )


def saga_links(saga_id: str) -> SagaLinks:
    """Where the HTTP API shows a saga and its journal, and cancels it."""
    saga = f"/v1/sagas/{saga_id}"
    return SagaLinks(saga=saga, journal=f"{saga}/journal", cancel=f"{saga}/cancel")


def read_cause(cause: RollbackRequested | None) -> CauseReading | None:
    """Why the saga turned round, if it did."""
    if cause is None:
        return None
    detail, reason = UNDONE_BEFORE if cause.detail == TOMBSTONED else cause.detail, ""
    if cause.cause == OutcomeCode.REJECTED:
        detail, _, reason = detail.partition(": ")
    return CauseReading(cause=cause.cause, at=cause.at, step=cause.step, detail=detail, reason=reason)


def cause_of(cause: RollbackRequested) -> str:
    """What a rollback is counted as: the business code of a rejection, else `cancelled`, `deadline`: the words of the audit's oracle."""
    return business_code(cause.detail) if cause.cause == OutcomeCode.REJECTED else cause.cause


def _plan(state: SagaState) -> list[PlanEntryReading] | None:
    if state.plan is None:
        return None
    return [PlanEntryReading(step=entry.step, mode=entry.mode, state=entry.state) for entry in state.plan]


def _node_names(state: SagaState, definition: Saga[Any] | None) -> list[str]:
    """Actions in the order of the definition, compensations in that of the plan, then what only the journal knows."""
    actions = [action_of(step) for step in definition.order] if definition else []
    compensations = [
        compensation_of(definition.by_name[entry.step])
        for entry in state.plan or ()
        if definition and entry.step in definition.by_name
    ]
    return list(dict.fromkeys([*actions, *compensations, *state.nodes]))


def _node(name: str, node: NodeState, definition: Saga[Any] | None) -> NodeReading:
    step_name, _, direction = name.rpartition(":")
    step = definition.by_name.get(step_name) if definition else None
    took_s = seconds_between(node.first_at, node.ended_at) if node.ended_at and node.first_at else None
    return NodeReading(
        node=name,
        step=step_name,
        direction=Direction(direction),
        kind=step.kind.value if step else None,
        phase=node.phase,
        attempts=node.epoch,
        tries=node.tries,
        outcome=node.code,
        detail=node.detail,
        effect=node.effect,
        started_at=node.first_at,
        ended_at=node.ended_at,
        took_s=took_s,
        next_at=node.next_at,
        deadline_at=node.deadline_at,
        owner=node.owner if node.phase is NodePhase.OPEN else None,
    )
