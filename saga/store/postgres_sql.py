"""The statements of the PostgreSQL store, and how values become their arrays.

Every group statement takes one array per column and is right for a group of one. `inserted` is the compare-and-set: a
row goes in when entry seq - 1 exists and entry seq does not; what depends on it (cached columns, effects) joins with
it in the same statement, so a saga's decision is stored whole or not at all. ON CONFLICT DO NOTHING is right here
because the unit is one row per saga.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from saga.core.projection import Kind, ProjectedRow, Projection
from saga.scope import Scope
from saga.store.accepting import EntityKey, FreshSaga, RequestKey, request_key_of
from saga.store.journal import Journal, JournalEntry, Reached
from saga.store.port import (
    Append,
)
from saga.store.projecting import upsert

JOURNAL_COLUMNS = "saga_id, seq, at, writer, actor, reason, body, prev_hash, min_reader_version"
JOURNAL_ARRAYS = """unnest(%s::text[], %s::int[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[],
    %s::bytea[], %s::int[])"""

# The hash as `JournalEntry.hash` makes it. The array names the sagas whose damage is answered for.
INSERT_ENTRIES = f"""INSERT INTO saga.journal ({JOURNAL_COLUMNS})
SELECT * FROM {JOURNAL_ARRAYS} AS d ({JOURNAL_COLUMNS})
WHERE EXISTS (SELECT FROM saga.journal p WHERE p.saga_id = d.saga_id AND p.seq = d.seq - 1
    AND sha256(p.prev_hash || convert_to(p.seq || E'\n' || p.body, 'UTF8')) = d.prev_hash)
AND (d.saga_id = ANY(%s) OR NOT EXISTS (SELECT FROM saga.saga s WHERE s.saga_id = d.saga_id
    AND (s.halt_reason = 'journal_damaged' OR s.journal_seq >= d.seq)))
ON CONFLICT (saga_id, seq) DO NOTHING RETURNING saga_id, seq"""

APPEND = INSERT_ENTRIES
WITH_COLUMNS = f"""WITH inserted AS ({INSERT_ENTRIES}), moved AS (
    UPDATE saga.saga s SET status = c.status, halt_reason = c.halt_reason, due_at = c.due_at, ended_at = c.ended_at,
        journal_seq = c.seq, journal_hash = c.hash, due_pushes = 0
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::int[], %s::bytea[])
        AS c (saga_id, status, halt_reason, due_at, ended_at, seq, hash)
    WHERE s.saga_id = c.saga_id AND c.saga_id IN (SELECT saga_id FROM inserted)
        AND (s.halt_reason IS DISTINCT FROM 'journal_damaged' OR s.saga_id = ANY(%s))
), reported AS (
    INSERT INTO saga.effect (saga_id, seq, ordinal, node, kind, unit, quantity, sign, expires_at)
    SELECT e.* FROM unnest(%s::text[], %s::int[], %s::smallint[], %s::text[], %s::text[], %s::text[], %s::bigint[],
        %s::smallint[], %s::timestamptz[]) AS e (saga_id, seq, ordinal, node, kind, unit, quantity, sign, expires_at)
    WHERE e.saga_id IN (SELECT saga_id FROM inserted)
)"""

STANDING = """SELECT j.saga_id, j.writer, j.prev_hash, j.body
FROM unnest(%s::text[], %s::int[]) AS k (saga_id, seq) JOIN saga.journal j USING (saga_id, seq)"""

KNOWN_REQUESTS = """SELECT r.environment, r.tenant, r.request_key, r.request_hash, r.saga_id, s.run
FROM unnest(%s::text[], %s::text[], %s::text[]) AS k (environment, tenant, request_key)
JOIN saga.request r USING (environment, tenant, request_key) JOIN saga.saga s ON s.saga_id = r.saga_id"""

LATEST_RUNS = """SELECT k.environment, k.tenant, k.definition, k.entity, s.saga_id, s.run, s.status
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) AS k (environment, tenant, definition, entity)
CROSS JOIN LATERAL (
    SELECT l.saga_id, l.run, l.status FROM saga.saga l
    WHERE l.environment = k.environment AND l.tenant = k.tenant AND l.definition = k.definition AND l.entity = k.entity
    ORDER BY l.run DESC LIMIT 1
) s"""

ACCEPTED = f"""WITH requested AS (
    INSERT INTO saga.request (environment, tenant, request_key, request_hash, saga_id, created_at)
    SELECT k.*, clock_timestamp() FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) AS k
), journalled AS (
    INSERT INTO saga.journal ({JOURNAL_COLUMNS}) SELECT * FROM {JOURNAL_ARRAYS} RETURNING saga_id
), inserted AS (
    SELECT saga_id FROM journalled
)"""
INSERT_SAGAS = """INSERT INTO saga.saga (saga_id, environment, tenant, definition, version, fingerprint, entity, run, due_at, priority,
    journal_seq, journal_hash, accepted_at, status)
SELECT k.*, 'running' FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::int[],
    %s::text[], %s::text[], %s::int[], %s::timestamptz[], %s::int[], %s::int[], %s::bytea[], %s::timestamptz[]) AS k"""
"""`accepted_at` is that of journal entry 1, so that every list of the same saga says the same instant."""

# What `scope_values` fills in. A CASE is opaque to the planner, which takes half of the rows to pass it: of a comparison it would
# think that few do, on tables that were never analysed, and then read and sort every saga of the tenant by the index of owners.
OWNED = """CASE WHEN (%s::text IS NULL OR environment = %s::text) AND (%s::text[] IS NULL OR tenant = ANY(%s::text[]))
        THEN true ELSE false END"""
# One snapshot for the journal and for what its row remembers of it.
LOAD = f"""SELECT k.saga_id, s.journal_seq, s.journal_hash, s.halt_reason = 'journal_damaged', j.seq, j.at, j.writer, j.actor, j.reason, j.body, j.prev_hash,
    j.min_reader_version
FROM unnest(%s::text[]) AS k (saga_id) LEFT JOIN saga.saga s ON s.saga_id = k.saga_id
LEFT JOIN saga.journal j ON j.saga_id = k.saga_id
WHERE s.saga_id IS NULL OR ({OWNED}) ORDER BY j.saga_id, j.seq"""
TAIL = f"""SELECT {JOURNAL_COLUMNS} FROM saga.journal WHERE saga_id = %s AND seq > %s
    AND NOT EXISTS (SELECT FROM saga.saga s WHERE s.saga_id = %s AND NOT ({OWNED})) ORDER BY seq"""

# `statement_timestamp()` and not `clock_timestamp()`: what is volatile cannot be a bound of the index.
SWEEP = f"""WITH due AS (
    SELECT saga_id, priority, due_at FROM saga.saga WHERE due_at <= statement_timestamp()
        AND (%s::text[] IS NULL OR definition || ' ' || version = ANY(%s::text[]))
        AND {OWNED}
        AND NOT (saga_id = ANY(%s::text[]))
        AND (NOT %s OR status = 'compensating' OR (status = 'halted' AND halt_reason <> 'participant_down'))
    ORDER BY priority DESC, due_at LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE saga.saga s SET due_pushes = s.due_pushes + 1,
    due_at = clock_timestamp() + make_interval(secs => least(%s, %s::float8 * power(2, least(s.due_pushes, 16))))
FROM due WHERE s.saga_id = due.saga_id
RETURNING s.saga_id, s.definition, s.version, s.due_pushes - 1, s.due_at, due.priority, due.due_at"""


DAMAGED = """UPDATE saga.saga SET status = 'halted', halt_reason = 'journal_damaged', due_at = NULL, due_pushes = 0,
    journal_hash = CASE WHEN coalesce(journal_seq, 0) < %s THEN %s ELSE journal_hash END,
    journal_seq = nullif(greatest(journal_seq, %s), 0)
WHERE saga_id = %s AND journal_hash IS NOT DISTINCT FROM %s::bytea AND status NOT IN ('completed', 'compensated') RETURNING saga_id"""

REST = """UPDATE saga.saga s SET due_at = r.due_at, due_pushes = 0
FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) AS r (saga_id, until, due_at)
WHERE s.saga_id = r.saga_id AND s.due_at = r.until RETURNING s.saga_id"""

HAND_BACK = """UPDATE saga.saga SET due_at = least(due_at, clock_timestamp())
WHERE saga_id = ANY(%s::text[]) AND due_at IS NOT NULL RETURNING saga_id"""


@cache
def append_with(projections: tuple[Projection, ...]) -> str:
    """The append that also moves cached columns, stores effects and writes rows of these projections."""
    return f"{WITH_COLUMNS}{_viewed(projections)} SELECT saga_id, seq FROM inserted"


@cache
def accept_with(projections: tuple[Projection, ...]) -> str:
    """The statement that stores new sagas, and rows of these projections."""
    return f"{ACCEPTED}{_viewed(projections)} {INSERT_SAGAS}"


def _viewed(projections: tuple[Projection, ...]) -> str:
    return "".join(
        f", viewed_{place} AS ({upsert(projection, on_postgresql=True)})"
        for place, projection in enumerate(projections)
    )


def scope_values(scope: Scope) -> tuple[Any, ...]:
    """The parameters of `OWNED`."""
    tenants = None if scope.tenants is None else list(scope.tenants)
    return (scope.environment, scope.environment, tenants, tenants)


def row_arrays(rows: Sequence[tuple[str, ProjectedRow]]) -> list[str]:
    """For rows of one projection: the ids of their sagas, then one array per column."""
    arrays = [texts(saga_id for saga_id, _ in rows)]
    if not rows:
        return arrays
    projection = rows[0][1].projection
    for place, name in enumerate(projection.names):
        of_kind: Callable[[Iterable[Any]], str] = LITERALS[projection.columns[name]]
        arrays.append(of_kind(row.values[place] for _, row in rows))
    return arrays


def entry_arrays(entries: Sequence[tuple[str, JournalEntry]]) -> list[str]:
    """One array per column of the journal."""
    return [
        texts([saga_id for saga_id, _ in entries]),
        numbers([entry.seq for _, entry in entries]),
        instants([entry.at for _, entry in entries]),
        texts([entry.writer for _, entry in entries]),
        texts([entry.actor for _, entry in entries]),
        texts([entry.reason for _, entry in entries]),
        texts([entry.body for _, entry in entries]),
        hashes([entry.prev_hash for _, entry in entries]),
        numbers([entry.min_reader_version for _, entry in entries]),
    ]


def column_arrays(group: Sequence[Append]) -> list[str]:
    """One array per cached column, for the appends that carry them."""
    carried = [(item.saga_id, item.columns, item.entry) for item in group if item.columns is not None]
    return [
        texts([saga_id for saga_id, _, _ in carried]),
        texts([columns.status.value for _, columns, _ in carried]),
        texts([columns.halt_reason and columns.halt_reason.value for _, columns, _ in carried]),
        instants([columns.due_at for _, columns, _ in carried]),
        instants([columns.ended_at for _, columns, _ in carried]),
        numbers([entry.seq for _, _, entry in carried]),
        hashes([entry.hash for _, _, entry in carried]),
    ]


def effect_arrays(group: Sequence[Append]) -> list[str]:
    """One array per column of the effect rows."""
    rows = [(item, ordinal, effect) for item in group for ordinal, effect in enumerate(item.effects)]
    return [
        texts([item.saga_id for item, _, _ in rows]),
        numbers([item.entry.seq for item, _, _ in rows]),
        numbers([ordinal for _, ordinal, _ in rows]),
        texts([effect.node for _, _, effect in rows]),
        texts([effect.kind for _, _, effect in rows]),
        texts([effect.unit for _, _, effect in rows]),
        numbers([effect.quantity for _, _, effect in rows]),
        numbers([effect.sign for _, _, effect in rows]),
        instants([effect.expires_at for _, _, effect in rows]),
    ]


def saga_arrays(fresh: Sequence[FreshSaga]) -> list[str]:
    """One array per column of new saga rows."""
    return [
        texts([one.new.saga_id for one in fresh]),
        texts([one.new.environment for one in fresh]),
        texts([one.new.tenant for one in fresh]),
        texts([one.new.definition for one in fresh]),
        numbers([one.new.version for one in fresh]),
        texts([one.new.fingerprint for one in fresh]),
        texts([one.new.entity for one in fresh]),
        numbers([one.run for one in fresh]),
        instants([one.new.due_at for one in fresh]),
        numbers([one.new.priority for one in fresh]),
        numbers([one.entry.seq for one in fresh]),
        hashes([one.entry.hash for one in fresh]),
        instants([one.entry.at for one in fresh]),
    ]


def request_arrays(fresh: Sequence[FreshSaga]) -> list[str]:
    """One array per column of new idempotency rows, in the order of their keys."""
    keyed = sorted(
        (*key, one.new.request_hash or "", one.new.saga_id)
        for one in fresh
        if (key := request_key_of(one.new)) is not None
    )
    return [texts([row[part] for row in keyed]) for part in range(5)]


def key_arrays(keys: Sequence[RequestKey] | Sequence[EntityKey], width: int) -> list[str]:
    """One array per part of the keys."""
    return [texts([key[part] for key in keys]) for part in range(width)]


def texts(values: Iterable[str | None]) -> str:
    """A text[] literal; the driver's own takes four times as long, element by element in Python."""
    return _literal(
        "NULL" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values
    )


def numbers(values: Iterable[int | None]) -> str:
    """The literal of an array of integers."""
    return _literal("NULL" if value is None else str(value) for value in values)


def instants(values: Iterable[datetime | None]) -> str:
    """A timestamptz[] literal."""
    return _literal("NULL" if value is None else f'"{value.isoformat()}"' for value in values)


LITERALS: Mapping[Kind, Callable[[Iterable[Any]], str]] = {
    "text": texts,
    "bigint": numbers,
    "boolean": numbers,  # True and False are what PostgreSQL reads as such
    "timestamptz": instants,
}


def hashes(values: Iterable[bytes]) -> str:
    """A bytea[] literal."""
    return _literal(f'"\\\\x{value.hex()}"' for value in values)


def _literal(parts: Iterable[str]) -> str:
    return "{" + ",".join(parts) + "}"


def journals(rows: Iterable[tuple[Any, ...]]) -> dict[str, Journal]:
    """What `LOAD` answers. A saga without a row and without an entry is in none of it, and still in the answer."""
    found: dict[str, Journal] = {}
    for saga_id, seq, last, is_marked, *entry in rows:
        journal = found.get(saga_id)
        if journal is None:
            if seq is None and entry[0] is None and not is_marked:
                continue
            reached = None if seq is None else Reached(seq, bytes(last))
            journal = found[saga_id] = Journal(reached=reached, is_marked=bool(is_marked))
        if entry[0] is not None:
            journal.append(journal_entry(tuple(entry)))
    return found


def journal_entry(row: tuple[Any, ...]) -> JournalEntry:
    """A journal row behind its saga id, in UTC whatever the session's time zone is."""
    seq, at, writer, actor, reason, body, prev_hash, min_reader_version = row
    at_utc: datetime = at.astimezone(UTC)
    return JournalEntry(seq, at_utc, writer, actor, reason, body, bytes(prev_hash), min_reader_version)
