"""What `saga list`, `show`, `journal` and `status` do: read the journal, change nothing, print.

Their options and help stand in `saga.surfaces.cli.looking`, which imports this module when one of them is run.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from saga.core.definition import Saga
from saga.core.states import HaltReason, SagaStatus
from saga.errors import DefinitionError, StoreUnavailable, UsageError
from saga.runtime.engine import Definitions
from saga.scope import Scope
from saga.settings import Settings, read_settings
from saga.store.port import SagaFilter, Store
from saga.surfaces import render, visible
from saga.surfaces.alarms import Bounds, alarm_line, checked, unavailable
from saga.surfaces.cli.options import (
    FAILED,
    NOT_FOUND,
    UNAVAILABLE,
    Output,
    as_options,
    definitions_named,
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
from saga.surfaces.standing import standing
from saga.surfaces.status_page import status_page

DEFINITIONS_SOUGHT = 2_000
"""So many sagas are looked through for the names of definitions that a journal holds: ten pages."""


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


def print_list(
    output: Output,
    *,
    statuses: Sequence[SagaStatus],
    definition: str | None,
    reason: HaltReason | None,
    entity: str | None,
    limit: int,
    all_tenants: bool,
) -> None:
    """The sagas that fit, newest first; exit code 3 when none at all is of that definition."""
    wanted = SagaFilter(definition=_name_of(definition), statuses=tuple(statuses), halt_reason=reason, entity=entity)
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


def print_saga(
    output: Output, ref: str, definition: list[str] | None, *, with_attempts: bool, all_tenants: bool
) -> None:
    """The page of one saga."""
    settings = settings_and_log()
    with reading_store(settings, all_tenants=all_tenants) as store:
        row, sagas = look_up(store, ref), definitions_named(definition)
        shown = look_at(store, row, sagas, settings.mail_folder, as_options(definition))
    put_one(
        output,
        shown.to_json(with_attempts=with_attempts),
        saga_page(shown, with_attempts=with_attempts, with_tenant=all_tenants),
    )


def print_journal(output: Output, ref: str, *, all_tenants: bool) -> None:
    """Every transition of one saga."""
    with reading_store(settings_and_log(), all_tenants=all_tenants) as store:
        row = look_up(store, ref)
        found = read_journal(row.saga_id, store.load([row.saga_id]).get(row.saga_id, []))
    if output is Output.JSONL:
        put_many(output, found.entries, "")
    else:
        page = render.journal_page(found)
        put_one(output, found, visible.page([f"tenant {row.tenant}", page]) if all_tenants else page)


def print_status(output: Output, *, looked_at: int | None, all_tenants: bool) -> None:
    """What lives, what waits and what is halted."""
    with reading_store(settings_and_log(), all_tenants=all_tenants) as store:
        definitions = Definitions(_definitions_at_hand())
        now = standing(store, definitions, looked_at=looked_at)
    put_one(output, now, status_page(now))


def print_alarm(output: Output, bounds: Bounds, *, all_tenants: bool) -> None:
    """One line for monitoring; exit code 1 or 4 when it is not good."""
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
