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

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from saga.core.events import LetGo
from saga.core.fold import SagaState
from saga.core.machine import decide
from saga.core.states import HaltReason, SagaStatus
from saga.errors import DefinitionError, SagaError, UsageError
from saga.ids import uuid7
from saga.runtime.engine import Definitions, known
from saga.runtime.holding import as_damaged, hold, let_go
from saga.store.journal import Journal
from saga.store.port import SagaFilter, SagaRow, Store
from saga.store.restoring import Restoration
from saga.surfaces.judging import (
    Judged,
    Sight,
    contradictions,
    doubts,
    found,
    judged,
    open_nodes,
    unsettled,
    would_be_wrong,
)
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
        journal = _journal_of(store, row)
        if journal.lacks is not None:
            return f"{journal.lacks}: restore the entries, or find out what was done"
        it = _judged(store, definitions, row, books, LetGo(store.clock(), f"{actor}: {reason}"))
        if until := unsettled(it):
            return f"{until}: type  saga db reconcile  again then"
        if why := [*doubts(it, options), *contradictions(it)]:
            return "; ".join([*why, *found(it.said)])
        return let_go(store, definitions, row.saga_id, actor=actor, reason=reason, books=it.said)

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
    is_not_done: bool = False,
) -> Moved:
    """Let these sagas go on as their journals and the books stand; whoever names them answers for what both lack. Without `books`
    for what they have, too. `is_past_return`: the person knows that its step of no return was done. `is_not_done`: and that what
    the journal has as sent, and nobody may repeat, was not done."""

    def let(row: SagaRow) -> bool | str:
        said = LetGo(store.clock(), f"{actor}: {reason}", is_past_return)
        if _journal_of(store, row):
            it = _judged(store, definitions, row, books, said)
            if not it.sight.state.is_held:
                return f"it is {row.status} and not held"
            if is_not_done:
                it = _judged(store, definitions, row, books, replace(said, absent=tuple(open_nodes(it))))
            if is_past_return and not it.sight.definition.no_return:
                return "it has no step of no return: let it go without --past-return"
            said = it.said
            if until := unsettled(it):
                return f"{until}, so its books do not show yet what was not done: wait, or answer for that as well with --no-books"
            if why := [*would_be_wrong(it, is_not_done=is_not_done), *contradictions(it)]:
                return "; ".join([*why, *found(said)])
        return let_go(store, definitions, row.saga_id, actor=actor, reason=reason, books=said)

    return _each(rows, let)


def released_all(store: Store, definitions: Definitions, books: Books | None, *, actor: str, reason: str) -> Moved:
    """The same for every held saga whose journal is whole; nobody answers for a damaged one without naming it."""
    rows = [(row, _journal_of(store, row).lacks) for row in held(store)]
    moved = released(
        store, definitions, [row for row, lacks in rows if lacks is None], books, actor=actor, reason=reason
    )
    moved.left += [
        Left(row, f"{lacks}: restore the entries, or find out what was done and name it")
        for row, lacks in rows
        if lacks is not None
    ]
    return moved


def held(store: Store) -> list[SagaRow]:
    """The sagas that are held since a restore."""
    return list(pages(store, SagaFilter(statuses=(SagaStatus.HALTED,), halt_reason=HaltReason.RESTORED)))


def _journal_of(store: Store, row: SagaRow) -> Journal:
    return store.load([row.saga_id]).get(row.saga_id, Journal())


def _judged(store: Store, definitions: Definitions, row: SagaRow, books: Books | None, event: LetGo) -> Judged:
    """What the books make of a saga. Raises `DefinitionError` where its definition is not at hand."""
    journal = _journal_of(store, row)
    loaded = known(definitions, journal)
    if loaded is None:
        raise _not_at_hand(definitions, row)
    state = loaded.state
    if journal.lacks is not None:  # it is held in the entry that lets it go
        state = decide(loaded.definition, state, as_damaged(journal, journal.lacks, event.at)).state
    if books is None:
        return judged(Sight(loaded.definition, state, Ledgers(), None, None), event)
    return judged(Sight(loaded.definition, state, books.ledgers, books.read_at, _still_since(store, state)), event)


def _not_at_hand(definitions: Definitions, row: SagaRow) -> DefinitionError:
    name = f"the definition {row.definition} v{row.version}"
    if definitions.get(row.definition, row.version) is None:
        return DefinitionError(f"{name} is not at hand; name it with -d MODULE:NAME")
    return DefinitionError(
        f"{name} at hand is another than it was accepted with: run this command with the code of then"
    )


def _still_since(store: Store, state: SagaState) -> datetime | None:
    """Since when nothing is sent any more: workers are stopped before somebody says that a backup was restored. None for a damaged
    journal, of which a worker may still send."""
    is_still = state.halt is not None and state.halt.reason is HaltReason.RESTORED
    return max((it.told_at for it in store.restorations()), default=None) if is_still else None


def _each(rows: Iterable[SagaRow], move: Callable[[SagaRow], bool | str]) -> Moved:
    """One saga after another. `move` says whether it moved the saga, or why it could not: one that it cannot move or read is
    named, and holds up nobody behind it."""
    moved = Moved()
    for row in rows:
        try:
            answer = move(row)
        except SagaError as error:
            answer = str(error)
        if isinstance(answer, str):
            moved.left.append(Left(row, answer))
        else:
            moved.count += answer
    return moved
