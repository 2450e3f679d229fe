"""What is kept of restored backups: that one was restored, and which orders a person has answered for since.

A journal that was restored to an instant lacks what happened between that instant and the restore. Participants still have it.
So the audit must know of that part, or it would be red for ever; and an order that was accepted in it is known to nobody here,
so only a person can say that it is settled.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from saga.store.durable import DURABLE
from saga.store.tables import SQLITE, Tables


@dataclass(frozen=True, slots=True)
class Restoration:
    """A backup was restored."""

    restoration_id: str
    restored_to: datetime
    told_at: datetime
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Settled:
    """Somebody answers for what participants hold of an entity that no journal knows any more."""

    environment: str
    tenant: str
    entity: str
    told_at: datetime
    actor: str
    reason: str


class Restoring(Protocol):
    """What a store keeps of restored backups."""

    def restored(self, restoration: Restoration) -> None:
        """Write down that a backup was restored."""
        ...

    def restorations(self) -> list[Restoration]:
        """All of them, the earliest first."""
        ...

    def settle(self, settled: Sequence[Settled]) -> None:
        """Write down who answers for these entities; for one that is settled already, what was said first stands."""
        ...

    def settled(self) -> list[Settled]:
        """All of them."""
        ...


class RestoringInMemory:
    """The same for the store in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._restorations: list[Restoration] = []
        self._settled: dict[tuple[str, str, str], Settled] = {}

    def restored(self, restoration: Restoration) -> None:
        self._restorations.append(restoration)

    def restorations(self) -> list[Restoration]:
        return sorted(self._restorations, key=lambda it: (it.told_at, it.restoration_id))

    def settle(self, settled: Sequence[Settled]) -> None:
        for it in settled:
            self._settled.setdefault((it.environment, it.tenant, it.entity), it)

    def settled(self) -> list[Settled]:
        return [self._settled[key] for key in sorted(self._settled)]


@contextmanager
def _durable(connection: Connection, tables: Tables) -> Iterator[None]:
    """A transaction whose commit is kept, whatever the database says about commits."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if tables is SQLITE else "BEGIN")
    try:
        if tables is not SQLITE:
            connection.exec_driver_sql(f"SELECT {DURABLE}")
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


def write_restoration(connection: Connection, tables: Tables, restoration: Restoration) -> None:
    with _durable(connection, tables):
        connection.execute(tables.restoration.insert().values(astuple(restoration)))


def read_restorations(connection: Connection, tables: Tables) -> list[Restoration]:
    of = tables.restoration.c
    columns = (of.restoration_id, of.restored_to, of.told_at, of.actor, of.reason)
    return [Restoration(*row) for row in connection.execute(select(*columns).order_by(of.told_at, of.restoration_id))]


def write_settled(connection: Connection, tables: Tables, settled: Sequence[Settled]) -> None:
    insert = sqlite.insert(tables.settled) if tables is SQLITE else postgresql.insert(tables.settled)
    with _durable(connection, tables):
        for it in settled:
            connection.execute(insert.values(astuple(it)).on_conflict_do_nothing())


def read_settled(connection: Connection, tables: Tables) -> list[Settled]:
    of = tables.settled.c
    columns = (of.environment, of.tenant, of.entity, of.told_at, of.actor, of.reason)
    ordered = select(*columns).order_by(of.environment, of.tenant, of.entity)
    return [Settled(*row) for row in connection.execute(ordered)]
