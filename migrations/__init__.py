"""Alembic migrations of the engine's tables, run by `saga.store.schema.upgrade` under a lock."""
