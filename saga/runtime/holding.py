"""Sagas whose journals may lack what happened: how they are held, judged, and let go.

A journal can be behind the world in two ways. It lost entries (a crash without durable commits, a fail-over, somebody's DELETE):
then its saga row or a live worker remembers more (`JournalDamaged`, `fell_behind`). Or all of it is older, because a backup was
restored: then nothing in the database remembers, and a person says so (`hold`). Either way nothing is sent until a person, or a
comparison with the participants' ledgers, lets it go (`let_go`); whoever lets go answers for it with actor and reason.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from saga.core.definition import Kind, Saga
from saga.core.events import HoldAsked, LetGo
from saga.core.fold import NodeState, SagaState
from saga.core.machine import decide
from saga.core.plan import may_be_past_return
from saga.core.states import ENDED, Direction, HaltReason, NodePhase
from saga.errors import ConcurrencyError, JournalDamaged, SagaError, SagaNotFound, UsageError
from saga.log import logger
from saga.runtime.engine import CONFLICT_LIMIT, Definitions, Loaded, append_for, fold, known, tell
from saga.store.journal import Journal, Reached
from saga.store.port import Append, AppendResult, Store


def hold(store: Store, definitions: Definitions, saga_id: str, *, actor: str, reason: str) -> bool:
    """Hold a saga in front of a person; whether it was free to move until now. Idempotent; one that ended is left alone.

    Raises what `tell` raises. A journal that is not whole is marked as damaged, which holds it as well.
    """
    journal = store.load([saga_id]).get(saga_id, Journal())
    now = store.clock()
    asked = HoldAsked(now, HaltReason.RESTORED, reason, since=_known_until(journal, now))
    try:
        return bool(tell(store, definitions, saga_id, asked, actor=actor, reason=reason).transitions)
    except JournalDamaged:
        store.mark_damaged(saga_id, journal.reached)
        return True


def _known_until(journal: Journal, now: datetime) -> datetime:
    """Until when a journal knows what happened: its deadline stands still from there, since what came of it then is lost."""
    return min(journal[-1].at, now) if journal else now


def let_go(
    store: Store, definitions: Definitions, saga_id: str, *, actor: str, reason: str, books: LetGo | None = None
) -> bool:
    """Let a held saga go on where it stands; whether it was held. The journal of a damaged one says from here on what it lacks.
    `books`: the event with what the participants' books say of it.

    Raises what `tell` raises, and `JournalDamaged` for entries that do not follow one another: nobody can go on from there.
    """
    journal = store.load([saga_id]).get(saga_id, Journal())
    event = books or LetGo(store.clock(), f"{actor}: {reason}")
    if journal.lacks is None:
        return bool(tell(store, definitions, saga_id, event, actor=actor, reason=reason).transitions)
    loaded = known(definitions, journal)
    if loaded is None:
        raise _not_here(store, saga_id, journal)
    written = _through_a_hold(loaded, journal, journal.lacks, event, actor, reason)
    if store.append([replace(written, answers_for_damage=True)])[0] is not AppendResult.APPENDED:
        raise ConcurrencyError(saga_id, loaded.seq + 1)
    return True


def _through_a_hold(loaded: Loaded, journal: Journal, lacks: str, event: LetGo, actor: str, reason: str) -> Append:
    """One entry that says what the journal lacks, and that the saga goes on."""
    held = decide(loaded.definition, loaded.state, as_damaged(journal, lacks, event.at))
    gone = decide(loaded.definition, held.state, event)
    facts = (*held.transitions, *gone.transitions)
    return append_for(loaded, facts, gone.state, at=event.at, writer=actor, actor=actor, reason=reason).append


def as_damaged(journal: Journal, lacks: str, at: datetime) -> HoldAsked:
    """The hold of a journal that is not whole."""
    return HoldAsked(at, HaltReason.JOURNAL_DAMAGED, lacks, since=_known_until(journal, at))


def _not_here(store: Store, saga_id: str, journal: Journal) -> Exception:
    if store.row(saga_id) is None:
        return SagaNotFound(saga_id)
    if not journal:
        return UsageError(f"saga {saga_id}: no entry of its journal is left; only a backup of them brings it back")
    return UsageError(f"saga {saga_id}: its definition is not at hand; name it with -d MODULE:NAME")


def _is_another(remembered: NodeState, stands: NodeState) -> bool:
    """Whether the journal has no such claim: none of that epoch, or another process's, which took its place."""
    is_taken = remembered.epoch == stands.epoch and remembered.owner != stands.owner
    return remembered.epoch > stands.epoch or is_taken


def fell_behind(store: Store, memory: Loaded) -> None:
    """The journal of a saga is behind what this process knows to have been durable.

    Sends that the journal no longer knows of are made again where that is safe, under the same keys; the journal says that it may
    lack them, for a rollback that begins before they were. What this process knows is written down anew: a cancel, that the saga had
    turned round, that its step of no return was done. Where a second send is money, or the saga turned round without them, the
    row is told how far the journal had got, so that nobody goes on (`JournalDamaged`). A saga that is held is let alone: whoever lets
    it go answers for that too. For one that ended there is nothing left to hold; the participants' books have what was lost.
    """
    saga_id = memory.state.saga_id
    for _ in range(CONFLICT_LIMIT):
        journal = store.load([saga_id]).get(saga_id, Journal())
        if journal.lacks is not None or (len(journal) >= memory.seq and journal[memory.seq - 1].hash == memory.hash):
            return  # it is seen to be damaged, or nothing that is known here is gone
        try:
            state = fold(journal)[0] if journal else None
            lost = _lost(memory, state)
        except SagaError as error:  # a hole, an unreadable entry, or a loss that nobody may go on from
            store.mark_damaged(saga_id, journal.reached, Reached(memory.seq, memory.hash))
            logger.error("journal_damaged", saga_id=saga_id, error=str(error))
            return
        logger.warning("journal_fell_back", saga_id=saga_id, count=len(journal))
        loaded = known(Definitions([memory.definition]), journal)
        if loaded is None or loaded.state.is_held or loaded.state.cause is not None or loaded.state.status in ENDED:
            return
        event = _as_known(memory, loaded.state, lost, store.clock())
        tells = event.cause or event.cancel or event.is_past_return or event.may_be_past_return
        if not (lost or tells or memory.state.may_lack > loaded.state.may_lack):
            return
        why = event.detail
        written = _through_a_hold(loaded, journal, "its last entries are gone", event, "engine", why)
        if store.append([written])[0] is AppendResult.APPENDED:
            return


def _as_known(memory: Loaded, stands: SagaState, lost: set[str], at: datetime) -> LetGo:
    """What this process knows of the part that is gone."""
    known_state = memory.state
    no_return = lost & {step.action_node for step in memory.definition.no_return}
    return LetGo(
        at,
        "what is lost is sent again under its keys",
        is_past_return=known_state.is_past_return
        or any(known_state.node(name).phase is NodePhase.DONE for name in no_return),
        absent=_never_sent(memory.definition, known_state, stands),
        may_be_past_return=stands.may_be_past_return or known_state.may_be_past_return or bool(no_return),
        cause=known_state.cause,
        cancel=None if stands.cancel else known_state.cancel,
    )


def _never_sent(definition: Saga[Any], known_state: SagaState, stands: SagaState) -> tuple[str, ...]:
    """The actions that were not sent before the saga turned round, as this process knows, and none was since."""
    if known_state.cause is None or known_state.may_lack:
        return ()
    names = (step.action_node for step in definition.order)
    return tuple(it for it in names if known_state.node(it).epoch == stands.node(it).epoch == 0)


def _lost(memory: Loaded, state: SagaState | None) -> set[str]:
    """The nodes that this process has seen claimed, and whose claims are gone. Raises `JournalDamaged` where nobody may go on."""
    lost = set()
    for name, node in memory.state.nodes.items():
        if not node.epoch or not (state is None or _is_another(node, state.node(name))):
            continue
        step, direction = memory.definition.node(name)
        # The plan knows nothing of an action that is lost; its own compensations are sent again under their keys.
        has_turned = direction is Direction.ACTION and state is not None and state.cause is not None
        if (has_turned and step.kind is not Kind.READONLY) or not step.is_repeatable_in(direction):
            raise JournalDamaged(memory.state.saga_id, f"a send of {name} is gone from the journal")
        lost.add(name)
    has_gone_on = state is not None and (state.may_be_past_return or may_be_past_return(memory.definition, state))
    if memory.state.cause and state and state.cause is None and has_gone_on:
        raise JournalDamaged(
            memory.state.saga_id, "it had turned round, and has gone on to its step of no return since"
        )
    return lost
