"""Cancels a saga: one way for the HTTP API and the command line, safe beside any number of workers.

A cancel is an event that the machine decides (DESIGN section 5); what became of it is read from the journal afterwards:

| standing | when |
|---|---|
| accepted | the saga is being rolled back, for this cancel or for what came before it; the plan says what will be undone |
| pending | it is written down and nothing follows yet: the point of no return is in flight |
| done | everything is rolled back |
| held | the saga waits for a person, also in its rollback: nothing follows. One that is held since a restore or whose journal is damaged goes on with `saga db let-go`; no command of this release moves any other |
| refused | the point of no return has succeeded, or the saga has completed: forward only |

A second cancel is the same cancel: it writes nothing, and the first one's actor and reason stand. Nothing is written for a
saga that has ended, is rolling back already or is past the point of no return. That of a held saga is written: when it goes on
after all (a late answer, or `saga db let-go`), it goes backward and not on to the point of no return. So it is kept, and still an answer that
nothing follows: a script that took it for done would be wrong.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from saga.core.definition import Saga
from saga.core.events import CancelAsked, Decision
from saga.core.fold import SagaState
from saga.core.machine import decide, ready
from saga.core.outcomes import OutcomeCode
from saga.core.plan import is_past_return
from saga.core.states import ENDED, HaltReason, NodePhase, SagaStatus
from saga.errors import ConcurrencyError, DefinitionError, SagaNotFound
from saga.fulfilment.models import Given
from saga.fulfilment.texts import Printable, Seen, Straight, text
from saga.runtime.engine import Definitions, Loaded, append_for, fold, load, tell
from saga.runtime.work import Hint, task_name
from saga.store.port import AppendResult, Store
from saga.surfaces.render import typed
from saga.surfaces.workers import what_lacks

REASON_MAX, ACTOR_MAX = 500, 100
BY_ANSWER = frozenset({HaltReason.UNRESOLVED_EFFECT, HaltReason.PIVOT_UNRESOLVED, HaltReason.POISON})
"""A halt of these ends by itself when the answer that nobody knew comes after all, before a plan is frozen."""


class CancelRequest(Given):
    """Why, and who asks. Both are kept in the journal and shown to whoever reads it."""

    reason: Annotated[str, text(REASON_MAX), Printable, Straight, Seen] = Field(
        description="for people; kept in the journal", examples=["customer called"]
    )
    actor: Annotated[str, text(ACTOR_MAX), Printable, Straight, Seen] = Field(
        default="api", description="who asks, as the caller says; nobody checks it", examples=["support:anna"]
    )


class CancelStanding(StrEnum):
    ACCEPTED = "accepted"
    PENDING = "pending"
    DONE = "done"
    HELD = "held"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What became of a cancel, as of journal entry `seq`."""

    standing: CancelStanding
    state: SagaState
    seq: int
    hints: tuple[Hint, ...]
    """For whoever runs the compensations; losing them costs two seconds."""
    queues: frozenset[str]
    """Those on which something can begin now."""


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
    row = store.row(saga_id)
    if row is not None and definitions.get(row.definition, row.version) is None:
        of = f"{row.definition} v{row.version}"
        raise DefinitionError(
            f"saga {saga_id} is of {of}, which this process does not have; name it with -d MODULE:NAME"
        )
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
    queues = frozenset(start.queue for start in ready(saga, state, store.clock()))
    return Cancelled(standing_of(saga, state), state, seq, hints, queues)


def standing_of(saga: Saga[Any], state: SagaState) -> CancelStanding:
    """What a cancel of a saga in this state amounts to, once it was asked for."""
    if state.status is SagaStatus.COMPENSATED:
        return CancelStanding.DONE
    if state.cause is None and (state.status is SagaStatus.COMPLETED or is_past_return(saga, state)):
        return CancelStanding.REFUSED
    if waits_for_person(state):
        return CancelStanding.HELD
    return CancelStanding.PENDING if state.cause is None else CancelStanding.ACCEPTED


def waits_for_person(state: SagaState) -> bool:
    """Whether it is halted, and not tried again by itself."""
    return state.halt is not None and not state.halt.heals_itself


def what_moves(state: SagaState, options: str = "") -> str:
    """What moves a saga that waits for a person, as far as this release goes. `options`: those that name its definition."""
    if state.is_held:
        return let_go_words(state, options)
    halt = state.halt
    node = state.node(halt.node) if halt is not None and halt.node is not None else None
    may_be_answered = node is not None and node.phase is NodePhase.FAILED and node.code is OutcomeCode.UNKNOWN
    if (
        halt is None
        or halt.node is None
        or state.plan is not None
        or not may_be_answered
        or halt.reason not in BY_ANSWER
    ):
        return "no command of this release moves it"
    return f"no command of this release moves it; a late answer to {halt.node.partition(':')[0]} does, if one comes"


def let_go_command(reference: str) -> str:
    """What to type to answer for what the journal of a held saga lacks."""
    return f'saga db let-go {reference} --reason "…"'


def let_go_words(state: SagaState, options: str = "") -> str:
    """What moves a saga that is held, since its journal may not be whole."""
    command = let_go_command(typed(state.entity, state.saga_id) + options)
    is_restored = state.halt is not None and state.halt.reason is HaltReason.RESTORED
    first = f"saga db reconcile{options}  compares it with the participants' books; " if is_restored else ""
    return f"{first}{command}  lets it go on, if nothing was done that its journal lacks"


def held_words(state: SagaState, options: str = "") -> str:
    """What is said of a cancel that nothing follows, behind the name of the saga."""
    reason, then = f" ({state.halt.reason})" if state.halt is not None else "", what_moves(state, options)
    if state.cause is not None:
        return f"is in its rollback, which waits for a person{reason}: this cancel adds nothing, and {then}"
    return f"waits for a person{reason}: nothing is undone now, the cancel is kept, and {then}"


def who_must_run(store: Store, found: Cancelled, definitions: Iterable[str] = ()) -> str | None:
    """What to type when no living worker would go on with a saga that was cancelled; None when there is nothing to go on
    with, or somebody who does."""
    if found.state.status in ENDED or found.standing in (CancelStanding.HELD, CancelStanding.REFUSED):
        return None
    return what_lacks(store, found.queues, definitions)


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
