"""The command `saga`, and one place where an error becomes a line and an exit code.

The commands are imported inside `main`: that takes half a second, and a ctrl-C in it must not print a traceback.
"""

import sys

INTERRUPTED = 130
"""What a shell calls a command that ended by ctrl-C: 128 and the number of the signal."""


def main() -> None:
    """The console script."""
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone (`saga list | head`), which is its right.
        sys.stderr.close()
        sys.exit(0)


def _run() -> None:
    from saga.errors import SagaError
    from saga.surfaces.cli.commands import app
    from saga.surfaces.cli.options import code_of, say

    try:
        app(prog_name="saga")
    except SagaError as error:
        say(f"saga: {' '.join(str(error).split())}")
        sys.exit(code_of(error))
