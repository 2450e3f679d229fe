"""Changes a journal behind the engine's back: the database's own file, with the hash chain made good again or not."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

Body = list[dict[str, Any]]


def rewrite(database: Path, saga_id: str, change: Callable[[list[Body]], None]) -> None:
    """Hand every body of a journal, decoded, to `change`, and write what it left with a hash chain that is whole."""
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
