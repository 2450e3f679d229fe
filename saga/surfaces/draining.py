"""Whether anything is left that can still move without a person; what `saga drain` and every `--wait` ask."""

from dataclasses import dataclass

from saga.core.states import ENDED, SagaStatus
from saga.runtime.engine import Definitions
from saga.store.port import SagaFilter, SagaRow, Store
from saga.surfaces.lookup import pages

NOT_ENDED = (SagaStatus.RUNNING, SagaStatus.COMPENSATING, SagaStatus.HALTED)


@dataclass(frozen=True, slots=True)
class Left:
    """Sagas that have not ended: those that this process can move, those of other definitions, those before a person."""

    moving_count: int
    foreign_count: int
    waiting_count: int


def is_over(row: SagaRow) -> bool:
    """Whether nobody but a person will move it: it has ended, or it is halted without a next look."""
    return row.status in ENDED or (row.status is SagaStatus.HALTED and row.due_at is None)


def left_of(store: Store, definitions: Definitions) -> Left:
    """What is left now. Reads every row that has not ended."""
    moving = foreign = waiting = 0
    for row in pages(store, SagaFilter(statuses=NOT_ENDED)):
        own = definitions.get(row.definition, row.version)
        if is_over(row):
            waiting += 1
        elif own is None or own.fingerprint != row.fingerprint:
            foreign += 1
        else:
            moving += 1
    return Left(moving, foreign, waiting)
