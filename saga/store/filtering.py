"""Which rows a filter lets through, for the store in memory; the databases say the same as SQL (`saga.store.queries`)."""

from datetime import datetime

from saga.core.states import HaltReason, SagaStatus
from saga.store.port import SagaFilter, SagaRow, Wanted


def is_accepted_in(row: SagaRow, since: datetime | None, until: datetime | None) -> bool:
    """Whether it was accepted from `since` on and before `until`, where they are given."""
    return (since is None or row.accepted_at >= since) and (until is None or row.accepted_at < until)


def passes(row: SagaRow, saga_filter: SagaFilter) -> bool:
    """Whether a filter lets the row through."""
    wanted = saga_filter
    return (
        (wanted.definition is None or row.definition == wanted.definition)
        and (not wanted.statuses or row.status in wanted.statuses)
        and (wanted.halt_reason is None or row.halt_reason is wanted.halt_reason)
        and (wanted.environment is None or row.environment == wanted.environment)
        and (wanted.tenant is None or row.tenant == wanted.tenant)
        and (wanted.entity is None or row.entity == wanted.entity)
        and (not wanted.entities or row.entity in wanted.entities)
        and (wanted.id_prefix is None or any(key.startswith(wanted.id_prefix) for key in (row.saga_id, row.entity)))
        and (wanted.before is None or (row.accepted_at, row.saga_id) < wanted.before)
        and is_accepted_in(row, wanted.since, None)
        and (wanted.is_due is None or (row.due_at is not None) is wanted.is_due)
    )


def is_wanted(row: SagaRow, wanted: Wanted) -> bool:
    """Whether a sweeper can do something about a due saga."""
    is_known = wanted.definitions is None or (row.definition, row.version) in wanted.definitions
    is_known = is_known and row.saga_id not in wanted.without
    is_turned = row.status is SagaStatus.COMPENSATING or (
        row.status is SagaStatus.HALTED and row.halt_reason is not HaltReason.PARTICIPANT_DOWN
    )
    return is_known and (is_turned or not wanted.turned_only)
