"""`saga start`: begins one saga; and what other commands that begin sagas share with it."""

import errno
import stat
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from saga.core.connector import Model
from saga.core.definition import Saga
from saga.core.states import SagaStatus
from saga.errors import CodecError, KeyReused, UsageError
from saga.fulfilment.models import broken_rules
from saga.fulfilment.text_files import text_of
from saga.runtime.readback import written
from saga.runtime.starting import Starter, start_and_hint
from saga.settings import Settings
from saga.surfaces.awaiting import await_ends
from saga.surfaces.cli.options import (
    FAILED,
    Output,
    OutputOption,
    TimeoutOption,
    put_one,
    settings_and_log,
)
from saga.surfaces.cli.reminding import Reminder
from saga.surfaces.contract import BODY_MAX
from saga.surfaces.embedded import opened_store, registered
from saga.surfaces.finding import find_definitions
from saga.surfaces.inputs import SURROGATES, entity_of, input_of, refuse_doubled, refuse_unstorable
from saga.surfaces.publishing import Hinting, publisher
from saga.surfaces.submit import DirectIntake
from saga.surfaces.tally import Tally

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


@contextmanager
def naming_key() -> Iterator[None]:
    """Says `--key` of a request key that another request has."""
    try:
        yield
    except KeyReused as error:
        msg = f"--key {error.request_key}: was used before with another content, for saga {error.saga_id}; type another key"
        raise UsageError(msg) from error


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
    """Start a saga of any definition and print its id. A worker, or `saga dev` of the same SAGA_HOME, takes it up at once;
    one that did not hear of it finds it within 2 s.

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
    with hinted_intake(settings, saga) as (intake, hints):
        with naming_key():
            started = start_and_hint(intake.starter, saga, order, hints, request_key=key)
        value: dict[str, Any] = {"saga_id": started.saga_id, "run": started.run, "is_replayed": started.is_replayed}
        if not wait:
            put_one(output, value, started.saga_id)
            return
        tally = Tally(saga_ids=[started.saga_id])
        remind = Reminder(started.saga_id, intake.store, started.saga_id, definitions=[definition])
        is_over = await_ends(
            intake,
            tally,
            bound_s=timeout_s,
            progress=lambda now: remind.look(SagaStatus.RUNNING) if now.open_count else None,
        )
        if tally.unreadable:
            raise CodecError(f"saga {started.saga_id}: its journal cannot be read by this release: saga audit")
        status = next(iter(tally.ended))
        if not is_over:
            remind.say(SagaStatus(status))
    put_one(output, {**value, "status": status}, f"{started.saga_id}   {status}")
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
        given = _given(name, None if data == "-" else regular_file(Path(name)))
    except OSError as error:
        raise UsageError(f"{name}: {why_unread(error)}") from error
    if len(given) > BODY_MAX:
        raise UsageError(f"{name}: is longer than an input may be, {BODY_MAX:,} bytes")
    try:
        return given.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: byte {error.start} is not UTF-8") from error


def why_unread(error: OSError) -> str:
    """In words of a shell: a stdin that is closed has a number, and nothing that could be read."""
    return "is closed" if error.errno == errno.EBADF else (error.strerror or str(error)).lower()


def _given(name: str, path: Path | None) -> bytes:
    """So much of a file, or of stdin, as shows whether it is too long; unpacked."""
    if path is not None:
        with path.open("rb") as file:
            return text_of(file, name, BODY_MAX + 1)
    given = sys.stdin.buffer.read(BODY_MAX + 1)
    return given if len(given) > BODY_MAX else text_of(BytesIO(given), name, BODY_MAX + 1)


def _input(saga: Saga[Any], text: str) -> Model:
    refuse_unstorable(text, f"input of {saga.name}")
    refuse_doubled(text, f"input of {saga.name}")
    try:
        found = input_of(saga, text)
    except ValidationError as error:
        raise UsageError(f"input of {saga.name}: {broken_rules(error, whole='')}") from error
    entity_of(saga, found)
    written(found, f"input of {saga.name}", saga.input)  # before anything of its definition is stored
    return found


@contextmanager
def direct_intake(settings: Settings, saga: Saga[Any]) -> Iterator[DirectIntake]:
    with hinted_intake(settings, saga) as (intake, _):
        yield intake


@contextmanager
def hinted_intake(settings: Settings, saga: Saga[Any]) -> Iterator[tuple[DirectIntake, Hinting]]:
    with ExitStack() as parts:
        store = opened_store(settings)
        parts.callback(store.close)
        registered(store, [saga])
        starter = Starter(store, environment=settings.environment, tenant=settings.tenant)
        parts.callback(starter.stop)
        publish = parts.enter_context(publisher(settings, [saga]))
        yield DirectIntake(store, starter, saga, publish), publish


def regular_file(path: Path) -> Path:
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
