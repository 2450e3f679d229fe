"""After a backup was restored: every saga that had not ended is held, compared with the participants' ledgers, and let go.

Protocol (docs/restore.md)
--------------------------
1. Workers and API are stopped, the backup is restored, `restored` writes down to which instant and holds what had not ended.
2. `reconciled` lets go what can go on without harm: whatever was done in the part that is lost meets its own key at a participant
   that serialises keys, and an action that was undone by key meets a tombstone. Three things meet nothing, so the participant's own
   books say whether they were done, and without books a person finds out: a send at a participant that ignores keys would be done
   twice; a compensation that is no undo by key leaves the key of its action open, so an order that was refunded would go forward
   again; and so would one whose actions the journal has as done, since they are not sent again.
3. What is left is let go by name (`released`), with actor and reason.
4. Orders that were accepted in the lost part are known to participants alone, and no step here sees them. Whoever has one sends it
   again if each step with an effect serialises keys: the keys are the same, so what was done is answered and not done again. At a
   participant that ignores keys it would be done twice: its books are looked into first. For the others somebody answers (`settle`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from shlex import quote
from typing import Any

from saga.core.definition import Kind, Saga, Step
from saga.core.events import LetGo
from saga.core.fold import NodeState, SagaState
from saga.core.keys import keys_of
from saga.core.machine import GRACE_S, decide
from saga.core.plan import is_past_return, may_be_past_return
from saga.core.states import Direction, HaltReason, NodePhase, SagaStatus
from saga.errors import DefinitionError, SagaError, UsageError
from saga.ids import uuid7
from saga.runtime.engine import Definitions, fold
from saga.runtime.holding import as_damaged, hold, let_go
from saga.store.journal import Journal
from saga.store.port import SagaFilter, SagaRow, Store
from saga.store.restoring import Restoration
from saga.surfaces.ledgers import Ledgers
from saga.surfaces.lookup import pages

SENT = (NodePhase.OPEN, NodePhase.BACKOFF)
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
    """Write down that a backup was restored, and hold every saga of it that had not ended. May be repeated for the same instant:
    what was accepted since is no part of the backup, and stays free.

    Raises `UsageError`, and writes nothing, for an instant that cannot be that of the backup.
    """
    now = store.now()
    if restored_to > now:
        raise UsageError(f"--at {restored_to.isoformat()} is later than now, {now.isoformat(timespec='seconds')}")
    told = store.restorations()
    # An earlier instant than was told corrects what was told: what came since is no part of the backup.
    corrected = min((it.told_at for it in told if restored_to <= it.restored_to), default=now)
    newest = next((row for row in pages(store, SagaFilter()) if row.accepted_at <= corrected), None)
    if newest is not None and newest.accepted_at > restored_to:
        raise UsageError(
            f"--at {restored_to.isoformat()}: the database holds {newest.entity}, accepted at "
            f"{newest.accepted_at.isoformat(timespec='milliseconds')}. Either the backup is of later, or this is not what it held: "
            "a SQLite file is restored without the -wal and -shm files of the one before, and workers and API are stopped first"
        )
    store.restored(Restoration(uuid7(), restored_to, now, actor, reason))
    detail = f"restored to {restored_to.isoformat()}; {actor}: {reason}"
    rows = (row for row in pages(store, SagaFilter(statuses=LIVE)) if row.accepted_at <= restored_to)
    return _each(rows, lambda row: hold(store, definitions, row.saga_id, actor=actor, reason=detail))


@dataclass(frozen=True, slots=True)
class Books:
    """The participants' ledgers, and an instant of the database's clock before the first page of them was read."""

    ledgers: Ledgers
    read_at: datetime


def reconciled(
    store: Store, definitions: Definitions, books: Books, *, actor: str, reason: str, options: str = ""
) -> Moved:
    """Let every restored saga go that the participants' ledgers show to be safe; each that stays says what has to be found out.
    `options`: those that name its definition, for what is to be typed."""

    def compare(row: SagaRow) -> bool | str:
        journal = store.load([row.saga_id]).get(row.saga_id, Journal())
        if journal.lacks is not None:
            return f"{journal.lacks}: restore the entries, or find out what was done"
        definition = definitions.get(row.definition, row.version)
        if definition is None:
            raise DefinitionError(f"{row.definition} v{row.version}")
        state, event = fold(journal)[0], LetGo(store.clock(), f"{actor}: {reason}")
        said = _as_books_say(definition, state, books, event)
        then = decide(definition, state, said).state
        turns = state.cause is None and then.cause is not None and not said.undone
        said = said if turns else replace(said, may_be_past_return=_may_be_past(definition, state, books.ledgers))
        why = [
            *(_no_way_back(definition, then, books.ledgers, options) if turns else ()),
            *doubts(definition, then, books.ledgers, options),
        ]
        if why or (said.is_past_return and said.undone):
            return "; ".join([*why, *_found(said)])
        return let_go(store, definitions, row.saga_id, actor=actor, reason=reason, books=said)

    return _each(held(store), compare)


def released(
    store: Store,
    definitions: Definitions,
    rows: Iterable[SagaRow],
    books: Books | None,
    *,
    actor: str,
    reason: str,
    is_past_return: bool = False,
) -> Moved:
    """Let these sagas go on as their journals and the books stand; whoever names them answers for what both lack. Without `books`
    for what they have, too. `is_past_return`: the person knows that its step of no return was done."""

    def let(row: SagaRow) -> bool | str:
        said = LetGo(store.clock(), f"{actor}: {reason}", is_past_return)
        journal = store.load([row.saga_id]).get(row.saga_id, Journal())
        definition = definitions.get(row.definition, row.version)
        if definition is not None and journal:
            state = fold(journal)[0]
            if journal.lacks is not None:  # it is held in the entry that lets it go
                state = decide(definition, state, as_damaged(journal, journal.lacks, said.at)).state
            ledgers = Ledgers() if books is None else books.ledgers
            if books is not None:
                found = _as_books_say(definition, state, books, said)
                said = replace(found, is_past_return=is_past_return or found.is_past_return)
            then = decide(definition, state, said).state
            why = [*_would_be_done_again(definition, state, then, ledgers, is_past_return)]
            if why or (said.is_past_return and said.undone):
                return "; ".join([*why, *_found(said)])
            turns = state.cause is None and then.cause is not None
            said = replace(said, may_be_past_return=not turns and _may_be_past(definition, state, ledgers))
        is_gone = let_go(store, definitions, row.saga_id, actor=actor, reason=reason, books=said)
        return is_gone or f"it is {row.status} and not held"

    return _each(rows, let)


def _would_be_done_again(
    definition: Saga[Any], state: SagaState, then: SagaState, ledgers: Ledgers, is_past_return: bool
) -> Iterator[str]:
    """What the books (or the person) have as done, and the saga would do again, or roll back over, or not undo."""
    for step in definition.order:
        for direction in Direction:
            is_missing = direction is Direction.COMPENSATION and step.kind is not Kind.COMPENSATABLE
            node = state.node(f"{step.name}:{direction}")
            if is_missing or node.phase is NodePhase.DONE or not ledgers.has_done(_key_of(state, step, direction)):
                continue
            if not step.is_repeatable_in(direction) and (direction is Direction.COMPENSATION or then.cause is None):
                yield f"{step.name}:{direction} was done, and would be done again: its participant ignores keys"
            is_planned = any(entry.step == step.name for entry in state.plan or ())
            if (
                step.kind is Kind.COMPENSATABLE
                and direction is Direction.ACTION
                and state.plan is not None
                and not is_planned
            ):
                yield f"{step.name} was done, and the plan of its rollback, which stands, does not undo it"
    if then.is_past_return and then.cause is not None:
        yield "its step of no return was done, and it would be rolled back over that"
    for step in definition.no_return if is_past_return else ():
        if not step.is_repeatable_in(Direction.ACTION) and state.node(step.action_node).phase is not NodePhase.DONE:
            yield f"{step.name} would be done again: keys are ignored there; leave it halted and end it by hand"


def released_all(store: Store, definitions: Definitions, books: Books | None, *, actor: str, reason: str) -> Moved:
    """The same for every held saga whose journal is whole; nobody answers for a damaged one without naming it."""
    rows = held(store)
    journals = {row.saga_id: store.load([row.saga_id]).get(row.saga_id, Journal()) for row in rows}
    lacking = [(row, lacks) for row in rows if (lacks := journals[row.saga_id].lacks) is not None]
    whole = [row for row in rows if journals[row.saga_id].lacks is None]
    moved = released(store, definitions, whole, books, actor=actor, reason=reason)
    moved.left += [
        Left(row, f"{lacks}: restore the entries, or find out what was done and name it") for row, lacks in lacking
    ]
    return moved


def _found(said: LetGo) -> Iterator[str]:
    """What the books have that the journal has not, in words; whoever lets it go need not remember it."""
    if said.is_past_return:
        yield "its step of no return was done"
    if said.undone:
        yield f"the books have the undo of {said.undone}, so it was rolled back"
    if said.is_past_return and said.undone:
        yield "no order of this program has both"


def _each(rows: Iterable[SagaRow], move: Callable[[SagaRow], bool | str]) -> Moved:
    """One saga after another. `move` says whether it moved the saga, or why it could not: one that it cannot move or read is
    named, and holds up nobody behind it."""
    moved = Moved()
    for row in rows:
        try:
            answer = move(row)
        except DefinitionError:
            answer = f"the definition {row.definition} v{row.version} is not at hand; name it with -d MODULE:NAME"
        except SagaError as error:
            answer = str(error)
        if isinstance(answer, str):
            moved.left.append(Left(row, answer))
        else:
            moved.count += answer
    return moved


def held(store: Store) -> list[SagaRow]:
    """The sagas that are held since a restore."""
    return list(pages(store, SagaFilter(statuses=(SagaStatus.HALTED,), halt_reason=HaltReason.RESTORED)))


def _as_books_say(definition: Saga[Any], state: SagaState, books: Books, event: LetGo) -> LetGo:
    """The event with what the books have of the saga and its journal has not: a step of no return; an undo, which nobody sends
    before the saga has turned round; and that a step of no return never arrived, though the journal has it as sent."""
    ledgers = books.ledgers

    def knows(step: Step, direction: Direction) -> bool:
        return ledgers.knows(_key_of(state, step, direction))

    undone = next(
        (
            step.name
            for step in definition.order
            if step.kind is Kind.COMPENSATABLE and state.cause is None and knows(step, Direction.COMPENSATION)
        ),
        "",
    )
    absent = []
    for step in definition.no_return:
        node = state.node(step.action_node)
        is_known = _has_books(step, ledgers) and not knows(step, Direction.ACTION)
        if node.phase in SENT and (undone or (is_known and _is_over(step, node, books.read_at))):
            absent.append(step.action_node)
    done = any(ledgers.has_done(_key_of(state, step, Direction.ACTION)) for step in definition.no_return)
    return replace(event, is_past_return=done, absent=tuple(absent), undone=undone)


def _may_be_past(definition: Saga[Any], state: SagaState, ledgers: Ledgers) -> bool:
    """Whether a step of no return may have been sent in what is lost, as far as anybody knows. After a restore workers stand still, and
    books say the last word; of a damaged journal they may be too old. Where keys are ignored a person or the books have said that it
    was not."""
    is_still = state.halt is not None and state.halt.reason is HaltReason.RESTORED
    return any(
        step.is_repeatable_in(Direction.ACTION)
        and state.node(step.action_node).phase is not NodePhase.DONE
        and not (is_still and (_has_books(step, ledgers) or _is_out_of_reach(definition, state, step, ledgers)))
        for step in definition.no_return
    )


def _is_out_of_reach(definition: Saga[Any], state: SagaState, step: Step, ledgers: Ledgers) -> bool:
    """Whether the books show that a step before it was never done."""
    before = (definition.by_name[name] for name in step.ancestors)
    return any(
        it.kind is not Kind.READONLY
        and _has_books(it, ledgers)
        and state.node(it.action_node).phase is not NodePhase.DONE
        and not ledgers.has_done(_key_of(state, it, Direction.ACTION))
        for it in before
    )


def _has_books(step: Step, ledgers: Ledgers) -> bool:
    connector = step.connector_in(Direction.ACTION)
    return connector is not None and ledgers.has(connector.name)


def _is_over(step: Step, node: NodeState, at: datetime) -> bool:
    """Whether no send of it can be on its way any more: by its deadline, or by what the last one may have taken."""
    began = node.deadline_at or (node.ended_at and node.ended_at + timedelta(seconds=step.wall_s_in(Direction.ACTION)))
    return began is not None and at >= began + timedelta(seconds=GRACE_S)


def doubts(definition: Saga[Any], state: SagaState, ledgers: Ledgers, options: str = "") -> Iterator[str]:
    """What may have been done in the lost part and would be done again, or gone on over, if the saga went on; of what the journal
    has as done there is none. `state`: as it will be then. What its plan names is compensated, whether it was done or not."""
    for step in definition.order:
        for direction in Direction:
            node = f"{step.name}:{direction}"
            is_missing = direction is Direction.COMPENSATION and step.kind is not Kind.COMPENSATABLE
            if is_missing or state.node(node).phase is NodePhase.DONE:
                continue
            if not step.is_repeatable_in(direction):
                yield from _doubt(state, step, direction, ledgers, "")
            elif direction is Direction.COMPENSATION and _may_be_gone_over(definition, state, step):
                cancel = f'SAGA_TENANT={quote(state.tenant)} saga cancel {state.saga_id}{options} --reason "…"'
                after = f'saga db let-go {state.saga_id}{options} --reason "…"'
                then = f"it was rolled back, so type  {cancel}  and then  {after}"
                if may_be_past_return(definition, state):
                    then = (
                        "it was rolled back; its step of no return may have been sent as well, so a cancel does not roll it back "
                        "until the books show that it was not"
                    )
                yield from _doubt(state, step, direction, ledgers, then)


def _may_be_gone_over(definition: Saga[Any], state: SagaState, step: Step) -> bool:
    """Whether the saga may go forward over a compensation that was done. An undo by key closes the key of its action, which meets
    that when it is sent; any other leaves it open, and the action is answered as if nothing had been undone. What the journal has
    as done is not sent again, and meets nothing. A saga that had turned round does not go forward, and one that is past the
    point of no return was never rolled back."""
    is_one_way = state.cause is not None or is_past_return(definition, state)
    is_closed = step.is_undone_by_key and state.node(step.action_node).phase is not NodePhase.DONE
    return not is_one_way and not is_closed


def _no_way_back(definition: Saga[Any], state: SagaState, ledgers: Ledgers, options: str) -> Iterator[str]:
    """Steps of no return without books, of a saga that turns round as soon as it is let go."""
    for step in definition.no_return:
        if step.is_repeatable_in(Direction.ACTION) and not _has_books(step, ledgers):  # `doubts` asks of the others
            then = f'it must not be rolled back: saga db let-go {state.saga_id}{options} --past-return --reason "…"'
            yield from _doubt(state, step, Direction.ACTION, ledgers, then)


def _doubt(state: SagaState, step: Step, direction: Direction, ledgers: Ledgers, then: str) -> Iterator[str]:
    """`then` is what to do if it was sent."""
    connector, node = step.connector_in(direction), f"{step.name}:{direction}"
    if connector is None or not ledgers.has(connector.name):
        who = connector.name if connector else "the step's own function"
        yield f"{node} may have been sent, and {who} has no ledger to look at{then and f'; if it was, {then}'}"
        return
    key = _key_of(state, step, direction)
    if ledgers.knows(key):
        yield f"{node} was sent: {connector.name} has key {key} in its books{then and f'; {then}'}"


def _key_of(state: SagaState, step: Step, direction: Direction) -> str:
    """The key under which a participant was or would be asked."""
    return state.node(f"{step.name}:{direction}").wire_key or keys_of(state, step, direction)[1]
