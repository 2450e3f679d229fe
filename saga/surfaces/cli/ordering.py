"""`saga start` and `saga orders submit`: what begins sagas."""

import json
import shutil
import stat
import sys
import tempfile
import textwrap
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from saga.core.connector import Model
from saga.core.definition import Saga
from saga.core.states import SagaStatus
from saga.errors import UsageError
from saga.fulfilment.cancellations import Sold
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import broken_rules
from saga.fulfilment.northwind import is_northwind, northwind_stock
from saga.fulfilment.order_files import read_orders, returnable
from saga.fulfilment.return_order import return_order
from saga.runtime.starting import Starter, first_hints
from saga.settings import Settings
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
from saga.surfaces.contract import BODY_MAX
from saga.surfaces.embedded import addresses, opened_store, registered
from saga.surfaces.finding import find_definitions
from saga.surfaces.inputs import SURROGATES, refuse_unstorable
from saga.surfaces.progress import progress
from saga.surfaces.publishing import publisher
from saga.surfaces.returning import Returning
from saga.surfaces.submit import DirectIntake, HttpIntake, Intake, Provisioner, Tally, await_ends, hand_over

REASONS_SHOWN, REFERENCES_SHOWN = 12, 3
WIDTH, WIDTH_MIN = 100, 60
KEY_MAX = 255
orders = typer.Typer(help="Orders for fulfil_order.", no_args_is_help=True)
WaitOption = Annotated[bool, typer.Option("--wait", help="Return when it has ended, and say how.")]


def add_to(app: typer.Typer) -> None:
    app.command()(start)
    app.add_typer(orders, name="orders")


def checked_key(key: str | None) -> str | None:
    """A request key that every database can hold; refuses another by the name of the option."""
    if key is None:
        return None
    if not 1 <= len(key) <= KEY_MAX:
        raise typer.BadParameter(f"has {len(key)} characters; a request key has 1 to {KEY_MAX}")
    for number, letter in enumerate(key, start=1):
        if ord(letter) in SURROGATES:  # how Python hands over a byte of the command line that is no text
            raise typer.BadParameter(f"character {number} is not UTF-8")
        if unicodedata.category(letter) == "Cc":
            raise typer.BadParameter(f"character {number} is U+{ord(letter):04X}, a control character")
    return key


def start(
    definition: Annotated[str, typer.Argument(metavar="MODULE:SAGA", help="The definition.")],
    data: Annotated[str, typer.Argument(metavar="JSON", help="Its input: JSON, @FILE, or - for stdin.")],
    key: Annotated[
        str | None, typer.Option(callback=checked_key, help="Request key: the same key starts nothing twice.")
    ] = None,
    wait: WaitOption = False,
    timeout_s: TimeoutOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start a saga of any definition and print its id. Whoever works on the same database runs it within 2 s.

    Exit code 1 with --wait: it did not complete.

    \b
    Examples
      saga start shop:place_order '{"order_id": "SO-1", "sku": "mug", "card": "4242"}' --wait
      saga start shop:place_order @order.json --key SO-1
      jq .order event.json | saga start shop:place_order - -o json
    """
    settings = settings_and_log()
    saga = find_definitions([definition], Path.cwd())[0]
    order = _input(saga, _text(data))
    with _direct(settings, saga) as intake:
        started = intake.starter.start(saga, order, request_key=key)
        intake.publish(first_hints(saga, started.saga_id))
        value: dict[str, Any] = {"saga_id": started.saga_id, "run": started.run, "is_replayed": started.is_replayed}
        if not wait:
            put_one(output, value, started.saga_id)
            return
        tally = Tally(saga_ids=[started.saga_id])
        is_over = await_ends(intake, tally, bound_s=timeout_s)
        status = next(iter(tally.ended))
    put_one(output, {**value, "status": status}, f"{started.saga_id}   {status}")
    if not is_over:
        say(f"saga: {started.saga_id} is still {status}; is a worker running? saga status")
    if status != SagaStatus.COMPLETED:
        raise typer.Exit(FAILED)


def _text(data: str) -> str:
    """The input as it was typed, or out of what was named instead."""
    if data != "-" and not data.startswith("@"):
        return data
    if data == "@":
        raise UsageError("@: no file is named; write @FILE, as in @order.json")
    name = "stdin" if data == "-" else data[1:]
    try:
        given = sys.stdin.buffer.read(BODY_MAX + 1) if data == "-" else _beginning(_regular(Path(name)))
    except OSError as error:
        raise UsageError(f"{name}: {(error.strerror or str(error)).lower()}") from error
    if len(given) > BODY_MAX:
        raise UsageError(f"{name}: is longer than an input may be, {BODY_MAX:,} bytes")
    try:
        return given.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: byte {error.start} is not UTF-8") from error


def _beginning(path: Path) -> bytes:
    """So much of a file as shows whether it is too long."""
    with path.open("rb") as file:
        return file.read(BODY_MAX + 1)


def _input(saga: Saga[Any], text: str) -> Model:
    refuse_unstorable(text, f"input of {saga.name}")
    try:
        found: Model = saga.input.model_validate_json(text)
    except ValidationError as error:
        raise UsageError(f"input of {saga.name}: {broken_rules(error, whole='')}") from error
    try:
        entity: object = saga.entity(found)
    except Exception as error:  # the user's function
        raise UsageError(f"entity of {saga.name}: {type(error).__name__}: {error}") from error
    if not isinstance(entity, str) or not entity:
        raise UsageError(f"entity of {saga.name}: gave {entity!r}; it must be a text that names the business object")
    return found


@contextmanager
def _direct(settings: Settings, saga: Saga[Any]) -> Iterator[DirectIntake]:
    with ExitStack() as parts:
        store = opened_store(settings)
        parts.callback(store.close)
        registered(store, [saga])
        starter = Starter(store, environment=settings.environment, tenant=settings.tenant)
        parts.callback(starter.stop)
        publish = parts.enter_context(publisher(settings, [saga]))
        yield DirectIntake(store, starter, saga, publish)


@orders.command()
def submit(
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="JSON lines or the Online Retail CSV, gz too; a Northwind folder.")
    ],
    provision: Annotated[bool, typer.Option("--provision", help="Put on stock what the orders take.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Submit the first so many clean orders.")] = None,
    returns: Annotated[
        bool, typer.Option("--returns", help="Take C… invoices as cancels and returns; waits for their orders.")
    ] = False,
    wait: WaitOption = False,
    timeout_s: TimeoutOption = None,
    api: Annotated[str | None, typer.Option(metavar="URL", help="Over this order API; else into the database.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Submit a file of orders, each once; type it again to go on where it stopped.

    What is no clean order is refused with its reason and counted; cancellations and adjustments are skipped and counted.
    With --returns a cancellation is matched to orders by customer and stock code, the latest first: an order that comes back
    whole is cancelled while it can be rolled back; of any other the pieces are returned once it has completed.
    Exit code 1 with --wait: an order is halted or has not ended. 2: there was no order in it.

    \b
    Examples
      saga orders submit orders.jsonl --provision --wait
      saga orders submit online-retail.csv.gz --provision --limit 2000 --wait -o json
      generate | saga orders submit - --api http://127.0.0.1:8000
    """
    settings = settings_and_log()
    with _file_of(file) as path, ExitStack() as parts:
        found = read_orders(path)  # looks at the file, before anything is opened or made for it
        provisioner = Provisioner(_inventory(settings)) if provision else None
        if provisioner is not None and path.is_dir():
            provisioner.stock(northwind_stock(path))  # what is on the shelf there, and not what the orders would take
            provisioner = None
        if returns and api is not None:
            raise UsageError("--returns: goes into the database; leave out --api")
        intake = parts.enter_context(_intake(settings, api))
        returning = _returning(parts, settings, intake, path) if returns else None
        with progress("submitted", limit) as report:
            tally = hand_over(
                found,
                intake,
                provisioner=provisioner,
                limit=limit,
                returning=returning,
                progress=lambda now: report(now.submitted + now.already, _remark(now)),
            )
            report(tally.submitted + tally.already, _remark(tally), is_last=True)
        is_over = True
        if returning is not None:
            is_over = returning.finish(bound_s=timeout_s)
            tally.returns = returning.tally
            tally.saga_ids += returning.tally.saga_ids
        if wait:
            total = len(tally.saga_ids)
            with progress("ended", total) as report:
                is_over &= await_ends(
                    intake, tally, bound_s=timeout_s, progress=lambda now: report(total - now.open_count)
                )
                report(total - tally.open_count, is_last=True)
    _put_tally(output, tally, with_ends=wait)
    if not tally.saga_ids:
        say(f"saga: {file}: no order of it was taken" if tally.refused else f"saga: {file}: holds no order")
        raise typer.Exit(USAGE)
    if not is_over or tally.ended[SagaStatus.HALTED.value]:
        raise typer.Exit(FAILED)


def _returning(parts: ExitStack, settings: Settings, intake: Intake, path: Path) -> Returning:
    """Whoever takes the cancellations of the file, on the store of the intake."""
    assert isinstance(intake, DirectIntake)
    registered(intake.store, [fulfil_order, return_order])
    publish = parts.enter_context(publisher(settings, [fulfil_order, return_order]))
    return Returning(intake.store, intake.starter, publish, Sold(returnable(path)))


@contextmanager
def _file_of(name: str) -> Iterator[Path]:
    """The file; what comes by stdin is kept in one for the length of the command, because a CSV is read twice."""
    if name != "-":
        yield Path(name) if is_northwind(Path(name)) else _regular(Path(name))
        return
    with tempfile.NamedTemporaryFile(prefix="saga-orders-") as kept:
        while chunk := sys.stdin.buffer.read(1 << 20):
            kept.write(chunk)
        kept.flush()
        yield Path(kept.name)


def _regular(path: Path) -> Path:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:  # a NUL in the name
        raise UsageError(f"{str(path)!r}: {error}") from error
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path}: is a directory; name a file in it")
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path}: is a pipe or a device and no file; what comes out of one is read with - from stdin")
    return path


@contextmanager
def _intake(settings: Settings, api: str | None) -> Iterator[Intake]:
    if api is None:
        with _direct(settings, fulfil_order) as direct:
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
    return f"already there {tally.already}   refused {len(tally.refused)}   skipped {skipped}"


def _put_tally(output: Output, tally: Tally, *, with_ends: bool) -> None:
    value = tally.as_json(with_ends=with_ends)
    if output is Output.JSONL:
        for refusal in value.pop("refusals"):
            put(json.dumps(refusal, ensure_ascii=False))
    put_one(output, value, _text_of(tally, with_ends=with_ends))


def _text_of(tally: Tally, *, with_ends: bool) -> str:
    skipped = ", ".join(f"{count} {kind}s" for kind, count in sorted(tally.skipped.items())) or "0"
    lines = [
        f"orders {tally.orders}   submitted {tally.submitted}   already there {tally.already}   {tally.seconds:.1f} s",
        f"refused {len(tally.refused)}   skipped {skipped}   with rounded prices {tally.rounded}",
    ]
    if tally.returns is not None:
        facts = tally.returns.as_json()
        lines.append("   ".join(f"{name.replace('_', ' ')} {count}" for name, count in facts.items()))
    if with_ends:
        lines.append("   ".join(f"{status} {tally.ended[status.value]}" for status in SagaStatus))
    return "\n".join([*lines, *_refusals(tally, max(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH_MIN))])


def _refusals(tally: Tally, width: int) -> Iterator[str]:
    """Each reason in full, however long, with the first of the orders that it refused, and where the others are."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for one in tally.refused:
        rule = one.reason.partition(": ")[2] if one.reason.startswith("line ") else one.reason
        reasons[rule].append(one.reference)
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
