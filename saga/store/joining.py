"""Accepting a saga inside the caller's own transaction, so that his rows and ours commit together.

The caller owns the connection and the COMMIT; nothing here commits or rolls back more than a savepoint of its own.
On PostgreSQL a unique violation (somebody else accepted the same order in between) rolls the savepoint back and the
question is asked again; under REPEATABLE READ or SERIALIZABLE the other one stays invisible, and ConcurrencyError says
that the caller's transaction has to be made again. `synchronous_commit` is raised to `on` for the rest of that
transaction, so that an order that was answered is there after a crash whatever the database sets. On SQLite the write lock is taken before the first read, so nobody
can come in between, and no savepoint is used: opened by the driver outside a transaction, its release would commit.
"""

from contextlib import suppress

from sqlalchemy import Connection, and_, func, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from saga.core.projection import ProjectedRow
from saga.core.states import SagaStatus
from saga.errors import ConcurrencyError, FingerprintChanged, UsageError
from saga.log import logger
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
from saga.store.durable import DURABLE
from saga.store.port import AcceptResult, AcceptStatus, NewSaga
from saga.store.projecting import upsert_of
from saga.store.queries import register_definition
from saga.store.refusing import saga_refusal
from saga.store.tables import SQLITE, Tables, tables_of
from saga.words import name_of, shown

__all__ = ["Connection", "accept_on"]

ROUNDS = 3
SQLITE_NAME = "sqlite"
COMMITS = (
    "the connection commits each statement (AUTOCOMMIT), so a saga could not be rolled back with your rows; pass one with a transaction: "
    "session.connection() of an ORM session, or what  with engine.begin() as connection  gives"
)


def accept_on(connection: Connection, new: NewSaga) -> AcceptResult:
    """Store a new saga in the transaction of `connection`; it is durable when, and only when, the caller commits.

    Answers as `Store.accept` does. Works on PostgreSQL and SQLite. Raises FingerprintChanged when the definition's version
    is stored with another fingerprint, which nobody would run, and ConcurrencyError when the caller's snapshot
    hides a saga that was accepted at the same moment: roll back and make the transaction again. Raises UsageError, before anything is
    written, for what is no connection, or one that commits each statement.
    """
    _refuse_other(connection)
    tables = tables_of(connection.dialect.name)
    if tables is SQLITE:
        connection.execute(update(tables.saga).where(text("0")).values(due_pushes=0))
        if not getattr(connection.connection.dbapi_connection, "in_transaction", True):
            raise UsageError(COMMITS)
        _check_definition(connection, tables, new)
        return _accept(connection, tables, new)
    connection.exec_driver_sql(f"SELECT {DURABLE}")
    _check_definition(connection, tables, new)
    try:
        for _round in range(ROUNDS):
            with suppress(IntegrityError), connection.begin_nested():
                return _accept(connection, tables, new)
    except UnicodeEncodeError as error:
        why = f"the session writes {error.encoding}, which has no {shown(error.object[error.start])}: connect with client_encoding=utf8"
        return AcceptResult(AcceptStatus.REFUSED, new.saga_id, reason=why)
    raise ConcurrencyError(new.saga_id, 1)


def _refuse_other(connection: object) -> None:
    """Nothing of a saga is stored where it could not be rolled back with the rows beside it."""
    if not isinstance(connection, Connection):
        raise UsageError(
            f"the connection is a {name_of(connection)}; pass a SQLAlchemy Connection with the transaction: of an ORM session "
            "session.connection(), of an engine what  with engine.begin() as connection  gives"
        )
    # SQLite's answers by what a write leaves behind: who begins his transactions himself has the driver in this mode, too.
    driver = connection.connection.dbapi_connection
    if connection.dialect.name != SQLITE_NAME and getattr(driver, "autocommit", False) is True:
        raise UsageError(COMMITS)


def _check_definition(connection: Connection, tables: Tables, new: NewSaga) -> None:
    """A saga whose version is stored with another fingerprint would be run by nobody."""
    at = new.first_entry(1).at
    stored = register_definition(connection, tables, new.definition, new.version, new.fingerprint, at)
    if stored != new.fingerprint:
        raise FingerprintChanged(new.definition, new.version, stored, new.fingerprint)


def _accept(connection: Connection, tables: Tables, new: NewSaga) -> AcceptResult:
    # The entity before the key: whoever sees another's saga then also sees its key.
    latest = _latest_run(connection, tables, new)
    acceptance = settle([new], _known_request(connection, tables, new), latest)
    for fresh in acceptance.fresh:
        if (why := saga_refusal(fresh)) is not None:
            return AcceptResult(AcceptStatus.REFUSED, new.saga_id, reason=why)
        _insert(connection, tables, fresh)
    return acceptance.results[0]


def _known_request(connection: Connection, tables: Tables, new: NewSaga) -> dict[RequestKey, KnownRequest]:
    key = request_key_of(new)
    if key is None:
        return {}
    request, saga = tables.request.c, tables.saga.c
    query = select(request.request_hash, request.saga_id, saga.run).where(
        and_(request.environment == key[0], request.tenant == key[1], request.request_key == key[2]),
        saga.saga_id == request.saga_id,
    )
    found = connection.execute(query).one_or_none()
    return {} if found is None else {key: KnownRequest(*found)}


def _latest_run(connection: Connection, tables: Tables, new: NewSaga) -> dict[EntityKey, LatestRun]:
    key, saga = entity_key_of(new), tables.saga.c
    same = and_(
        saga.environment == new.environment,
        saga.tenant == new.tenant,
        saga.definition == new.definition,
        saga.entity == new.entity,
    )
    query = select(saga.saga_id, saga.run, saga.status).where(same).order_by(saga.run.desc()).limit(1)
    found = connection.execute(query).one_or_none()
    return {} if found is None else {key: LatestRun(found[0], found[1], SagaStatus(found[2]))}


def _insert(connection: Connection, tables: Tables, fresh: FreshSaga) -> None:
    new, entry = fresh.new, fresh.entry
    now = entry.at if tables is SQLITE else func.clock_timestamp()
    owner = {"environment": new.environment, "tenant": new.tenant}
    if new.request_key is not None:
        request = {"request_key": new.request_key, "request_hash": new.request_hash or "", "saga_id": new.saga_id}
        connection.execute(tables.request.insert().values(**owner, **request, created_at=now))
    connection.execute(
        tables.saga.insert().values(
            **owner, saga_id=new.saga_id, definition=new.definition, version=new.version, fingerprint=new.fingerprint,
            entity=new.entity, run=fresh.run, status=SagaStatus.RUNNING.value, due_at=new.due_at,
            priority=new.priority, accepted_at=entry.at, journal_seq=entry.seq, journal_hash=entry.hash,
        )
    )  # fmt: skip
    connection.execute(
        tables.journal.insert().values(
            saga_id=new.saga_id, seq=entry.seq, at=entry.at, writer=entry.writer, actor=entry.actor,
            reason=entry.reason, body=entry.body, prev_hash=entry.prev_hash,
            min_reader_version=entry.min_reader_version,
        )
    )  # fmt: skip
    if fresh.row is not None:
        _write_row(connection, tables, new.saga_id, fresh.row)


def _write_row(connection: Connection, tables: Tables, saga_id: str, row: ProjectedRow) -> None:
    """In a savepoint of its own, which is inside of the caller's transaction by now: what is wrong with the row refuses nothing."""
    try:
        with connection.begin_nested():
            connection.execute(upsert_of(row, tables.metadata.schema))
    except DBAPIError as error:
        logger.error("row_left_out", saga_id=saga_id, reason=row.projection.table, error=str(error.orig))
