"""`saga demo`: orders fulfilled and rolled back before one's eyes, then the audit."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from saga.clock import monotonic
from saga.core.states import SagaStatus
from saga.runtime.engine import fold
from saga.store.port import SagaFilter, Store
from saga.surfaces.audit import render
from saga.surfaces.cli.options import FAILED, Output, OutputOption, put_one, say, settings_and_log
from saga.surfaces.demo import Demonstrated, Snapshot, demonstrate
from saga.surfaces.render import clock_time

BAR_WIDTH = 26
EVENTS_SHOWN = 4
LINE_S = 1.0
Watch = Callable[[Snapshot, Store], None]


def add_to(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    orders: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 200,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="The same seed gives the same orders and faults.")
    ] = 7,
    output: OutputOption = Output.TABLE,
) -> None:
    """Watch orders being fulfilled and rolled back, on the embedded stack, while calls fail in every way; then the audit.

    Some cards are declined, some goods are out of stock, some places cannot be reached; answers are lost, late, doubled.
    Exit code 1: a violation, or an order that did not end.

    \b
    Examples
      saga demo
      saga demo --orders 1000 --seed 3
      saga demo -o json
    """
    settings = settings_and_log()
    if "log_level" not in settings.model_fields_set:
        quiet()
    title = f"saga demo   {orders} orders   seed {seed}   SQLite · memory broker · 4 services · 1 worker"
    with _watching(title, orders) as watch:
        done = demonstrate(settings, orders, seed, watch)
    put_one(output, done.to_json(), _summary(done))
    if not done.is_right:
        raise typer.Exit(FAILED)


def quiet() -> None:
    """The demonstration makes calls fail on purpose: its screen shows them, the log does not."""
    logging.getLogger("saga").setLevel(logging.ERROR)


@contextmanager
def _watching(title: str, orders: int) -> Iterator[Watch]:
    """A table redrawn in place on a terminal; elsewhere one line a second."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(console=console, refresh_per_second=8) as live:
            yield lambda now, store: live.update(_table(title, orders, now, store))
        return
    say(title)
    last = monotonic()

    def line(now: Snapshot, _store: Store) -> None:
        nonlocal last
        if monotonic() - last >= LINE_S:
            last = monotonic()
            parts = [f"{now.seconds:5.1f} s", f"accepted {now.accepted}"]
            say("   ".join(parts + [f"{status} {now.counts.get(status, 0)}" for status in SagaStatus]))

    yield line


def _table(title: str, orders: int, now: Snapshot, store: Store) -> Group:
    number = {status: now.counts.get(status, 0) for status in SagaStatus}
    ended = number[SagaStatus.COMPLETED] + number[SagaStatus.COMPENSATED]
    bar = "█" * (BAR_WIDTH * ended // orders)
    rate = ended / max(now.seconds, 0.1)
    lines = [
        f"{title}   {int(now.seconds) // 60:02d}:{int(now.seconds) % 60:02d}",
        "",
        f"  accepted {now.accepted:<6}{bar.ljust(BAR_WIDTH, '·')}   done {ended}   {rate:.0f}/s",
        *(f"  {status:<13}{number[status]:>5}" for status in SagaStatus),
        "",
        *_events(store),
    ]
    return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))


def _events(store: Store) -> Iterator[str]:
    """The last orders that turned round, and what is undone for each."""
    turned = SagaFilter(statuses=(SagaStatus.COMPENSATING, SagaStatus.COMPENSATED))
    for row in store.find(turned, EVENTS_SHOWN):
        state, _, _ = fold(store.load([row.saga_id])[row.saga_id])
        if state.cause is not None:
            undone = " → ".join(f"undo {entry.step}" for entry in state.plan or ())
            what = f"{state.cause.step or ''} {state.cause.detail or state.cause.cause}".strip()
            yield f"  {clock_time(state.cause.at)}  {row.entity}  {what} → {undone or 'nothing to undo'}"


def _summary(done: Demonstrated) -> str:
    causes = ", ".join(f"{count} {cause}" for cause, count in done.causes.items()) or "none"
    return "\n".join(
        [
            render(done.report),
            "",
            f"rolled back: {causes}",
            f"again: saga demo --orders {done.orders} --seed {done.seed}   {done.seconds:.1f} s",
        ]
    )
