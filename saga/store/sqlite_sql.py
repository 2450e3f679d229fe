"""The statements of the SQLite store, and how values become their parameters; instants are whole microseconds."""

import json
from datetime import datetime
from typing import Any

from saga.scope import Scope
from saga.store.accepting import FreshSaga
from saga.store.journal import JournalEntry
from saga.store.port import (
    Append,
    SagaColumns,
)
from saga.store.tables import from_micros, to_micros

JOURNAL_COLUMNS = "saga_id, seq, at, writer, actor, reason, body, prev_hash, min_reader_version"

APPEND = f"""INSERT INTO journal ({JOURNAL_COLUMNS}) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?
WHERE EXISTS (SELECT 1 FROM journal WHERE saga_id = ? AND seq = ? AND entry_hash(prev_hash, seq, body) = ?)
AND (? OR NOT EXISTS (SELECT 1 FROM saga WHERE saga_id = ? AND (halt_reason = 'journal_damaged' OR journal_seq >= ?)))
ON CONFLICT (saga_id, seq) DO NOTHING"""
STANDING = "SELECT writer, prev_hash, body FROM journal WHERE saga_id = ? AND seq = ?"
MOVE = """UPDATE saga SET status = ?, halt_reason = ?, due_at = ?, ended_at = ?, journal_seq = ?, journal_hash = ?,
    due_pushes = 0 WHERE saga_id = ?"""
INSERT_EFFECT = """INSERT INTO effect (saga_id, seq, ordinal, node, kind, unit, quantity, sign, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""

KNOWN_REQUEST = """SELECT r.request_hash, r.saga_id, s.run FROM request r JOIN saga s ON s.saga_id = r.saga_id
WHERE r.environment = ? AND r.tenant = ? AND r.request_key = ?"""
LATEST_RUN = """SELECT saga_id, run, status FROM saga
WHERE environment = ? AND tenant = ? AND definition = ? AND entity = ? ORDER BY run DESC LIMIT 1"""
INSERT_REQUEST = """INSERT INTO request (environment, tenant, request_key, request_hash, saga_id, created_at)
VALUES (?, ?, ?, ?, ?, ?)"""
INSERT_SAGA = """INSERT INTO saga (saga_id, environment, tenant, definition, version, fingerprint, entity, run, due_at,
    priority, journal_seq, journal_hash, accepted_at, status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'running')"""
INSERT_FIRST_ENTRY = f"INSERT INTO journal ({JOURNAL_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"

# What `scope_values` fills in. With a plus no index is looked for: nearly all sagas are of the scope, and the index of their
# owners is not to be taken for that of the due ones.
OWNED = """(? IS NULL OR +environment = ?) AND (? IS NULL OR +tenant IN (SELECT value FROM json_each(?)))"""
LOAD = f"""SELECT {JOURNAL_COLUMNS} FROM journal WHERE saga_id IN (
    SELECT a.value FROM json_each(?) a
    WHERE NOT EXISTS (SELECT 1 FROM saga s WHERE s.saga_id = a.value AND NOT ({OWNED}))
) ORDER BY saga_id, seq"""
REMEMBERED = f"""SELECT saga_id, journal_seq, journal_hash, halt_reason = 'journal_damaged' FROM saga
WHERE saga_id IN (SELECT value FROM json_each(?)) AND (journal_seq IS NOT NULL OR halt_reason = 'journal_damaged') AND {OWNED}"""
DAMAGED = """UPDATE saga SET status = 'halted', halt_reason = 'journal_damaged', due_at = NULL, due_pushes = 0,
    journal_hash = CASE WHEN coalesce(journal_seq, 0) < ? THEN ? ELSE journal_hash END,
    journal_seq = nullif(max(coalesce(journal_seq, 0), ?), 0)
WHERE saga_id = ? AND journal_hash IS ? AND status NOT IN ('completed', 'compensated')"""
TAIL = f"""SELECT {JOURNAL_COLUMNS} FROM journal WHERE saga_id = ? AND seq > ?
AND NOT EXISTS (SELECT 1 FROM saga s WHERE s.saga_id = ? AND NOT ({OWNED})) ORDER BY seq"""

ANY_DUE = f"SELECT 1 FROM saga WHERE due_at <= ? AND {OWNED} LIMIT 1"
DUE = f"""SELECT saga_id, definition, version, due_pushes FROM saga WHERE due_at <= ?
AND (? IS NULL OR definition || ' ' || version IN (SELECT value FROM json_each(?)))
AND {OWNED} AND saga_id NOT IN (SELECT value FROM json_each(?))
AND (NOT ? OR status = 'compensating' OR (status = 'halted' AND halt_reason <> 'participant_down'))
ORDER BY priority DESC, due_at LIMIT ?"""
HAND_BACK = """UPDATE saga SET due_at = min(due_at, ?)
WHERE saga_id IN (SELECT value FROM json_each(?)) AND due_at IS NOT NULL"""
REST = "UPDATE saga SET due_at = ?, due_pushes = 0 WHERE saga_id = ? AND due_at = ?"
PUSH = "UPDATE saga SET due_at = ?, due_pushes = due_pushes + 1 WHERE saga_id = ?"

REGISTER = """INSERT INTO worker
    (worker_id, host, pid, queues, environment, tenants, started_at, lease_ttl_s, lease_until)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (worker_id) DO NOTHING"""
RENEW = """UPDATE worker SET lease_until = ? + CAST(lease_ttl_s * ? AS INTEGER)
WHERE worker_id = ? AND closed_at IS NULL"""
DEAD = "SELECT worker_id FROM worker WHERE closed_at IS NULL AND lease_until < ? ORDER BY worker_id"
CLOSE = "UPDATE worker SET closed_at = ? WHERE worker_id = ? AND closed_at IS NULL"
WAKE = """UPDATE saga SET due_at = min(due_at, ?), due_pushes = 0 WHERE due_at IS NOT NULL
AND EXISTS (SELECT 1 FROM journal j WHERE j.saga_id = saga.saga_id AND j.writer = ?)"""


def scope_values(scope: Scope) -> tuple[Any, ...]:
    """The parameters of `OWNED`."""
    tenants = None if scope.tenants is None else json.dumps(scope.tenants)
    return (scope.environment, scope.environment, tenants, tenants)


def entry_values(saga_id: str, entry: JournalEntry) -> tuple[Any, ...]:
    """One journal row."""
    return (
        saga_id, entry.seq, to_micros(entry.at), entry.writer, entry.actor, entry.reason, entry.body, entry.prev_hash,
        entry.min_reader_version,
    )  # fmt: skip


def column_values(saga_id: str, columns: SagaColumns, entry: JournalEntry) -> tuple[Any, ...]:
    """The cached columns, and the id of their saga."""
    reason = None if columns.halt_reason is None else columns.halt_reason.value
    instants = (_micros(columns.due_at), _micros(columns.ended_at))
    return (columns.status.value, reason, *instants, entry.seq, entry.hash, saga_id)


def effect_values(item: Append) -> list[tuple[Any, ...]]:
    """One row per effect of the append."""
    return [
        (item.saga_id, item.entry.seq, ordinal, e.node, e.kind, e.unit, e.quantity, e.sign, _micros(e.expires_at))
        for ordinal, e in enumerate(item.effects)
    ]


def saga_values(fresh: FreshSaga) -> tuple[Any, ...]:
    """One new saga row."""
    new = fresh.new
    return (
        new.saga_id, new.environment, new.tenant, new.definition, new.version, new.fingerprint, new.entity, fresh.run,
        to_micros(new.due_at), new.priority, fresh.entry.seq, fresh.entry.hash,
        to_micros(fresh.entry.at),
    )  # fmt: skip


def journal_entry(row: tuple[Any, ...]) -> JournalEntry:
    """A journal row behind its saga id."""
    seq, at, writer, actor, reason, body, prev_hash, min_reader_version = row
    return JournalEntry(seq, from_micros(at), writer, actor, reason, body, prev_hash, min_reader_version)


def _micros(instant: datetime | None) -> int | None:
    return None if instant is None else to_micros(instant)
