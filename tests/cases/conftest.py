"""Inputs that broke it once, a file for each kind; the stores are those of the conformance suite."""

from tests.conformance.conftest import (
    open_another,
    open_for,
    store,
    store_postgres_database,
    store_postgres_url,
    store_sqlite_url,
)

__all__ = ["open_another", "open_for", "store", "store_postgres_database", "store_postgres_url", "store_sqlite_url"]
