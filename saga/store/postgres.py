"""The store on PostgreSQL: the hot path in psycopg with prepared array statements, reads through `queries`.

- `append` is one round trip: an array statement in a pinned pipeline (see `postgres_connections`). Entries that did not
  go in are then compared with what stands there, in a statement of its own: the journal only grows, so what it says
  stays true.
- `accept` is two round trips: what is known about keys and entities, then one statement of plain INSERTs, each sorted
  by what it can collide on. A unique violation means that somebody else accepted in between: everything of the
  group is rolled back by the database, and the question is asked again.
- Workers, their locks and leases are in `postgres_workers`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg import errors

from saga.clock import SteeredClock, monotonic
from saga.core.states import SagaStatus
from saga.errors import StoreUnavailable
from saga.scope import EVERYBODY, Scope
from saga.store import postgres_sql as statements
from saga.store.accepting import (
    Acceptance,
    EntityKey,
    FreshSaga,
    KnownRequest,
    LatestRun,
    RequestKey,
    entity_key_of,
    request_key_of,
    settle,
)
from saga.store.journal import Journal, JournalEntry, Reached, damage_values
from saga.store.port import (
    ANYTHING,
    AcceptResult,
    AcceptStatus,
    Append,
    AppendResult,
    DueSaga,
    NewSaga,
    Rest,
    Wanted,
    WorkerRow,
)
from saga.store.postgres_connections import PINS, ROW_PINS, PostgresConnections, Session
from saga.store.postgres_workers import PostgresWorkers
from saga.store.projecting import grouped
from saga.store.reads import Reads
from saga.store.refusing import Refused, in_order, isolate, keeping_decisions
from saga.store.sweeping import PUSH_CAP_S
from saga.store.tables import POSTGRES

ACCEPT_ROUNDS = 5


class PostgresStore(Reads):
    """`saga.store.port.Store` on PostgreSQL 14 or later; open one in each process, after fork."""

    def __init__(self, url: str, *, scope: Scope = EVERYBODY, pool_size: int = 4) -> None:
        self._connections = PostgresConnections(url, pool_size)
        self._clock = SteeredClock()
        self._workers = PostgresWorkers(self._connections, self._clock.steer)
        super().__init__(self._connections.read, POSTGRES, self.now, scope)
        self.now()

    def now(self) -> datetime:
        asked = monotonic()
        answer = self._connections.run(lambda session: session.execute("SELECT clock_timestamp()").fetchone(), "now")
        if answer is None:
            raise StoreUnavailable("the database gave no time; the call may be repeated")
        instant: datetime = answer[0].astimezone(UTC)
        self._clock.steer(instant, asked)
        return instant

    def clock(self) -> datetime:
        return self._clock.now()

    def append(self, group: Sequence[Append]) -> list[AppendResult]:
        if not group:
            return []
        ordered = in_order(group)
        results = keeping_decisions(ordered, self._append_isolated)
        of_saga = {item.saga_id: result for item, result in zip(ordered, results, strict=True)}
        return [of_saga[item.saga_id] for item in group]

    def _append_isolated(self, ordered: Sequence[Append]) -> list[AppendResult]:
        return isolate(ordered, self._append_together, lambda _item, _reason: AppendResult.REFUSED)

    def accept(self, group: Sequence[NewSaga]) -> list[AcceptResult]:
        if not group:
            return []
        return isolate(
            group, self._accept_together, lambda new, why: AcceptResult(AcceptStatus.REFUSED, new.saga_id, reason=why)
        )

    def load(self, saga_ids: Sequence[str]) -> Mapping[str, Journal]:
        wanted = statements.texts(dict.fromkeys(saga_ids))
        return statements.journals(self._rows(statements.LOAD, (wanted, *statements.scope_values(self.scope)), "load"))

    def mark_damaged(self, saga_id: str, seen: Reached | None, reached: Reached | None = None) -> None:
        self._rows(statements.DAMAGED, damage_values(saga_id, seen, reached), "mark damaged")

    def tail(self, saga_id: str, after_seq: int) -> list[JournalEntry]:
        values = (saga_id, after_seq, saga_id, *statements.scope_values(self.scope))
        return [statements.journal_entry(row[1:]) for row in self._rows(statements.TAIL, values, "tail")]

    def sweep_due(self, limit: int, push_s: float, wanted: Wanted = ANYTHING) -> list[DueSaga]:
        names = wanted.names
        owned = statements.scope_values(self.scope)
        values = (names, names, *owned, list(wanted.without), wanted.turned_only, limit, PUSH_CAP_S, push_s)
        rows = self._rows(statements.SWEEP, values, "sweep")
        return [DueSaga(*row[:5]) for row in sorted(rows, key=lambda row: (-row[5], row[6]))]

    def rest(self, rests: Sequence[Rest]) -> None:
        ordered = sorted(rests, key=lambda it: it.saga_id)
        values = (
            statements.texts(it.saga_id for it in ordered),
            statements.instants(it.until for it in ordered),
            statements.instants(it.due_at for it in ordered),
        )
        self._rows(statements.REST, values, "rest")

    def hand_back(self, saga_ids: Sequence[str]) -> None:
        self._rows(statements.HAND_BACK, (list(saga_ids),), "hand back")

    def register_worker(self, worker: WorkerRow) -> None:
        self._workers.register(worker)

    def renew_lease(self, worker_id: str) -> bool:
        return self._workers.renew(worker_id)

    def dead_workers(self) -> list[str]:
        return self._workers.dead()

    def close_worker(self, worker_id: str) -> int:
        return self._workers.close_row(worker_id)

    def close(self) -> None:
        self._workers.close()
        self._connections.close()

    def _rows(self, statement: str, values: Sequence[Any], what: str) -> list[tuple[Any, ...]]:
        return self._connections.run(lambda session: self._connections.pinned(session, statement, values), what)

    def _append_together(self, ordered: Sequence[Append]) -> list[AppendResult]:
        try:
            return self._connections.run(lambda session: self._append_on(session, ordered), "append")
        except errors.UniqueViolation as error:  # of a projection's table: the journal's own key gives way in silence
            raise Refused(str(error)) from error
        except StoreUnavailable as error:
            if isinstance(error.__cause__ and error.__cause__.__cause__, errors.LockNotAvailable) and _has_rows(
                ordered
            ):
                raise Refused("somebody holds a lock on a row of a projection") from error
            raise

    def _append_on(self, session: Session, ordered: Sequence[Append]) -> list[AppendResult]:
        answered = [item.saga_id for item in ordered if item.answers_for_damage]
        values = [*statements.entry_arrays([(item.saga_id, item.entry) for item in ordered]), answered]
        statement = statements.APPEND
        if any(item.columns is not None or item.effects or item.row is not None for item in ordered):
            rows = grouped([(item.saga_id, item.row) for item in ordered if item.row is not None])
            statement = statements.append_with(tuple(rows))
            values += [*statements.column_arrays(ordered), answered, *statements.effect_arrays(ordered)]
            values += [array for some in rows.values() for array in statements.row_arrays(some)]
        pins = ROW_PINS if _has_rows(ordered) else PINS
        inserted = {row[0] for row in self._connections.pinned(session, statement, values, pins)}
        missed = [item for item in ordered if item.saga_id not in inserted]
        repeated = self._repeated(session, missed) if missed else set()
        stored = inserted | repeated
        return [AppendResult.APPENDED if item.saga_id in stored else AppendResult.CONFLICT for item in ordered]

    def _repeated(self, session: Session, missed: Sequence[Append]) -> set[str]:
        keys = (
            statements.texts(item.saga_id for item in missed),
            statements.numbers(item.entry.seq for item in missed),
        )
        standing = {row[0]: row[1:] for row in self._connections.pinned(session, statements.STANDING, keys)}
        return {
            item.saga_id
            for item in missed
            if standing.get(item.saga_id) == (item.entry.writer, item.entry.prev_hash, item.entry.body)
        }

    def _accept_together(self, group: Sequence[NewSaga]) -> list[AcceptResult]:
        taken = ""
        for _round in range(ACCEPT_ROUNDS):
            try:
                return self._connections.run(lambda session: self._accept_on(session, group), "accept")
            except errors.UniqueViolation as error:
                taken = str(error)
        # A crowd on many keys may outlast the rounds, so they go singly; one alone can only meet a saga id in use.
        raise Refused(taken)

    def _accept_on(self, session: Session, group: Sequence[NewSaga]) -> list[AcceptResult]:
        acceptance = self._settled(session, group)
        if acceptance.fresh:
            self._insert(session, acceptance.fresh)
        return acceptance.results

    def _settled(self, session: Session, group: Sequence[NewSaga]) -> Acceptance:
        requests: dict[RequestKey, KnownRequest] = {}
        entities: dict[EntityKey, LatestRun] = {}
        request_keys = sorted({key for new in group if (key := request_key_of(new)) is not None})
        entity_keys = sorted({entity_key_of(new) for new in group})
        # Entities before keys: whoever sees another's saga then also sees its key, and answers replayed, not duplicate.
        asked = monotonic()
        with session.pipeline():
            told = session.execute(f"{PINS}, clock_timestamp()", prepare=True)
            latest = session.execute(statements.LATEST_RUNS, statements.key_arrays(entity_keys, 4), prepare=True)
            known = session.execute(statements.KNOWN_REQUESTS, statements.key_arrays(request_keys, 3), prepare=True)
        if (
            instant := told.fetchone()
        ) is not None:  # a process that only accepts has no lease that would steer its clock
            self._clock.steer(instant[-1], asked)
        for environment, tenant, key, request_hash, saga_id, run in known:
            requests[environment, tenant, key] = KnownRequest(request_hash, saga_id, run)
        for environment, tenant, definition, entity, saga_id, run, status in latest:
            entities[environment, tenant, definition, entity] = LatestRun(saga_id, run, SagaStatus(status))
        return settle(group, requests, entities)

    def _insert(self, session: Session, fresh: Sequence[FreshSaga]) -> None:
        by_entity = sorted(fresh, key=lambda one: entity_key_of(one.new))
        entries = [(one.new.saga_id, one.entry) for one in by_entity]
        values = statements.request_arrays(fresh) + statements.entry_arrays(entries)
        rows = grouped([(one.new.saga_id, one.row) for one in by_entity if one.row is not None])
        values += [array for some in rows.values() for array in statements.row_arrays(some)]
        values += statements.saga_arrays(by_entity)
        self._connections.pinned(session, statements.accept_with(tuple(rows)), values)


def _has_rows(group: Sequence[Append]) -> bool:
    return any(item.row is not None for item in group)
