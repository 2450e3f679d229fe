"""From a URL to a store: the one place that knows which schemes there are, and that looks whose database it is.

Rules of this file: whoever gives a `Scope` gets a store of a database that is bound to the environment of it, or none. The
addresses of the participants belong to the process and its environment, so a process on the database of another environment
would run orders against the wrong bank.
"""

from saga.errors import UsageError
from saga.scope import EVERYBODY, Scope
from saga.store.binding import OTHER
from saga.store.connecting import upgrade_command
from saga.store.memory import MemoryStore
from saga.store.port import Store
from saga.store.postgres import PostgresStore
from saga.store.sqlite import SqliteStore

SCHEMES = "postgresql://user@host/database, sqlite:///path/to/file or memory://"


def open_store(url: str, scope: Scope = EVERYBODY, *, pool_size: int = 4) -> Store:
    """The store behind `url`, whose tables `saga db upgrade` made; call it in each process, after fork.

    It answers for the sagas of `scope` alone; without one for all there are, of whatever environment, which is for tools and
    tests. `pool_size` is the number of connections that this store may hold, besides the one of a worker's lock. Raises
    UsageError for a URL of another kind, and for a database that is bound to another environment, or to none, than that of
    the scope; StoreUnavailable when the database does not answer.
    """
    scheme = url.partition(":")[0]
    if scheme == "memory":
        return MemoryStore(scope=scope)
    store: PostgresStore | SqliteStore
    if scheme in ("postgresql", "postgresql+psycopg", "postgres"):
        store = PostgresStore(url.replace("postgres://", "postgresql://", 1), scope=scope, pool_size=pool_size)
    elif scheme in ("sqlite", "sqlite+pysqlite"):
        store = SqliteStore(url, scope=scope, pool_size=pool_size)
    else:
        raise UsageError(f"{scheme}: no such database; a URL is {SCHEMES}")
    try:
        _refuse_other(store, scope, url)
    except BaseException:
        store.close()
        raise
    return store


def _refuse_other(store: PostgresStore | SqliteStore, scope: Scope, url: str) -> None:
    if scope.environment is None:
        return
    bound = store.environment()
    if bound is None:
        raise UsageError(f"the database is bound to no environment yet: type  {upgrade_command(url)}")
    if bound != scope.environment:
        raise UsageError(OTHER.format(bound=bound, own=scope.environment))
