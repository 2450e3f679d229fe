"""The store in memory: for the simulator and for `memory://`, held to the same suite as the databases.

One lock makes every call a transaction, and the clock is given from outside, so a simulator may steer it. It is always
within reach, so a lease that ran out proves a death. What is stored is gone with the process.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta

from saga.clock import Clock, SystemClock
from saga.core.projection import Projection, Value
from saga.core.states import ENDED, HaltReason, SagaStatus
from saga.scope import EVERYBODY, Scope
from saga.store.accepting import (
    EntityKey,
    FreshSaga,
    KnownRequest,
    LatestRun,
    RequestKey,
    entity_key_of,
    request_key_of,
    settle,
)
from saga.store.filtering import is_accepted_in, is_wanted, passes
from saga.store.journal import Journal, JournalEntry, Reached
from saga.store.memory_rows import RowsInMemory
from saga.store.overview import HaltedCount, LiveCount
from saga.store.port import (
    ANYTHING,
    AcceptResult,
    AcceptStatus,
    Append,
    AppendResult,
    DueSaga,
    EffectRow,
    KeptRequest,
    NewSaga,
    RequestRow,
    Rest,
    Rewrite,
    RowChange,
    SagaFilter,
    SagaRow,
    Wanted,
    WorkerRow,
)
from saga.store.refusing import Refused, append_refusal, in_order, isolate, keeping_decisions, saga_refusal
from saga.store.restoring import RestoringInMemory
from saga.store.setback import seconds_behind
from saga.store.stored import StoredSaga, StoredWorker, is_held_by, is_marked
from saga.store.sweeping import pushed_s


class MemoryStore(RestoringInMemory, RowsInMemory):
    """`saga.store.port.Store` without a database."""

    def __init__(self, clock: Clock | None = None, scope: Scope = EVERYBODY) -> None:
        super().__init__()
        self.scope = scope
        self._clock = clock or SystemClock()
        self._sagas: dict[str, StoredSaga] = {}
        self._latest: dict[EntityKey, str] = {}
        self._requests: dict[RequestKey, tuple[str, str]] = {}
        self._worker_rows: dict[str, StoredWorker] = {}
        self._definitions: dict[tuple[str, int], str] = {}

    def of(self, scope: Scope) -> "MemoryStore":
        """The same sagas, as a process of that scope sees them."""
        other = copy(self)
        other.scope = scope
        return other

    def _own(self) -> list[StoredSaga]:
        return [it for it in self._sagas.values() if self.scope.has(it.row.environment, it.row.tenant)]

    def _find(self, saga_id: str) -> StoredSaga | None:
        stored = self._sagas.get(saga_id)
        return stored if stored and self.scope.has(stored.row.environment, stored.row.tenant) else None

    def now(self) -> datetime:
        return self._clock.now()

    def clock(self) -> datetime:
        return self._clock.now()

    def accept(self, group: Sequence[NewSaga]) -> list[AcceptResult]:
        if not group:
            return []
        return isolate(
            group, self._accept_together, lambda new, why: AcceptResult(AcceptStatus.REFUSED, new.saga_id, reason=why)
        )

    def append(self, group: Sequence[Append]) -> list[AppendResult]:
        return keeping_decisions(group, self._append_together)

    def _append_together(self, group: Sequence[Append]) -> list[AppendResult]:
        with self._lock:
            results = {item.saga_id: self._append_one(item) for item in in_order(group)}
        return [results[item.saga_id] for item in group]

    def load(self, saga_ids: Sequence[str]) -> Mapping[str, Journal]:
        with self._lock:
            found = [(saga_id, it) for saga_id in saga_ids if (it := self._find(saga_id)) is not None]
            return {saga_id: Journal(it.journal, it.journal.reached, is_marked=is_marked(it)) for saga_id, it in found}

    def mark_damaged(self, saga_id: str, seen: Reached | None, reached: Reached | None = None) -> None:
        with self._lock:
            stored = self._sagas.get(saga_id)
            if stored is not None and stored.row.status not in ENDED and stored.journal.reached == seen:
                why = HaltReason.JOURNAL_DAMAGED
                stored.row = replace(stored.row, status=SagaStatus.HALTED, halt_reason=why, due_at=None)
                before = stored.journal.reached
                stored.journal.reached = reached if reached and reached.seq > (before.seq if before else 0) else before

    def tail(self, saga_id: str, after_seq: int) -> list[JournalEntry]:
        with self._lock:
            return it.journal[max(after_seq, 0) :] if (it := self._find(saga_id)) is not None else []

    def sweep_due(self, limit: int, push_s: float, wanted: Wanted = ANYTHING) -> list[DueSaga]:
        with self._lock:
            now = self.now()
            swept = []
            due = [row for row in self._due(now) if is_wanted(row[2].row, wanted)]
            for _, _, stored in sorted(due, key=lambda row: row[:2])[:limit]:
                row, pushes = stored.row, stored.pushes
                until = now + timedelta(seconds=pushed_s(push_s, pushes))
                stored.row = replace(row, due_at=until)
                stored.pushes = pushes + 1
                swept.append(DueSaga(row.saga_id, row.definition, row.version, pushes, until))
            return swept

    def hand_back(self, saga_ids: Sequence[str]) -> None:
        with self._lock:
            now = self.now()
            for stored in (self._sagas[saga_id] for saga_id in saga_ids if saga_id in self._sagas):
                if stored.row.due_at is not None:
                    stored.row = replace(stored.row, due_at=min(stored.row.due_at, now))

    def rest(self, rests: Sequence[Rest]) -> None:
        with self._lock:
            for it in rests:
                stored = self._sagas.get(it.saga_id)
                if stored is not None and stored.row.due_at == it.until:
                    stored.row = replace(stored.row, due_at=it.due_at)
                    stored.pushes = 0

    def due_counts(self) -> tuple[int, float]:
        with self._lock:
            now = self.now()
            instants = [due_at for _, due_at, _ in self._due(now)]
        return len(instants), (now - min(instants, default=now)).total_seconds()

    def register_worker(self, worker: WorkerRow) -> None:
        with self._lock:
            until = self.now() + timedelta(seconds=worker.lease_ttl_s)
            self._worker_rows.setdefault(worker.worker_id, StoredWorker(worker, until))

    def renew_lease(self, worker_id: str) -> bool:
        with self._lock:
            worker = self._worker_rows.get(worker_id)
            if worker is None or not worker.is_open:
                return False
            worker.lease_until = self.now() + timedelta(seconds=worker.row.lease_ttl_s)
            return True

    def dead_workers(self) -> list[str]:
        with self._lock:
            now = self.now()
            workers = self._worker_rows.items()
            return sorted(name for name, worker in workers if worker.is_open and worker.lease_until < now)

    def close_worker(self, worker_id: str) -> int:
        with self._lock:
            worker = self._worker_rows.get(worker_id)
            if worker is None or not worker.is_open:
                return 0
            worker.is_open = False
            held = [stored for stored in self._sagas.values() if is_held_by(stored, worker_id)]
            for stored in held:
                stored.row = replace(stored.row, due_at=min(stored.row.due_at or self.now(), self.now()))
                stored.pushes = 0
            return len(held)

    def behind_s(self) -> float:
        with self._lock:
            leases = [it.lease_until - timedelta(seconds=it.row.lease_ttl_s) for it in self._worker_rows.values()]
            accepted = [it.row.accepted_at for it in self._sagas.values() if it.row.due_at is not None]
            return seconds_behind(self.now(), [*leases, *accepted])

    def look_again(self) -> None:
        with self._lock:
            now = self.now()
            for worker in self._worker_rows.values():
                worker.lease_until = min(worker.lease_until, now + timedelta(seconds=worker.row.lease_ttl_s))
            for stored in self._sagas.values():
                if stored.row.due_at is not None:
                    stored.row = replace(stored.row, due_at=min(stored.row.due_at, now))

    def worker_is_open(self, worker_ids: Sequence[str]) -> Mapping[str, bool]:
        with self._lock:
            found = {worker_id: self._worker_rows.get(worker_id) for worker_id in worker_ids}
            return {worker_id: worker is not None and worker.is_open for worker_id, worker in found.items()}

    def register_definition(self, name: str, version: int, fingerprint: str) -> str:
        with self._lock:
            return self._definitions.setdefault((name, version), fingerprint)

    def row(self, saga_id: str) -> SagaRow | None:
        with self._lock:
            return it.row if (it := self._find(saga_id)) is not None else None

    def find(self, saga_filter: SagaFilter, limit: int) -> list[SagaRow]:
        rows = [row for row in self._all() if passes(row, saga_filter)]
        return sorted(rows, key=lambda row: (row.accepted_at, row.saga_id), reverse=True)[:limit]

    def counts(self, since: datetime | None = None, until: datetime | None = None) -> Mapping[SagaStatus, int]:
        found = [row.status for row in self._all() if is_accepted_in(row, since, until)]
        return {status: found.count(status) for status in SagaStatus}

    def horizon(self, count: int) -> datetime | None:
        accepted = sorted((it.row.accepted_at for it in list(self._sagas.values())), reverse=True)
        return dict(enumerate(accepted, start=1)).get(count)

    def live_counts(self) -> list[LiveCount]:
        due: dict[tuple[SagaStatus, HaltReason | None], list[datetime]] = {}
        for row in self._all():
            if row.due_at is not None:
                due.setdefault((row.status, row.halt_reason), []).append(row.due_at)
        return [LiveCount(*kind, len(instants), min(instants)) for kind, instants in sorted(due.items(), key=str)]

    def live_rows(self, limit: int) -> list[SagaRow]:
        live = [row for row in self._all() if row.due_at is not None]
        return sorted(live, key=lambda row: (row.accepted_at, row.saga_id))[:limit]

    def halted_counts(self) -> list[HaltedCount]:
        by_reason: dict[HaltReason, list[SagaRow]] = {}
        for row in self._all():
            if row.status is SagaStatus.HALTED and row.halt_reason is not None:
                by_reason.setdefault(row.halt_reason, []).append(row)
        return [
            HaltedCount(reason, len(rows), min((row.due_at for row in rows if row.due_at is not None), default=None))
            for reason, rows in sorted(by_reason.items())
        ]

    def halted_rows(self, reason: HaltReason, limit: int) -> list[SagaRow]:
        halted = [row for row in self._all() if row.status is SagaStatus.HALTED and row.halt_reason is reason]
        return sorted(halted, key=lambda row: (row.accepted_at, row.saga_id))[:limit]

    def _all(self) -> list[SagaRow]:
        with self._lock:
            return [stored.row for stored in self._own()]

    def effects(self, saga_id: str) -> list[EffectRow]:
        with self._lock:
            return list(it.effects) if (it := self._find(saga_id)) is not None else []

    def effects_of(self, saga_ids: Sequence[str]) -> Mapping[str, list[EffectRow]]:
        return {saga_id: found for saga_id in saga_ids if (found := self.effects(saga_id))}

    def lost_sagas(self, after: str, limit: int) -> list[str]:  # noqa: ARG002  the names are the port's
        """None: a saga's row, journal and effects are one object."""
        return []

    def lost_requests(self, after: RequestRow | None, limit: int) -> list[RequestRow]:  # noqa: ARG002  as above
        """None: a request is stored with its saga, and nothing is ever taken out."""
        return []

    def workers(self) -> list[tuple[WorkerRow, datetime]]:
        with self._lock:
            found = [it for it in self._worker_rows.values() if it.is_open and self.scope.meets(it.row.scope)]
            return [(it.row, it.lease_until) for it in found]

    def close(self) -> None:
        """Nothing is held."""

    def _accept_together(self, group: Sequence[NewSaga]) -> list[AcceptResult]:
        with self._lock:
            acceptance = settle(group, self._known_requests(group), self._latest_runs(group))
            for fresh in acceptance.fresh:
                why = saga_refusal(fresh)
                if why is not None or fresh.new.saga_id in self._sagas:
                    raise Refused(why or "the saga id is taken")
            for fresh in acceptance.fresh:
                self._insert(fresh)
            return acceptance.results

    def _known_requests(self, group: Sequence[NewSaga]) -> dict[RequestKey, KnownRequest]:
        known: dict[RequestKey, KnownRequest] = {}
        for new in group:
            key = request_key_of(new)
            if key is not None and key in self._requests:
                request_hash, saga_id = self._requests[key]
                known[key] = KnownRequest(request_hash, saga_id, self._sagas[saga_id].row.run)
        return known

    def _latest_runs(self, group: Sequence[NewSaga]) -> dict[EntityKey, LatestRun]:
        latest: dict[EntityKey, LatestRun] = {}
        for key in {entity_key_of(new) for new in group} & self._latest.keys():
            row = self._sagas[self._latest[key]].row
            latest[key] = LatestRun(row.saga_id, row.run, row.status)
        return latest

    def _insert(self, fresh: FreshSaga) -> None:
        new = fresh.new
        row = SagaRow(
            new.saga_id, new.environment, new.tenant, new.definition, new.version, new.fingerprint, new.entity,
            fresh.run, SagaStatus.RUNNING, None, new.due_at, fresh.entry.at, None,
        )  # fmt: skip
        self._sagas[new.saga_id] = StoredSaga(row, new.priority)
        self._sagas[new.saga_id].journal = Journal([fresh.entry], Reached(fresh.entry.seq, fresh.entry.hash))
        self._latest[entity_key_of(new)] = new.saga_id
        if (key := request_key_of(new)) is not None:
            self._requests[key] = (new.request_hash or "", new.saga_id)
        self._write_row(fresh.row)

    def request(self, environment: str, tenant: str, request_key: str) -> KeptRequest | None:
        with self._lock:
            kept = self._requests.get((environment, tenant, request_key))
        return KeptRequest(*kept) if kept is not None and self.scope.has(environment, tenant) else None

    def rewrite(self, rewrites: Sequence[Rewrite]) -> list[RowChange]:
        with self._lock:
            return [RowChange.MADE if self._rewrite_one(it) else RowChange.STALE for it in rewrites]

    def drop_row(self, projection: Projection, values: Mapping[str, Value], saga_id: str) -> RowChange:
        with self._lock:
            table = self._rows.get(projection.table, {})
            stray = [key for key, row in table.items() if all(row[name] == value for name, value in values.items())]
            if not stray or saga_id in self._sagas:
                return RowChange.STALE
            for key in stray:
                del table[key]
        return RowChange.MADE

    def _rewrite_one(self, it: Rewrite) -> bool:
        stored = self._sagas.get(it.saga_id)
        if stored is None or len(stored.journal) != it.seq:
            return False
        row = stored.row
        if self._latest[row.environment, row.tenant, row.definition, row.entity] != it.saga_id:
            return False
        self._write_row(it.row)
        return True

    def _append_one(self, item: Append) -> AppendResult:
        if append_refusal(item) is not None:
            return AppendResult.REFUSED
        stored, entry = self._sagas.get(item.saga_id), item.entry
        if stored is None or entry.seq > len(stored.journal) + 1:
            return AppendResult.CONFLICT
        if entry.seq <= len(stored.journal):
            return AppendResult.APPENDED if is_same(stored.journal[entry.seq - 1], entry) else AppendResult.CONFLICT
        reached = stored.journal.reached
        is_damaged = is_marked(stored) or (reached is not None and reached.seq >= entry.seq)
        if stored.journal[-1].hash != entry.prev_hash or (is_damaged and not item.answers_for_damage):
            return AppendResult.CONFLICT
        stored.journal.append(entry)
        stored.effects.extend(item.effects)
        self._write_row(item.row)
        if (columns := item.columns) is not None:
            stored.row = replace(
                stored.row,
                status=columns.status,
                halt_reason=columns.halt_reason,
                due_at=columns.due_at,
                ended_at=columns.ended_at,
            )
            stored.pushes = 0
            stored.journal.reached = Reached(entry.seq, entry.hash)
        return AppendResult.APPENDED

    def _due(self, now: datetime) -> list[tuple[int, datetime, StoredSaga]]:
        waiting = [(stored.row.due_at, stored) for stored in self._own()]
        return [(-stored.priority, at, stored) for at, stored in waiting if at is not None and at <= now]


def is_same(standing: JournalEntry, offered: JournalEntry) -> bool:
    """Whether an entry that stands is the very one that is offered again."""
    return (standing.writer, standing.prev_hash, standing.body) == (offered.writer, offered.prev_hash, offered.body)
