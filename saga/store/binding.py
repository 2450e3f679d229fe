"""A database is of one environment: `saga db upgrade` writes down which, and whoever opens the database looks.

Rules of this file
------------------
- An upgrade binds a database that is bound to none: a new one to the environment of the process, one that an older release
  has filled to the environment of its sagas. Where the two differ, or its sagas are of several, it is refused before anything is
  changed.
- `anew` changes it, knowingly: for whoever upgraded without `SAGA_ENVIRONMENT`. It is refused while a saga of another environment
  still moves. So a copy of the shop's database cannot be made one of the tests while an order is on its way in it: nobody would
  end it, and its reservations are at other participants.
- Everything happens in the transaction of the upgrade.
"""

from sqlalchemy import Connection, delete, func, insert, inspect, select

from saga.errors import UsageError
from saga.store.tables import Tables, tables_of

NAMED = 5
OTHER = (
    "the database is of environment {bound}, this process is of {own}: set SAGA_ENVIRONMENT={bound}, or a "
    "SAGA_DATABASE_URL of {own}"
)


def bound_to(connection: Connection, tables: Tables) -> str | None:
    """The environment of the database; None while it is bound to none."""
    return connection.execute(select(tables.store.c.environment)).scalar_one_or_none()


def refuse(connection: Connection, environment: str, *, anew: bool) -> None:
    """Raises `UsageError` when the database, which has tables of this or of an older release, is not to be bound so."""
    tables = tables_of(connection.dialect.name)
    has_binding = inspect(connection).has_table(tables.store.name, tables.metadata.schema)
    bound = bound_to(connection, tables) if has_binding else None
    if anew:
        _refuse_moving(connection, tables, bound, environment)
    elif bound is None:
        _refuse_held(connection, tables, environment)
    elif bound != environment:
        raise UsageError(
            f"{OTHER.format(bound=bound, own=environment)}; if it was bound by mistake:  "
            f"SAGA_ENVIRONMENT={environment} saga db bind"
        )


def bind(connection: Connection, environment: str) -> None:
    """Write down that the database is of this environment."""
    tables = tables_of(connection.dialect.name)
    if bound_to(connection, tables) != environment:
        connection.execute(delete(tables.store))
        connection.execute(insert(tables.store).values(id=1, environment=environment))


def _refuse_held(connection: Connection, tables: Tables, environment: str) -> None:
    held = _environments(connection, tables)
    if held in ([], [environment]):
        return
    then = (
        f"set SAGA_ENVIRONMENT={held[0]}, or a SAGA_DATABASE_URL of {environment}"
        if len(held) == 1
        else "a database is of one: set SAGA_ENVIRONMENT to it and type  saga db bind"
    )
    raise UsageError(
        f"the database holds sagas of environment {', '.join(held)}, this process is of {environment}; nothing was changed: {then}"
    )


def _refuse_moving(connection: Connection, tables: Tables, bound: str | None, environment: str) -> None:
    saga = tables.saga.c
    moving = select(saga.environment, func.count()).where(saga.due_at.is_not(None), saga.environment != environment)
    found = connection.execute(moving.group_by(saga.environment).order_by(saga.environment)).all()
    if not found:
        return
    which = ", ".join(f"{count:,} of environment {name}" for name, count in found[:NAMED])
    how = "with the release before" if bound is None else f"with  SAGA_ENVIRONMENT={bound} saga drain"
    raise UsageError(
        f"sagas on their way: {which}; nobody would end them here any more, so nothing was changed. End them first, {how}, or "
        f"take another database for {environment}"
    )


def _environments(connection: Connection, tables: Tables) -> list[str]:
    """Of which its sagas are: from one to the next in the index of owners, however many sagas there are."""
    environment, held = tables.saga.c.environment, list[str]()
    query = select(environment).order_by(environment).limit(1)
    following = query
    while len(held) < NAMED and (found := connection.execute(following).scalar_one_or_none()) is not None:
        held.append(found)
        following = query.where(environment > found)
    return held
