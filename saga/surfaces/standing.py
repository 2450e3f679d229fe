"""How all sagas stand at one moment: what `saga status` shows and prints as JSON.

Rules of this file
------------------
- Reads only, and none of them grows with the number of sagas that have ended: the live ones are read by their due instant,
  the halted ones by their reason, whatever their age, and those that ended by their acceptance, back to the latest
  `LOOKED_AT` sagas. How far that went is part of the answer (`looked_since`); without a bound it goes back to the first.
- Counts of halted sagas are exact. Of each reason the `HALTED_READ` that were accepted first are read for their money.
- Where a saga waits stands in its journal alone, so the journals of the `FOLDED` live sagas that were accepted first are
  folded. They are those that wait longest.
- Instants are the database's. What is not known is null.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain

from pydantic import BaseModel, Field

from saga.clock import seconds_between
from saga.core.fold import NodeState, SagaState
from saga.core.outcomes import OutcomeCode
from saga.core.states import SELF_HEALING, Direction, HaltReason, NodePhase, SagaStatus
from saga.errors import CodecError, IllegalTransition, UsageError
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.orders_table import ORDERS
from saga.runtime.engine import Definitions, fold, is_readable
from saga.scope import Scope
from saga.store.overview import HaltedCount
from saga.store.port import RowFilter, SagaRow, Store
from saga.surfaces.defaults import LOOKED_AT
from saga.surfaces.reading import SagaSummary, WorkerReading, participant_of, read_row, read_worker

FOLDED = 300
HALTED_READ = 500
NAMED = 5
USUAL_DAYS = 7
UNTAKEN_S = 10.0
"""A worker looks for what is due every two seconds."""
MOVING = (NodePhase.OPEN, NodePhase.BACKOFF, NodePhase.PENDING)
RESTING = (NodePhase.BACKOFF, NodePhase.PENDING)


class Day(BaseModel):
    """The sagas that were accepted today, UTC, and how they ended."""

    since: datetime
    accepted: int
    completed: int
    compensated: int
    compensated_percent: float | None = Field(description="of those accepted; null when there are none")
    usual_percent: float | None = Field(description="the same of the seven days before; null when there were none")
    is_whole: bool = Field(description="false when more were accepted than are looked at")


class Oldest(BaseModel):
    """Of the sagas that have not ended, the one that was accepted first."""

    saga_id: str
    tenant: str
    entity: str
    status: SagaStatus
    accepted_at: datetime
    age_s: float
    waits_at: str | None = Field(description="the step; null when its journal could not be read")


class WaitingGroup(BaseModel):
    """Sagas that wait to try the same step again."""

    step: str
    direction: Direction
    participant: str | None = Field(
        description="null when this process does not have the definition, or it calls nobody"
    )
    count: int
    order_count: int = Field(description="how many of them are orders of the product")
    halted_count: int = Field(description="how many of them are halted, and tried again at the cap")
    entities: list[str] = Field(description="at most five")
    tenants: list[str] = Field(description="whose each of `entities` is")
    last_outcome: OutcomeCode | None
    last_detail: str
    next_at: datetime | None = Field(description="the first next try among them")
    next_in_s: float | None


class HaltedGroup(BaseModel):
    """Halted sagas of one reason."""

    reason: HaltReason
    heals_itself: bool
    count: int
    entities: list[str] = Field(description="at most five, the first accepted first")
    tenants: list[str] = Field(description="whose each of `entities` is")
    read_count: int = Field(description="how many of them were read for `money_minor`, the first accepted first")
    money_minor: dict[str, int] = Field(description="currency to minor units, of those read that are orders")
    next_look_at: datetime | None = Field(description="when one that heals itself is looked at next")


class Standing(BaseModel):
    """Everything on the screen."""

    at: datetime
    environment: str | None
    tenants: list[str] | None = Field(description="whose sagas were looked at; null: every tenant's")
    looked_since: datetime | None = Field(description="no saga accepted before was looked at; null: all were")
    counts: dict[SagaStatus, int] = Field(description="those that ended: of the sagas that were looked at")
    due_count: int
    oldest_due_s: float
    untaken: list[str] = Field(
        default=[],
        description="name and version of each definition of which a saga has been due for more than ten seconds while no saga at "
        "all is under way, of those that were accepted first",
    )
    oldest: Oldest | None
    today: Day
    waiting: list[WaitingGroup]
    folded_count: int = Field(description="of how many live sagas the journal was read for `waiting`")
    unreadable_count: int
    halted_groups: list[HaltedGroup]
    halted: list[SagaSummary] = Field(description="of each reason at most 500, the first accepted first")
    workers: list[WorkerReading] = Field(description="those that may run a saga of `tenants`")
    clock_behind_s: float = Field(
        default=0.0,
        description="by how much the clock is behind what is written down: it was set back; 0 for less than 2 s",
    )
    moving: list[str] = Field(
        default=[],
        description="name and version of each definition of which a saga is on its way, of those that were accepted first",
    )
    not_at_hand: list[str] = Field(default=[], description="those of `moving` that this process does not have")
    unserved: list[str] = Field(
        default=[],
        description="tenants of which a saga is on its way, of those that were accepted first, and that no living worker runs",
    )

    @property
    def live_count(self) -> int:
        return sum(self.counts[status] for status in (SagaStatus.RUNNING, SagaStatus.COMPENSATING, SagaStatus.HALTED))


def standing(
    store: Store, definitions: Definitions, *, looked_at: int | None = LOOKED_AT, halted_read: int = HALTED_READ
) -> Standing:
    """Look at the sagas that are live or halted, and of those that ended at the latest; None: at all. Raises
    `StoreUnavailable`."""
    now = store.now()
    since = None if looked_at is None else store.horizon(looked_at)
    live, first = store.live_counts(), store.live_rows(FOLDED)
    halted = [(it, store.halted_rows(it.reason, halted_read)) for it in store.halted_counts()]
    states = _folded(store, first)
    counts = dict(store.counts(since))
    for status in (SagaStatus.RUNNING, SagaStatus.COMPENSATING):
        counts[status] = sum(it.count for it in live if it.status is status)
    counts[SagaStatus.HALTED] = sum(it.count for it, _ in halted)
    due_count, oldest_due_s = store.due_counts()
    workers, moving = store.workers(), {(row.definition, row.version) for row in first}
    return Standing(
        at=now,
        environment=store.scope.environment,
        tenants=None if store.scope.tenants is None else list(store.scope.tenants),
        looked_since=since,
        counts=counts,
        due_count=due_count,
        oldest_due_s=round(oldest_due_s, 3),
        untaken=_untaken(first, now),
        oldest=_oldest(store, [*first[:1], *(rows[0] for _, rows in halted if rows)], states, now),
        today=_today(store, now, since),
        waiting=_waiting(states.values(), definitions, now),
        folded_count=len(states),
        unreadable_count=len(first) - len(states),
        halted_groups=[_halted_group(store, it, rows) for it, rows in halted],
        halted=[read_row(row) for _, rows in halted for row in rows],
        workers=[read_worker(row, lease_until, now) for row, lease_until in workers],
        clock_behind_s=round(store.behind_s(), 3),
        moving=sorted(f"{name} v{version}" for name, version in moving),
        not_at_hand=sorted(f"{name} v{version}" for name, version in moving if definitions.get(name, version) is None),
        unserved=_unserved(first, [row.scope for row, lease_until in workers if row.lives(lease_until, now)]),
    )


def _unserved(rows: Sequence[SagaRow], scopes: Sequence[Scope]) -> list[str]:
    """The tenants of these sagas that none of the scopes has."""
    return sorted({row.tenant for row in rows if not any(it.has(row.environment, row.tenant) for it in scopes)})


def _folded(store: Store, rows: Sequence[SagaRow]) -> dict[str, SagaState]:
    """The states of these sagas; a journal that cannot be read is missing."""
    states = {}
    for saga_id, entries in store.load([row.saga_id for row in rows]).items():
        if not entries or not is_readable(entries):
            continue
        try:
            states[saga_id] = fold(entries)[0]
        except (CodecError, IllegalTransition, KeyError, ValueError):  # what the audit tells in full
            continue
    return states


def _untaken(rows: Sequence[SagaRow], now: datetime) -> list[str]:
    """Definitions of which something is due for long, when nothing at all is under way. Beside a backlog of another definition
    one merely waits for its turn; of a backlog some sagas are held by a worker, and those are not due."""
    late = now - timedelta(seconds=UNTAKEN_S)
    if any(row.due_at is None or row.due_at > now for row in rows):
        return []
    return sorted({f"{row.definition} v{row.version}" for row in rows if row.due_at is not None and row.due_at < late})


def _today(store: Store, now: datetime, horizon: datetime | None) -> Day:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = midnight if horizon is None else max(midnight, horizon)
    today = store.counts(since)
    week = midnight - timedelta(days=USUAL_DAYS)
    before = store.counts(week if horizon is None else max(week, horizon), midnight)
    return Day(
        since=since,
        accepted=sum(today.values()),
        completed=today[SagaStatus.COMPLETED],
        compensated=today[SagaStatus.COMPENSATED],
        compensated_percent=_percent(today),
        usual_percent=_percent(before),
        is_whole=since == midnight,
    )


def _percent(counts: Mapping[SagaStatus, int]) -> float | None:
    accepted = sum(counts.values())
    return round(100 * counts[SagaStatus.COMPENSATED] / accepted, 2) if accepted else None


def _oldest(store: Store, rows: Sequence[SagaRow], states: Mapping[str, SagaState], now: datetime) -> Oldest | None:
    if not rows:
        return None
    row = min(rows, key=lambda one: (one.accepted_at, one.saga_id))
    state = states.get(row.saga_id) or _folded(store, [row]).get(row.saga_id)
    return Oldest(
        saga_id=row.saga_id,
        tenant=row.tenant,
        entity=row.entity,
        status=row.status,
        accepted_at=row.accepted_at,
        age_s=round(seconds_between(row.accepted_at, now), 3),
        waits_at=_place(state) if state else None,
    )


def _place(state: SagaState) -> str | None:
    """The step that a saga stands at: where it was halted, what it tries, or what it did last."""
    if state.halt is not None and state.halt.node is not None:
        return state.halt.node.rpartition(":")[0]
    moving = [name for name, node in state.nodes.items() if node.phase in MOVING]
    node = next(iter(moving), None) or next(reversed(state.nodes), None)
    return node.rpartition(":")[0] if node else None


def _waiting(states: Iterable[SagaState], definitions: Definitions, now: datetime) -> list[WaitingGroup]:
    """The nodes that wait for another try, by step and participant; the most waited for first."""
    found: dict[tuple[str, str | None], list[tuple[SagaState, NodeState]]] = {}
    for state in states:
        definition = definitions.get(state.definition, state.version)
        for name, node in state.nodes.items():
            if node.phase in RESTING:
                step, _, direction = name.rpartition(":")
                participant = participant_of(definition, step, Direction(direction))
                found.setdefault((name, participant), []).append((state, node))
    groups = [_group(name, participant, waiting, now) for (name, participant), waiting in found.items()]
    return sorted(groups, key=lambda group: (-group.count, group.step))


def _group(
    name: str, participant: str | None, waiting: Sequence[tuple[SagaState, NodeState]], now: datetime
) -> WaitingGroup:
    step, _, direction = name.rpartition(":")
    last = max((node for _, node in waiting), key=lambda node: node.ended_at or now)
    next_at = min((node.next_at for _, node in waiting if node.next_at), default=None)
    return WaitingGroup(
        step=step,
        direction=Direction(direction),
        participant=participant,
        count=len(waiting),
        order_count=sum(state.definition == fulfil_order.name for state, _ in waiting),
        halted_count=sum(state.halt is not None for state, _ in waiting),
        entities=[state.entity for state, _ in waiting[:NAMED]],
        tenants=[state.tenant for state, _ in waiting[:NAMED]],
        last_outcome=last.code,
        last_detail=last.detail,
        next_at=next_at,
        next_in_s=None if next_at is None else round(seconds_between(now, next_at), 3),
    )


def _halted_group(store: Store, found: HaltedCount, rows: Sequence[SagaRow]) -> HaltedGroup:
    money, sums = _money(store, rows), dict[str, int]()
    for currency, amount in (money[row.saga_id] for row in rows if row.saga_id in money):
        sums[currency] = sums.get(currency, 0) + amount
    return HaltedGroup(
        reason=found.reason,
        heals_itself=found.reason in SELF_HEALING,
        count=found.count,
        entities=[row.entity for row in rows[:NAMED]],
        tenants=[row.tenant for row in rows[:NAMED]],
        read_count=len(rows),
        money_minor=sums,
        next_look_at=found.due_at,
    )


def _money(store: Store, rows: Sequence[SagaRow]) -> dict[str, tuple[str, int]]:
    """Saga → currency and minor units of the order that it fulfils, as the list of orders has them: the total, and the goods
    alone as long as it has no price."""
    owners: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row.definition == fulfil_order.name:
            owners.setdefault((row.environment, row.tenant), set()).add(row.entity)
    try:
        found = list(
            chain.from_iterable(
                store.rows(
                    ORDERS,
                    RowFilter(
                        order=("order_id",),
                        equal={"environment": environment, "tenant": tenant},
                        one_of={"order_id": tuple(sorted(order_ids))},
                    ),
                    len(order_ids),
                )
                for (environment, tenant), order_ids in owners.items()
            )
        )
    except UsageError:  # the database has no such table: money is not known, the rest is
        return {}
    return {
        str(row["saga_id"]): (str(row["currency"]), int(str(row["goods"] if row["total"] is None else row["total"])))
        for row in found
    }
