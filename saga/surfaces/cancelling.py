"""Cancels a saga: one way for the HTTP API and the command line, safe beside any number of workers.

A cancel is an event that the machine decides (DESIGN section 5); what became of it is read from the journal afterwards:

| standing | when |
|---|---|
| accepted | the saga is being rolled back, for this cancel or for what came before it; the plan says what will be undone |
| pending | it is written down and nothing follows yet: the point of no return is in flight, or a person must settle the saga first |
| done | everything is rolled back |
| refused | the point of no return has succeeded, or the saga has completed: forward only |

A second cancel is the same cancel: it writes nothing, and the first one's actor and reason stand. Nothing is written for a
saga that has ended, is rolling back already or is past the point of no return.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from saga.core.definition import Saga
from saga.core.events import CancelAsked, Decision
from saga.core.fold import SagaState
from saga.core.machine import decide
from saga.core.plan import is_past_return
from saga.core.states import SagaStatus
from saga.errors import ConcurrencyError, SagaNotFound
from saga.fulfilment.models import Given
from saga.fulfilment.texts import Printable, Seen, text
from saga.runtime.engine import Definitions, Loaded, append_for, fold, load, tell
from saga.runtime.work import Hint, task_name
from saga.store.port import AppendResult, Store

REASON_MAX, ACTOR_MAX = 500, 100


class CancelRequest(Given):
    """Why, and who asks. Both are kept in the journal and shown to whoever reads it."""

    reason: Annotated[str, text(REASON_MAX), Printable, Seen] = Field(
        description="for people; kept in the journal", examples=["customer called"]
    )
    actor: Annotated[str, text(ACTOR_MAX), Printable, Seen] = Field(
        default="api", description="who asks, as the caller says; nobody checks it", examples=["support:anna"]
    )


class CancelStanding(StrEnum):
    ACCEPTED = "accepted"
    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What became of a cancel, as of journal entry `seq`."""

    standing: CancelStanding
    state: SagaState
    seq: int
    hints: tuple[Hint, ...]
    """For whoever runs the compensations; losing them costs two seconds."""


class SagaChanged(ConcurrencyError):
    """The saga is no longer at the journal entry that the caller has seen; nothing was written."""


def cancel(
    store: Store,
    definitions: Definitions,
    saga_id: str,
    request: CancelRequest,
    *,
    surface: str,
    only_at: int | None = None,
) -> Cancelled:
    """Ask for the rollback of a saga; what is said of it is durable. `surface` (`api`, `cli`) is the writer of the entry.

    With `only_at` the cancel is written behind that journal entry or not at all. Raises `SagaNotFound`, `DefinitionError`
    when this process does not have the saga's definition, `SagaChanged`, or `ConcurrencyError`.
    """
    event = CancelAsked(store.clock(), request.actor, request.reason)
    if only_at is None:
        decision = tell(store, definitions, saga_id, event, actor=surface)
    else:
        decision = _tell_at(store, definitions, saga_id, event, surface, only_at)
    entries = store.load([saga_id]).get(saga_id)
    if not entries:
        raise SagaNotFound(saga_id)
    state, seq, _ = fold(entries)
    saga = definitions.get(state.definition, state.version)
    assert saga is not None, "it was decided by this very definition"
    commands = decision.commands if decision.transitions else ()
    hints = tuple(Hint(saga_id, task_name(saga.name, start.node), start.queue) for start in commands)
    return Cancelled(standing_of(saga, state), state, seq, hints)


def standing_of(saga: Saga[Any], state: SagaState) -> CancelStanding:
    """What a cancel of a saga in this state amounts to, once it was asked for."""
    if state.status is SagaStatus.COMPENSATED:
        return CancelStanding.DONE
    if state.cause is not None:
        return CancelStanding.ACCEPTED
    if state.status is SagaStatus.COMPLETED or is_past_return(saga, state):
        return CancelStanding.REFUSED
    return CancelStanding.PENDING


def _tell_at(
    store: Store, definitions: Definitions, saga_id: str, event: CancelAsked, surface: str, only_at: int
) -> Decision:
    """`tell`, but behind entry `only_at` or not at all: whoever else appends first makes it `SagaChanged`."""
    loaded = load(definitions, saga_id, store.load([saga_id]).get(saga_id, []))
    if loaded is None:  # the engine says which it is: not there, or not for this process
        return tell(store, definitions, saga_id, event, actor=surface)
    decision = decide(loaded.definition, loaded.state, event)
    if loaded.seq != only_at or not _is_written(store, loaded, decision, event, surface):
        raise SagaChanged(saga_id, only_at + 1)
    return decision


def _is_written(store: Store, loaded: Loaded, decision: Decision, event: CancelAsked, surface: str) -> bool:
    if not decision.transitions:
        return True
    written = append_for(loaded, decision.transitions, decision.state, at=event.at, writer=surface, actor=surface)
    return store.append([written.append])[0] is AppendResult.APPENDED
