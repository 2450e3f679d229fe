"""How far a long command is, with rate and time left; on stderr, redrawn in place on a terminal, one line a second elsewhere.

Rules of this file: a figure that is not known is not shown. The time left is what the rate so far makes of the rest, so it
stands only where a total or a share is known and some of it is done; else the time that it took so far. A line is cut to the width of the terminal, because one
that wraps cannot be redrawn.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console

from saga.clock import monotonic
from saga.surfaces.cli.streams import as_is
from saga.surfaces.visible import one_line

LINE_S, REDRAW_S = 1.0, 0.1
BAR = 20
SHARE_MIN = 0.02
"""Less says nothing about the rest."""
WIDTH_MAX = 100
CLEAR = "\x1b[K"


class Report(Protocol):
    """Told how many are done, what else a person may want to read, and how much of all that is, between 0 and 1, where no
    total says it; `is_last` prints in any case."""

    def __call__(
        self, done: int, /, remark: str = "", *, share: float | None = None, is_last: bool = False
    ) -> None: ...


@contextmanager
def progress(title: str, total: int | None, console: Console | None = None) -> Iterator[Report]:
    """Reports for the length of the block. Without a `total` or a share there is a rate and no time left."""
    console = console or Console(file=as_is(sys.stderr))
    in_place = console.is_terminal and not console.is_dumb_terminal
    began = monotonic()
    printed = began if not in_place else began - REDRAW_S
    is_open = False

    def report(done: int, remark: str = "", *, share: float | None = None, is_last: bool = False) -> None:
        nonlocal printed, is_open
        now = monotonic()
        if now - printed < (REDRAW_S if in_place else LINE_S) and not is_last:
            return
        printed = now
        text = line(title, done, total, share if total is None else done / max(total, 1), now - began, remark)
        if not in_place:
            console.out(text, highlight=False)
            return
        width = min(console.width, WIDTH_MAX) - 1
        console.file.write(f"\r{text[:width]}{CLEAR}")
        console.file.flush()
        is_open = True

    try:
        yield report
    finally:
        if is_open:
            console.file.write("\n")
            console.file.flush()


def line(title: str, done: int, total: int | None, share: float | None, took_s: float, remark: str = "") -> str:
    """One line: how many, how much of all, how fast, how long still, and the remark."""
    of = f" of {total:,}" if total is not None else ""
    parts = [f"{title} {done:,}{of}"]
    if share is not None:
        full = round(BAR * min(share, 1.0))
        parts.append(f"{'█' * full}{'·' * (BAR - full)} {share:4.0%}")
    parts.append(f"{done / max(took_s, 0.001):,.0f}/s")
    if share is not None and SHARE_MIN <= share < 1 and took_s >= LINE_S:
        parts.append(f"about {roughly(took_s * (1 - share) / share)} left")
    else:
        parts.append(roughly(took_s))
    return one_line("   ".join([*parts, remark]).rstrip())


def roughly(seconds: float) -> str:
    """A length of time that still changes, so with fewer digits than one that was measured (`render.duration`)."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
