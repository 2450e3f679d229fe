"""From journal to state and from decision to journal entry: load → decide → append, without threads or Celery.

The reading path goes `core/machine.py` → here → `runtime/driver.py`. Nothing in this file waits for anything but the
store, and everything that several surfaces need of a saga goes through it: `Definitions` (which versions this process
has), `Loaded` (a saga at a sequence number), `append_for` (a decision as an entry) and `tell` (an event from outside,
such as a cancel, decided and appended with the conflict loop).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from saga.core.definition import Saga
from saga.core.events import Decision, Event
from saga.core.fold import SagaState, accepted, evolve
from saga.core.machine import decide, due_at
from saga.core.projection import ProjectedRow, projected
from saga.core.states import ENDED
from saga.core.transitions import (
    READER_VERSION,
    AttemptEnded,
    AttemptStarted,
    SagaAccepted,
    Transition,
    min_reader_version,
)
from saga.errors import (
    CodecError,
    ConcurrencyError,
    DefinitionError,
    FingerprintChanged,
    IllegalTransition,
    JournalDamaged,
    SagaNotFound,
)
from saga.log import logger
from saga.store.codec import decode, encode
from saga.store.journal import Journal, JournalEntry
from saga.store.port import (
    Append,
    AppendResult,
    EffectRow,
    RowFilter,
    SagaColumns,
    Store,
)
from saga.words import words_of

GENESIS = bytes(32)
CONFLICT_LIMIT = 64
FAR_S = 60.0
"""A saga that sleeps for longer than the row says plus this is written down as asleep, or it would be looked at in vain."""
COARSE_S = 1.0
"""The due column is moved later only when it would otherwise fire within this time: steady progress writes no row."""


class Definitions:
    """The definitions of this process by (name, version). Several versions of one name live side by side; one that continues earlier
    versions brings them."""

    def __init__(self, sagas: Iterable[Saga[Any]]) -> None:
        self._by_version: dict[tuple[str, int], Saga[Any]] = {}
        for saga in (one for named in sagas for one in (named, *named.earlier)):
            before = self._by_version.setdefault((saga.name, saga.version), saga)
            if before is not saga:
                msg = f"two definitions are called {saga.name} v{saga.version}; raise the version of one"
                raise DefinitionError(msg)

    def __iter__(self) -> Iterator[Saga[Any]]:
        return iter(self._by_version.values())

    def get(self, name: str, version: int) -> Saga[Any] | None:
        return self._by_version.get((name, version))

    @property
    def versions(self) -> tuple[tuple[str, int], ...]:
        """(name, version) of every definition that this process can run."""
        return tuple(self._by_version)

    def latest(self, name: str) -> Saga[Any]:
        """The highest version of `name`; `DefinitionError` names what there is."""
        found = [saga for (known, _), saga in sorted(self._by_version.items(), key=lambda row: row[0]) if known == name]
        if not found:
            has = ", ".join(sorted({known for known, _ in self._by_version})) or "none"
            msg = f"no definition is called {name!r}; this process has: {has}"
            raise DefinitionError(msg)
        return found[-1]

    def register(self, store: Store) -> list[FingerprintChanged]:
        """Compare every fingerprint with the stored one; a changed one is refused (dropped here, with what it continues, since
        new sagas would be of that version), the others run.

        Raises `UsageError` when the table of a projection is missing.
        """
        refused = []
        for projection in {saga.on_change for saga in self._by_version.values() if saga.on_change is not None}:
            store.rows(projection, RowFilter(order=projection.key), 1)  # a table that is missing is said now
        for saga in list(self):
            stored = store.register_definition(saga.name, saga.version, saga.fingerprint)
            if stored != saga.fingerprint:
                refused.append(FingerprintChanged(saga.name, saga.version, stored, saga.fingerprint))
                for one in (saga, *saga.earlier):
                    self._by_version.pop((one.name, one.version), None)
        return refused


@dataclass(frozen=True, slots=True)
class Loaded:
    """One saga as of journal entry `seq`."""

    definition: Saga[Any]
    state: SagaState
    seq: int
    hash: bytes
    row_due_at: datetime | None = None
    """What the saga row says, when this process wrote it; None when that is not known."""


def is_readable(entries: Sequence[JournalEntry]) -> bool:
    """Whether this release may work on a saga with these entries; otherwise it leaves the saga alone."""
    return all(entry.min_reader_version <= READER_VERSION for entry in entries)


def fold(entries: Sequence[JournalEntry]) -> tuple[SagaState, int, bytes]:
    """The state, the last sequence number and the last hash of a whole journal.

    Raises `JournalDamaged` for a gap or a broken hash chain, `IllegalTransition` for a transition that the table forbids,
    and `CodecError` for a body that cannot be read. That entries are missing at the end is for `load` to see.
    """
    opening = decode(entries[0].body)
    if not opening:
        raise CodecError("entry 1 of a journal is empty")
    first, *rest = opening
    if not isinstance(first, SagaAccepted):
        raise IllegalTransition("?", "nothing", first.kind)
    state = accepted(first)
    _check_chain(state.saga_id, entries[0], 1, GENESIS)
    for transition in rest:
        state = evolve(state, transition)
    return _extend(state, 1, entries[0].hash, entries[1:])


def _extend(state: SagaState, seq: int, last: bytes, entries: Sequence[JournalEntry]) -> tuple[SagaState, int, bytes]:
    for entry in entries:
        _check_chain(state.saga_id, entry, seq + 1, last)
        for transition in decode(entry.body):
            state = evolve(state, transition)
        seq, last = entry.seq, entry.hash
    return state, seq, last


def _check_chain(saga_id: str, entry: JournalEntry, seq: int, last: bytes) -> None:
    if entry.seq != seq:
        raise JournalDamaged(saga_id, f"entry {entry.seq} comes after entry {seq - 1}: the journal has a gap")
    if entry.prev_hash != last:
        raise JournalDamaged(saga_id, f"entry {entry.seq} does not follow entry {seq - 1}: the hash chain is broken")


def load(definitions: Definitions, saga_id: str, entries: Sequence[JournalEntry]) -> Loaded | None:
    """The saga of a whole journal; None when this process must leave it alone (no such definition, a newer journal).

    Raises what `fold` raises, and `JournalDamaged` for a journal that is shorter than its saga row remembers.
    """
    if isinstance(entries, Journal) and entries.lacks is not None:
        raise JournalDamaged(
            saga_id,
            f'{entries.lacks}; restore them, or if nothing of it was done: `saga db let-go {saga_id} --reason "…"`',
        )
    return known(definitions, entries)


def known(definitions: Definitions, entries: Sequence[JournalEntry]) -> Loaded | None:
    """The saga of a journal as it stands, whole or not; None as for `load`."""
    if not entries or not is_readable(entries):
        return None
    state, seq, last = fold(entries)
    definition = definitions.get(state.definition, state.version)
    if definition is None or definition.fingerprint != state.fingerprint:
        return None
    return Loaded(definition, state, seq, last)


def follow(loaded: Loaded, tail: Sequence[JournalEntry]) -> Loaded:
    """`loaded` with the entries that others appended.

    Raises `CodecError` when one of them was written by a release that says this one must leave the saga alone.
    """
    if not is_readable(tail):
        raise CodecError(f"saga {loaded.state.saga_id}: a newer release wrote an entry; this one leaves the saga alone")
    state, seq, last = _extend(loaded.state, loaded.seq, loaded.hash, tail)
    return Loaded(loaded.definition, state, seq, last)


def followed_by(loaded: Loaded, tail: Sequence[JournalEntry]) -> Loaded | None:
    """As `follow`; None when the journal does not go on from what is remembered here."""
    try:
        return follow(loaded, tail) if tail else None
    except JournalDamaged:
        return None


@dataclass(frozen=True, slots=True)
class Written:
    """A decision ready to be appended, and the saga as it will be then."""

    append: Append
    after: Loaded


def append_for(
    loaded: Loaded,
    transitions: Sequence[Transition],
    state: SagaState,
    *,
    at: datetime,
    writer: str,
    actor: str = "engine",
    reason: str | None = None,
) -> Written:
    """The append that turns `loaded` into `state`, with the row of its projection.

    Raises `CodecError` for values that no database can hold.
    """
    entry = JournalEntry(
        loaded.seq + 1, at, writer, actor, reason, encode(transitions), loaded.hash, min_reader_version(transitions)
    )
    is_money = _cannot_be_repeated(loaded.definition, transitions)
    columns, row_due_at = _columns(loaded, state, at, must_remember=is_money)
    effects = tuple(
        EffectRow(it.node, change.kind, change.unit, change.quantity, change.sign, change.expires_at)
        for it in transitions
        if isinstance(it, AttemptEnded)
        for change in it.effects
    )
    after = Loaded(loaded.definition, state, entry.seq, entry.hash, row_due_at)
    row = row_of(loaded.definition, state, before=loaded.state)
    return Written(Append(state.saga_id, entry, columns, effects, row), after)


def row_of(definition: Saga[Any], state: SagaState, *, before: SagaState | None = None) -> ProjectedRow | None:
    """What the projection of the definition has to say of `state`, when that is something else than it had of `before`."""
    projection = definition.on_change
    if projection is None:
        return None
    try:
        is_as_before = before is not None and projection.face(before) == projection.face(state)
        return None if is_as_before else projected(projection, state)
    except BaseException as error:  # the user's functions: a mistake in a view costs no decision, and refuses no order
        logger.error("projection_failed", saga_id=state.saga_id, error=words_of(error))
        return None


def _cannot_be_repeated(definition: Saga[Any], transitions: Sequence[Transition]) -> bool:
    """Whether an attempt is claimed whose loss from the journal would be a second effect: the row must know of it."""
    for it in transitions:
        if isinstance(it, AttemptStarted):
            step, direction = definition.node(it.node)
            if not step.is_repeatable_in(direction):
                return True
    return False


def _columns(
    loaded: Loaded, state: SagaState, at: datetime, *, must_remember: bool
) -> tuple[SagaColumns | None, datetime | None]:
    """The cached columns, when they must be written: status or halt changed, or somebody must look earlier than the row
    says, or the row's instant is so near that it would fire in spite of progress, or the row must remember the entry."""
    due = due_at(loaded.definition, state, at)
    row = loaded.row_due_at
    same_face = state.status is loaded.state.status and state.halt == loaded.state.halt
    if (
        not must_remember
        and same_face
        and row is not None
        and due is not None
        and row > at + timedelta(seconds=COARSE_S)
    ):
        is_near = row <= due <= row + timedelta(seconds=FAR_S)
        if is_near:
            return None, row
    ended_at = state.ended_at if state.status in ENDED else None
    return SagaColumns(state.status, state.halt.reason if state.halt else None, due, ended_at), due


def tell(
    store: Store, definitions: Definitions, saga_id: str, event: Event, *, actor: str, reason: str | None = None
) -> Decision:
    """Decide `event` from outside (a cancel) and append what follows; the state in the answer is durable.

    Safe beside any number of workers: when somebody else appended first, the tail is read and it is decided again.
    Raises `SagaNotFound`, `JournalDamaged`, or `DefinitionError` when this process does not have the saga's definition.
    """
    loaded = _loaded(store, definitions, saga_id)
    for _ in range(CONFLICT_LIMIT):
        decision = decide(loaded.definition, loaded.state, event)
        if not decision.transitions:
            return decision
        written = append_for(
            loaded,
            decision.transitions,
            decision.state,
            at=event.at,
            writer=actor,
            actor=actor,
            reason=reason,
        )
        if store.append([written.append])[0] is AppendResult.APPENDED:
            return decision
        # Refused, and nobody was first: the row remembers more, or says that the journal is damaged. To load says which.
        loaded = followed_by(loaded, store.tail(saga_id, loaded.seq)) or _loaded(store, definitions, saga_id)
    raise ConcurrencyError(saga_id, loaded.seq + 1)


def _loaded(store: Store, definitions: Definitions, saga_id: str) -> Loaded:
    loaded = load(definitions, saga_id, store.load([saga_id]).get(saga_id, []))
    if loaded is not None:
        return loaded
    if store.row(saga_id) is None:
        raise SagaNotFound(saga_id)
    msg = (
        f"saga {saga_id}: this process does not have its definition and version; run the command where it is known, "
        "and name it with -d MODULE:NAME when it is none of the product's"
    )
    raise DefinitionError(msg)
