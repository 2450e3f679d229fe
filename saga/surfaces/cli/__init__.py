"""The command `saga`: one module per group of commands, and one place where an error becomes a line and an exit code."""

import sys

import typer

from saga.errors import SagaError
from saga.surfaces.cli import auditing, database, demonstrating, looking, ordering, running
from saga.surfaces.cli.options import code_of, say

HELP = """Run sagas: an order is fulfilled step by step, or rolled back step by step.

\b
Begin with
  saga demo                                  orders are fulfilled and rolled back before your eyes
  saga dev shop:place_order                  everything in one process, for a saga of your own
  saga start shop:place_order '{"order_id": "SO-1", ...}' --wait
  saga show SO-1                             what happened to it

\b
Exit codes  0 done   1 a saga did not complete, or a violation   2 usage   3 not found   4 unavailable
Settings    SAGA_* in the environment, see docs; SAGA_HOME (.saga) holds the files of embedded mode
"""

app = typer.Typer(
    name="saga",
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for _group in (demonstrating, running, ordering, looking, auditing, database):
    _group.add_to(app)


def main() -> None:
    """The console script."""
    try:
        app(prog_name="saga")
    except SagaError as error:
        say(f"saga: {' '.join(str(error).split())}")
        sys.exit(code_of(error))
    except BrokenPipeError:
        # The reader of our output has gone (`saga list | head`), which is its right.
        sys.stderr.close()
        sys.exit(0)
