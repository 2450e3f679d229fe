"""Runs revisions on the connection, and in the transaction, that `services.skeleton.migrating` hands over.

There is no URL here and no logging set-up: who upgrades holds the lock and the transaction.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
