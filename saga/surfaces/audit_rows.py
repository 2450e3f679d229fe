"""What the tables around the journal say otherwise than the journal: saga rows, effect rows, request rows (invariant I5).

Rules of this file
------------------
- The journal is the truth. A saga row is an index over its fold, effect rows are what its `attempt_ended` transitions
  reported, and a request row names a saga that is there. Each is computed again and compared.
- Of `due_at` only whether it is set is compared: sweepers push it, and it moves in coarse steps. A saga that must be looked
  at and has none is lost for ever: no sweeper sees it. The rule is the machine's own, so it is asked only where the
  definition is at hand; that an ended saga is due for nothing needs none.
- Row, effects and journal are three reads. `settled` takes them as of one moment; what moves in each look is said to be not
  judged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from saga.core import transitions as t
from saga.core.definition import Saga
from saga.core.fold import SagaState
from saga.core.machine import due_at
from saga.core.states import ENDED, HaltReason
from saga.errors import CodecError
from saga.runtime.engine import Definitions, fold
from saga.store.codec import decode
from saga.store.journal import Journal, JournalEntry
from saga.store.port import (
    EffectRow,
    RequestRow,
    SagaRow,
    Store,
)
from saga.surfaces.cancelling import let_go_command

LOOKS = 3
PAGE_LOST = 1_000
COPIED = ("saga_id", "environment", "tenant", "definition", "version", "fingerprint", "entity", "run")
"""What the saga row copies from entry 1."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One saga as the database has it, and what its journal adds up to."""

    row: SagaRow
    entries: list[JournalEntry]
    effects: Sequence[EffectRow]
    state: SagaState
    journal: list[t.Transition]
    faults: tuple[str, ...]
    is_moving: bool = False
    """Something was appended during each look, so row and effects cannot be compared."""
    lacks: str = ""
    """What the journal lacks of what its row remembers; empty when it is whole as far as anybody knows."""

    @property
    def fits(self) -> bool:
        """Whether there is nothing to tell."""
        return not self.told

    @property
    def told(self) -> tuple[str, ...]:
        """Everything that does not fit; behind what the journal lacks stands what to type."""
        then = f"; restore the entries, or find out what was done and type  {let_go_command(self.row.saga_id)}"
        return (*self.faults, self.lacks + then) if self.lacks else self.faults


def settled(
    store: Store, definitions: Definitions, row: SagaRow, entries: list[JournalEntry], effects: Sequence[EffectRow]
) -> Seen:
    """The saga, and what does not fit. A fault counts only when nothing was appended between the first read and the last.

    Raises `IllegalTransition` or `CodecError` for a journal that cannot be folded.
    """
    seen = _seen(definitions, row, entries, effects)
    for _ in range(0 if seen.fits else LOOKS):
        entries = store.load([row.saga_id]).get(row.saga_id, entries)
        seen = _seen(definitions, store.row(row.saga_id) or row, entries, store.effects(row.saga_id))
        if seen.fits or not store.tail(row.saga_id, entries[-1].seq):
            return seen
    is_moving = not seen.fits
    return Seen(seen.row, seen.entries, seen.effects, seen.state, seen.journal, (), is_moving)


def _seen(definitions: Definitions, row: SagaRow, entries: list[JournalEntry], effects: Sequence[EffectRow]) -> Seen:
    state = fold(entries)[0]
    journal = [it for entry in entries for it in decode(entry.body)]
    definition = known(definitions, state)
    lacks = (entries.lacks or "") if isinstance(entries, Journal) else ""
    # A row that is marked as damaged is halted whatever is left of its journal: that is no second fault.
    is_marked = bool(lacks) and row.halt_reason is HaltReason.JOURNAL_DAMAGED
    columns = () if is_marked else column_faults(row, state, definition)
    faults = (*copy_faults(row, state), *columns, *effect_faults(effects, journal))
    return Seen(row, entries, effects, state, journal, faults, lacks=lacks)


def known(definitions: Definitions, state: SagaState) -> Saga[Any] | None:
    """The definition that this saga runs by, when it is at hand with that fingerprint."""
    definition = definitions.get(state.definition, state.version)
    return None if definition is None or definition.fingerprint != state.fingerprint else definition


def copy_faults(row: SagaRow, state: SagaState) -> Iterator[str]:
    """What the saga row copied from entry 1 and says otherwise."""
    for name in COPIED:
        cached, accepted = getattr(row, name), getattr(state, name)
        if cached != accepted:
            yield f"the saga row has {name} {cached}, and entry 1 of the journal {accepted}"


def column_faults(row: SagaRow, state: SagaState, definition: Saga[Any] | None) -> Iterator[str]:
    """What the cached columns say otherwise than the fold of the journal."""
    reason = state.halt.reason if state.halt else None
    if (row.status, row.halt_reason) != (state.status, reason):
        cached, folded = (
            f"{status}{f' ({why})' if why else ''}"
            for status, why in ((row.status, row.halt_reason), (state.status, reason))
        )
        yield f"the saga row says {cached}, and the fold of the journal {folded}"
    if row.ended_at != state.ended_at:
        yield f"the saga row has ended_at {row.ended_at}, and the journal {state.ended_at}"
    if state.status in ENDED:
        if row.due_at is not None:
            yield f"the saga ended, and its row has due_at {row.due_at}: workers will look at it again and again"
    elif definition is not None and _has_steps_of(definition, state):
        must_be_due = due_at(definition, state, state.accepted_at) is not None
        if must_be_due and row.due_at is None:
            yield "the saga row has no due_at, and somebody must look at it: no worker will"
        elif not must_be_due and row.due_at is not None:
            yield f"the saga row has due_at {row.due_at}, and nothing in the journal waits for time to pass"


def _has_steps_of(definition: Saga[Any], state: SagaState) -> bool:
    """Whether every node and entry of the plan is one of the definition; otherwise I4 tells, and nothing is due by it."""
    steps = {name.rpartition(":")[0] for name in state.nodes} | {entry.step for entry in state.plan or ()}
    return steps <= definition.by_name.keys()


def effect_faults(rows: Sequence[EffectRow], journal: Sequence[t.Transition]) -> Iterator[str]:
    """The first effect row that is not what the journal's outcomes reported, and how many there are of each."""
    reported = [
        EffectRow(it.node, change.kind, change.unit, change.quantity, change.sign, change.expires_at)
        for it in journal
        if isinstance(it, t.AttemptEnded)
        for change in it.effects
    ]
    if list(rows) == reported:
        return
    pairs = enumerate(zip_longest(rows, reported), start=1)
    number, (row, change) = next(pair for pair in pairs if pair[1][0] != pair[1][1])
    counts = f"{len(rows)} effect rows, {len(reported)} effects in the journal"
    yield f"effect row {number} is {_shown(row)}, and the journal says {_shown(change)} ({counts})"


def _shown(effect: EffectRow | None) -> str:
    if effect is None:
        return "nothing"
    until = f" until {effect.expires_at}" if effect.expires_at else ""
    return f"{effect.node} {effect.kind} {effect.unit} {effect.sign * effect.quantity:+,}{until}"


@dataclass(frozen=True, slots=True)
class Lost:
    """A saga whose row is gone: what entry 1 says of it, as far as it can be read, and how much names it."""

    saga_id: str
    entries: list[JournalEntry]
    effect_count: int
    accepted: t.SagaAccepted | None

    @property
    def detail(self) -> str:
        left = f"{len(self.entries)} journal entries and {self.effect_count} effect rows"
        return f"there is no saga row, and {left} of the saga: nobody will run it or show it"


def lost_sagas(store: Store, page_rows: int = PAGE_LOST) -> Iterator[Lost]:
    """Every saga that the journal or the effects name and that has no row, page by page."""
    after = ""
    while page := store.lost_sagas(after, page_rows):
        journals, effects = store.load(page), store.effects_of(page)
        for saga_id in page:
            entries: list[JournalEntry] = journals.get(saga_id, [])
            yield Lost(saga_id, entries, len(effects.get(saga_id, ())), _acceptance(entries))
        after = page[-1]


def _acceptance(entries: Sequence[JournalEntry]) -> t.SagaAccepted | None:
    try:
        first = next(iter(decode(entries[0].body)), None) if entries else None
    except CodecError:
        return None
    return first if isinstance(first, t.SagaAccepted) else None


def lost_requests(store: Store, page_rows: int = PAGE_LOST) -> Iterator[RequestRow]:
    """Every request row whose saga has no row, page by page."""
    after = None
    while page := store.lost_requests(after, page_rows):
        yield from page
        after = page[-1]


def request_fault(request: RequestRow) -> str:
    """What a lost request row does to its caller."""
    whose = f"{request.environment}/{request.tenant}"
    return f"request key {request.request_key} of {whose} names this saga, and there is no saga row"
