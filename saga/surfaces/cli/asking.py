"""`saga fault` and `saga ledger`: what a service is told to do wrong, and what its own book says."""

from typing import Annotated, Any

import typer

from saga.errors import UsageError
from saga.fulfilment.money import shown, was_known_currency
from saga.settings import Settings
from saga.surfaces.cli.options import Output, OutputOption, put_many, put_one, settings_and_log
from saga.surfaces.embedded import addresses
from saga.surfaces.ledgers import PAYMENT, SERVICES, TAX, Movement, read_movements
from saga.surfaces.lookup import is_storable
from saga.surfaces.participating import Rule, faults
from saga.surfaces.render import DASH, clock_time, columns
from saga.surfaces.visible import page

REJECT = "reject"
ServiceArgument = Annotated[str, typer.Argument(metavar="SERVICE", help=", ".join(SERVICES) + ".")]


def add_to(app: typer.Typer) -> None:
    app.command()(fault)
    app.command()(ledger)


def fault(
    service: ServiceArgument,
    name: Annotated[
        str | None, typer.Argument(metavar="[FAULT]", help="What goes wrong: overloaded, reject, ...")
    ] = None,
    operation: Annotated[str, typer.Argument(metavar="[OPERATION]", help="Where, as in 'POST /v1/captures'.")] = "*",
    code: Annotated[str | None, typer.Option(help="Of reject: the code that it says no with.")] = None,
    order: Annotated[list[str] | None, typer.Option(help="Only for this order; may be repeated.")] = None,
    times: Annotated[int | None, typer.Option(min=1, help="So often, then no more.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="No fault any more.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell a service of `saga dev` or `saga services` to fail, and say what is in force; without FAULT only say it.

    One fault at a time: a new one takes the place of the one before. What each does is in docs/participants.md, which
    also has scripts of several.

    \b
    Examples
      saga fault shipping reject 'POST /v1/shipments' --code undeliverable --order SO-1002
      saga fault inventory overloaded 'POST /v1/reservations/firm'
      saga fault inventory
      saga fault inventory --clear
    """
    _refuse_idle(name, code, order or [], times, clear=clear)
    url = _address(settings_and_log(), service)
    if clear:
        rules = faults(service, url, "DELETE")
    elif name is None:
        rules = faults(service, url)
    else:
        rule = {"fault": name, "operation": operation, "code": code, "order_ids": order or None, "times": times}
        rules = faults(service, url, "PUT", {"rules": [rule]})
    value = {"service": service, "rules": [rule.model_dump(mode="json") for rule in rules]}
    put_one(output, value, page(f"{service}   {it}" for it in map(_worded, rules)) or f"{service}   no fault")


def _refuse_idle(name: str | None, code: str | None, orders: list[str], times: int | None, *, clear: bool) -> None:
    """Refuse what would be accepted and do nothing."""
    if clear and name is not None:
        raise UsageError("--clear takes faults away; leave out FAULT, or --clear")
    if name is None and (code is not None or orders or times is not None):
        raise UsageError("--code, --order and --times are of a FAULT; name one")
    if code is not None and name != REJECT:
        raise UsageError(f"--code is of {REJECT} alone; leave it out for {name}")
    if not all(is_storable(one.strip()) for one in orders):
        raise UsageError("--order: is empty or no text, and no order is called so")


def _worded(rule: Rule) -> str:
    where = "every operation" if rule.operation == "*" else rule.operation
    which = f"only {', '.join(rule.order_ids)}" if rule.order_ids else "every order"
    often = f"at most {rule.times}" if rule.times else "until it is cleared"
    return "   ".join([f"{rule.fault} {rule.code or ''}".strip(), where, which, often, f"fired {rule.fired}"])


def ledger(
    service: ServiceArgument,
    order: Annotated[str | None, typer.Argument(metavar="[ORDER]", help="An order id; every row without it.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Print the rows of a service's ledger: what really moved, in its own words and not in those of the journal.

    \b
    Examples
      saga ledger payment SO-1001
      saga ledger inventory -o jsonl
    """
    url = _address(settings_and_log(), service)
    rows = [it for it in read_movements(service, url) if order in {None, it.order_id}]
    of_order = f" of {order}" if order is not None else ""
    table = page(columns([_row(it) for it in rows], right=frozenset({3})))
    put_many(output, [_value(it) for it in rows], table or f"the ledger of {service} has no row{of_order}")


def _address(settings: Settings, service: str) -> str:
    if service not in SERVICES:
        raise UsageError(f"no service is called {service!r}; there are {', '.join(SERVICES)}")
    if (url := addresses(settings).get(service)) is None:
        raise UsageError(
            f"no address of {service}: run  saga dev  in the same SAGA_HOME, or set SAGA_{service.upper()}_URL"
        )
    return url


def _row(it: Movement) -> tuple[str, ...]:
    is_money = it.service in {PAYMENT, TAX} and was_known_currency(it.unit)
    moved = (shown(it.quantity, it.unit), it.unit) if is_money else (str(it.quantity), it.unit)
    way = f"{it.source} → {it.target}" if it.source else it.target
    return clock_time(it.at), it.order_id or DASH, way, *moved, it.operation


def _value(it: Movement) -> dict[str, Any]:
    moved = {"order_id": it.order_id or None, "from": it.source or None, "to": it.target, "unit": it.unit}
    return {"id": it.row_id, "at": it.at.isoformat(), **moved, "quantity": it.quantity, "operation": it.operation, "key": it.key or None}  # fmt: skip
