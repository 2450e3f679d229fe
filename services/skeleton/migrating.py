"""Brings a service's database to the tables of this release, in the caller's transaction.

Rules of this file
------------------
- A service has its revisions in `migrations/<name>/`, one after the other by the names of their files: the file
  `r0002_warehouses.py` is revision `r0002`. Alembic runs them, and keeps the one that a database is at in
  `alembic_version`.
- **An empty database** gets the declared tables and is marked as being at the last revision. That revisions and
  declaration arrive at the same tables is held by `tests/integration/services/test_service_migrations.py`. So a start
  replays no history, and without something to upgrade Alembic is not even imported: that costs more than the rest.
- **A database of the release before there were revisions** has tables and no mark. Its first revision makes what is
  missing, which is nothing.
- **One at a time.** PostgreSQL: an advisory lock of the transaction. SQLite: the transaction is `BEGIN IMMEDIATE`. The
  second comes to a database that is at its last revision. Within a process a lock as well: Alembic keeps in globals what
  it is working on.
- A database of a later release is refused, with `SchemaTooNew`.
- A service without a folder (the stand-in of a test) has its tables made as they are declared.
"""

import threading
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, select, text

FOLDER = Path(__file__).parent / "migrations"
UPGRADE_LOCK = 0x73657276
"""An advisory lock of PostgreSQL."""
SERVICE_NAME = "service"
"""Under which `MetaData.info` says whose tables these are."""

VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""As Alembic declares it."""

_upgrading = threading.Lock()


class SchemaTooNew(Exception):
    """The database is at a revision that this release does not know."""


def bring_up(connection: Connection, metadata: MetaData) -> None:
    """Make the tables of `metadata`, or bring them to this release. Raises `SchemaTooNew` with nothing changed."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": UPGRADE_LOCK})
    known = revisions(str(metadata.info.get(SERVICE_NAME, "")))
    if not known:
        metadata.create_all(connection)
        return
    present = set(inspect(connection).get_table_names())
    if not present & {VERSION.name, *metadata.tables}:
        metadata.create_all(connection)
        VERSION.create(connection)
        connection.execute(VERSION.insert(), {"version_num": known[-1]})
        return
    current = connection.execute(select(VERSION)).scalar() if VERSION.name in present else None
    if current is not None and current not in known:
        name = metadata.info[SERVICE_NAME]
        raise SchemaTooNew(
            f"the database of {name} is at {current}, this release knows {known[-1]}: run the later release"
        )
    if current != known[-1]:
        upgrade(connection, str(metadata.info[SERVICE_NAME]))


def revisions(service: str) -> list[str]:
    """The revisions of the service of this name, oldest first; none for a service without a folder."""
    return sorted(path.name.partition("_")[0] for path in FOLDER.glob(f"{service}/r[0-9]*.py")) if service else []


def upgrade(connection: Connection, service: str, revision: str = "head") -> None:
    """Run the revisions that are missing, up to and with `revision`."""
    # Most starts have nothing to upgrade, and the import is most of their time.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(FOLDER / service).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _upgrading:
        command.upgrade(config, revision)
