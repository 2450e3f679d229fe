"""The part of the port that is alike on PostgreSQL and SQLite: every read of the surfaces, by way of `queries`, and the
writing again of rows."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from saga.core.projection import Projection, Value
from saga.core.states import HaltReason, SagaStatus
from saga.scope import Scope
from saga.store import queries, setback
from saga.store.binding import bound_to
from saga.store.filtering import owned_rows
from saga.store.overview import HaltedCount, LiveCount
from saga.store.port import (
    EffectRow,
    KeptRequest,
    RequestRow,
    Rewrite,
    RowChange,
    RowFilter,
    SagaFilter,
    SagaRow,
    WorkerRow,
)
from saga.store.projecting import find_rows
from saga.store.restoring import (
    Restoration,
    Settled,
    read_restorations,
    read_settled,
    write_restoration,
    write_settled,
)
from saga.store.rewriting import drop_row, rewrite
from saga.store.tables import Tables
from saga.store.worker_rows import open_workers

Result = TypeVar("Result")


class ReadOn(Protocol):
    """Runs `work` on a connection of its own, again while that may help."""

    def __call__(self, work: Callable[[Connection], Result], what: str) -> Result: ...


class Reads:
    """Reads of a store that has SQLAlchemy connections and a clock."""

    def __init__(self, read: ReadOn, tables: Tables, database_now: Callable[[], datetime], scope: Scope) -> None:
        self.scope = scope
        self._read, self._tables, self._database_now = read, tables, database_now

    def environment(self) -> str | None:
        """The environment that the database is bound to; None: to none yet."""
        return self._read(lambda connection: bound_to(connection, self._tables), "environment")

    def row(self, saga_id: str) -> SagaRow | None:
        return self._read(lambda connection: queries.row(connection, self._tables, self.scope, saga_id), "row")

    def find(self, saga_filter: SagaFilter, limit: int) -> list[SagaRow]:
        return self._read(
            lambda connection: queries.find(connection, self._tables, self.scope, saga_filter, limit), "find"
        )

    def counts(self, since: datetime | None = None, until: datetime | None = None) -> Mapping[SagaStatus, int]:
        return self._read(
            lambda connection: queries.counts(connection, self._tables, self.scope, since, until), "counts"
        )

    def horizon(self, count: int) -> datetime | None:
        return self._read(lambda connection: queries.horizon(connection, self._tables, count), "horizon")

    def live_counts(self) -> list[LiveCount]:
        return self._read(lambda connection: queries.live_counts(connection, self._tables, self.scope), "live counts")

    def live_rows(self, limit: int) -> list[SagaRow]:
        return self._read(
            lambda connection: queries.live_rows(connection, self._tables, self.scope, limit), "live rows"
        )

    def halted_counts(self) -> list[HaltedCount]:
        return self._read(
            lambda connection: queries.halted_counts(connection, self._tables, self.scope), "halted counts"
        )

    def halted_rows(self, reason: HaltReason, limit: int) -> list[SagaRow]:
        return self._read(
            lambda connection: queries.halted_rows(connection, self._tables, self.scope, reason, limit), "halted"
        )

    def due_counts(self) -> tuple[int, float]:
        now = self._database_now()
        return self._read(
            lambda connection: queries.due_counts(connection, self._tables, self.scope, now), "due counts"
        )

    def effects(self, saga_id: str) -> list[EffectRow]:
        return self._read(lambda connection: queries.effects(connection, self._tables, self.scope, saga_id), "effects")

    def effects_of(self, saga_ids: Sequence[str]) -> Mapping[str, list[EffectRow]]:
        return self._read(
            lambda connection: queries.effects_of(connection, self._tables, self.scope, saga_ids), "effects"
        )

    def lost_sagas(self, after: str, limit: int) -> list[str]:
        return self._read(lambda connection: queries.lost_sagas(connection, self._tables, after, limit), "lost sagas")

    def lost_requests(self, after: RequestRow | None, limit: int) -> list[RequestRow]:
        return self._read(
            lambda connection: queries.lost_requests(connection, self._tables, self.scope, after, limit),
            "lost requests",
        )

    def request(self, environment: str, tenant: str, request_key: str) -> KeptRequest | None:
        if not self.scope.has(environment, tenant):
            return None
        return self._read(
            lambda connection: queries.request(connection, self._tables, environment, tenant, request_key), "request"
        )

    def rows(self, projection: Projection, wanted: RowFilter, limit: int) -> list[dict[str, Value]]:
        schema = projection.schema if self._tables.metadata.schema else None
        wanted = owned_rows(projection, wanted, self.scope)
        return self._read(lambda connection: find_rows(connection, projection, wanted, limit, schema=schema), "rows")

    def rewrite(self, rewrites: Sequence[Rewrite]) -> list[RowChange]:
        return self._read(lambda connection: rewrite(connection, self._tables, rewrites), "rewrite")

    def drop_row(self, projection: Projection, values: Mapping[str, Value], saga_id: str) -> RowChange:
        return self._read(
            lambda connection: drop_row(connection, self._tables, projection, values, saga_id), "drop row"
        )

    def restored(self, restoration: Restoration) -> None:
        self._read(lambda connection: write_restoration(connection, self._tables, restoration), "restored")

    def restorations(self) -> list[Restoration]:
        return self._read(lambda connection: read_restorations(connection, self._tables), "restorations")

    def settle(self, settled: Sequence[Settled]) -> None:
        self._read(lambda connection: write_settled(connection, self._tables, settled), "settle")

    def settled(self) -> list[Settled]:
        return self._read(lambda connection: read_settled(connection, self._tables), "settled")

    def behind_s(self) -> float:
        now = self._database_now()
        return self._read(lambda connection: setback.behind(connection, self._tables, now), "clock")

    def look_again(self) -> None:
        now = self._database_now()
        self._read(lambda connection: setback.shorten_leases(connection, self._tables, now), "clock")
        while (
            self._read(lambda connection: setback.bring_forward(connection, self._tables, now), "clock")
            == setback.AT_ONCE
        ):
            pass

    def workers(self) -> list[tuple[WorkerRow, datetime]]:
        return self._read(lambda connection: open_workers(connection, self._tables, self.scope), "workers")

    def worker_is_open(self, worker_ids: Sequence[str]) -> Mapping[str, bool]:
        return self._read(lambda connection: queries.worker_is_open(connection, self._tables, worker_ids), "workers")

    def register_definition(self, name: str, version: int, fingerprint: str) -> str:
        now = self._database_now()
        return self._read(
            lambda connection: queries.register_definition(connection, self._tables, name, version, fingerprint, now),
            "register definition",
        )
