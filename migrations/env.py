"""Runs migrations on the connection, and in the transaction, that `saga.store.schema` hands over.

There is no URL here and no logging set-up: who upgrades holds the lock, the time-outs and the transaction.
"""

from alembic import context

from saga.store.tables import SCHEMA, tables_of

connection = context.config.attributes["connection"]
tables = tables_of(connection.dialect.name)
context.configure(
    connection=connection,
    target_metadata=tables.metadata,
    version_table_schema=SCHEMA if connection.dialect.name == "postgresql" else None,
    include_schemas=connection.dialect.name == "postgresql",
)
context.run_migrations()
