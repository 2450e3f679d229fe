"""`saga list`, `show`, `journal`, `status`: their options and their help. What they do is in `saga.surfaces.cli.screens`, imported
when one is run: `saga list --help` needs no database."""

from typing import Annotated

import typer

from saga.core.states import HaltReason, SagaStatus
from saga.surfaces.cli.completing import references
from saga.surfaces.cli.options import (
    AllTenantsOption,
    DefinitionOption,
    Output,
    OutputOption,
    finite,
)
from saga.surfaces.defaults import LOOKED_AT, MAX_DUE_S, MAX_HALTED, MIN_WORKERS

ReferenceArgument = Annotated[
    str,
    typer.Argument(metavar="REF", help="An order id, a saga id, or the beginning of one.", autocompletion=references),
]


def add_to(app: typer.Typer) -> None:
    app.command("list")(list_sagas)
    app.command()(show)
    app.command()(journal)
    app.command()(status)


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
    from saga.surfaces.cli.screens import print_list

    print_list(
        output,
        statuses=status or [],
        definition=definition,
        reason=reason,
        entity=entity,
        limit=limit,
        all_tenants=all_tenants,
    )


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
    from saga.surfaces.cli.screens import print_saga

    print_saga(output, ref, definition, with_attempts=attempts, all_tenants=all_tenants)


def journal(ref: ReferenceArgument, all_tenants: AllTenantsOption = False, output: OutputOption = Output.TABLE) -> None:
    """Print the journal of one saga: every transition, in the order in which it was written.

    Payloads are shown by length and sha256 only. There is no -d: a journal is read without its definition.

    \b
    Examples
      saga journal SO-10412
      saga journal SO-10412 -o jsonl
    """
    from saga.surfaces.cli.screens import print_journal

    print_journal(output, ref, all_tenants=all_tenants)


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
        from saga.surfaces.alarms import Bounds
        from saga.surfaces.cli.screens import print_alarm

        bounds = Bounds(max_due_s=max_due_s, max_halted=max_halted, min_workers=min_workers)
        print_alarm(output, bounds, all_tenants=all_tenants)
    else:
        from saga.surfaces.cli.screens import print_status

        print_status(output, looked_at=None if everything else LOOKED_AT, all_tenants=all_tenants)
