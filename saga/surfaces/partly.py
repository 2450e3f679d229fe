"""A journal as far as it can be read, for whoever shows one: what stands in it is shown, and what cannot be read is said.

Rules of this file: functions of what was read, no store and no clock. Nothing is decided by what this gives: workers, cancels and
returns use `saga.runtime.engine.fold`, which refuses the whole journal. A journal is read up to the first entry that is spoiled,
does not follow from those before it, or is of a later release; before entry 1 the saga row says what it copied from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field

from saga.core.fold import SagaState
from saga.core.outcomes import Payload
from saga.core.transitions import READER_VERSION, Transition
from saga.errors import CodecError, IllegalTransition
from saga.runtime.engine import fold
from saga.store.codec import decode
from saga.store.journal import JournalEntry
from saga.store.port import SagaRow

UNREADABLE = (CodecError, IllegalTransition)


class UnreadableReading(BaseModel):
    """The first entry of a journal that cannot be read here; what is shown is as of the entry before it."""

    saga_id: str
    seq: int
    why: str = Field(description="which field, or what it does not follow from; never a payload")


@dataclass(frozen=True, slots=True)
class Partly:
    """A saga as of the last entry that can be read."""

    state: SagaState
    journal: list[Transition]
    seq: int
    """Of the last entry that stands there, whether it can be read or not."""
    unreadable: UnreadableReading | None = None


def read_partly(row: SagaRow, entries: Sequence[JournalEntry]) -> Partly:
    """The saga as far as its journal can be read; `entries` are at least one."""
    seq = entries[-1].seq
    try:
        return Partly(fold(entries)[0], _facts(entries), seq)
    except UNREADABLE:
        count = _readable_count(entries)
    state = fold(entries[:count])[0] if count else state_of(row)
    unreadable = UnreadableReading(saga_id=row.saga_id, seq=entries[count].seq, why=why_not(entries, count))
    return Partly(state, _facts(entries[:count]), seq, unreadable)


def why_not(entries: Sequence[JournalEntry], count: int) -> str:
    """Why the entry behind the first `count` cannot be read."""
    if entries[count].min_reader_version > READER_VERSION:
        return "it was written by a newer release; read it with that one"
    try:
        fold(entries[: count + 1])
    except UNREADABLE as error:
        return str(error)
    return ""


def state_of(row: SagaRow) -> SagaState:
    """What the row of a saga says of it, for one whose first entry cannot be read."""
    return SagaState(
        saga_id=row.saga_id,
        definition=row.definition,
        version=row.version,
        fingerprint=row.fingerprint,
        environment=row.environment,
        tenant=row.tenant,
        entity=row.entity,
        run=row.run,
        input=Payload("null"),
        accepted_at=row.accepted_at,
        status=row.status,
        ended_at=row.ended_at,
    )


def _facts(entries: Sequence[JournalEntry]) -> list[Transition]:
    return [it for entry in entries for it in decode(entry.body)]


def _readable_count(entries: Sequence[JournalEntry]) -> int:
    """How many entries from the first on can be read together."""
    low, high = 0, len(entries) - 1
    while low < high:
        middle = (low + high + 1) // 2
        try:
            fold(entries[:middle])
            low = middle
        except UNREADABLE:
            high = middle - 1
    return low
