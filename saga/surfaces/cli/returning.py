"""`saga return`: pieces of a completed order come back, through the database as `saga start` does."""

import re
from contextlib import ExitStack
from shlex import quote
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from saga.clock import monotonic, sleep
from saga.core.states import SagaStatus
from saga.errors import SagaNotFound, UsageError
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import broken_rules
from saga.fulfilment.money import shown
from saga.fulfilment.return_order import return_order
from saga.fulfilment.returns import NotCompleted
from saga.runtime.engine import Definitions, fold
from saga.runtime.starting import Starter
from saga.settings import Settings
from saga.store.port import Store
from saga.surfaces.cli.options import FAILED, Output, OutputOption, TimeoutOption, put_one, say, settings_and_log
from saga.surfaces.cli.ordering import WaitOption, checked_key, naming_key
from saga.surfaces.cli.reminding import Reminder
from saga.surfaces.cli.screens import reading_store
from saga.surfaces.draining import is_over
from saga.surfaces.embedded import registered
from saga.surfaces.lookup import is_storable
from saga.surfaces.publishing import publisher
from saga.surfaces.reading_returns import ReturnReading, read_return
from saga.surfaces.taking_back import ReturnRequest, Standing, TakenBack, latest_order, standing_of, take_back
from saga.surfaces.visible import one_line

POLL_S = 0.1
LINES_SHOWN = 3
LINE = re.compile(r"(?P<sku>.+)=(?P<quantity>[0-9]{1,7})")
INSTEAD = {
    Standing.CANCELLABLE: "has not come to its point of no return; type  saga cancel {order} --reason ...",
    Standing.HELD: "waits for a person; what moves it, if anything does, says  saga show {order}",
    Standing.ON_ITS_WAY: "goes forward only; type this again once it has completed",
    Standing.ROLLED_BACK: "is rolled back, so nothing of it can come back",
}


def add_to(app: typer.Typer) -> None:
    app.command("return")(return_pieces)


def return_pieces(
    order: Annotated[str, typer.Argument(metavar="ORDER", help="An order that completed.")],
    line: Annotated[
        list[str] | None, typer.Option("--line", "-l", metavar="SKU=COUNT", help="Pieces of one SKU; may be repeated.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; the payment service is told.")] = "returned by the customer",
    key: Annotated[
        str | None, typer.Option(callback=checked_key, help="Request key: the same key returns nothing twice.")
    ] = None,
    wait: WaitOption = False,
    timeout_s: TimeoutOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Return pieces of a completed order: they are refunded with their tax, and go on the shelf again. Freight stays paid.

    Without --line all that is left of the order comes back. Pieces whose return is under way are not left.
    Exit code 1: the order has not completed, or with --wait the return did not. 2: more than was sold and is left.

    \b
    Examples
      saga return SO-10412
      saga return SO-10412 --line 85123A=2 --line 71053=1 --reason "broken handle" --wait
      saga return SO-10412 -l 85123A=2 --key RMA-77 -o json
    """
    if timeout_s is not None and not wait:
        raise UsageError("--timeout: says how long --wait waits; add --wait")
    request = _request(line or [], reason)
    if not is_storable(order):
        raise SagaNotFound(order)
    settings = settings_and_log()
    with ExitStack() as parts:
        store = parts.enter_context(reading_store(settings))
        definitions, _ = registered(store, [fulfil_order, return_order])
        starter = Starter(store, environment=settings.environment, tenant=settings.tenant)
        parts.callback(starter.stop)
        publish = parts.enter_context(publisher(settings, definitions))
        try:
            with naming_key():
                taken = take_back(store, starter, definitions.latest(return_order.name), order, request, key=key)
        except NotCompleted as error:
            _say_instead(store, settings, definitions, error)
            raise typer.Exit(FAILED) from None
        publish(taken.hints)
        found = _ended(store, taken, timeout_s) if wait else _read(store, taken)
    put_one(output, {**found.model_dump(mode="json"), "is_replayed": taken.is_replayed}, _text(found, taken))
    if wait and found.saga_status is not SagaStatus.COMPLETED:
        raise typer.Exit(FAILED)


def _request(lines: list[str], reason: str) -> ReturnRequest:
    wanted: list[dict[str, Any]] = []
    for text in lines:
        if not (found := LINE.fullmatch(text)):
            raise UsageError(f"--line {text!r}: write SKU=COUNT, as in --line 85123A=2")
        wanted.append({"sku": found["sku"], "quantity": int(found["quantity"])})
    try:
        return ReturnRequest.model_validate({"lines": wanted, "reason": reason})
    except ValidationError as error:
        raise UsageError(broken_rules(error, whole="return")) from None


def _say_instead(store: Store, settings: Settings, definitions: Definitions, error: NotCompleted) -> None:
    state = latest_order(store, settings.environment, settings.tenant, error.order_id)
    definition = definitions.get(state.definition, state.version) or fulfil_order
    order = one_line(error.order_id)
    say(f"saga: {order} is {state.status}: it {INSTEAD[standing_of(definition, state)].format(order=quote(order))}")


def _read(store: Store, taken: TakenBack) -> ReturnReading:
    saga_id = taken.returned.state.saga_id
    entries = store.load([saga_id]).get(saga_id)
    if not entries:
        raise SagaNotFound(saga_id)
    return read_return(taken.returned.wanted, fold(entries)[0])


def _ended(store: Store, taken: TakenBack, bound_s: float | None) -> ReturnReading:
    """The return once nobody but a person can move it, or after so many seconds."""
    saga_id = taken.returned.state.saga_id
    give_up_at = None if bound_s is None else monotonic() + bound_s
    remind = Reminder(taken.returned.wanted.return_id, store, saga_id, definitions=())
    while (row := store.row(saga_id)) is not None and not is_over(row):
        remind.look(row.status)
        if give_up_at is not None and monotonic() >= give_up_at:
            remind.say(row.status)
            break
        sleep(POLL_S)
    return _read(store, taken)


def _text(found: ReturnReading, taken: TakenBack) -> str:
    rest = len(found.lines) - LINES_SHOWN
    pieces = ", ".join(f"{it.quantity} of {it.sku}" for it in found.lines[:LINES_SHOWN])
    pieces += f" and {rest} more" if rest > 0 else ""
    again = "   (was asked for before)" if taken.is_replayed else ""
    return f"{found.return_id}   {found.saga_status}   {pieces}   refund {shown(found.refund, found.currency)}{again}"
