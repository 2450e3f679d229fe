"""The barrier of a participant: one effect per idempotency key, whatever comes twice, late or in the wrong order.

For the service that is called, not for the engine: one table beside your own, two functions that you call inside *your*
local transaction, so that the effect and the memory of it are committed together or not at all.

The rules (DTM's sub-transaction barrier; Helland, *Life beyond Distributed Transactions*)
-------------------------------------------------------------------------------------------
- A row is unique by (key, kind), kind being `action` or `undo`. The first insert wins; an equal one waits for the
  transaction that holds the key and then answers what that one kept.
- **Action.** New key: the work is done in a savepoint and its answer kept. An undo of this key was here: `Tombstoned`. Key
  known with an equal request hash: the kept answer, nothing is done. Another hash or another operation: `KeyReused`.
- **A business "no"** (`BusinessRejection`) rolls the savepoint back and is kept like an answer: a late copy of the
  request must hear the same "no", even if there is stock by then, because its saga has gone on without it.
- **Undo.** The action was applied: its work is taken back once, from the kept answer, also when two undos with
  different keys come. It was rejected: nothing to do. It was never seen: a tombstone is left under the action's key, so
  that the action, should it still arrive, does nothing (null compensation).
- **An undo closes its key for ever.** Whatever was there before it (an answer, a rejection, nothing) and whoever comes
  after it with whatever body: `Tombstoned`. The kept answer says that something is held, and nothing is any more: a
  caller whose journal was restored to before its cancel would hear "reserved", go forward and charge. The hash is not
  asked first, because a newer release may make the same request of other bytes, and it must hear that it was undone.
  The mark is `undone_by` of the action's row. Releases before this rule wrote it as well, except after a rejection: there
  the kept rejection is heard, which is a "no" too.

Hazards
-------
- *Isolation.* READ COMMITTED of PostgreSQL is enough. Under REPEATABLE READ and SERIALIZABLE, be ready to repeat the
  transaction after SQLSTATE 40001. On SQLite the transaction must have begun with BEGIN IMMEDIATE.
- *Two tables in one order.* Call the barrier first in the transaction; your own locks come after it.
- *Lifetime.* A row must outlive the longest saga plus the longest delay of a message. Deleting it earlier makes a late
  copy of its request a new request. It holds the answer, and so whatever personal data the answer holds.
- *Outside effects.* What `act` does beyond this database (a mail, a call) is not covered: it is not rolled back.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Index,
    Integer,
    MetaData,
    Row,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

ACTION, UNDO = "action", "undo"
APPLIED, REJECTED, TOMBSTONE, UNDONE, NULL = "applied", "rejected", "tombstone", "undone", "null"
KEY_MAX = 255


class BusinessRejection(Exception):
    """What `act` raises to say no: its work is rolled back, and the "no" is kept under the key.

    `status` is the HTTP status for the caller, `code` one word of the business such as `out_of_stock`. What may be
    otherwise in a minute (a lock, a peer that is down) is no rejection; let that error out.
    """

    def __init__(self, status: int, code: str, detail: str = "") -> None:
        super().__init__(status, code, detail)
        self.status, self.code, self.detail = status, code, detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code


class KeyRefused(Exception):
    """The key cannot be used for this request. Nothing is to be kept: roll back. `status` and `code` are for the caller."""

    status = 409
    code = "refused"

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class KeyReused(KeyRefused):
    """The key belongs to another request: a bug of the caller."""

    status, code = 422, "key_reused"

    def __str__(self) -> str:
        return f"key {self.key} belongs to another request; send a new key"


class Tombstoned(KeyRefused):
    """An undo of this key was here, before the action or after it; nothing is or will be done under it."""

    status, code = 409, "tombstoned"

    def __str__(self) -> str:
        return f"key {self.key} was undone before; nothing is held or done under it any more"


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer under a key: `body` is JSON text, `is_replayed` says that it is the one of an earlier request."""

    status: int
    body: str
    outcome: str
    is_replayed: bool = False


def barrier_table(metadata: MetaData, name: str = "barrier") -> Table:
    """Declare the table in your own metadata; create or migrate it with your own tables."""
    return Table(
        name,
        metadata,
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("key", String(KEY_MAX), nullable=False),
        Column("kind", String(6), nullable=False),
        Column("operation", Text, nullable=False),
        Column("undoes", String(KEY_MAX)),
        Column("order_id", Text),
        Column("request_hash", Text, nullable=False),
        Column("outcome", String(9), nullable=False),
        Column("status", SmallInteger, nullable=False),
        Column("body", Text, nullable=False),
        Column("undone_by", String(KEY_MAX)),
        Column("at", DateTime(timezone=True), nullable=False),
        UniqueConstraint("key", "kind", name=f"uq_{name}_key_kind"),
        # For deleting what is older than the lifetime.
        Index(f"ix_{name}_at", "at"),
    )


def problem_text(status: int, code: str, detail: str = "", **further: Any) -> str:
    """A problem document (RFC 9457) as JSON text; a kept rejection has this body."""
    document = {"type": f"urn:saga:problem:{code}", "title": code, "status": status, "detail": detail, "code": code}
    return json.dumps(document | further)


def run_action(
    connection: Connection,
    table: Table,
    *,
    key: str,
    operation: str,
    request_hash: str,
    order_id: str | None,
    at: datetime,
    act: Callable[[], tuple[int, str]],
) -> Kept:
    """Do `act` once under `key` and keep its answer (status, JSON text); answer what is kept when the key is known, until an
    undo closes it.

    Runs in the caller's open transaction, and the caller commits, **also after a rejection**: the returned `Kept` then
    has outcome `rejected` and a problem document. `act` works on the same connection, may raise `BusinessRejection`, and
    does not commit. Any other exception passes through; roll back and nothing has happened. Of equal requests at the
    same time one acts, the others wait for its commit. Raises `KeyReused` or `Tombstoned`.
    """
    statements = _statements(table, connection.dialect.name)
    row = {
        "key": key,
        "kind": ACTION,
        "operation": operation,
        "undoes": None,
        "order_id": order_id,
        "request_hash": request_hash,
        "outcome": APPLIED,
        "status": 0,
        "body": "",
        "at": at,
    }
    row_id = connection.execute(statements.insert, row).scalar_one_or_none()
    if row_id is None:
        known = connection.execute(statements.find, {"a_key": key, "a_kind": ACTION}).one()
        return _replayed_action(known, key, operation, request_hash)
    kept = _acted(connection, act)
    answer = {"a_id": row_id, "outcome": kept.outcome, "status": kept.status, "body": kept.body}
    connection.execute(statements.keep, answer)
    return kept


def _acted(connection: Connection, act: Callable[[], tuple[int, str]]) -> Kept:
    try:
        with connection.begin_nested():
            status, body = act()
    except BusinessRejection as no:
        return Kept(no.status, problem_text(no.status, no.code, no.detail), REJECTED)
    return Kept(status, body, APPLIED)


def _replayed_action(known: Row[Any], key: str, operation: str, request_hash: str) -> Kept:
    if known.outcome == TOMBSTONE or known.undone_by is not None:
        raise Tombstoned(key)
    if known.request_hash != request_hash or known.operation != operation:
        raise KeyReused(key)
    return Kept(known.status, known.body, known.outcome, is_replayed=True)


def run_undo(
    connection: Connection,
    table: Table,
    *,
    key: str,
    undoes: str,
    operation: str,
    action: str,
    at: datetime,
    undo: Callable[[dict[str, Any]], Sequence[Mapping[str, Any]]],
) -> Kept:
    """Take back what the action under the key `undoes` did, once; `undo` gets its kept answer and returns the effects.

    `operation` names the undo, `action` the operation that it takes back. The answer is `{"undone": bool, "effects":
    [...]}`, kept under the undo's own `key`: `undone` is false when the action was never applied, and an action that
    another undo took back is undone without effects of this one. Runs in the caller's open transaction; the caller
    commits. `undo` must not refuse: whatever it raises passes through, nothing has happened, and the undo is repeated.
    Raises `KeyReused` when `key` undid another action, or `undoes` is the key of another operation than `action`.
    """
    statements = _statements(table, connection.dialect.name)
    row = {
        "key": key,
        "kind": UNDO,
        "operation": operation,
        "undoes": undoes,
        "order_id": None,
        "request_hash": undoes,
        "outcome": NULL,
        "status": 200,
        "body": "",
        "at": at,
    }
    row_id = connection.execute(statements.insert, row).scalar_one_or_none()
    if row_id is None:
        known = connection.execute(statements.find, {"a_key": key, "a_kind": UNDO}).one()
        if known.undoes != undoes or known.operation != operation:
            raise KeyReused(key)
        return Kept(known.status, known.body, known.outcome, is_replayed=True)
    found = _locked_action(connection, statements, {**row, "key": undoes, "operation": action})
    kept = _undone(connection, statements, found, key, undo)
    order_id = found.order_id if found is not None else None
    answer = {"a_id": row_id, "outcome": kept.outcome, "body": kept.body, "order_id": order_id}
    connection.execute(statements.keep_undo, answer)
    return kept


def _locked_action(connection: Connection, statements: "_Statements", row: dict[str, Any]) -> Row[Any] | None:
    """The action's row, locked until the end of the transaction; None after leaving a tombstone in its place.

    The tombstone is tried first: its insert waits for an action that is just being worked on under this key. So of the
    two one sees the other, whoever comes first.
    """
    stone = {**row, "kind": ACTION, "undoes": None, "request_hash": "", "outcome": TOMBSTONE, "status": 409}
    if connection.execute(statements.insert, stone).scalar_one_or_none() is not None:
        return None
    known = connection.execute(statements.find_locked, {"a_key": row["key"], "a_kind": ACTION}).one()
    if known.operation != row["operation"]:
        raise KeyReused(row["key"])
    return known


def _undone(
    connection: Connection,
    statements: "_Statements",
    action: Row[Any] | None,
    key: str,
    undo: Callable[[dict[str, Any]], Sequence[Mapping[str, Any]]],
) -> Kept:
    if action is not None and action.undone_by is None:
        connection.execute(statements.mark_undone, {"a_id": action.id, "undone_by": key})
    if action is None or action.outcome != APPLIED:
        return _kept_undo(NULL, is_undone=False, effects=())
    if action.undone_by is not None:
        return _kept_undo(NULL, is_undone=True, effects=())
    return _kept_undo(UNDONE, is_undone=True, effects=undo(json.loads(action.body)))


def _kept_undo(outcome: str, *, is_undone: bool, effects: Sequence[Mapping[str, Any]]) -> Kept:
    body = json.dumps({"undone": is_undone, "effects": [dict(effect) for effect in effects]})
    return Kept(200, body, outcome)


@dataclass(frozen=True, slots=True)
class _Statements:
    """Built once per table and database, because building costs more than running them on SQLite."""

    insert: Any
    find: Any
    find_locked: Any
    keep: Any
    keep_undo: Any
    mark_undone: Any


@lru_cache(maxsize=64)
def _statements(table: Table, dialect: str) -> _Statements:
    inserts: dict[str, Callable[[Table], Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
    if dialect not in inserts:
        raise ValueError(f"the barrier knows PostgreSQL and SQLite; this connection speaks {dialect}")
    insert = inserts[dialect](table).on_conflict_do_nothing(index_elements=["key", "kind"]).returning(table.c.id)
    find = select(table).where(table.c.key == bindparam("a_key"), table.c.kind == bindparam("a_kind"))
    by_id = table.update().where(table.c.id == bindparam("a_id"))
    return _Statements(
        insert=insert,
        find=find,
        find_locked=find.with_for_update(),
        keep=by_id.values(outcome=bindparam("outcome"), status=bindparam("status"), body=bindparam("body")),
        keep_undo=by_id.values(outcome=bindparam("outcome"), body=bindparam("body"), order_id=bindparam("order_id")),
        mark_undone=by_id.values(undone_by=bindparam("undone_by")),
    )
