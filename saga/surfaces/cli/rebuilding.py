"""`saga orders rebuild`: the table of orders is made again from the journal."""

from collections.abc import Sequence

import typer

from saga.surfaces.cli.options import FAILED, AllTenantsOption, Output, OutputOption, put_one, say, settings_and_log
from saga.surfaces.cli.ordering import orders
from saga.surfaces.cli.screens import reading_store
from saga.surfaces.order_rows import Rebuilt, rebuild
from saga.surfaces.progress import progress
from saga.surfaces.visible import one_line

NAMED = 5


def add_to(_app: typer.Typer) -> None:
    orders.command("rebuild")(rebuild_table)


def rebuild_table(all_tenants: AllTenantsOption = False, output: OutputOption = Output.TABLE) -> None:
    """Make the table `orders` say what the journal says: rows that differ or are missing are written, strays are dropped.

    Safe beside workers and safe to type again: a row is written only while its journal stands still, so none goes back to an
    older entry. It reads every journal, a page at a time. Exit code 1: a journal cannot be read, and saga audit says which
    rule it breaks; or a row was locked by somebody for longer than a worker would wait: type it again.

    \b
    Example
      saga orders rebuild
    """
    reading = reading_store(settings_and_log(), all_tenants=all_tenants)
    with reading as store, progress("orders looked at", None) as report:
        done = rebuild(store, lambda now: report(now.orders, f"written {now.written}   dropped {now.dropped}"))
    names = ("orders", "right", "written", "dropped", "moving")
    value = {**{name: getattr(done, name) for name in names}, "unreadable": done.unreadable, "busy": done.busy}
    put_one(output, value, _text(done))
    if done.unreadable:
        say(
            f"saga: {_counted(done.unreadable, 'journal')} cannot be read, the row is as it was: {_named(done.unreadable)}; saga audit"
        )
    if done.busy:
        say(
            f"saga: {_counted(done.busy, 'row')} not written, somebody holds a lock: {_named(done.busy)}; type this again"
        )
    if done.unreadable or done.busy:
        raise typer.Exit(FAILED)


def _counted(order_ids: Sequence[str], thing: str) -> str:
    return f"{len(order_ids)} {thing}{'' if len(order_ids) == 1 else 's'}"


def _named(order_ids: Sequence[str]) -> str:
    return ", ".join(map(one_line, order_ids[:NAMED])) + (", …" if len(order_ids) > NAMED else "")


def _text(done: Rebuilt) -> str:
    moving = f"   moved meanwhile {done.moving}" if done.moving else ""
    return f"orders {done.orders}   right {done.right}   written {done.written}   dropped {done.dropped}{moving}"
