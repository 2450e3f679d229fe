"""How far a long command is: a bar with rate and time left on a terminal, one line a second elsewhere; on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from saga.clock import monotonic

LINE_S = 1.0


class Report(Protocol):
    """Told how many are done, and what else a person may want to read; `is_last` prints in any case."""

    def __call__(self, done: int, /, remark: str = "", *, is_last: bool = False) -> None: ...


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Report]:
    """Reports for the length of the block. Without `total` there is a rate and no time left."""
    console = Console(stderr=True)
    if console.is_terminal:
        yield from _bar(console, title, total)
    else:
        yield _lines(console, title, total)


def _bar(console: Console, title: str, total: int | None) -> Iterator[Report]:
    shown = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f}/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    began = monotonic()
    with Progress(*shown, console=console, transient=False) as bar:
        task = bar.add_task(title, total=total, rate=0.0, remark="")

        def report(done: int, remark: str = "", *, is_last: bool = False) -> None:
            rate = done / max(monotonic() - began, 0.001)
            bar.update(task, completed=done, rate=rate, remark=remark, refresh=is_last)

        yield report


def _lines(console: Console, title: str, total: int | None) -> Report:
    began = last = monotonic()

    def report(done: int, remark: str = "", *, is_last: bool = False) -> None:
        nonlocal last
        now = monotonic()
        if now - last < LINE_S and not is_last:
            return
        last = now
        of = f" of {total}" if total is not None else ""
        rate = done / max(now - began, 0.001)
        text = f"{title} {done}{of}   {rate:.0f}/s   {now - began:.1f} s   {remark}"
        console.print(text.rstrip(), markup=False, highlight=False, soft_wrap=True)

    return report
