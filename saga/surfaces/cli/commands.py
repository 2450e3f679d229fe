"""The commands of `saga`: one module per group of them, put together here."""

from typing import Annotated

import typer

from saga import __version__
from saga.surfaces.cli import (
    asking,
    auditing,
    cancelling,
    database,
    demonstrating,
    draining,
    looking,
    mailing,
    ordering,
    rebuilding,
    returning,
    running,
    submitting,
    watching,
)
from saga.surfaces.cli.options import put

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

app = typer.Typer(
    name="saga",
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for _group in (
    demonstrating,
    running,
    draining,
    ordering,
    submitting,
    looking,
    watching,
    cancelling,
    returning,
    rebuilding,
    auditing,
    database,
    mailing,
    asking,
):
    _group.add_to(app)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        put(f"saga {__version__}")
        raise typer.Exit


@app.callback(help=HELP)
def saga(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What stands before the name of a command."""
