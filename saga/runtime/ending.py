"""The last bound of a stop: a process that was told to end ends, whatever it still waits for.

Every wait of ours has a bound of its own, and a stop goes through them in order: what is in flight, the journal of what was cut
off, the lease. What stays is a library's farewell to a peer that does not answer (a broker behind a dead network), a thread of a
pool that the interpreter joins, or a step that hangs. By then the journal holds what can be held, and whoever comes next goes on
from there.
"""

import os
import threading
from collections.abc import Callable

from saga.log import logger

END_S = 10.0
"""What a stop may take beside the grace of the steps in flight."""
CUT_OFF = 4
"""The exit code of a process that was cut off: something did not answer."""


def end_within(limit_s: float, is_asked: threading.Event, exit_now: Callable[[int], object] = os._exit) -> None:
    """From a thread of its own: end this process `limit_s` after `is_asked` was set, unless it ended by itself."""

    def watch() -> None:
        is_asked.wait()
        threading.Event().wait(limit_s)
        names = sorted(thread.name for thread in threading.enumerate() if not thread.daemon)
        logger.error("stop_cut_off", reason=f"not ended after {limit_s:g} s; still waited for: {', '.join(names)}")
        exit_now(CUT_OFF)

    threading.Thread(target=watch, name="saga-last-bound", daemon=True).start()
