"""What was answered is there after a crash of the server, whatever the database says about commits."""

import inspect
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.engine import make_url

from saga.core.definition import Saga, readonly
from saga.errors import UsageError
from saga.ids import uuid7
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter, start_on
from saga.store import schema
from saga.store.connecting import connect_once, connect_sqlite
from saga.store.opening import open_store
from saga.store.port import AppendResult, Rewrite, RowChange, SagaFilter, WorkerRow
from saga.store.postgres_connections import PINS, PostgresConnections
from saga.store.restoring import Restoration, Settled
from tests.conformance.building import append_of
from tests.conformance.test_rows import row
from tests.integration.network.own_server import OwnServer, own_server


class Order(BaseModel):
    order_id: str


def step(order: Order) -> Order:
    return order


SAGA = Saga("kept", version=1, input=Order, entity=lambda it: it.order_id, steps=[readonly(step)])


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    """One for the tests of this file; each leaves it running."""
    with own_server() as running:
        schema.upgrade(running.url)
        yield running


class Shop:
    """The ways in which something is answered as done; each gives what the database must hold afterwards."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = open_store(url)
        self.starter = Starter(self.store, environment="test", tenant="test")
        Definitions([SAGA]).register(self.store)
        self.first = self.start()

    def start(self) -> str:
        return self.starter.start(SAGA, Order(order_id=uuid7())).saga_id

    def accepted(self) -> str:
        return f"SELECT 1 FROM saga.saga WHERE saga_id = '{self.start()}'"

    def accepted_in_own_transaction(self) -> str:
        engine = sa.create_engine(self.url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.begin() as connection:
            order = Order(order_id=uuid7())
            started = start_on(connection, self.store, SAGA, order, environment="test", tenant="test")
        engine.dispose()
        return f"SELECT 1 FROM saga.saga WHERE saga_id = '{started.saga_id}'"

    def appended(self) -> str:
        assert self.store.append([append_of(self.store, self.first, 2)]) == [AppendResult.APPENDED]
        return f"SELECT 1 FROM saga.journal WHERE saga_id = '{self.first}' AND seq = 2"

    def registered(self) -> str:
        worker_id = uuid7()
        self.store.register_worker(WorkerRow(worker_id, "h", 1, ()))
        return f"SELECT 1 FROM saga.worker WHERE worker_id = '{worker_id}'"

    def closed(self) -> str:
        worker_id = uuid7()
        self.store.register_worker(WorkerRow(worker_id, "h", 1, ()))
        self.store.close_worker(worker_id)
        return f"SELECT 1 FROM saga.worker WHERE worker_id = '{worker_id}' AND closed_at IS NOT NULL"

    def restored(self) -> str:
        now, told = self.store.now(), uuid7()
        self.store.restored(Restoration(told, now, now, "tester", "a disk died"))
        return f"SELECT 1 FROM saga.restoration WHERE restoration_id = '{told}'"

    def settled(self) -> str:
        entity = uuid7()
        self.store.settle([Settled("test", "test", entity, self.store.now(), "tester", "by hand")])
        return f"SELECT 1 FROM saga.settled WHERE entity = '{entity}'"

    def rewritten(self) -> str:
        made = row(self.store, uuid7(), saga_id=self.first)
        assert self.store.rewrite([Rewrite(self.first, 1, made)]) == [RowChange.MADE]
        return f"SELECT 1 FROM saga.orders WHERE saga_id = '{self.first}'"


WAYS = [name for name, it in vars(Shop).items() if inspect.isfunction(it) and name not in {"__init__", "start"}]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", WAYS)
def test_what_was_answered_survives_a_crash_although_the_database_does_not_wait_for_its_disk(
    server: OwnServer, way: str
) -> None:
    """`alter database … set synchronous_commit = off`, one answer, SIGQUIT: it is there. The server of this test writes nothing
    by itself for ten seconds, so without the pin it is lost."""
    server.say("ALTER DATABASE postgres SET synchronous_commit = off")
    shop = Shop(server.url)
    look = getattr(shop, way)()
    server.crash()
    server.start()
    with psycopg.connect(server.url) as connection:
        found = connection.execute(look).fetchall()
    shop.starter.stop()
    shop.store.close()
    assert found == [(1,)]


@pytest.mark.timeout(120)
def test_an_upgrade_and_a_binding_survive_a_crash(server: OwnServer) -> None:
    """The same for `saga db upgrade` of a new database, and for `saga db bind` of it after that."""
    url = make_url(server.url).set(database="upgraded").render_as_string()
    server.say("CREATE DATABASE upgraded")
    server.say("ALTER DATABASE upgraded SET synchronous_commit = off")
    schema.upgrade(url, "test")
    server.crash()
    server.start()
    assert schema.current(url) == schema.head()
    schema.upgrade(url, "staging", anew=True)
    server.crash()
    server.start()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT environment FROM saga.store").fetchall() == [("staging",)]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("says", "becomes"), [("off", "on"), ("local", "on"), ("remote_write", "on"), ("remote_apply", "remote_apply")]
)
def test_the_pin_raises_and_never_lowers(server: OwnServer, says: str, becomes: str) -> None:
    """What the role sets counts when it is more than `on`; and it is set for the transaction alone."""
    server.say(f"ALTER ROLE saga SET synchronous_commit = {says}")
    connections = PostgresConnections(server.url, 1)

    def shown(session: psycopg.Connection[tuple[object, ...]]) -> tuple[object, object]:
        with session.transaction():
            session.execute(PINS)
            inside = session.execute("SHOW synchronous_commit").fetchone()
        outside = session.execute("SHOW synchronous_commit").fetchone()
        assert inside is not None
        assert outside is not None
        return inside[0], outside[0]

    found = connections.run(shown, "look")
    connections.close()
    server.say("ALTER ROLE saga RESET synchronous_commit")
    assert found == (becomes, says)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_does_not_write_to_its_disk_is_refused(
    server: OwnServer, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    """No setting of a session helps there: the store is not opened, and the message says what to type; unless the operator
    gives his word."""
    server.say(f"ALTER SYSTEM SET {setting} = off")
    server.say("SELECT pg_reload_conf()")
    try:
        with pytest.raises(UsageError, match=rf"{setting} = off.*put  {setting} = on.*SAGA_DURABLE_WITHOUT_FSYNC=true"):
            open_store(server.url)
        monkeypatch.setenv("SAGA_DURABLE_WITHOUT_FSYNC", "true")
        store = open_store(server.url)
        assert store.find(SagaFilter(), 1) is not None
        store.close()
    finally:
        server.say(f"ALTER SYSTEM RESET {setting}")
        server.say("SELECT pg_reload_conf()")


def test_every_connection_to_a_file_waits_for_its_disk(sqlite_url: str) -> None:
    """`synchronous` is FULL (2) on each: NORMAL loses commits under WAL, and the setting is one of a connection."""
    schema.upgrade(sqlite_url)
    pooled, once = connect_sqlite(sqlite_url, 3), connect_once(sqlite_url)
    found = set()
    opened = [pooled.connect() for _ in range(3)]
    with once.connect() as alone:
        for connection in (*opened, alone):
            found.add(
                tuple(connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "journal_mode"))
            )
    for connection in opened:
        connection.close()
    pooled.dispose()
    once.dispose()
    assert found == {(2, "wal")}
