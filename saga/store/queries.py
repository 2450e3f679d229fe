"""Reads for the surfaces, and the small writes that are alike on both databases, as SQLAlchemy Core.

Nothing here is on the hot path. Each function takes a connection and the tables of its dialect, and runs one statement
or two that are right in any isolation; the stores decide how a connection is had and when to try again.
"""

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
    union,
)
from sqlalchemy.dialects import postgresql, sqlite

from saga.core.states import HaltReason, SagaStatus
from saga.store.overview import LiveCount
from saga.store.port import EffectRow, KeptRequest, RequestRow, SagaFilter, SagaRow, WorkerRow
from saga.store.tables import SQLITE, Tables

LAST_LETTER = "\U0010ffff"


def row(connection: Connection, tables: Tables, saga_id: str) -> SagaRow | None:
    """The saga row of one id."""
    found = connection.execute(_rows(tables).where(tables.saga.c.saga_id == saga_id)).one_or_none()
    return None if found is None else _saga_row(found)


def find(connection: Connection, tables: Tables, saga_filter: SagaFilter, limit: int) -> list[SagaRow]:
    """Sagas that the filter lets through, the latest accepted first."""
    saga = tables.saga.c
    query = _rows(tables).where(*_conditions(tables, saga_filter))
    if saga_filter.before is not None:
        accepted_at, saga_id = saga_filter.before
        # A tuple does not pass its types on to plain values, and SQLite would compare text with a number.
        last = tuple_(literal(accepted_at, saga.accepted_at.type), literal(saga_id))
        query = query.where(tuple_(saga.accepted_at, saga.saga_id) < last)
    ordered = query.order_by(saga.accepted_at.desc(), saga.saga_id.desc()).limit(limit)
    return [_saga_row(found) for found in connection.execute(ordered)]


def counts(
    connection: Connection, tables: Tables, since: datetime | None, until: datetime | None
) -> dict[SagaStatus, int]:
    """Number of sagas by status, zeros included; of those accepted in [since, until)."""
    status, accepted_at = tables.saga.c.status, tables.saga.c.accepted_at
    query = select(status, func.count()).group_by(status)
    if since is not None:
        query = query.where(accepted_at >= since)
    if until is not None:
        query = query.where(accepted_at < until)
    found: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
    return {known: found.get(known.value, 0) for known in SagaStatus}


def horizon(connection: Connection, tables: Tables, count: int) -> datetime | None:
    """The instant from which on `count` sagas were accepted."""
    accepted_at = tables.saga.c.accepted_at
    query = select(accepted_at).order_by(accepted_at.desc(), tables.saga.c.saga_id.desc()).offset(count - 1).limit(1)
    return connection.execute(query).scalar_one_or_none()


def live_counts(connection: Connection, tables: Tables) -> list[LiveCount]:
    """The sagas that have a due instant, by status and halt reason."""
    saga = tables.saga.c
    kind = (saga.status, saga.halt_reason)
    query = select(*kind, func.count(), func.min(saga.due_at)).where(saga.due_at.is_not(None)).group_by(*kind)
    return [
        LiveCount(SagaStatus(status), None if reason is None else HaltReason(reason), count, due_at)
        for status, reason, count, due_at in connection.execute(query.order_by(*kind))
    ]


def live_rows(connection: Connection, tables: Tables, limit: int) -> list[SagaRow]:
    """The first accepted of the sagas that have a due instant."""
    # Apart, or PostgreSQL walks the list of all sagas in its order in the hope of meeting a live one soon.
    live = _rows(tables).where(tables.saga.c.due_at.is_not(None)).cte("live").prefix_with("MATERIALIZED")
    query = select(live).order_by(live.c.accepted_at, live.c.saga_id).limit(limit)
    return [_saga_row(found) for found in connection.execute(query)]


def due_counts(connection: Connection, tables: Tables, now: datetime) -> tuple[int, float]:
    """How many sagas are due at `now`, and for how many seconds the oldest has been."""
    due_at = tables.saga.c.due_at
    number, oldest = connection.execute(select(func.count(), func.min(due_at)).where(due_at <= now)).one()
    return number, 0.0 if oldest is None else (now - oldest).total_seconds()


def effects(connection: Connection, tables: Tables, saga_id: str) -> list[EffectRow]:
    """Effect rows of one saga in the order in which they were journalled."""
    effect = tables.effect.c
    columns = (effect.node, effect.kind, effect.unit, effect.quantity, effect.sign, effect.expires_at)
    query = select(*columns).where(effect.saga_id == saga_id).order_by(effect.seq, effect.ordinal)
    return [EffectRow(*found) for found in connection.execute(query)]


def effects_of(connection: Connection, tables: Tables, saga_ids: Sequence[str]) -> dict[str, list[EffectRow]]:
    """Effect rows of several sagas, each in the order in which they were journalled."""
    effect = tables.effect.c
    columns = (effect.node, effect.kind, effect.unit, effect.quantity, effect.sign, effect.expires_at)
    query = select(effect.saga_id, *columns).where(effect.saga_id.in_(saga_ids))
    rows: dict[str, list[EffectRow]] = {}
    for saga_id, *found in connection.execute(query.order_by(effect.saga_id, effect.seq, effect.ordinal)):
        rows.setdefault(saga_id, []).append(EffectRow(*found))
    return rows


def lost_sagas(connection: Connection, tables: Tables, after: str, limit: int) -> list[str]:
    """Ids that the journal or the effects name and that no saga row has."""
    named = union(*(_without_saga(tables, table.c.saga_id, after) for table in (tables.journal, tables.effect)))
    return [found[0] for found in connection.execute(named.order_by("saga_id").limit(limit))]


def _without_saga(tables: Tables, saga_id: ColumnElement[str], after: str) -> Select[str]:
    return select(saga_id).where(saga_id > after, ~exists().where(tables.saga.c.saga_id == saga_id))


def lost_requests(connection: Connection, tables: Tables, after: RequestRow | None, limit: int) -> list[RequestRow]:
    """Request rows whose saga has no row."""
    request = tables.request.c
    key = (request.environment, request.tenant, request.request_key)
    query = select(*key, request.saga_id).where(~exists().where(tables.saga.c.saga_id == request.saga_id))
    if after is not None:
        last = tuple_(literal(after.environment), literal(after.tenant), literal(after.request_key))
        query = query.where(tuple_(*key) > last)
    return [RequestRow(*found) for found in connection.execute(query.order_by(*key).limit(limit))]


def request(
    connection: Connection, tables: Tables, environment: str, tenant: str, request_key: str
) -> KeptRequest | None:
    """What is kept under an idempotency key."""
    of = tables.request.c
    owner = (of.environment == environment, of.tenant == tenant, of.request_key == request_key)
    found = connection.execute(select(of.request_hash, of.saga_id).where(*owner)).one_or_none()
    return None if found is None else KeptRequest(*found)


def workers(connection: Connection, tables: Tables) -> list[tuple[WorkerRow, datetime]]:
    """Open worker rows with the end of their lease, the oldest first."""
    worker = tables.worker.c
    columns = (worker.worker_id, worker.host, worker.pid, worker.queues, worker.lease_ttl_s, worker.lease_until)
    query = select(*columns).where(worker.closed_at.is_(None)).order_by(worker.started_at, worker.worker_id)
    return [
        (WorkerRow(worker_id, host, pid, tuple(json.loads(queues)), lease_ttl_s), lease_until)
        for worker_id, host, pid, queues, lease_ttl_s, lease_until in connection.execute(query)
    ]


def worker_is_open(connection: Connection, tables: Tables, worker_ids: Sequence[str]) -> dict[str, bool]:
    """Whether each worker's row is still open."""
    worker = tables.worker.c
    query = select(worker.worker_id).where(worker.worker_id.in_(worker_ids), worker.closed_at.is_(None))
    still_open = set(connection.execute(query).scalars())
    return {worker_id: worker_id in still_open for worker_id in worker_ids}


def register_definition(
    connection: Connection, tables: Tables, name: str, version: int, fingerprint: str, now: datetime
) -> str:
    """The fingerprint that stands, after storing the offered one if there was none."""
    definition = tables.definition
    values = {"name": name, "version": version, "fingerprint": fingerprint, "registered_at": now}
    insert = sqlite.insert(definition) if tables is SQLITE else postgresql.insert(definition)
    connection.execute(insert.values(values).on_conflict_do_nothing())
    key = and_(definition.c.name == name, definition.c.version == version)
    return str(connection.execute(select(definition.c.fingerprint).where(key)).scalar_one())


def _rows(tables: Tables) -> Select[tuple[object, ...]]:
    saga = tables.saga.c
    return select(
        saga.saga_id, saga.environment, saga.tenant, saga.definition, saga.version, saga.fingerprint, saga.entity,
        saga.run, saga.status, saga.halt_reason, saga.due_at, saga.accepted_at, saga.ended_at,
    )  # fmt: skip


def _saga_row(found: Row[tuple[object, ...]]) -> SagaRow:
    fields = dict(found._mapping)
    reason = fields.pop("halt_reason")
    return SagaRow(
        status=SagaStatus(fields.pop("status")), halt_reason=None if reason is None else HaltReason(reason), **fields
    )


def _conditions(tables: Tables, saga_filter: SagaFilter) -> list[ColumnElement[bool]]:
    saga = tables.saga.c
    conditions: list[ColumnElement[bool]] = []
    if saga_filter.definition is not None:
        conditions.append(saga.definition == saga_filter.definition)
    if saga_filter.statuses:
        conditions.append(saga.status.in_([status.value for status in saga_filter.statuses]))
    if saga_filter.halt_reason is not None:
        conditions.append(saga.halt_reason == saga_filter.halt_reason.value)
    if saga_filter.environment is not None:
        conditions.append(saga.environment == saga_filter.environment)
    if saga_filter.tenant is not None:
        conditions.append(saga.tenant == saga_filter.tenant)
    if saga_filter.since is not None:
        conditions.append(saga.accepted_at >= saga_filter.since)
    if saga_filter.is_due is not None:
        conditions.append(saga.due_at.is_not(None) if saga_filter.is_due else saga.due_at.is_(None))
    if saga_filter.entity is not None:
        conditions.append(saga.entity == saga_filter.entity)
    if saga_filter.id_prefix is not None:
        # A range and not LIKE: LIKE ignores case on SQLite, and a range can use the index on both.
        end = saga_filter.id_prefix + LAST_LETTER
        conditions.append(
            or_(*(and_(column >= saga_filter.id_prefix, column < end) for column in (saga.saga_id, saga.entity)))
        )
    return conditions
