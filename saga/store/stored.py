"""What the store in memory keeps of a saga and of a worker."""

from dataclasses import dataclass, field
from datetime import datetime

from saga.core.states import HaltReason
from saga.store.journal import Journal
from saga.store.port import EffectRow, SagaRow, WorkerRow


@dataclass(slots=True)
class StoredSaga:
    row: SagaRow
    priority: int
    pushes: int = 0
    journal: Journal = field(default_factory=Journal)
    effects: list[EffectRow] = field(default_factory=list)


@dataclass(slots=True)
class StoredWorker:
    row: WorkerRow
    lease_until: datetime
    is_open: bool = True


def is_marked(stored: StoredSaga) -> bool:
    """Whether its row says that the journal is damaged."""
    return stored.row.halt_reason is HaltReason.JOURNAL_DAMAGED


def is_held_by(stored: StoredSaga, worker_id: str) -> bool:
    return stored.row.due_at is not None and any(entry.writer == worker_id for entry in stored.journal)
