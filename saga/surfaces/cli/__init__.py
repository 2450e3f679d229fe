"""The command `saga`, and one place where an error becomes a line and an exit code.

Everything is imported inside `main`: that takes a moment, and a ctrl-C in it must not print a traceback.
"""

import sys
from collections.abc import Callable

from saga.surfaces.cli.streams import LOSSES, OutputLost, prepare_streams

INTERRUPTED = 130
"""What a shell calls a command that ended by ctrl-C: 128 and the number of the signal."""


def main() -> None:
    """The console script."""
    try:
        prepare_streams()
        try:
            _run()
        finally:
            sys.stdout.flush()  # the interpreter would do it, and end with 120 and a traceback
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OutputLost as lost:
        if lost.exit_code:
            print(f"saga: {lost}", file=sys.stderr, flush=True)
        sys.stdout = sys.stderr  # which the interpreter can flush
        sys.exit(lost.exit_code)


def _run() -> None:
    from saga.surfaces.cli.commands import app

    ended(lambda: app(prog_name="saga"))


def ended(program: Callable[[], object]) -> None:
    """Run it; what it refuses is said in a line, with an exit code. Raises `OutputLost`, or what is a mistake of ours."""
    from saga.errors import SagaError

    try:
        program()
    except PermissionError as error:
        from saga.surfaces.cli.options import USAGE, say

        say(f"saga: {error.filename}: this user may not read it ({error.strerror})")
        sys.exit(USAGE)
    except OSError as error:
        if error.errno not in LOSSES:
            raise
        raise OutputLost.of(error) from error
    except SagaError as error:
        from saga.surfaces.cli.options import code_of, say  # whoever raised it has paid for these imports

        say(f"saga: {' '.join(str(error).split())}")
        sys.exit(code_of(error))
