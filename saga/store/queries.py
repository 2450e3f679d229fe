"""Reads for the surfaces, and the small writes that are alike on both databases, as SQLAlchemy Core.

Nothing here is on the hot path. Each function takes a connection and the tables of its dialect, and runs one statement
or two that are right in any isolation; the stores decide how a connection is had and when to try again.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    TextClause,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    text,
    true,
    tuple_,
    union,
)
from sqlalchemy.dialects import postgresql, sqlite

from saga.core.states import HaltReason, SagaStatus
from saga.scope import Scope
from saga.store.overview import HaltedCount, LiveCount
from saga.store.port import EffectRow, KeptRequest, RequestRow, SagaFilter, SagaRow
from saga.store.tables import SQLITE, Tables

LAST_LETTER = "\U0010ffff"
OWNERS_MAX = 100
"""Entities are indexed within their owner. With more owners than this a search for one of nobody in particular reads all."""

Conditions = list[ColumnElement[bool]]
Owner = tuple[str, str, str]
"""Environment, tenant and definition."""


def row(connection: Connection, tables: Tables, scope: Scope, saga_id: str) -> SagaRow | None:
    """The saga row of one id."""
    found = connection.execute(_rows(tables, scope).where(tables.saga.c.saga_id == saga_id)).one_or_none()
    return None if found is None else _saga_row(found)


def find(connection: Connection, tables: Tables, scope: Scope, saga_filter: SagaFilter, limit: int) -> list[SagaRow]:
    """Sagas that the filter lets through, the latest accepted first."""
    saga = tables.saga.c
    latest: tuple[ColumnElement[Any] | TextClause, ...] = (saga.accepted_at.desc(), saga.saga_id.desc())
    if tables is SQLITE and saga_filter.statuses == (SagaStatus.HALTED,):
        # SQLite would rather walk all sagas in this order than sort those of the partial index; of a sum it has no index.
        latest = (text("saga.accepted_at + 0 DESC"), saga.saga_id.desc())
    found: dict[str, SagaRow] = {}
    for conditions in _searches(connection, tables, narrowed(saga_filter, scope)):
        ordered = _rows(tables, scope).where(*conditions).order_by(*latest).limit(limit)
        found |= {it.saga_id: it for it in map(_saga_row, connection.execute(ordered))}
    return sorted(found.values(), key=lambda it: (it.accepted_at, it.saga_id), reverse=True)[:limit]


def _searches(connection: Connection, tables: Tables, wanted: SagaFilter) -> list[Conditions]:
    """The filter as searches of which an index serves each: one for each owner that an entity may have, and one for ids."""
    saga, whole = tables.saga.c, [_conditions(tables, wanted)]
    of_entity = wanted.entity is not None or wanted.id_prefix is not None
    if not of_entity and (wanted.definition is None or wanted.before is not None):
        return whole
    owners = _owners(connection, tables, wanted)
    if owners is None:
        return whole
    if not of_entity:  # one that no saga is of would be looked for in all of them
        return whole if owners else []
    ours = [replace(wanted, environment=it[0], tenant=it[1], definition=it[2]) for it in owners]
    if wanted.id_prefix is None:
        return [_conditions(tables, it) for it in ours]
    rest = _conditions(tables, replace(wanted, id_prefix=None))
    ours = [replace(it, id_prefix=None) for it in ours]
    begun = [[*_conditions(tables, it, by_owner=True), _begins(saga.entity, wanted.id_prefix)] for it in ours]
    return [[*rest, _begins(saga.saga_id, wanted.id_prefix)], *begun]


def _owners(connection: Connection, tables: Tables, wanted: SagaFilter) -> list[Owner] | None:
    """Whose sagas there are, of those that the filter lets through: from one to the next in the index. None: too many."""
    saga = tables.saga.c
    columns = (saga.environment, saga.tenant, saga.definition)
    asked = (wanted.environment, wanted.tenant, wanted.definition)
    is_sought = wanted.entity is not None or wanted.id_prefix is not None
    if is_sought and (whole := _whole(*asked)) is not None:  # else whether there is one is the question
        return [whole]
    owners: list[Owner] = []
    query = select(*columns).order_by(*columns).limit(1)
    if wanted.environment is not None:
        query = query.where(saga.environment == wanted.environment)
        query = query if wanted.tenant is None else query.where(saga.tenant == wanted.tenant)
    following = query
    for _ in range(OWNERS_MAX):
        found = connection.execute(following).one_or_none()
        if found is None:
            return [it for it in owners if all(one in (None, other) for one, other in zip(asked, it, strict=True))]
        owners.append((found[0], found[1], found[2]))
        following = query.where(tuple_(*columns) > tuple_(*map(literal, owners[-1])))
    return None


def _whole(environment: str | None, tenant: str | None, definition: str | None) -> Owner | None:
    if environment is None or tenant is None or definition is None:
        return None
    return environment, tenant, definition


def counts(
    connection: Connection, tables: Tables, scope: Scope, since: datetime | None, until: datetime | None
) -> dict[SagaStatus, int]:
    """Number of sagas by status, zeros included; of those accepted in [since, until)."""
    status, accepted_at = tables.saga.c.status, tables.saga.c.accepted_at
    query = select(status, func.count()).where(*_owned(tables, scope)).group_by(status)
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


def live_counts(connection: Connection, tables: Tables, scope: Scope) -> list[LiveCount]:
    """The sagas that have a due instant, by status and halt reason."""
    saga = tables.saga.c
    kind = (saga.status, saga.halt_reason)
    live = (saga.due_at.is_not(None), *_owned(tables, scope))
    query = select(*kind, func.count(), func.min(saga.due_at)).where(*live).group_by(*kind)
    return [
        LiveCount(SagaStatus(status), None if reason is None else HaltReason(reason), count, due_at)
        for status, reason, count, due_at in connection.execute(query.order_by(*kind))
    ]


def live_rows(connection: Connection, tables: Tables, scope: Scope, limit: int) -> list[SagaRow]:
    """The first accepted of the sagas that have a due instant."""
    # Apart, or PostgreSQL walks the list of all sagas in its order in the hope of meeting a live one soon.
    live = _rows(tables, scope).where(tables.saga.c.due_at.is_not(None)).cte("live").prefix_with("MATERIALIZED")
    query = select(live).order_by(live.c.accepted_at, live.c.saga_id).limit(limit)
    return [_saga_row(found) for found in connection.execute(query)]


def halted_counts(connection: Connection, tables: Tables, scope: Scope) -> list[HaltedCount]:
    """The halted sagas by reason."""
    reason, due_at = tables.saga.c.halt_reason, tables.saga.c.due_at
    halted = (_is_halted(tables), reason.is_not(None), *_owned(tables, scope))
    query = select(reason, func.count(), func.min(due_at)).where(*halted)
    ordered = query.group_by(reason).order_by(reason)
    return [HaltedCount(HaltReason(why), count, due) for why, count, due in connection.execute(ordered)]


def halted_rows(connection: Connection, tables: Tables, scope: Scope, reason: HaltReason, limit: int) -> list[SagaRow]:
    """The first accepted of those that are halted for this reason."""
    saga = tables.saga.c
    query = _rows(tables, scope).where(_is_halted(tables), saga.halt_reason == reason.value)
    ordered = query.order_by(saga.accepted_at, saga.saga_id).limit(limit)
    return [_saga_row(found) for found in connection.execute(ordered)]


def due_counts(connection: Connection, tables: Tables, scope: Scope, now: datetime) -> tuple[int, float]:
    """How many sagas are due at `now`, and for how many seconds the oldest has been."""
    due_at = tables.saga.c.due_at
    due = (due_at <= now, *_owned(tables, scope))
    number, oldest = connection.execute(select(func.count(), func.min(due_at)).where(*due)).one()
    return number, 0.0 if oldest is None else (now - oldest).total_seconds()


def effects(connection: Connection, tables: Tables, scope: Scope, saga_id: str) -> list[EffectRow]:
    """Effect rows of one saga in the order in which they were journalled."""
    effect = tables.effect.c
    columns = (effect.node, effect.kind, effect.unit, effect.quantity, effect.sign, effect.expires_at)
    of = (effect.saga_id == saga_id, *_of_nobody_else(tables, effect.saga_id, scope))
    query = select(*columns).where(*of).order_by(effect.seq, effect.ordinal)
    return [EffectRow(*found) for found in connection.execute(query)]


def effects_of(
    connection: Connection, tables: Tables, scope: Scope, saga_ids: Sequence[str]
) -> dict[str, list[EffectRow]]:
    """Effect rows of several sagas, each in the order in which they were journalled."""
    effect = tables.effect.c
    columns = (effect.node, effect.kind, effect.unit, effect.quantity, effect.sign, effect.expires_at)
    of = (effect.saga_id.in_(saga_ids), *_of_nobody_else(tables, effect.saga_id, scope))
    query = select(effect.saga_id, *columns).where(*of)
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


def lost_requests(
    connection: Connection, tables: Tables, scope: Scope, after: RequestRow | None, limit: int
) -> list[RequestRow]:
    """Request rows whose saga has no row."""
    request = tables.request.c
    key = (request.environment, request.tenant, request.request_key)
    query = select(*key, request.saga_id).where(~exists().where(tables.saga.c.saga_id == request.saga_id))
    if scope.environment is not None:
        query = query.where(request.environment == scope.environment)
    if scope.tenants is not None:
        query = query.where(request.tenant.in_(scope.tenants))
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


def narrowed(wanted: SagaFilter, scope: Scope) -> SagaFilter:
    """The filter with what `scope` leaves of environments and tenants, so that an index may serve a search for an entity."""
    tenants = scope.tenants or ()
    return replace(
        wanted,
        environment=wanted.environment or scope.environment,
        tenant=wanted.tenant or (tenants[0] if len(tenants) == 1 else None),
    )


def _owned(tables: Tables, scope: Scope) -> Conditions:
    """The sagas of a scope, asked for in a way that takes no planner to an index of owners: nearly all sagas are theirs, and
    what is looked for besides (due, halted, new) is found by an index of its own. A plus does that on SQLite, a CASE on
    PostgreSQL (`saga.store.postgres_sql`)."""
    names = {"environment": scope.environment and (scope.environment,), "tenant": scope.tenants}
    if tables is SQLITE:
        return [literal_column(f"+saga.{name}", Text).in_(of) for name, of in names.items() if of is not None]
    owned = [tables.saga.c[name].in_(of) for name, of in names.items() if of is not None]
    return [case((and_(*owned), true()), else_=false())] if owned else []


def _of_nobody_else(tables: Tables, saga_id: ColumnElement[str], scope: Scope) -> Conditions:
    """No saga of another scope has the id; what no saga row has is damage, and belongs to whoever looks."""
    conditions = _owned(tables, scope)
    return [~exists().where(tables.saga.c.saga_id == saga_id, not_(and_(*conditions)))] if conditions else []


def _rows(tables: Tables, scope: Scope) -> Select[tuple[object, ...]]:
    saga = tables.saga.c
    return select(
        saga.saga_id, saga.environment, saga.tenant, saga.definition, saga.version, saga.fingerprint, saga.entity,
        saga.run, saga.status, saga.halt_reason, saga.due_at, saga.accepted_at, saga.ended_at,
    ).where(*_owned(tables, scope))  # fmt: skip


def _saga_row(found: Row[tuple[object, ...]]) -> SagaRow:
    fields = dict(found._mapping)
    reason = fields.pop("halt_reason")
    return SagaRow(
        status=SagaStatus(fields.pop("status")), halt_reason=None if reason is None else HaltReason(reason), **fields
    )


def _is_halted(tables: Tables) -> ColumnElement[bool]:
    # A literal: no database can tell of a value that comes later whether the partial index has it.
    return tables.saga.c.status == literal_column("'halted'")


def _begins(column: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    # A range and not LIKE: LIKE ignores case on SQLite, and a range can use the index on both.
    return and_(column >= prefix, column < prefix + LAST_LETTER)


def _conditions(tables: Tables, saga_filter: SagaFilter, *, by_owner: bool = False) -> Conditions:
    """With `by_owner`, and of entities, the index of owners serves."""
    saga = tables.saga.c
    by_owner = by_owner or saga_filter.entity is not None or bool(saga_filter.entities)
    equal = {"definition": saga_filter.definition, "entity": saga_filter.entity}
    owner = {"environment": saga_filter.environment, "tenant": saga_filter.tenant}
    equal |= owner if by_owner else {}
    conditions: Conditions = [saga[name] == value for name, value in equal.items() if value is not None]
    if not by_owner:
        tenants = None if saga_filter.tenant is None else (saga_filter.tenant,)
        conditions += _owned(tables, Scope(saga_filter.environment, tenants))
    if saga_filter.statuses == (SagaStatus.HALTED,):
        conditions.append(_is_halted(tables))
    elif saga_filter.statuses:
        conditions.append(saga.status.in_([status.value for status in saga_filter.statuses]))
    if saga_filter.halt_reason is not None:
        conditions.append(saga.halt_reason == saga_filter.halt_reason.value)
    if saga_filter.since is not None:
        conditions.append(saga.accepted_at >= saga_filter.since)
    if saga_filter.is_due is not None:
        conditions.append(saga.due_at.is_not(None) if saga_filter.is_due else saga.due_at.is_(None))
    if saga_filter.entities:
        conditions.append(saga.entity.in_(saga_filter.entities))
    if saga_filter.id_prefix is not None:
        conditions.append(or_(*(_begins(column, saga_filter.id_prefix) for column in (saga.saga_id, saga.entity))))
    if saga_filter.before is not None:
        accepted_at, saga_id = saga_filter.before
        # A tuple does not pass its types on to plain values, and SQLite would compare text with a number.
        last = tuple_(literal(accepted_at, saga.accepted_at.type), literal(saga_id))
        conditions.append(tuple_(saga.accepted_at, saga.saga_id) < last)
    return conditions
