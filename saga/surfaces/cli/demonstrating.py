"""`saga demo`: orders fulfilled and rolled back before one's eyes, then the audit."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from saga.clock import monotonic, sleep
from saga.core.states import SagaStatus
from saga.surfaces.audit import render
from saga.surfaces.cli.keys import Press, has_keys, keys
from saga.surfaces.cli.options import FAILED, Output, OutputOption, finite, put_one, say, settings_and_log
from saga.surfaces.cli.streams import as_is
from saga.surfaces.demo import Asked, Demonstrated, Run, Screen, demonstrate
from saga.surfaces.demo_stack import PARTS
from saga.surfaces.demo_watching import Watching
from saga.surfaces.visible import Page, page

STYLES = {"✗": "bold red", "  by you  ": "cyan", "  completed  ": "green", "  compensated  ": "yellow"}
"""By what stands in a line; the same is said in words."""
LINE_S = 1.0
TICK_S = 0.25
SHOW_S, SLOWEST = 20.0, 10.0
"""At a terminal the orders come over so many seconds, and at least so many a second."""


def add_to(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    orders: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 200,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="The same seed gives the same orders and faults.")
    ] = 7,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.1, callback=finite, help="Orders a second; else over 20 s at a terminal, all at once elsewhere."
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Watch orders being fulfilled and rolled back, on the embedded stack, while calls fail in every way; then the audit.

    Some cards are declined, some goods are out of stock, some places cannot be reached; answers are lost, late, doubled.
    At a terminal keys kill the worker, turn the broker off and more. Exit code 1: a violation, or an order that did not end.

    \b
    Examples
      saga demo
      saga demo --orders 1000 --seed 3
      saga demo --rate 5
      saga demo -o json
    """
    settings = settings_and_log()
    if "log_level" not in settings.model_fields_set:
        quiet()
    with _screen(orders) as (screen, usual_rate):
        asked = Asked(orders, seed, rate or usual_rate)
        done = demonstrate(settings, asked, screen)
    put_one(output, done.to_json(), _summary(done))
    if not done.is_right:
        raise typer.Exit(FAILED)


def quiet() -> None:
    """The demonstration makes calls fail on purpose: its screen shows them, the log does not."""
    logging.getLogger("saga").setLevel(logging.ERROR)


@contextmanager
def _screen(orders: int) -> Iterator[tuple[Screen, float | None]]:
    """A table that is redrawn in place, with keys where there are some, or a line a second; and how many orders a second."""
    console = Console(file=as_is(sys.stderr))
    if not console.is_terminal:
        yield Lines(), None
    elif not has_keys():
        with Live(console=console, auto_refresh=False) as live:
            yield Table(live, None), None
    else:
        with keys() as press, Live(console=console, auto_refresh=False) as live:
            yield Table(live, press), max(SLOWEST, orders / SHOW_S)


class Lines:
    """One line a second, for a log."""

    def __init__(self) -> None:
        self._last = 0.0

    def begin(self, run: Run) -> None:
        worker = run.stack.worker.pid
        say(f"saga demo   {run.asked.orders} orders   seed {run.asked.seed}   {PARTS} {worker}")
        self._last = monotonic()

    def look(self, run: Run) -> None:
        sleep(TICK_S)
        if monotonic() - self._last >= LINE_S:
            self._last = monotonic()
            self._say(run)

    def end(self, run: Run) -> None:
        if monotonic() - self._last >= TICK_S:
            self._say(run)

    @staticmethod
    def _say(run: Run) -> None:
        counts = run.counts()
        parts = [f"{run.seconds:5.1f} s", f"accepted {sum(counts.values())}"]
        say("   ".join(parts + [f"{status} {counts[status]}" for status in SagaStatus]))


class Table:
    """The live table; `press` gives the keys, if there are some."""

    def __init__(self, live: Live, press: Press | None) -> None:
        self._live = live
        self._press = press

    def begin(self, run: Run) -> None:
        self._watching = Watching(run, has_keys=self._press is not None)

    def look(self, run: Run) -> None:  # noqa: ARG002  what it watches was given at the beginning
        if self._press is None:
            sleep(TICK_S)
        else:
            for key in self._press(TICK_S):
                self._watching.press(key)
        self._watching.look()
        self._draw()

    def end(self, run: Run) -> None:  # noqa: ARG002
        self._watching.end()
        self._draw()

    def _draw(self) -> None:
        lines = (Text(line, _style(line), no_wrap=True, overflow="ellipsis") for line in self._watching.lines())
        self._live.update(Group(*lines), refresh=True)


def _style(line: str) -> str:
    return next((style for mark, style in STYLES.items() if mark in line), "")


def _summary(done: Demonstrated) -> Page:
    causes = ", ".join(f"{count} {cause}" for cause, count in done.causes.items()) or "none"
    return page(
        [
            render(done.report),
            "",
            f"rolled back: {causes}",
            *(f"by you: {what}" for what in done.by_you),
            f"again: saga demo --orders {done.asked.orders} --seed {done.asked.seed}   {done.seconds:.1f} s",
        ]
    )
