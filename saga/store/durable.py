"""What a commit needs to be kept, on PostgreSQL: a crash of the server takes nothing that was answered.

A database, a role or a server may say `synchronous_commit = off`; then COMMIT answers before anything is on a disk. Each
transaction that writes sets it for itself, so nobody else's transactions pay for it. `remote_apply` is more than `on`, and
stays. Nothing a session sets helps against `fsync = off`, so such a server is refused.
"""

from typing import Any

import psycopg

from saga.errors import UsageError
from saga.settings import read_settings

DURABLE = """set_config('synchronous_commit',
    CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)"""
"""An expression for a SELECT at the beginning of a transaction; it holds until that transaction ends."""


def refuse_losing(session: psycopg.Connection[Any]) -> None:
    """Raises `UsageError` for a server that answers a commit before it is on a disk, unless its operator says that it may."""
    answer = session.execute("SELECT current_setting('fsync'), current_setting('full_page_writes')").fetchone()
    off = [name for name, value in zip(("fsync", "full_page_writes"), answer or (), strict=False) if value == "off"]
    if off and not read_settings().durable_without_fsync:
        raise UsageError(
            f"the database server runs with {' and '.join(f'{name} = off' for name in off)}, so a crash of it may lose orders "
            f"that were accepted: put  {off[0]} = on  into its configuration and reload it. Set "
            "SAGA_DURABLE_WITHOUT_FSYNC=true if its storage keeps commits without, or if losing them is all right"
        )
