"""What is left that can still move without a person, and what one drain brought to an end: `saga drain`, every `--wait`.

Rules of this file: a saga counts as ended by whoever wrote the entry that ended it, so what other workers did to the same
journal meanwhile is not claimed. A row that is looked at again by itself (backoff, a pending answer, a halt that heals)
is still moving, however far away the instant is.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from saga.core import transitions as t
from saga.core.states import ENDED, SagaStatus
from saga.errors import CodecError
from saga.runtime.engine import Definitions
from saga.store.codec import decode
from saga.store.journal import JournalEntry
from saga.store.port import (
    SagaFilter,
    SagaRow,
    Store,
)
from saga.surfaces.lookup import pages

NOT_ENDED = (SagaStatus.RUNNING, SagaStatus.COMPENSATING, SagaStatus.HALTED)
PAGE = 200
_STOPS: dict[type[t.Transition], SagaStatus] = {
    t.SagaCompleted: SagaStatus.COMPLETED,
    t.SagaCompensated: SagaStatus.COMPENSATED,
    t.SagaHalted: SagaStatus.HALTED,
}


@dataclass(frozen=True, slots=True)
class Left:
    """Sagas that have not ended: those that this process can move, those of other definitions, those before a person."""

    moving_ids: frozenset[str]
    foreign_count: int
    waiting_count: int
    reasons: Mapping[str, int]
    """Why → how many, the most first."""
    next_due_at: datetime | None
    """When the first of those that move is looked at."""

    @property
    def moving_count(self) -> int:
        return len(self.moving_ids)


def is_over(row: SagaRow) -> bool:
    """Whether nobody but a person will move it: it has ended, or it is halted without a next look."""
    return row.status in ENDED or (row.status is SagaStatus.HALTED and row.due_at is None)


def left_of(store: Store, definitions: Definitions) -> Left:
    """What is left now. Reads every row that has not ended."""
    moving: dict[str, datetime | None] = {}
    foreign = waiting = 0
    reasons: Counter[str] = Counter()
    for row in pages(store, SagaFilter(statuses=NOT_ENDED)):
        own = definitions.get(row.definition, row.version)
        if is_over(row):
            waiting += 1
            reasons[f"halted ({row.halt_reason}), waits for a person: saga list --status halted"] += 1
        elif own is None or own.fingerprint != row.fingerprint:
            foreign += 1
            reasons[f"{row.definition} v{row.version} is not loaded here: -d MODULE:SAGA"] += 1
        else:
            moving[row.saga_id] = row.due_at
            reasons[_movement(row)] += 1
    due = min((at for at in moving.values() if at), default=None)
    return Left(frozenset(moving), foreign, waiting, dict(reasons.most_common()), due)


def _movement(row: SagaRow) -> str:
    if row.status is SagaStatus.HALTED:
        return f"halted ({row.halt_reason}), is looked at again by itself"
    return row.status.value


def stops_by(writers: Collection[str], store: Store, seen_ids: Collection[str], since: datetime) -> Counter[SagaStatus]:
    """Sagas that these worker processes brought to an end or to a halt, by status: of those in `seen_ids`, and of those
    that were accepted since. Reads the journals of both."""
    fresh = takewhile(lambda row: row.accepted_at >= since, pages(store, SagaFilter()))
    wanted = list(dict.fromkeys([*seen_ids, *(row.saga_id for row in fresh)]))
    stops: Counter[SagaStatus] = Counter()
    for start in range(0, len(wanted), PAGE):
        for entries in store.load(wanted[start : start + PAGE]).values():
            writer, status = _last_stop(entries)
            if status is not None and writer in writers:
                stops[status] += 1
    return stops


def _last_stop(entries: Sequence[JournalEntry]) -> tuple[str, SagaStatus | None]:
    """Who wrote that a saga stopped, and at which status; None for one that goes on, or that cannot be read."""
    for entry in reversed(entries):
        try:
            kinds = [type(it) for it in decode(entry.body)]
        except CodecError:
            break
        for kind in reversed(kinds):
            if kind is t.SagaResumed:
                return "", None
            if kind in _STOPS:
                return entry.writer, _STOPS[kind]
    return "", None
