"""Which rows a filter lets through, for the store in memory; the databases say the same as SQL (`saga.store.queries`);
and which rows of a projection are those of a scope, for all three."""

from dataclasses import replace
from datetime import datetime

from saga.core.projection import Projection
from saga.core.states import HaltReason, SagaStatus
from saga.scope import Scope
from saga.store.port import RowFilter, SagaFilter, SagaRow, Wanted

OWNER = ("environment", "tenant")


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
    """Whether a sweeper can do something about the saga."""
    is_known = wanted.definitions is None or (row.definition, row.version) in wanted.definitions
    is_known = is_known and row.saga_id not in wanted.without
    is_turned = row.status is SagaStatus.COMPENSATING or (
        row.status is SagaStatus.HALTED and row.halt_reason is not HaltReason.PARTICIPANT_DOWN
    )
    return is_known and (is_turned or not wanted.turned_only)


def owned_rows(projection: Projection, wanted: RowFilter, scope: Scope) -> RowFilter:
    """The filter with those of `scope` alone, where the rows of a projection say whose they are."""
    if not set(OWNER) <= set(projection.columns):
        return wanted
    held: dict[str, tuple[str, ...]] = {}
    if scope.environment is not None:
        held["environment"] = (scope.environment,)
    if scope.tenants is not None:
        held["tenant"] = scope.tenants
    return replace(wanted, one_of={**wanted.one_of, **held})
