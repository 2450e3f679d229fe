"""`saga orders submit`: a file of orders is handed over, and what became of them is said."""

import json
import shutil
import sys
import tempfile
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from saga.core.states import SagaStatus
from saga.errors import UsageError
from saga.fulfilment.cancellations import Sold
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.intake import Found
from saga.fulfilment.northwind import is_northwind, northwind_stock
from saga.fulfilment.order_files import read_orders, returnable
from saga.fulfilment.order_rows import Reading
from saga.fulfilment.return_order import return_order
from saga.fulfilment.text_files import Meter, known_encoding
from saga.settings import Settings
from saga.surfaces.awaiting import await_ends, explain_ends
from saga.surfaces.cli.options import (
    FAILED,
    USAGE,
    Output,
    OutputOption,
    TimeoutOption,
    put,
    put_one,
    say,
    settings_and_log,
)
from saga.surfaces.cli.ordering import WaitOption, direct_intake, orders, regular_file, why_unread
from saga.surfaces.embedded import addresses, registered
from saga.surfaces.progress import progress
from saga.surfaces.provisioning import Provisioner
from saga.surfaces.publishing import publisher
from saga.surfaces.returning import DirectDesk, HttpDesk, Returning
from saga.surfaces.submit import (
    DirectIntake,
    HttpIntake,
    hand_over,
)
from saga.surfaces.tally import Tally
from saga.surfaces.visible import Page, page

REASONS_SHOWN, REFERENCES_SHOWN = 12, 3
WIDTH, WIDTH_MIN = 100, 60


def add_to(_app: typer.Typer) -> None:
    orders.command("submit")(submit)


def submit(
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="JSON lines, a shop's CSV, gz or zip of one; a Northwind folder.")
    ],
    provision: Annotated[
        bool, typer.Option("--provision", help="Put on stock what the orders take; of a folder what it has.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Submit the first so many clean orders.")] = None,
    returns: Annotated[
        bool, typer.Option("--returns", help="Take C… invoices as cancels and returns; waits for their orders.")
    ] = False,
    wait: WaitOption = False,
    timeout_s: TimeoutOption = None,
    api: Annotated[str | None, typer.Option(metavar="URL", help="Over this order API; else into the database.")] = None,
    encoding: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a file that is not UTF-8 and has no mark, as in latin-1.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option(metavar="CODE", help="Of a CSV that has no column for it, as in EUR.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Submit a file of orders, each once; type it again to go on where it stopped.

    A CSV is an order export of Shopify or WooCommerce, or Online Retail; docs/order-files.md has their columns.
    What is no clean order is refused with its reason and counted; cancellations and adjustments are skipped and counted.
    With --returns a cancellation is matched to orders by customer and stock code, the latest first: an order that comes back
    whole is cancelled while it can be rolled back; of any other the pieces are returned once it has completed.
    With --provision a Northwind folder puts its own units in stock on the shelf, once: who comes first is served.
    Exit code 1 with --wait: an order is halted, has not ended, or its journal cannot be read. 2: there was no order in it, or it cannot be read to its
    end; what was read before is handed over, and counted.

    \b
    Examples
      saga orders submit orders.jsonl --provision --wait
      saga orders submit online-retail.csv.gz --provision --limit 2000 --wait -o json
      saga orders submit orders_export.csv --provision --wait
      saga orders submit northwind/ --provision --wait
      generate | saga orders submit - --api http://127.0.0.1:8000
    """
    if timeout_s is not None and not (wait or returns):
        raise UsageError("--timeout: says how long --wait or --returns waits; add one of them")
    settings, tally, meter = settings_and_log(), Tally(), Meter()
    reading, is_over, is_whole = Reading(known_encoding(encoding), currency), True, False
    with _file_of(file) as path, ExitStack() as parts:
        found = read_orders(path, meter, reading)  # looks at the file, before anything is opened or made for it
        provisioner = Provisioner(_inventory(settings)) if provision else None
        if provisioner is not None and path.is_dir():
            provisioner.stock(
                northwind_stock(path, reading)
            )  # what is on the shelf there, and not what the orders would take
            provisioner = None
        intake = parts.enter_context(_intake(settings, api))
        returning = _returning(parts, settings, intake, returnable(path, reading)) if returns else None
        try:
            _hand_over(found, intake, provisioner, limit, returning, tally, meter)
            if returning is not None:
                tally.returns = returning.tally
                is_over = returning.finish(bound_s=timeout_s)
            if wait:
                is_over &= _await(intake, tally, timeout_s)
            is_whole = True
        finally:
            if not is_whole and _is_told(tally):
                _put_tally(output, tally, with_ends=False)  # of what went before; the error says why it is no more
    _put_tally(output, tally, with_ends=wait)
    if not tally.saga_ids:
        say(f"saga: {file}: no order of it was taken" if tally.refused else f"saga: {file}: holds no order")
        raise typer.Exit(USAGE)
    if not is_over or tally.unreadable or tally.ended[SagaStatus.HALTED.value]:
        raise typer.Exit(FAILED)


def _hand_over(
    found: Iterator[Found],
    intake: DirectIntake | HttpIntake,
    provisioner: Provisioner | None,
    limit: int | None,
    returning: Returning | None,
    tally: Tally,
    meter: Meter,
) -> None:
    with progress("handed over", limit) as report:

        def tell(now: Tally, *, is_last: bool = False) -> None:
            share = None if limit is not None else meter.share
            report(now.submitted + now.already, _remark(now), share=share, is_last=is_last)

        try:
            hand_over(
                found,
                intake,
                provisioner=provisioner,
                limit=limit,
                returning=returning,
                progress=tell,
                tally=tally,
            )
            meter.place = meter.size
            tally.lines = meter.lines if limit is None else None
        finally:
            if _is_told(tally):
                tell(tally, is_last=True)


def _is_told(tally: Tally) -> bool:
    """Whether anything came of the file, so that an error has to say what stands and what does not."""
    return bool(tally.saga_ids or tally.refused or tally.skipped)


def _await(intake: DirectIntake | HttpIntake, tally: Tally, bound_s: float | None) -> bool:
    """Wait for the orders, and for the returns of them that were started; False when that was not enough."""
    total = len(tally.saga_ids)
    with progress("ended", total) as report:
        is_over = await_ends(intake, tally, bound_s=bound_s, progress=lambda now: report(total - now.open_count))
        report(total - tally.open_count, is_last=True)
    if tally.returns is not None:
        returned = Tally(saga_ids=tally.returns.saga_ids)
        is_over &= await_ends(intake, returned, bound_s=bound_s)
        tally.returns.ended = returned.ended
        tally.unreadable += returned.unreadable
        is_over &= not returned.ended[SagaStatus.HALTED.value]
    explain_ends(intake, tally)
    return is_over


def _returning(
    parts: ExitStack, settings: Settings, intake: DirectIntake | HttpIntake, wanted: set[tuple[str, str]]
) -> Returning:
    """Whoever takes the cancellations of the file, on the store of the intake or over its API."""
    sold = Sold(wanted)
    if isinstance(intake, HttpIntake):
        return Returning(HttpDesk(intake), sold)
    registered(intake.store, [fulfil_order, return_order])
    publish = parts.enter_context(publisher(settings, [fulfil_order, return_order]))
    return Returning(DirectDesk(intake.store, intake.starter, publish), sold)


@contextmanager
def _file_of(name: str) -> Iterator[Path]:
    """The file; what comes by stdin is kept in one for the length of the command, because a CSV is read twice."""
    if name != "-":
        yield Path(name) if is_northwind(Path(name)) else regular_file(Path(name))
        return
    with tempfile.NamedTemporaryFile(prefix="saga-orders-") as kept:
        for chunk in _chunks_of_stdin():
            kept.write(chunk)
        kept.flush()
        yield Path(kept.name)


def _chunks_of_stdin() -> Iterator[bytes]:
    try:
        while chunk := sys.stdin.buffer.read(1 << 20):
            yield chunk
    except OSError as error:
        raise UsageError(f"stdin: {why_unread(error)}") from error


@contextmanager
def _intake(settings: Settings, api: str | None) -> Iterator[DirectIntake | HttpIntake]:
    if api is None:
        with direct_intake(settings, fulfil_order) as direct:
            yield direct
    elif api.startswith(("http://", "https://")):
        yield HttpIntake(api)
    else:
        raise UsageError(f"--api {api!r}: an address begins with http:// or https://")


def _inventory(settings: Settings) -> str:
    url = addresses(settings).get("inventory")
    if url is None:
        raise UsageError("--provision: set SAGA_INVENTORY_URL, or run  saga dev  in the same SAGA_HOME")
    return url


def _remark(tally: Tally) -> str:
    skipped = sum(tally.skipped.values())
    submitted = f"submitted {tally.submitted}   already there {tally.already}"
    return f"{submitted}   refused {len(tally.refused)}   skipped {skipped}"


def _put_tally(output: Output, tally: Tally, *, with_ends: bool) -> None:
    value = tally.as_json(with_ends=with_ends)
    if output is Output.JSONL:
        for refusal in value.pop("refusals"):
            put(json.dumps(refusal, ensure_ascii=False))
    put_one(output, value, _text_of(tally, with_ends=with_ends))


def _text_of(tally: Tally, *, with_ends: bool) -> Page:
    skipped = ", ".join(f"{count} {kind}s" for kind, count in sorted(tally.skipped.items())) or "0"
    lines = [
        f"orders {tally.orders}   submitted {tally.submitted}   already there {tally.already}   {tally.seconds:.1f} s",
        f"refused {len(tally.refused)}   skipped {skipped}   with rounded prices {tally.rounded}",
    ]
    if (count := tally.lines) and count.refused + count.skipped:
        parts = f"in orders {count.in_orders}   refused {count.refused}   skipped {count.skipped}   empty or header {count.empty}"
        lines.append(f"lines {count.read}   {parts}")
    if tally.not_handed_over:
        lines.append(f"not handed over {tally.not_handed_over}, nor what comes after them in the file")
    if tally.returns is not None:
        facts = tally.returns.as_json()
        ends = facts.pop("ended", {})
        facts.pop("refusals", None)  # told below, with those of orders
        lines.append("   ".join(f"{name.replace('_', ' ')} {count}" for name, count in facts.items()))
        if with_ends and ends:
            lines.append("returns   " + "   ".join(f"{status} {count}" for status, count in sorted(ends.items())))
    if with_ends:
        lines.append("   ".join(f"{status} {tally.ended[status.value]}" for status in SagaStatus))
        lines += [
            f"  {'unreadable':<11} {1:>5}  saga {saga_id}: saga audit" for saga_id in tally.unreadable[:REASONS_SHOWN]
        ]
    width = max(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH_MIN)
    return page([*lines, *(_reasons(tally, width) if with_ends else ()), *_refusals(tally, width)])


def _reasons(tally: Tally, width: int) -> Iterator[str]:
    """Why orders did not complete, and of the first ones what the participant said."""
    for (status, why), count in tally.reasons.most_common(REASONS_SHOWN):
        yield f"  {status:<11} {count:>5}  {why}"
        of_it = [it for it in tally.explained if (it.status, it.reason) == (status, why)]
        for one in of_it[:REFERENCES_SHOWN]:
            text, indent = f"{one.order_id}: {one.said}" if one.said else one.order_id, " " * 21
            yield from textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent + "  ")
        if count > REFERENCES_SHOWN:
            yield f"{' ' * 21}and {count - REFERENCES_SHOWN} more; -o json has them under not_completed"


def _refusals(tally: Tally, width: int) -> Iterator[str]:
    """Each reason in full, however long, with the first of the orders that it refused, and where the others are."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for one in (*tally.refused, *(tally.returns.refused if tally.returns is not None else ())):
        where, _, rule = one.reason.partition(": ") if one.reason.startswith("line ") else ("", "", one.reason)
        reasons[rule].append(f"{one.reference} ({where})" if where else one.reference)
    is_whole = len(reasons) <= REASONS_SHOWN
    for rule, references in sorted(reasons.items(), key=lambda it: -len(it[1]))[:REASONS_SHOWN]:
        rest = len(references) - REFERENCES_SHOWN
        is_whole = is_whole and rest <= 0
        head = f"  refused {len(references):>5}  "
        names = ", ".join(references[:REFERENCES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
        yield from textwrap.wrap(f"{rule}   {names}", width, initial_indent=head, subsequent_indent=" " * len(head))
    if not is_whole:
        more = f"and {len(reasons) - REASONS_SHOWN} more reasons; " if len(reasons) > REASONS_SHOWN else ""
        yield f"  {more}-o json has every line that was refused, with its reason"
