"""A service's database arrives at the declared tables: new, of the release before revisions, twice, and two at once.

`earlier/` holds the tables of the last release that wrote no revisions down, as that release made them.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, inspect, text

from services.__main__ import main
from services.skeleton.database import Database
from services.skeleton.migrating import FOLDER, UPGRADE_LOCK, SchemaTooNew, revisions, upgrade
from services.skeleton.server import NAMES, service_named
from services.skeleton.service import Service
from services.skeleton.tables import declare_tables
from tests.integration.services.asking import DATABASES, Asked
from tests.waiting import wait_until

EARLIER = Path(__file__).parent / "earlier"
PARTS = ("columns", "pk_constraint", "unique_constraints", "check_constraints", "indexes")
every_service = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest) -> str:
    """A database without tables, of each kind in turn."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "empty_postgres_url"))


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """A plain engine on it."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    yield engine
    engine.dispose()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """The same database as a service uses it."""
    database = Database(url)
    yield database
    database.close()


def declared(name: str) -> Service:
    service = service_named(name)
    declare_tables(service)
    return service


def shape(engine: Engine) -> dict[str, Any]:
    """Columns, keys, checks and indexes of every table, as the database describes them."""
    found = inspect(engine)
    tables = [table for table in found.get_table_names() if table != "alembic_version"]
    return {f"{table} {part}": plain(getattr(found, f"get_{part}")(table)) for table in tables for part in PARTS}


def plain(part: Any) -> Any:
    """Reflected values in an order and a form that compare; a new column stands last wherever it was declared."""
    if isinstance(part, dict):
        return sorted((key, plain(value)) for key, value in part.items() if key != "comment")
    if isinstance(part, list):
        return sorted(str(plain(value)) for value in part)
    return str(part)


def make_earlier(engine: Engine, name: str) -> None:
    """The tables as the release before revisions left them."""
    script = (EARLIER / f"{name}.{engine.dialect.name}.sql").read_text(encoding="utf-8")
    with engine.begin() as connection:
        for statement in filter(str.strip, script.split(";")):
            connection.execute(text(statement))


def marked(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())


def differences(engine: Engine, name: str) -> list[Any]:
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, declared(name).metadata))


@every_service
def test_revisions_arrive_at_the_declared_tables(name: str, database: Database, engine: Engine) -> None:
    """Run one after the other on nothing they leave what `create` makes of nothing, with checks and partial indexes."""
    database.create(declared(name).metadata)
    made, mark = shape(engine), marked(engine)
    declared(name).metadata.drop_all(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
    database.write(lambda connection: upgrade(connection, name))
    assert shape(engine) == made
    assert marked(engine) == mark == revisions(name)[-1:]
    assert differences(engine, name) == []


@every_service
def test_a_database_without_revisions_is_taken_over(name: str, database: Database, engine: Engine) -> None:
    """The tables of the earlier release are recognised, not made again, and brought to those of this one."""
    make_earlier(engine, name)
    row = "INSERT INTO barrier (key, kind, operation, request_hash, outcome, status, body, at) VALUES"
    with engine.begin() as connection:
        connection.execute(text(f"{row} ('k', 'action', 'POST /', 'h', 'applied', 200, '', CURRENT_TIMESTAMP)"))
    for _ in range(2):
        database.create(declared(name).metadata)
    assert marked(engine) == revisions(name)[-1:]
    assert differences(engine, name) == []
    taken_over = shape(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM barrier")).scalar() == 1
    declared(name).metadata.drop_all(engine)
    declared(name).metadata.create_all(engine)
    assert taken_over == shape(engine)


@every_service
def test_file_names_are_the_revisions_in_their_order(name: str) -> None:
    """What a start reads off the names of the files is what Alembic reads in them: one line, each after the one before."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(FOLDER / name))
    walked = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert walked[::-1] == revisions(name)


def test_stock_and_holds_of_the_earlier_release_lie_in_the_main_warehouse(url: str, engine: Engine) -> None:
    """What was available, held, shipped and written down before goes on: a hold of then ships now and comes back."""
    make_earlier(engine, "inventory")
    with engine.begin() as connection:
        fill_earlier(connection)
    database = Database(url)
    inventory = Asked(declared("inventory"), database)
    (item,) = inventory.route("GET", "/v1/stock").body["items"]
    buckets = {"initial": 10, "available": 5, "reserved": 2, "shipped": 3}
    assert item == {"sku": "A", **buckets, "warehouses": [{"warehouse": "main", **buckets}]}
    assert [(row["warehouse"], row["return_id"]) for row in inventory.ledger()] == [("main", None)] * 4
    assert inventory.post("/v1/reservations/commit", "c2", {"reservation_id": "R-2"}).status == 200
    lines = [{"sku": "A", "quantity": 2}]
    for order_id in ("SO-1", "SO-2"):
        restock = {"order_id": order_id, "return_id": "RT-1", "lines": lines}
        assert inventory.post("/v1/restocks", f"t-{order_id}", restock).status == 201
    assert inventory.route("GET", "/v1/stock/{sku}", sku="A").body["available"] == 9
    database.close()


def fill_earlier(connection: Connection) -> None:
    """Ten of A, of which three were shipped and two are held."""
    row = "INSERT INTO ledger (at, operation, key, order_id, sku, bucket_from, bucket_to, quantity) VALUES"
    now = "CURRENT_TIMESTAMP"
    for statement in (
        "INSERT INTO stock VALUES ('A', 10, 5, 2, 3)",
        f"INSERT INTO reservation VALUES ('R-1', 'SO-1', {now}, 'committed'), ('R-2', 'SO-2', {now}, 'firm')",
        "INSERT INTO reservation_line VALUES ('R-1', 'A', 3), ('R-2', 'A', 2)",
        f"{row} ({now}, 'POST /v1/stock', 'p', '', 'A', 'outside', 'available', 10)",
        f"{row} ({now}, 'POST /v1/reservations', 'k1', 'SO-1', 'A', 'available', 'reserved', 3)",
        f"{row} ({now}, 'POST /v1/reservations', 'k2', 'SO-2', 'A', 'available', 'reserved', 2)",
        f"{row} ({now}, 'POST /v1/reservations/commit', 'c1', 'SO-1', 'A', 'reserved', 'shipped', 3)",
    ):
        connection.execute(text(statement))


def test_a_capture_of_the_earlier_release_can_be_refunded(url: str, engine: Engine) -> None:
    """What was captured before there was a table of captures is in it, whole and not refunded."""
    make_earlier(engine, "payment")
    operation, now = "POST /v1/captures", "CURRENT_TIMESTAMP"
    body = '{"capture_id": "C-k", "authorization_id": "A-a", "amount": 500, "currency": "GBP", "effects": []}'
    row = "(key, kind, operation, request_hash, outcome, status, body, at)"
    posting = "(at, operation, key, order_id, entry_id, debit, credit, amount, currency)"
    with engine.begin() as connection:
        values = {"body": body, "operation": operation}
        kept = f"INSERT INTO barrier {row} VALUES ('k', 'action', :operation, 'h', 'applied', 201, :body, {now})"
        connection.execute(text(kept), values)
        moved = f"INSERT INTO ledger {posting} VALUES ({now}, :operation, 'k', 'SO-1', 'E', 'holds', 'merchant', 500, 'GBP')"
        connection.execute(text(moved), {"operation": operation})
    database = Database(url)
    database.create(declared("payment").metadata)
    with engine.connect() as connection:
        columns = "capture_id, authorization_id, order_id, currency, captured, refunded"
        found = [tuple(row) for row in connection.execute(text(f"SELECT {columns} FROM capture"))]
    assert found == [("C-k", "A-a", "SO-1", "GBP", 500, 0)]
    database.close()


@pytest.mark.parametrize("is_earlier", [False, True], ids=["empty", "earlier"])
def test_starts_at_once_are_safe(url: str, engine: Engine, is_earlier: bool) -> None:
    """Six at once, each with connections of its own as a process has: every one comes up, and one of them upgrades."""
    if is_earlier:
        make_earlier(engine, "inventory")
        with engine.begin() as connection:
            fill_earlier(connection)
    metadata, together = declared("inventory").metadata, Barrier(6)

    def start(_: int) -> None:
        database = Database(url)
        try:
            database.read(lambda connection: connection.execute(text("SELECT 1")))
            together.wait(20)
            database.create(metadata)
        finally:
            database.close()

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(start, range(6)))
    assert marked(engine) == revisions("inventory")[-1:]
    assert differences(engine, "inventory") == []


def test_a_start_waits_for_the_one_before(empty_postgres_url: str) -> None:
    """While somebody else upgrades on PostgreSQL a start touches nothing, and goes on when they are done."""
    database = Database(empty_postgres_url)
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    with (
        psycopg.connect(empty_postgres_url, autocommit=True) as watcher,
        psycopg.connect(empty_postgres_url) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        other.execute("SELECT pg_advisory_xact_lock(%s)", (UPGRADE_LOCK,))
        starting = thread.submit(database.create, declared("tax").metadata)
        wait_until(lambda: watcher.execute(waiting).fetchall())
        assert watcher.execute(tables).fetchone() == (0,)
        other.rollback()
        starting.result(20)
        assert watcher.execute(tables).fetchone() == (3,)
    database.close()


def test_a_failed_upgrade_leaves_everything_as_it_was(database: Database, engine: Engine) -> None:
    """All revisions of an upgrade are one transaction: after an error the database is the earlier release's again."""
    make_earlier(engine, "inventory")
    before = shape(engine)

    def fail(connection: Connection) -> None:
        upgrade(connection, "inventory")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(fail)
    assert shape(engine) == before


def test_a_database_of_a_later_release_is_refused(
    database: Database, url: str, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is changed, and who started the service reads what to do."""
    database.create(declared("tax").metadata)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
    with pytest.raises(SchemaTooNew, match="tax is at r9999, this release knows r0001: run the later release"):
        database.create(declared("tax").metadata)
    assert main(["tax", "--database-url", url]) == 1
    assert "tax is at r9999" in capsys.readouterr().err
    assert marked(engine) == ["r9999"]
