"""`saga orders rebuild`: the table of orders is made again from the journal."""

import typer

from saga.surfaces.cli.looking import reading_store
from saga.surfaces.cli.options import FAILED, Output, OutputOption, put_one, say, settings_and_log
from saga.surfaces.cli.ordering import orders
from saga.surfaces.order_rows import Rebuilt, rebuild
from saga.surfaces.progress import progress
from saga.surfaces.render import one_line

UNREADABLE_SHOWN = 5


def add_to(_app: typer.Typer) -> None:
    orders.command("rebuild")(rebuild_table)


def rebuild_table(output: OutputOption = Output.TABLE) -> None:
    """Make the table `orders` say what the journal says: rows that differ or are missing are written, strays are dropped.

    Safe beside workers and safe to type again: a row is written only while its journal stands still, so none goes back to an
    older entry. It reads every journal, a page at a time. Exit code 1: a journal cannot be read; saga audit says which rule
    it breaks.

    \b
    Example
      saga orders rebuild
    """
    with reading_store(settings_and_log()) as store, progress("orders looked at", None) as report:
        done = rebuild(store, lambda now: report(now.orders, f"written {now.written}   dropped {now.dropped}"))
    names = ("orders", "right", "written", "dropped", "moving")
    value = {**{name: getattr(done, name) for name in names}, "unreadable": done.unreadable}
    put_one(output, value, _text(done))
    if done.unreadable:
        shown = ", ".join(one_line(order_id) for order_id in done.unreadable[:UNREADABLE_SHOWN])
        say(f"saga: {len(done.unreadable)} journals cannot be read, their rows are as they were: {shown}; saga audit")
        raise typer.Exit(FAILED)


def _text(done: Rebuilt) -> str:
    moving = f"   moved meanwhile {done.moving}" if done.moving else ""
    return f"orders {done.orders}   right {done.right}   written {done.written}   dropped {done.dropped}{moving}"
