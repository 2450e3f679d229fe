"""What the conditions of an append and the walls of a connection cost, each beside the same without, in turn.

The statement of an append runs as it is and as one that only asks for the entry before, on one connection, one after the other, so a
machine that becomes slower makes both slower: medians in microseconds for each entry, for groups of several sizes. Then pipelines
run on a connection whose waits have a wall and on psycopg's own: medians of the processor time of the client.

    python -m benchmarks.appending
"""

import argparse
import os
import statistics
import time
from datetime import UTC, datetime

import psycopg

from benchmarks.throughput import database
from saga.store import postgres_sql as statements
from saga.store.journal import JournalEntry
from saga.store.postgres_connections import PINS
from saga.store.walls import Walled

SIZES = (1, 8, 64)
SAGAS, ENTRIES, WARM_UP = 1024, 12, 20
ROUNDS, PIPELINES = 20, 200
BODY = '[{"t":"attempt_ended","node":"reserve:a","epoch":1,"result":{"data":"' + "a" * 200 + '"}}]'
BARE = f"""INSERT INTO saga.journal ({statements.JOURNAL_COLUMNS})
SELECT * FROM {statements.JOURNAL_ARRAYS} AS d ({statements.JOURNAL_COLUMNS})
WHERE EXISTS (SELECT FROM saga.journal p WHERE p.saga_id = d.saga_id AND p.seq = d.seq - 1) AND %s::text[] IS NOT NULL
ON CONFLICT (saga_id, seq) DO NOTHING RETURNING saga_id, seq"""
VARIANTS = {"bare": BARE, "with conditions": statements.INSERT_ENTRIES}
FILLED = """INSERT INTO saga.saga (saga_id, environment, tenant, definition, version, fingerprint, entity, run, due_at, priority,
    accepted_at, status, journal_seq) SELECT id, 'benchmark', 't', 'd', 1, 'f', id, 1, now(), 0, now(), 'running', 1
FROM unnest(%s::text[]) AS id"""


def entry_after(last: JournalEntry | None) -> JournalEntry:
    seq, before = (1, bytes(32)) if last is None else (last.seq + 1, last.hash)
    return JournalEntry(seq, datetime.now(UTC), "w", "engine", None, BODY, before)


def measured(session: psycopg.Connection[tuple[object, ...]], size: int) -> dict[str, float]:
    """Median microseconds for each entry, by variant."""
    ids = [f"{size}-{number:08}" for number in range(SAGAS)]
    last = {saga_id: entry_after(None) for saga_id in ids}
    session.execute(FILLED, (ids,))
    columns = f"INSERT INTO saga.journal ({statements.JOURNAL_COLUMNS}) SELECT * FROM {statements.JOURNAL_ARRAYS}"
    session.execute(columns, statements.entry_arrays(list(last.items())))
    taken: dict[str, list[float]] = {name: [] for name in VARIANTS}
    names, turn = list(VARIANTS), 0
    for _ in range(2, ENTRIES):
        for first in range(0, SAGAS, size):
            group = [(saga_id, entry_after(last[saga_id])) for saga_id in ids[first : first + size]]
            last.update(group)
            values = [*statements.entry_arrays(group), []]
            began = time.perf_counter()
            with session.pipeline():
                session.execute(PINS, prepare=True)
                rows = session.execute(VARIANTS[names[turn % 2]], values, prepare=True)
            assert len(rows.fetchall()) == size
            taken[names[turn % 2]].append((time.perf_counter() - began) / size * 1e6)
            turn += 1
        turn += 1
    return {name: statistics.median(times[WARM_UP:]) for name, times in taken.items()}


def waited(url: str) -> dict[str, float]:
    """Median microseconds of the client's processor time for a pipeline of two statements, by kind of connection."""
    with Walled.connect(url, autocommit=True) as walled, psycopg.connect(url, autocommit=True) as plain:
        taken: dict[str, list[float]] = {"walled": [], "plain": []}
        for _ in range(ROUNDS):
            for name, session in (("walled", walled), ("plain", plain)):
                began = time.process_time()
                for _ in range(PIPELINES):
                    with session.pipeline():
                        session.execute("SELECT 1", prepare=True)
                        session.execute("SELECT 2", prepare=True)
                taken[name].append((time.process_time() - began) / PIPELINES * 1e6)
    return {name: statistics.median(times) for name, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server-url", default="postgresql://postgres@127.0.0.1:5432/postgres")
    options = parser.parse_args()
    with (
        database(options.server_url, f"saga_appending_{os.getpid()}") as url,
        psycopg.connect(url, autocommit=True) as session,
    ):
        for size in SIZES:
            of = measured(session, size)
            print(
                f"group of {size:3}   bare {of['bare']:7.1f} us   with conditions {of['with conditions']:7.1f} us   "
                f"difference {of['with conditions'] - of['bare']:5.1f} us for each entry"
            )
        of = waited(url)
        print(
            f"a pipeline   plain {of['plain']:7.1f} us   walled {of['walled']:7.1f} us of the client's processor time"
        )


if __name__ == "__main__":
    main()
