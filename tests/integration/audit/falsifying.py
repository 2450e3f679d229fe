"""Changes a journal behind the engine's back: the database's own file, with what follows from it made good again or not."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from saga.core.transitions import AttemptEnded, SagaCompensated, SagaCompleted
from saga.store.codec import decode
from saga.store.tables import to_micros

Body = list[dict[str, Any]]


def rewrite(database: Path, saga_id: str, change: Callable[[list[Body]], None]) -> None:
    """Hand every body of a journal, decoded, to `change`, and write what it left with a hash chain that is whole, and with the
    effect rows and the saga row that follow from it."""
    with closing(sqlite3.connect(database)) as session, session:
        rows = session.execute("SELECT * FROM journal WHERE saga_id = ? ORDER BY seq", (saga_id,)).fetchall()
        names = [column[1] for column in session.execute("PRAGMA table_info(journal)")]
        bodies = [json.loads(row[names.index("body")]) for row in rows]
        change(bodies)
        session.execute("DELETE FROM journal WHERE saga_id = ?", (saga_id,))
        last = bytes(32)
        for seq, body in enumerate(bodies, start=1):
            values = dict(zip(names, rows[min(seq, len(rows)) - 1], strict=True))
            values |= {"seq": seq, "body": json.dumps(body, separators=(",", ":")), "prev_hash": last}
            marks = ", ".join("?" for _ in names)
            session.execute(f"INSERT INTO journal VALUES ({marks})", [values[name] for name in names])
            last = sha256(last + str(seq).encode() + b"\n" + values["body"].encode()).digest()
        session.execute(
            "UPDATE saga SET journal_seq = ?, journal_hash = ? WHERE saga_id = ?", (len(bodies), last, saga_id)
        )
        _follow(session, saga_id)


def _follow(session: sqlite3.Connection, saga_id: str) -> None:
    """Effect rows and the end of the saga row as the engine would have written them beside this journal."""
    session.execute("DELETE FROM effect WHERE saga_id = ?", (saga_id,))
    written = session.execute("SELECT seq, body FROM journal WHERE saga_id = ? ORDER BY seq", (saga_id,)).fetchall()
    for seq, body in written:
        transitions = decode(body)
        rows = [(it.node, change) for it in transitions if isinstance(it, AttemptEnded) for change in it.effects]
        for ordinal, (node, change) in enumerate(rows):
            until = None if change.expires_at is None else to_micros(change.expires_at)
            values = (saga_id, seq, ordinal, node, change.kind, change.unit, change.quantity, change.sign, until)
            session.execute("INSERT INTO effect VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        for it in transitions:
            if isinstance(it, SagaCompleted | SagaCompensated):
                for table in ("saga", "orders"):
                    session.execute(f"UPDATE {table} SET ended_at = ? WHERE saga_id = ?", (to_micros(it.at), saga_id))


def execute(database: Path, statement: str, *values: object) -> None:
    """One statement that must change something."""
    with closing(sqlite3.connect(database)) as session, session:
        assert session.execute(statement, values).rowcount > 0


def places_of(bodies: list[Body], kind: str, node: str = "") -> list[tuple[int, int]]:
    """(entry, index) of every transition of that kind, and of that node when it is given."""
    return [
        (at, index)
        for at, body in enumerate(bodies)
        for index, it in enumerate(body)
        if it["t"] == kind and (not node or it.get("node") == node)
    ]
