"""`saga db`: the schema of the journal's database."""

from typing import Annotated

import typer

from saga.errors import UsageError
from saga.settings import Settings
from saga.store import schema
from saga.surfaces.cli import restoring
from saga.surfaces.cli.options import Output, OutputOption, put, put_one, settings_and_log
from saga.surfaces.database_named import database_named
from saga.surfaces.embedded import missing_file
from saga.surfaces.folders import made_journal_folder, refuse_unwritable_journal

db = typer.Typer(help="The schema of the journal's database.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    restoring.add_commands(db)
    app.add_typer(db, name="db")


@db.command()
def upgrade(output: OutputOption = Output.TABLE) -> None:
    """Bring the database to the schema of this release. Safe to run twice, at once, and beside running workers.

    A new database is bound to SAGA_ENVIRONMENT: processes of another environment refuse it, and so does this command.

    \b
    Examples
      saga db upgrade
      SAGA_ENVIRONMENT=production SAGA_DATABASE_URL=postgresql://saga@db/shop saga db upgrade
    """
    _upgraded(settings_and_log(), output, anew=False)


@db.command()
def bind(output: OutputOption = Output.TABLE) -> None:
    """Bind the database to SAGA_ENVIRONMENT, when it was bound to another one by mistake; upgrades it as well.

    It is refused while a saga of another environment is on its way. Sagas of another environment that ended, or wait for a
    person, stay in the database, and no command shows them any more.

    \b
    Example
      SAGA_ENVIRONMENT=production saga db bind
    """
    _upgraded(settings_and_log(), output, anew=True)


def _upgraded(settings: Settings, output: Output, *, anew: bool) -> None:
    url, environment = _url(settings), settings.environment
    made_journal_folder(settings)
    with database_named(settings):
        revision = schema.upgrade(url, environment, anew=anew)
    value = {"revision": revision, "environment": environment}
    put_one(output, value, f"the database is at {revision}, of environment {environment}")


@db.command()
def current(output: OutputOption = Output.TABLE) -> None:
    """Print the revision that the database is at, and the one that this release needs.

    \b
    Example
      saga db current -o json
    """
    settings = settings_and_log()
    url, head = _url(settings), schema.head()
    refuse_unwritable_journal(settings)
    with database_named(settings):
        found = None if missing_file(settings) else schema.current(url)
    text = f"at {found or 'nothing'}, this release needs {head}" + ("" if found == head else ": saga db upgrade")
    put_one(output, {"revision": found, "head": head}, text)


@db.command()
def grants(
    journal: Annotated[str, typer.Option(help="Role of API and workers.")],
    reader: Annotated[str, typer.Option(help="Role of dashboards and audits.")],
    migrator: Annotated[str, typer.Option(help="Role of `saga db upgrade`.")],
) -> None:
    """Print the SQL that gives three PostgreSQL roles their rights; an operator runs it.

    \b
    Example
      saga db grants --journal saga_app --reader saga_read --migrator saga_owner | psql shop
    """
    put(schema.grants(journal=journal, reader=reader, migrator=migrator))


def _url(settings: Settings) -> str:
    if settings.store_url.startswith("memory"):
        raise UsageError("SAGA_DATABASE_URL: a database in memory has no schema to upgrade")
    return settings.store_url
