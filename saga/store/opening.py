"""From a URL to a store: the one place that knows which schemes there are."""

from saga.errors import UsageError
from saga.store.memory import MemoryStore
from saga.store.port import Store
from saga.store.postgres import PostgresStore
from saga.store.sqlite import SqliteStore

SCHEMES = "postgresql://user@host/database, sqlite:///path/to/file or memory://"


def open_store(url: str, *, pool_size: int = 4) -> Store:
    """The store behind `url`, whose tables `saga db upgrade` made; call it in each process, after fork.

    `pool_size` is the number of connections that this store may hold, besides the one of a worker's lock. Raises
    UsageError for a URL of another kind and StoreUnavailable when the database does not answer.
    """
    scheme = url.partition(":")[0]
    if scheme in ("postgresql", "postgresql+psycopg", "postgres"):
        return PostgresStore(url.replace("postgres://", "postgresql://", 1), pool_size=pool_size)
    if scheme in ("sqlite", "sqlite+pysqlite"):
        return SqliteStore(url, pool_size=pool_size)
    if scheme == "memory":
        return MemoryStore()
    raise UsageError(f"{scheme}: no such database; a URL is {SCHEMES}")
