"""After a backup was restored: every saga that had not ended is held, compared with the participants' ledgers, and let go.

Protocol (docs/restore.md)
--------------------------
1. Workers and API are stopped, the backup is restored, `restored` writes down to which instant and holds what had not ended.
2. `reconciled` lets go what can go on without a second effect: whatever was done in the part that is lost meets its own key at a
   participant that serialises keys, and an order that was undone there meets a tombstone. Where a second send would be a second
   effect, the participant's own books say whether there was a first; without books a person finds out.
3. What is left is let go by name (`saga.runtime.holding.let_go`), with actor and reason.
4. Orders that were accepted in the lost part are known to participants alone. Whoever has them sends them again: they have the
   same keys, so what was done is answered and not done again. For those that nobody has, somebody answers (`settle`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from saga.core.definition import Kind, Saga, Step
from saga.core.fold import SagaState
from saga.core.keys import logical_key, wire_key
from saga.core.states import Direction, HaltReason, NodePhase, SagaStatus
from saga.errors import DefinitionError, SagaError, UsageError
from saga.ids import uuid7
from saga.runtime.engine import Definitions, fold
from saga.runtime.holding import hold, let_go
from saga.store.port import SagaFilter, SagaRow, Store
from saga.store.restoring import Restoration
from saga.surfaces.ledgers import Ledgers
from saga.surfaces.lookup import pages

LIVE = (SagaStatus.RUNNING, SagaStatus.COMPENSATING, SagaStatus.HALTED)


@dataclass(frozen=True, slots=True)
class Left:
    """A saga that a command did not move, and why."""

    row: SagaRow
    why: str


@dataclass(slots=True)
class Moved:
    """What a command did: how many sagas it moved, and which it could not."""

    count: int = 0
    left: list[Left] = field(default_factory=list)


def restored(store: Store, definitions: Definitions, *, restored_to: datetime, actor: str, reason: str) -> Moved:
    """Write down that a backup was restored, and hold every saga that had not ended. May be repeated."""
    now = store.now()
    if restored_to > now:
        raise UsageError(f"--at {restored_to.isoformat()} is later than now, {now.isoformat(timespec='seconds')}")
    store.restored(Restoration(uuid7(), restored_to, now, actor, reason))
    detail = f"restored to {restored_to.isoformat()}; {actor}: {reason}"
    moved = Moved()
    for row in pages(store, SagaFilter(statuses=LIVE)):
        try:
            moved.count += hold(store, definitions, row.saga_id, actor=actor, reason=detail)
        except DefinitionError:
            why = f"the definition {row.definition} v{row.version} is not at hand; name it with -d MODULE:NAME"
            moved.left.append(Left(row, why))
        except SagaError as error:
            moved.left.append(Left(row, str(error)))
    return moved


def reconciled(store: Store, definitions: Definitions, ledgers: Ledgers, *, actor: str, reason: str) -> Moved:
    """Let every restored saga go that the participants' ledgers show to be safe; each that stays says what has to be found out."""
    moved = Moved()
    for row in held(store):
        try:
            state = fold(store.load([row.saga_id])[row.saga_id])[0]
            definition = definitions.get(row.definition, row.version)
            if definition is None:
                why = [f"the definition {row.definition} v{row.version} is not at hand; name it with -d MODULE:NAME"]
            else:
                why = list(doubts(definition, state, ledgers))
            if not why:
                moved.count += let_go(store, definitions, row.saga_id, actor=actor, reason=reason)
        except SagaError as error:
            why = [str(error)]
        if why:
            moved.left.append(Left(row, "; ".join(why)))
    return moved


def held(store: Store) -> list[SagaRow]:
    """The sagas that are held since a restore."""
    return list(pages(store, SagaFilter(statuses=(SagaStatus.HALTED,), halt_reason=HaltReason.RESTORED)))


def doubts(definition: Saga[Any], state: SagaState, ledgers: Ledgers) -> Iterator[str]:
    """What may have been sent in the lost part and would be a second effect if it were sent again."""
    for step in definition.order:
        for direction in Direction:
            if direction is Direction.COMPENSATION and step.kind is not Kind.COMPENSATABLE:
                continue
            node = f"{step.name}:{direction}"
            if not step.is_repeatable_in(direction) and state.node(node).phase is not NodePhase.DONE:
                yield from _doubt(definition, state, step, direction, ledgers)


def _doubt(
    definition: Saga[Any], state: SagaState, step: Step, direction: Direction, ledgers: Ledgers
) -> Iterator[str]:
    connector, node = step.connector_in(direction), f"{step.name}:{direction}"
    if connector is None or not ledgers.has(connector.name):
        who = connector.name if connector else "the step's own function"
        yield f"{node} may have been sent, and {who} has no ledger to look at"
        return
    logical = logical_key(definition.name, state.entity, state.run, node)
    key = state.node(node).wire_key or wire_key(state.environment, state.tenant, logical, connector.key_max)
    if key in ledgers.by_key or key in ledgers.barrier:
        yield f"{node} was sent: {connector.name} has key {key} in its books"
