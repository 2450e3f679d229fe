"""The port of the store: what the engine asks of a database, kept alike on PostgreSQL, SQLite and in memory.

The store knows rows and sequence numbers and nothing of sagas: what an entry *means* is decided by `saga.core.machine`
and written as text by `saga.store.codec`. The protocol it must keep, and that one conformance suite holds all three
implementations to:

- **Append is compare-and-set on the journal's primary key.** An entry carries the sequence number it expects to take.
  All of an entry or nothing is stored: the journal row, the cached columns of the saga row and the effect rows
  of one `Append` share one transaction.
- **Append is idempotent.** If the row at that number is *this very entry* (same writer, hash and body) the answer is
  `APPENDED` again. So a COMMIT whose outcome is unknown (RELIABILITY 16) needs no special path: append again.
- **A saga row remembers how far its journal had got** (`Reached`): entry 1 when it is accepted, and the entry of every append
  that writes its columns. `load` tells it in the same snapshot as the journal, so one that is shorter has lost entries.
- **A group is many sagas' entries, at most one per saga, sorted by saga id** before it is sent, so that two groups
  cannot deadlock. One entry that the database refuses (a NUL byte) is found by appending one by one, and only that one
  is `REFUSED`.
- **Nothing is returned before it is durable.**
- Serialization failures, deadlocks and lock time-outs are retried inside, bounded and jittered; a database that is away
  raises `StoreUnavailable`, after which the same call may be made again.
- Instants are the database's clock (`now`), never the worker's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol

from saga.core.projection import ProjectedRow, Projection, Value
from saga.core.states import HaltReason, SagaStatus
from saga.scope import EVERYBODY, Scope
from saga.settings import LEASE_S
from saga.store.journal import Journal, JournalEntry, Reached
from saga.store.overview import Overview
from saga.store.restoring import Restoring
from saga.store.setback import BEHIND_S, Timed


@dataclass(frozen=True, slots=True)
class SagaColumns:
    """The cached columns of a saga row: an index over the fold, rewritten only when one of them matters."""

    status: SagaStatus
    halt_reason: HaltReason | None
    due_at: datetime | None
    """Somebody must look by then; None when the saga has ended or waits for a person."""
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class EffectRow:
    """One movement in the world that an outcome reported: what happened, how much, in which direction."""

    node: str
    kind: str
    unit: str
    """Currency code for money, SKU for stock, label for shipments: netting is per (kind, unit)."""
    quantity: int
    sign: int
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Append:
    """One saga's decision on its way into the journal."""

    saga_id: str
    entry: JournalEntry
    columns: SagaColumns | None = None
    """When given, the saga row is updated in the same transaction."""
    effects: tuple[EffectRow, ...] = ()
    row: ProjectedRow | None = None
    """Written in the same transaction, to the table that the definition projects to."""
    answers_for_damage: bool = False
    """Whether it is the entry with which a person answers for what a damaged journal lacks; no other may follow there."""


class AppendResult(Enum):
    """What became of one `Append`."""

    APPENDED = "appended"
    CONFLICT = "conflict"
    """Another entry has that number, or the entry before it is not the one that this was decided on, or the row says that the
    journal is damaged or remembers more of it: read the tail and decide again."""
    REFUSED = "refused"
    """The database refuses the data itself; repeating cannot help."""


@dataclass(frozen=True, slots=True)
class NewSaga:
    """A saga to accept: its row, its idempotency row and journal entry 1, in one transaction."""

    saga_id: str
    environment: str
    tenant: str
    definition: str
    version: int
    fingerprint: str
    entity: str
    due_at: datetime
    first_entry: Callable[[int], JournalEntry]
    """Entry 1 for a given run number (1 + earlier sagas of the entity), which only the database knows."""
    request_key: str | None = None
    request_hash: str | None = None
    priority: int = 0
    row: Callable[[int], ProjectedRow | None] = lambda _run: None
    """The row of the definition's projection for a given run, stored with it."""
    is_once: bool = False
    """The entity has one run for good: a saga of it that was rolled back makes it a DUPLICATE too."""


class AcceptStatus(Enum):
    """What became of one `NewSaga`."""

    ACCEPTED = "accepted"
    REPLAYED = "replayed"
    """Same request key, same request hash: `saga_id` is the saga of the first time."""
    KEY_REUSED = "key_reused"
    """Same request key, another request hash; nothing stored."""
    DUPLICATE = "duplicate"
    """The entity has a saga that is not `compensated`, or has had any and may have only one; nothing stored, `saga_id` is
    that one."""
    REFUSED = "refused"
    """The database refuses the data itself; nothing stored."""


@dataclass(frozen=True, slots=True)
class AcceptResult:
    status: AcceptStatus
    saga_id: str
    run: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SagaRow:
    """A saga as the list sees it, without reading its journal."""

    saga_id: str
    environment: str
    tenant: str
    definition: str
    version: int
    fingerprint: str
    entity: str
    run: int
    status: SagaStatus
    halt_reason: HaltReason | None
    due_at: datetime | None
    accepted_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class RequestRow:
    """An idempotency key and the saga that it was answered with."""

    environment: str
    tenant: str
    request_key: str
    saga_id: str


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """What was asked for under an idempotency key, as a hash, and the saga that was the answer."""

    request_hash: str
    saga_id: str


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A row of a projection that was made from the journal of `saga_id` as of entry `seq`."""

    saga_id: str
    seq: int
    row: ProjectedRow


class RowChange(Enum):
    """What became of a row of a projection that was to be written or taken out."""

    MADE = "made"
    STALE = "stale"  # its journal, or the row, is not what it was any more
    BUSY = "busy"  # somebody holds a lock on it; the row is as it was


@dataclass(frozen=True, slots=True)
class DueSaga:
    """A saga whose due instant passed, now held back from other sweepers until `due_at` was pushed."""

    saga_id: str
    definition: str
    version: int
    pushes: int
    """How often in a row it was swept before without anybody moving it (0 the first time): hints back off by it."""
    until: datetime
    """The instant to which this sweep pushed it."""


@dataclass(frozen=True, slots=True)
class Rest:
    """A saga that was swept too early: its row said so, and its journal says that nobody need look before `due_at`."""

    saga_id: str
    until: datetime
    """What the row says since the sweep; whatever else it says by now is right."""
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which due sagas a sweeper can do something about. Pushing those of somebody else would hide them from him."""

    definitions: tuple[tuple[str, int], ...] | None = None
    """(name, version) of the definitions that the process has; None: every."""
    turned_only: bool = False
    """Only sagas that may have compensations to run: those that are rolling back, and those that are halted for another
    reason than a participant that is down going forward. What a process takes whose actions have used up their slots."""

    without: tuple[str, ...] = ()
    """Not these sagas: they were handed back a moment ago, and others are to find them."""

    @property
    def names(self) -> list[str] | None:
        """The definitions as one text each."""
        return None if self.definitions is None else [f"{name} {version}" for name, version in self.definitions]


ANYTHING = Wanted()


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One boot of a worker process. Its lease is the promise that it lives until `lease_until`."""

    worker_id: str
    host: str
    pid: int
    queues: tuple[str, ...]
    lease_ttl_s: float = LEASE_S
    scope: Scope = EVERYBODY
    """Whose sagas it runs. An older release does not write it down: such a row counts as one that runs all there are."""

    def lives(self, lease_until: datetime, now: datetime) -> bool:
        """Whether its lease holds. One that reaches beyond its length was given before the clock was set back: who lives renews it."""
        return 0.0 < (lease_until - now).total_seconds() < self.lease_ttl_s + BEHIND_S


@dataclass(frozen=True, slots=True)
class SagaFilter:
    """Server-side filter of `find`; None means any. Pages go by (accepted_at, saga_id) descending."""

    definition: str | None = None
    statuses: tuple[SagaStatus, ...] = ()
    halt_reason: HaltReason | None = None
    entity: str | None = None
    entities: tuple[str, ...] = ()
    id_prefix: str | None = None  # of the saga id or of the entity
    environment: str | None = None
    tenant: str | None = None
    before: tuple[datetime, str] | None = None
    since: datetime | None = None
    """Accepted then or later."""
    is_due: bool | None = None
    """Whether it has a due instant; a halted saga without one waits for a person."""


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which rows of a projection's table: those whose columns hold these values, sorted by `order` descending, from behind
    `before`, which has a value for each column of `order`."""

    order: tuple[str, ...]
    equal: Mapping[str, Value] = field(default_factory=dict)
    one_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    before: tuple[Value, ...] | None = None


class Store(Overview, Restoring, Timed, Protocol):
    """A database, seen by the engine. Thread-safe; one instance per process, created after fork."""

    def accept(self, group: Sequence[NewSaga]) -> list[AcceptResult]:
        """Store new sagas, durable on return; answers stand in the order of `group`. One transaction for the group
        (one by one only to isolate refused data). Two equal request keys in one group: the first is accepted."""
        ...

    def append(self, group: Sequence[Append]) -> list[AppendResult]:
        """Compare-and-set a group of entries; answers stand in the order of `group`. See the rules above."""
        ...

    def load(self, saga_ids: Sequence[str]) -> Mapping[str, Journal]:
        """Whole journals; ids that do not exist are missing from the answer. A saga whose entries are all gone has an empty
        one while its row remembers any."""
        ...

    def mark_damaged(self, saga_id: str, seen: Reached | None, reached: Reached | None = None) -> None:
        """Halt the row of a saga that has not ended, in front of a person: its journal is not whole, so nothing can be
        appended that says so. `seen` is what the row remembered when that was found out: where it remembers something else by
        now, somebody has let the saga go meanwhile, and nothing is done. `reached` is what a process knows to have been durable,
        where that is more than the row remembers. Nobody is due to look any more."""
        ...

    def tail(self, saga_id: str, after_seq: int) -> list[JournalEntry]:
        """The entries behind `after_seq`, ascending."""
        ...

    def sweep_due(self, limit: int, push_s: float, wanted: Wanted = ANYTHING) -> list[DueSaga]:
        """Of the sagas that are `wanted`, take up to `limit` sagas whose due instant passed, the highest priority and the oldest first, and push each
        one's due instant to `push_s` from now (doubling with every push in a row up to 60 s), in one row-returning
        statement: of twenty sweepers exactly one gets a saga (RELIABILITY 19)."""
        ...

    def rest(self, rests: Sequence[Rest]) -> None:
        """Correct the due instant of sagas that were looked at in vain, unless somebody has written it since. Without this a
        saga that is looked at too early is pushed further with each look, beyond the instant at which it is really due."""
        ...

    def due_counts(self) -> tuple[int, float]:
        """How many sagas are due now, and for how many seconds the oldest has been."""
        ...

    def hand_back(self, saga_ids: Sequence[str]) -> None:
        """Sagas that were swept here and that only others can move are due at once; how often they were swept stays."""
        ...

    def register_worker(self, worker: WorkerRow) -> None:
        """Insert the worker's row with a lease from now; on PostgreSQL take its session advisory lock as well."""
        ...

    def renew_lease(self, worker_id: str) -> bool:
        """Extend the lease from now. False: the worker was declared dead (its row is closed) and must register again
        under a new id; what it claimed before may have been taken over."""
        ...

    def dead_workers(self) -> list[str]:
        """Ids of open worker rows whose process is gone: lease expired, or, on PostgreSQL, advisory lock free while the
        lease was not renewed for 2 s. Empty while the server itself has been up for less than one lease, or when this
        process could not reach it for that long: a restart of the database kills nobody."""
        ...

    def close_worker(self, worker_id: str) -> int:
        """Close a dead or leaving worker's row and make every live saga with a journal entry by that writer due now,
        in one transaction; how many became due. Idempotent. Live means that it has a due instant: a saga that waits for
        a person is not woken, since nobody could move it."""
        ...

    def worker_is_open(self, worker_ids: Sequence[str]) -> Mapping[str, bool]:
        """Whether each worker's row is still open; an unknown id is False."""
        ...

    def register_definition(self, name: str, version: int, fingerprint: str) -> str:
        """The stored fingerprint of (name, version), after storing the offered one if there was none."""
        ...

    def row(self, saga_id: str) -> SagaRow | None: ...

    def find(self, saga_filter: SagaFilter, limit: int) -> list[SagaRow]: ...

    def effects(self, saga_id: str) -> list[EffectRow]: ...

    def effects_of(self, saga_ids: Sequence[str]) -> Mapping[str, list[EffectRow]]:
        """Effect rows of these sagas in the order in which they were journalled; ids without one are missing."""
        ...

    def lost_sagas(self, after: str, limit: int) -> list[str]:
        """Ids behind `after`, ascending, that a journal entry or an effect row names and that no saga row has. Every
        write stores the saga row with them or before them, so an answer that is not empty is damage."""
        ...

    def lost_requests(self, after: RequestRow | None, limit: int) -> list[RequestRow]:
        """Request rows behind `after`, ascending by environment, tenant and key, whose saga has no row: a repeat under
        such a key is answered with a saga that is not there."""
        ...

    def request(self, environment: str, tenant: str, request_key: str) -> KeptRequest | None:
        """What is kept under an idempotency key; None when nothing is."""
        ...

    def rows(self, projection: Projection, wanted: RowFilter, limit: int) -> list[dict[str, Value]]:
        """Rows of a projection's table. Raises `UsageError` when the database lacks the table or one of its columns."""
        ...

    def rewrite(self, rewrites: Sequence[Rewrite]) -> list[RowChange]:
        """Write rows of projections that insert, each in a transaction of its own, while its saga stands at that very entry and
        is the latest run of its entity. Whoever appends then goes before or after, never beneath, so no row is made older."""
        ...

    def drop_row(self, projection: Projection, values: Mapping[str, Value], saga_id: str) -> RowChange:
        """Take out the row that holds these values when there is no saga of that id; what became of it."""
        ...

    def close(self) -> None:
        """Give back connections; the store is not usable afterwards."""
        ...
