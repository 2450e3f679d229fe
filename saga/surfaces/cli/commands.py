"""The commands of `saga`, by name; the module of one is imported when it is asked for.

Rules of this file
------------------
- `saga --help`, `saga --version` and a tab after `saga` import typer and nothing else of weight: database, broker and API take a
  second of processor time. So the names and what each command is for stand here; a test holds them against the modules.
- A purpose fits into its line at 80 columns; the help of the command itself says the rest.
"""

import importlib
from functools import cache
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from saga import __version__

HELP = """Run sagas: an order is fulfilled step by step, or rolled back step by step.

\b
Begin with
  saga demo                                  orders are fulfilled and rolled back before your eyes
  saga dev shop:place_order                  everything in one process, for a saga of your own
  saga start shop:place_order '{"order_id": "SO-1", ...}' --wait
  saga watch SO-1                            what happens to it, line by line
  saga show SO-1                             what happened to it

\b
Exit codes  0 done   1 a saga did not complete, or a violation   2 usage   3 not found   4 unavailable
            74 stdout cannot be written   130 ctrl-C
Settings    SAGA_* in the environment, see docs; SAGA_HOME (.saga) holds the files of embedded mode
"""

COMMANDS = {
    "demo": ("saga.surfaces.cli.demonstrating", "Watch orders being fulfilled and rolled back."),
    "dev": ("saga.surfaces.cli.running", "Run everything in one process, and stay up."),
    "api": ("saga.surfaces.cli.running", "Run the HTTP API alone."),
    "worker": ("saga.surfaces.cli.running", "Run a worker, which finds forgotten sagas by itself."),
    "services": ("saga.surfaces.cli.running", "Run the four services, or one of them."),
    "drain": ("saga.surfaces.cli.draining", "Finish what can be finished, with no broker, and return."),
    "start": ("saga.surfaces.cli.ordering", "Start a saga of any definition and print its id."),
    "list": ("saga.surfaces.cli.looking", "List sagas, newest first."),
    "show": ("saga.surfaces.cli.looking", "Show one saga: its steps, how each ended, what is left."),
    "journal": ("saga.surfaces.cli.looking", "Print every transition of one saga."),
    "status": ("saga.surfaces.cli.looking", "Show what lives, what waits for whom, what is halted."),
    "watch": ("saga.surfaces.cli.watching", "Follow one saga, line by line, until it ends."),
    "cancel": ("saga.surfaces.cli.cancelling", "Cancel one saga: what it did is undone."),
    "return": ("saga.surfaces.cli.returning", "Return pieces of a completed order."),
    "audit": ("saga.surfaces.cli.auditing", "Compare the books of the services with the journals."),
    "mailbox": ("saga.surfaces.cli.mailing", "List the mails that customers were sent, or print one."),
    "fault": ("saga.surfaces.cli.asking", "Tell a service to fail, and say what is in force."),
    "ledger": ("saga.surfaces.cli.asking", "Print what really moved in a service."),
    "orders": ("saga.surfaces.cli.ordering", "Submit a file of orders, rebuild their table."),
    "db": ("saga.surfaces.cli.database", "Upgrade the journal's database, say where it is."),
}
"""Name of a command, its module, and what it is for."""
JOINED = {"saga.surfaces.cli.ordering": ("saga.surfaces.cli.submitting", "saga.surfaces.cli.rebuilding")}
"""Modules whose commands are in a group of another module."""


@cache
def added_by(module: str) -> TyperGroup:
    """The commands of a module, and of those that join it."""
    found = typer.Typer(rich_markup_mode=None, callback=lambda: None)
    for name in (module, *JOINED.get(module, ())):
        importlib.import_module(name).add_to(found)
    return typer.main.get_group(found)


class LateGroup(TyperGroup):
    """Whoever lists, completes or guesses names is given outlines; whoever goes on with a command is given the command."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands.update({name: TyperCommand(name, help=what) for name, (_, what) in COMMANDS.items()})

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, found, rest
        return name, added_by(COMMANDS[name][0]).commands[name], rest


app = typer.Typer(
    name="saga",
    cls=LateGroup,
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"saga {__version__}", flush=True)
        raise typer.Exit


@app.callback(help=HELP)
def saga(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What stands before the name of a command."""
