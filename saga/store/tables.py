"""The declared tables of the engine, once per dialect.

Rules of this file:

- PostgreSQL keeps the tables in the schema `saga`; SQLite has no schemas, so `POSTGRES` and `SQLITE` are two
  declarations of one shape. `migrations/` must arrive at exactly this shape, and a test compares the two.
- The journal is append-only and has no foreign key: an append demands that entry seq - 1 exists, so a row without its
  saga cannot come about, and the check costs no lock on the saga row.
- `saga.due_at` is the only indexed column that changes while a saga makes progress, and it moves in coarse steps; the
  other cached columns change at start, park and end (DESIGN section 10).
- Instants are `timestamptz` on PostgreSQL and whole microseconds since 1970 on SQLite, where text would make
  comparison depend on how many digits were written.
- Text that is compared or paged by is in collation "C" on PostgreSQL, so that both databases and Python sort alike.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

from saga.core.states import HaltReason, SagaStatus

SCHEMA = "saga"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_micros(instant: datetime) -> int:
    """Whole microseconds since 1970; exact, because no float is in between."""
    return (instant - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """The instant that `to_micros` came from."""
    return EPOCH + timedelta(microseconds=micros)


class Instant(TypeDecorator[datetime]):
    """An aware UTC instant on both databases."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return BigInteger() if dialect.name == "sqlite" else DateTime(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return to_micros(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return from_micros(value) if dialect.name == "sqlite" else value.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables in the declaration of one dialect."""

    metadata: MetaData
    saga: Table
    journal: Table
    request: Table
    worker: Table
    definition: Table
    effect: Table
    store: Table
    restoration: Table
    settled: Table


def one_of(column: str, values: type[SagaStatus] | type[HaltReason]) -> str:
    """The text of a check that a column holds a value of the enum."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


def _saga(metadata: MetaData, words: Text) -> Table:
    return Table(
        "saga",
        metadata,
        Column("saga_id", words, nullable=False),
        Column("environment", words, nullable=False),
        Column("tenant", words, nullable=False),
        Column("definition", words, nullable=False),
        Column("version", Integer, nullable=False),
        Column("fingerprint", Text, nullable=False),
        Column("entity", words, nullable=False),
        Column("run", Integer, nullable=False),
        Column("status", Text, nullable=False),
        Column("halt_reason", Text),
        Column("due_at", Instant),
        Column("due_pushes", Integer, nullable=False, server_default=text("0")),
        Column("priority", Integer, nullable=False, server_default=text("0")),
        Column("accepted_at", Instant, nullable=False),
        Column("ended_at", Instant),
        Column("journal_seq", Integer),
        Column("journal_hash", LargeBinary),
        PrimaryKeyConstraint("saga_id", name="saga_pkey"),
        UniqueConstraint("environment", "tenant", "definition", "entity", "run", name="saga_entity_run"),
        CheckConstraint(one_of("status", SagaStatus), name="saga_status_known"),
        CheckConstraint(one_of("halt_reason", HaltReason), name="saga_halt_reason_known"),
        CheckConstraint("run >= 1", name="saga_run_positive"),
    )


def _saga_indexes(saga: Table) -> None:
    live = text("status <> 'compensated'")
    owner = (saga.c.environment, saga.c.tenant, saga.c.definition, saga.c.entity)
    Index("saga_one_live", *owner, unique=True, postgresql_where=live, sqlite_where=live)
    waits = text("due_at IS NOT NULL")
    Index("saga_due", saga.c.priority.desc(), saga.c.due_at, postgresql_where=waits, sqlite_where=waits)
    Index("saga_list", saga.c.accepted_at, saga.c.saga_id)
    halted = text("status = 'halted'")
    Index("saga_halted", saga.c.halt_reason, saga.c.accepted_at, postgresql_where=halted, sqlite_where=halted)


def _journal(metadata: MetaData, words: Text, hash_length: str) -> Table:
    return Table(
        "journal",
        metadata,
        Column("saga_id", words, nullable=False),
        Column("seq", Integer, nullable=False),
        Column("at", Instant, nullable=False),
        Column("writer", words, nullable=False),
        Column("actor", Text, nullable=False),
        Column("reason", Text),
        Column("body", Text, nullable=False),
        Column("prev_hash", LargeBinary, nullable=False),
        Column("min_reader_version", Integer, nullable=False),
        PrimaryKeyConstraint("saga_id", "seq", name="journal_pkey"),
        CheckConstraint("seq >= 1", name="journal_seq_positive"),
        CheckConstraint(f"{hash_length}(prev_hash) = 32", name="journal_prev_hash_sha256"),
        CheckConstraint("min_reader_version >= 1", name="journal_reader_positive"),
    )


def _request(metadata: MetaData, words: Text) -> Table:
    return Table(
        "request",
        metadata,
        Column("environment", words, nullable=False),
        Column("tenant", words, nullable=False),
        Column("request_key", words, nullable=False),
        Column("request_hash", Text, nullable=False),
        Column("saga_id", words, nullable=False),
        Column("created_at", Instant, nullable=False),
        PrimaryKeyConstraint("environment", "tenant", "request_key", name="request_pkey"),
    )


def _worker(metadata: MetaData, words: Text) -> Table:
    return Table(
        "worker",
        metadata,
        Column("worker_id", words, nullable=False),
        Column("host", Text, nullable=False),
        Column("pid", Integer, nullable=False),
        Column("queues", Text, nullable=False),
        Column("lock_key", BigInteger),
        Column("started_at", Instant, nullable=False),
        Column("lease_ttl_s", Float, nullable=False),
        Column("lease_until", Instant, nullable=False),
        Column("closed_at", Instant),
        Column("environment", words),
        Column("tenants", Text),
        PrimaryKeyConstraint("worker_id", name="worker_pkey"),
        CheckConstraint("lease_ttl_s > 0", name="worker_lease_positive"),
    )


def _definition(metadata: MetaData, words: Text) -> Table:
    return Table(
        "definition",
        metadata,
        Column("name", words, nullable=False),
        Column("version", Integer, nullable=False),
        Column("fingerprint", Text, nullable=False),
        Column("registered_at", Instant, nullable=False),
        PrimaryKeyConstraint("name", "version", name="definition_pkey"),
    )


def _effect(metadata: MetaData, words: Text) -> Table:
    return Table(
        "effect",
        metadata,
        Column("saga_id", words, nullable=False),
        Column("seq", Integer, nullable=False),
        Column("ordinal", SmallInteger, nullable=False),
        Column("node", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("unit", Text, nullable=False),
        Column("quantity", BigInteger, nullable=False),
        Column("sign", SmallInteger, nullable=False),
        Column("expires_at", Instant),
        PrimaryKeyConstraint("saga_id", "seq", "ordinal", name="effect_pkey"),
        CheckConstraint("sign IN (-1, 1)", name="effect_sign_known"),
    )


def _store(metadata: MetaData, words: Text) -> Table:
    """One row: what holds for the whole database."""
    return Table(
        "store",
        metadata,
        Column("id", SmallInteger, nullable=False, autoincrement=False),
        Column("environment", words, nullable=False),
        PrimaryKeyConstraint("id", name="store_pkey"),
        CheckConstraint("id = 1", name="store_is_one"),
    )


def _restoration(metadata: MetaData, words: Text) -> Table:
    return Table(
        "restoration",
        metadata,
        Column("restoration_id", words, nullable=False),
        Column("restored_to", Instant, nullable=False),
        Column("told_at", Instant, nullable=False),
        Column("actor", Text, nullable=False),
        Column("reason", Text, nullable=False),
        PrimaryKeyConstraint("restoration_id", name="restoration_pkey"),
    )


def _settled(metadata: MetaData, words: Text) -> Table:
    """Entities whose effects at participants no journal explains any more, and that a person has answered for."""
    return Table(
        "settled",
        metadata,
        Column("environment", words, nullable=False),
        Column("tenant", words, nullable=False),
        Column("entity", words, nullable=False),
        Column("told_at", Instant, nullable=False),
        Column("actor", Text, nullable=False),
        Column("reason", Text, nullable=False),
        PrimaryKeyConstraint("environment", "tenant", "entity", name="settled_pkey"),
    )


def _orders(metadata: MetaData, words: Text) -> None:
    """The product's list of orders (`saga.fulfilment.orders_table`); the engine writes it as it would any projection."""
    orders = Table(
        "orders",
        metadata,
        Column("environment", words, nullable=False),
        Column("tenant", words, nullable=False),
        Column("order_id", words, nullable=False),
        Column("saga_id", words, nullable=False),
        Column("run", BigInteger, nullable=False),
        Column("status", words, nullable=False),
        Column("saga_status", words, nullable=False),
        Column("halt_reason", Text),
        Column("customer_id", words, nullable=False),
        Column("country", words, nullable=False),
        Column("currency", words, nullable=False),
        Column("goods", BigInteger, nullable=False),
        Column("total", BigInteger),
        Column("accepted_at", Instant, nullable=False),
        Column("ended_at", Instant),
        PrimaryKeyConstraint("environment", "tenant", "order_id", name="orders_pkey"),
    )
    of = orders.c
    latest = (of.accepted_at, of.order_id)
    Index("orders_latest", of.environment, of.tenant, *latest)
    Index("orders_of_customer", of.environment, of.tenant, of.customer_id, *latest)
    Index("orders_in_status", of.environment, of.tenant, of.status, *latest)


def declare(schema: str | None) -> Tables:
    """The tables in `schema` (PostgreSQL), or in none (SQLite)."""
    metadata = MetaData(schema=schema)
    words = Text(collation="C") if schema else Text()
    saga = _saga(metadata, words)
    _saga_indexes(saga)
    _orders(metadata, words)
    return Tables(
        metadata,
        saga,
        _journal(metadata, words, "octet_length" if schema else "length"),
        _request(metadata, words),
        _worker(metadata, words),
        _definition(metadata, words),
        _effect(metadata, words),
        _store(metadata, words),
        _restoration(metadata, words),
        _settled(metadata, words),
    )


POSTGRES = declare(SCHEMA)
SQLITE = declare(None)


def tables_of(dialect_name: str) -> Tables:
    """The declaration for a dialect of SQLAlchemy."""
    return SQLITE if dialect_name == "sqlite" else POSTGRES
