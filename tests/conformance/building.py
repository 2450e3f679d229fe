"""Sagas and entries for the store's suite: valid, distinct by seq and writer, and of no meaning to the store."""

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta

from saga.core.states import SagaStatus
from saga.store.journal import Journal, JournalEntry, Reached
from saga.store.port import (
    AcceptStatus,
    Append,
    EffectRow,
    NewSaga,
    SagaColumns,
    Store,
)

_numbers = itertools.count(1)


def new_id(prefix: str = "s") -> str:
    """An id that no other test of this process has."""
    return f"{prefix}-{next(_numbers):08d}"


def entry(
    seq: int,
    at: datetime,
    *,
    writer: str = "w1",
    note: str = "",
    reason: str | None = None,
    prev_hash: bytes = bytes(32),
) -> JournalEntry:
    """Entry `seq` by `writer`; another note makes another body."""
    body = f'[{{"t":"noted","note":"{note}"}},{{"t":"second","seq":{seq}}}]'
    return JournalEntry(seq, at, writer, "tester", reason, body, prev_hash)


def entry_of(store: Store, saga_id: str, seq: int, **fields: object) -> JournalEntry:
    """The same, behind the entry before it that the store holds now."""
    before = [it for it in store.load([saga_id]).get(saga_id, []) if it.seq == seq - 1]
    prev_hash = before[0].hash if before else bytes(32)
    return entry(seq, store.now(), **{"prev_hash": prev_hash, **fields})  # type: ignore[arg-type]  # the fields of entry, by name


def new_saga(store: Store, entity: str | None = None, **fields: object) -> NewSaga:
    """A saga due an hour from now, unless `fields` say otherwise."""
    now = store.now()
    saga_id = new_id()
    defaults = {
        "saga_id": saga_id,
        "environment": "test",
        "tenant": "shop",
        "definition": "fulfil_order",
        "version": 1,
        "fingerprint": "f" * 64,
        "entity": entity or f"order-{saga_id}",
        "due_at": now + timedelta(hours=1),
        "first_entry": lambda run: entry(1, now, note=f"run {run}"),
    }
    return NewSaga(**(defaults | fields))  # type: ignore[arg-type]  # the fields of NewSaga, by name


def accepted(store: Store, **fields: object) -> NewSaga:
    """A saga that the store accepted."""
    new = new_saga(store, **fields)  # type: ignore[arg-type]  # as above
    [result] = store.accept([new])
    assert result.status is AcceptStatus.ACCEPTED
    return new


def append_of(store: Store, saga_id: str, seq: int, **fields: object) -> Append:
    """An append of entry `seq` without columns."""
    return Append(saga_id, entry_of(store, saga_id, seq, **fields))


def moved(store: Store, saga_id: str, seq: int, status: SagaStatus, effects: Sequence[EffectRow] = ()) -> Append:
    """An append that ends the saga in `status`."""
    columns = SagaColumns(status, None, None, store.now())
    return Append(saga_id, entry_of(store, saga_id, seq), columns, tuple(effects))


def due_ago(store: Store, seconds: float) -> datetime:
    """The instant `seconds` before now."""
    return store.now() - timedelta(seconds=seconds)


def mark_damaged(store: Store, saga_id: str, reached: Reached | None = None) -> None:
    """As whoever looks at it now."""
    store.mark_damaged(saga_id, store.load([saga_id]).get(saga_id, Journal()).reached, reached)
