"""E: what a database or a role sets is not trusted: sessions set what they rely on.

`ALTER DATABASE … SET datestyle = 'German, DMY'` gave raw tracebacks."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text

from saga.core.definition import Saga, readonly
from saga.errors import DataRefused
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter, start_on
from saga.scope import EVERYBODY
from saga.store.connecting import connect_once
from saga.store.opening import open_store
from saga.store.port import Store
from saga.store.postgres import PostgresStore
from saga.store.schema import upgrade
from tests.cases.test_values import B
from tests.simulation.stepping import Process

ODD = {
    "datestyle": "German, DMY",
    "timezone": "'Asia/Kathmandu'",
    "intervalstyle": "sql_standard",
    "standard_conforming_strings": "off",
    "bytea_output": "escape",
    "client_encoding": "LATIN1",
    "default_transaction_isolation": "serializable",
    "array_nulls": "off",
    "search_path": "nowhere",
    "lock_timeout": "'1ms'",
    "statement_timeout": "'1s'",
    "idle_in_transaction_session_timeout": "'1s'",
    "idle_session_timeout": "'1s'",
    "client_min_messages": "debug1",
    "check_function_bodies": "off",
}


def look(_order: B) -> None:
    """The step."""


SHOP = Saga("shop", 1, B, lambda order: order.order_id, [readonly(look)])
NAME = "SO-\\'\N{EURO SIGN}\N{CJK UNIFIED IDEOGRAPH-6F22}"
"""What an encoding or a style of strings would spoil."""


@pytest.fixture(params=["datestyle", "array_nulls", "statement_timeout", "all at once"])
def odd_url(empty_postgres_url: str, request: pytest.FixtureRequest) -> str:
    """A database with one of these settings, or all of them; another session than this one has them."""
    with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
        name = connection.info.dbname
        for setting, value in ODD.items():
            if request.param in (setting, "all at once"):
                connection.execute(f"ALTER DATABASE {name} SET {setting} = {value}")
    return empty_postgres_url


@contextmanager
def opened(url: str) -> Iterator[Store]:
    upgrade(url)
    store = open_store(url, EVERYBODY)
    try:
        yield store
    finally:
        store.close()


def test_an_order_goes_through_a_server_with_settings_of_its_own(odd_url: str) -> None:
    """Upgraded, accepted, claimed, run, swept, listed: every instant and every text is what it was."""
    with opened(odd_url) as store:
        starter = Starter(store, environment="test", tenant="shop")
        started = starter.start(SHOP, B(order_id=NAME))
        starter.stop()
        process = Process(store, Definitions([SHOP]), "w1")
        process.wake(started.saga_id)
        process.settle()
        process.finish(process.calls[0])
        process.settle()
        row = store.row(started.saga_id)
        assert row is not None
        assert (row.entity, row.status, row.accepted_at.utcoffset()) == (NAME, "completed", timedelta())
        assert abs(store.now() - row.accepted_at) < timedelta(minutes=5)
        assert [entry.seq for entry in store.load([started.saga_id])[started.saga_id]] == [1, 2, 3]
        assert store.load([started.saga_id])[started.saga_id].lacks is None
        assert store.renew_lease("w1")
        assert store.dead_workers() == []
        assert store.sweep_due(10, 1.0) == []


def test_no_session_keeps_a_time_out_of_its_database(odd_url: str) -> None:
    """Neither those of a store nor the one of an upgrade, which takes as long as it takes."""
    names = ("lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout", "statement_timeout")

    def told(session: psycopg.Connection[Any]) -> list[str]:
        rows = [session.execute(f"SHOW {name}").fetchone() for name in names]
        return [str(row[0]) for row in rows if row is not None]

    with opened(odd_url) as store:
        assert isinstance(store, PostgresStore)
        *others, wall = store._connections.run(told, "asking")
    assert (others, wall in ("1s", "0")) == (["0"] * 3, False)
    engine = connect_once(odd_url, has_wall=False)
    with engine.connect() as connection:
        assert [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names] == ["0"] * 4
    engine.dispose()


def test_a_saga_is_accepted_in_the_transaction_of_such_a_server(odd_url: str) -> None:
    """The caller's own session keeps its settings; how long it may take is for him to say."""
    patient = {"options": "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0"}
    with opened(odd_url) as store:
        url = odd_url.replace("postgresql:", "postgresql+psycopg:")
        engine = create_engine(url, use_native_hstore=False, connect_args=patient)
        try:
            with engine.begin() as connection:
                before = connection.execute(text("SHOW datestyle")).scalar()
                is_narrow = connection.execute(text("SHOW client_encoding")).scalar() != "UTF8"
                starting = partial(
                    start_on, connection, store, SHOP, B(order_id=NAME), environment="test", tenant="shop"
                )
                if is_narrow:
                    with pytest.raises(
                        DataRefused, match=r"the session writes latin-1.*: connect with client_encoding=utf8"
                    ):
                        starting()
                    return
                started = starting()
                assert connection.execute(text("SHOW datestyle")).scalar() == before
        finally:
            engine.dispose()
        assert len(store.load([started.saga_id])[started.saga_id]) == 1
