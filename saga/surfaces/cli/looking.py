"""`saga list`, `show`, `journal`, `status`: reads of the journal that change nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from saga.core.definition import Saga
from saga.core.states import HaltReason, SagaStatus
from saga.errors import DefinitionError, StoreUnavailable, UsageError
from saga.runtime.engine import Definitions
from saga.scope import Scope
from saga.settings import Settings, read_settings
from saga.store.port import SagaFilter, Store
from saga.surfaces import render, visible
from saga.surfaces.alarms import MAX_DUE_S, MAX_HALTED, MIN_WORKERS, Bounds, alarm_line, checked, unavailable
from saga.surfaces.cli.completing import references
from saga.surfaces.cli.options import (
    FAILED,
    NOT_FOUND,
    UNAVAILABLE,
    AllTenantsOption,
    DefinitionOption,
    Output,
    OutputOption,
    as_options,
    definitions_named,
    finite,
    put_many,
    put_one,
    say,
    settings_and_log,
)
from saga.surfaces.embedded import missing_file, opened_store
from saga.surfaces.finding import DEFAULT, find_definition
from saga.surfaces.lookup import is_storable, look_up, pages
from saga.surfaces.reading import read_row
from saga.surfaces.reading_journal import read_journal
from saga.surfaces.saga_page import saga_page
from saga.surfaces.showing import look_at
from saga.surfaces.standing import LOOKED_AT, standing
from saga.surfaces.status_page import status_page

DEFINITIONS_SOUGHT = 2_000
"""So many sagas are looked through for the names of definitions that a journal holds: ten pages."""
ReferenceArgument = Annotated[
    str,
    typer.Argument(metavar="REF", help="An order id, a saga id, or the beginning of one.", autocompletion=references),
]


def add_to(app: typer.Typer) -> None:
    app.command("list")(list_sagas)
    app.command()(show)
    app.command()(journal)
    app.command()(status)


@contextmanager
def reading_store(settings: Settings | None = None, *, all_tenants: bool = False) -> Iterator[Store]:
    """The store of the settings, for the length of a command; of those of the environment when the command has read them
    for itself. It has the sagas of `SAGA_TENANT`, or of every tenant. Where there is no journal it says so, makes none, and ends the command with exit code 3."""
    settings = settings or read_settings()
    if (missing := missing_file(settings)) is not None:
        say(_no_journal(missing, is_named=settings.database_url is not None))
        raise typer.Exit(NOT_FOUND)
    store = opened_store(settings, Scope(settings.environment) if all_tenants else None, pool_size=1)
    try:
        yield store
    finally:
        store.close()


def _no_journal(missing: Path, *, is_named: bool) -> str:
    if is_named:
        return f"saga: there is no journal: SAGA_DATABASE_URL names {missing}, which does not exist; saga db upgrade makes it"
    return f"saga: there is no journal here ({missing}); go where one is, or set SAGA_HOME or SAGA_DATABASE_URL"


def list_sagas(
    status: Annotated[list[SagaStatus] | None, typer.Option("--status", "-s", help="May be repeated.")] = None,
    definition: Annotated[
        str | None,
        typer.Option("--definition", "-d", metavar="NAME|MODULE:SAGA", help="Only sagas of this definition."),
    ] = None,
    reason: Annotated[HaltReason | None, typer.Option(help="Why it is halted.")] = None,
    entity: Annotated[str | None, typer.Option(help="The order id: all its runs.", autocompletion=references)] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000)] = 50,
    all_tenants: AllTenantsOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """List sagas, newest first. Their definitions need not be at hand. Exit code 3: no saga at all is of that definition.

    \b
    Examples
      saga list
      saga list -d place_order
      saga list --status halted --reason pivot_unresolved
      saga list --limit 10000 -o jsonl
      saga list --all-tenants
    """
    wanted = SagaFilter(
        definition=_name_of(definition), statuses=tuple(status or ()), halt_reason=reason, entity=entity
    )
    with reading_store(settings_and_log(), all_tenants=all_tenants) as store:
        is_there = all(is_storable(name) for name in (wanted.entity, wanted.definition) if name)
        rows = [read_row(row) for row in islice(pages(store, wanted), limit)] if is_there else []
        unknown = None if rows or wanted.definition is None else _unknown_definition(store, wanted.definition)
    if unknown is None or output is not Output.TABLE:
        put_many(output, rows, render.saga_list(rows, with_tenant=all_tenants))
    if unknown is not None:
        say(unknown)
        raise typer.Exit(NOT_FOUND)


def _unknown_definition(store: Store, name: str) -> str | None:
    """What to say when no saga in the journal is of that definition: it may be misspelt, and an empty list does not tell."""
    if is_storable(name) and store.find(SagaFilter(definition=name), 1):
        return None
    seen = list(islice(pages(store, SagaFilter()), DEFINITIONS_SOUGHT))
    has = ", ".join(sorted({row.definition for row in seen})) or "none"
    among = f"among the latest {DEFINITIONS_SOUGHT:,} sagas " if len(seen) == DEFINITIONS_SOUGHT else ""
    return f"saga: no saga of a definition {name}; {among}there are: {has}"


def _name_of(definition: str | None) -> str | None:
    """What the journal calls a definition that was named as a person names it elsewhere."""
    if definition is None or ":" not in definition:
        return definition
    return definitions_named([definition])[0].name


def show(
    ref: ReferenceArgument,
    definition: DefinitionOption = None,
    attempts: Annotated[bool, typer.Option("--attempts", help="A row for each attempt of each step.")] = False,
    all_tenants: AllTenantsOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one saga: its steps, how each ended, what was undone, what is left in the world, what the customer was told.

    Steps are numbered as deep as they stand in the definition, ∥ may run beside another; * marks one that needed more than one
    try. A saga that waits says for whom, and what can be typed.

    \b
    Examples
      saga show SO-10412
      saga show SO-10412 --attempts
      saga show 0193f2c4 -o json
      saga show SO-1 -d shop:place_order
    """
    settings = settings_and_log()
    with reading_store(settings, all_tenants=all_tenants) as store:
        row, sagas = look_up(store, ref), definitions_named(definition)
        shown = look_at(store, row, sagas, settings.mail_folder, as_options(definition))
    put_one(
        output, shown.to_json(with_attempts=attempts), saga_page(shown, with_attempts=attempts, with_tenant=all_tenants)
    )


def journal(ref: ReferenceArgument, all_tenants: AllTenantsOption = False, output: OutputOption = Output.TABLE) -> None:
    """Print the journal of one saga: every transition, in the order in which it was written.

    Payloads are shown by length and sha256 only. There is no -d: a journal is read without its definition.

    \b
    Examples
      saga journal SO-10412
      saga journal SO-10412 -o jsonl
    """
    with reading_store(settings_and_log(), all_tenants=all_tenants) as store:
        row = look_up(store, ref)
        found = read_journal(row.saga_id, store.load([row.saga_id]).get(row.saga_id, []))
    if output is Output.JSONL:
        put_many(output, found.entries, "")
    else:
        page = render.journal_page(found)
        put_one(output, found, visible.page([f"tenant {row.tenant}", page]) if all_tenants else page)


def status(
    everything: Annotated[
        bool,
        typer.Option("--all", help=f"Count every saga that ended, not those of the latest {LOOKED_AT:,} alone."),
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="One line, and an exit code for monitoring.")] = False,
    max_due_s: Annotated[
        float, typer.Option("--max-due-s", min=0, callback=finite, help="With --check: so long may work be due.")
    ] = MAX_DUE_S,
    max_halted: Annotated[
        int, typer.Option("--max-halted", min=0, help="With --check: so many may wait for a person.")
    ] = MAX_HALTED,
    min_workers: Annotated[
        int, typer.Option("--min-workers", min=0, help="With --check: so many workers must be there.")
    ] = MIN_WORKERS,
    all_tenants: AllTenantsOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what is live and for whom it waits, what is halted and why, today, what is due, and which workers are there.

    With --check it prints one line, and exits 0 when all is fine, 1 when something wants a person (halted sagas, too few
    workers, work that is due for too long or taken by nobody, a journal that cannot be read), 3 without a journal, 4 when
    the database does not answer. What heals by itself is fine.

    There is no -d: it counts every saga of SAGA_TENANT, whatever its definition; the workers are those that may run them.
    Participants are named where the definition is at hand (pyproject.toml, else the product's own).

    \b
    Examples
      saga status
      saga status -o json
      saga status --all
      saga status --check --max-due-s 120
    """
    if check:
        bounds = Bounds(max_due_s=max_due_s, max_halted=max_halted, min_workers=min_workers)
        _check(bounds, output, all_tenants=all_tenants)
        return
    with reading_store(settings_and_log(), all_tenants=all_tenants) as store:
        definitions = Definitions(_definitions_at_hand())
        now = standing(store, definitions, looked_at=None if everything else LOOKED_AT)
    put_one(output, now, status_page(now))


def _check(bounds: Bounds, output: Output, *, all_tenants: bool) -> None:
    code = 0
    try:
        with reading_store(settings_and_log(), all_tenants=all_tenants) as store:
            found = checked(standing(store, Definitions([]), looked_at=1, halted_read=1), bounds)
    except StoreUnavailable as error:  # said on stdout too, where a monitor reads
        found, code = unavailable(str(error)), UNAVAILABLE
    put_one(output, found, alarm_line(found))
    if code or not found.ok:
        raise typer.Exit(code or FAILED)


def _definitions_at_hand() -> list[Saga[Any]]:
    """Those of the project, if they can be imported: a screen for trouble does not fail over a name that it lacks."""
    try:
        return definitions_named(None)
    except (UsageError, DefinitionError):
        return [find_definition(name) for name in DEFAULT]
