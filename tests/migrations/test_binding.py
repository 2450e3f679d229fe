"""A database is of one environment: bound when it is upgraded, and refused to every process of another one."""

import psycopg
import pytest
from alembic import command
from sqlalchemy import Engine, text

from saga.core.states import SagaStatus
from saga.errors import UsageError
from saga.scope import EVERYBODY, Scope
from saga.store import schema
from saga.store.opening import open_store
from tests.conformance.building import accepted, moved
from tests.migrations.test_upgrade import alembic_config, empty_engine, empty_url

__all__ = ["empty_engine", "empty_url"]


@pytest.fixture
def older(empty_url: str, empty_engine: Engine) -> str:
    """A database of the release before: its sagas are of environments, and nothing says of which the database is."""
    config = alembic_config()
    with empty_engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("CREATE SCHEMA saga"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    return empty_url


def held(engine: Engine, *environments: str, due: bool = True) -> None:
    """Put a saga of each environment there, as the release before does."""
    place, due_at = ("saga.", "now()") if engine.dialect.name == "postgresql" else ("", "1")
    with engine.begin() as connection:
        for environment in environments:
            connection.execute(
                text(
                    f"INSERT INTO {place}saga (saga_id, environment, tenant, definition, version, fingerprint, entity, run, "
                    f"status, due_at, accepted_at) VALUES (:id, :of, 't', 'd', 1, 'f', :id, 1, 'running', "
                    f"{due_at if due else 'NULL'}, {due_at})"
                ),
                {"id": f"s-{environment}", "of": environment},
            )


def bound(url: str) -> str | None:
    """Which environment a process has to be of to open it; None: it is bound to none."""
    for environment in ("production", "staging"):
        try:
            open_store(url, Scope(environment)).close()
        except UsageError:
            continue
        return environment
    return None


def test_a_new_database_is_of_the_environment_of_its_upgrade(empty_url: str) -> None:
    """A process of another one is told what to set, by the upgrade and when it opens the store; its own goes on."""
    schema.upgrade(empty_url, "production")
    schema.upgrade(empty_url, "production")
    own = "the database is of environment production, this process is of staging: set SAGA_ENVIRONMENT=production, or a"
    with pytest.raises(UsageError, match=own):
        open_store(empty_url, Scope("staging", ("shop",)))
    with pytest.raises(UsageError, match=f"{own}.*SAGA_ENVIRONMENT=staging saga db bind"):
        schema.upgrade(empty_url, "staging")
    assert bound(empty_url) == "production"


def test_nobody_works_on_a_database_that_is_bound_to_none(empty_url: str) -> None:
    """Whoever forgot to say of which it is gets no store, and is told what to type."""
    schema.upgrade(empty_url)
    with pytest.raises(UsageError, match=r"bound to no environment yet: type  SAGA_DATABASE_URL=\S+ saga db upgrade"):
        open_store(empty_url, Scope("production"))
    open_store(empty_url, EVERYBODY).close()


@pytest.mark.parametrize("upgraded_first", [True, False], ids=["unbound", "older"])
def test_one_that_holds_sagas_is_of_their_environment(older: str, empty_engine: Engine, upgraded_first: bool) -> None:
    """An upgrade from the release before by a process of another environment changes nothing, and names both."""
    held(empty_engine, "production")
    if upgraded_first:
        schema.upgrade(older)
    at = schema.current(older)
    with pytest.raises(
        UsageError, match="sagas of environment production, this process is of staging; nothing was changed"
    ):
        schema.upgrade(older, "staging")
    assert schema.current(older) == at
    schema.upgrade(older, "production")
    assert bound(older) == "production"


def test_of_several_environments_a_person_says_which(older: str, empty_engine: Engine) -> None:
    """The upgrade is refused, naming all, and so is `bind` while those of another one are on their way; when they have ended,
    or wait for a person, it is of the one that is said."""
    held(empty_engine, "production", "staging")
    with pytest.raises(UsageError, match=r"production, staging, this process is of production; .*saga db bind"):
        schema.upgrade(older, "production")
    with pytest.raises(
        UsageError, match=r"1 of environment staging; .*with the release before, or take another database"
    ):
        schema.upgrade(older, "production", anew=True)
    assert schema.current(older) == "0003"
    place = "saga." if empty_engine.dialect.name == "postgresql" else ""
    with empty_engine.begin() as connection:
        connection.execute(text(f"UPDATE {place}saga SET due_at = NULL WHERE environment = 'staging'"))
    schema.upgrade(older, "production", anew=True)
    assert bound(older) == "production"


def test_a_copy_with_orders_on_their_way_stays_what_it_is(empty_url: str) -> None:
    """A shop's database that was copied for tests: its orders would be sent to other participants."""
    schema.upgrade(empty_url, "production")
    store = open_store(empty_url, Scope("production"))
    new = accepted(store, environment="production")
    with pytest.raises(UsageError, match=r"1 of environment production; .*SAGA_ENVIRONMENT=production saga drain"):
        schema.upgrade(empty_url, "staging", anew=True)
    store.append([moved(store, new.saga_id, 2, SagaStatus.COMPLETED)])
    store.close()
    schema.upgrade(empty_url, "staging", anew=True)
    assert bound(empty_url) == "staging"


def test_the_role_of_the_workers_reads_the_binding_and_cannot_change_it(empty_postgres_url: str, unique: str) -> None:
    """A forgotten filter in a worker cannot be made good by a forged row."""
    from tests.migrations.test_upgrade import granted

    schema.upgrade(empty_postgres_url, "production")
    with granted(empty_postgres_url, unique) as (connection, roles):
        connection.execute(f'SET ROLE "{roles["journal"]}"')
        assert connection.execute("SELECT environment FROM saga.store").fetchall() == [("production",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE saga.store SET environment = 'staging'")
        connection.execute("RESET ROLE")
