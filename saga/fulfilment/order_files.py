"""Files of orders: JSON lines of `Order`, or the *Online Retail* layout, told apart by the first character."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from saga.fulfilment.intake import Found, Line, Refused, lines_of
from saga.fulfilment.models import Order, broken_rules
from saga.fulfilment.online_retail import read_online_retail


def read_orders(path: Path) -> Iterator[Found]:
    """Everything found in a file, plain or gzip, in its order. Raises `UsageError` when it cannot be read."""
    first = next((line for line in lines_of(path) if line.data.strip()), None)
    if first is None or first.data.lstrip(b"\xef\xbb\xbf \t").startswith(b"{"):
        return read_json_lines(path)
    return read_online_retail(path)


def read_json_lines(path: Path) -> Iterator[Found]:
    """An order or a refusal for every line; lines without a character are the space between two."""
    return (_order(line) for line in lines_of(path) if line.data.strip())


def _order(line: Line) -> Order | Refused:
    if not line.is_whole:
        return Refused(f"line {line.number}", "the line: longer than a line may be")
    try:
        return Order.model_validate_json(line.data.removeprefix(b"\xef\xbb\xbf"))
    except ValidationError as error:
        return Refused(f"line {line.number}", broken_rules(error))


def stock_needed(orders: Iterable[Order]) -> dict[str, int]:
    """How much of each SKU all of them take, by SKU; what has to be on stock for none to be refused."""
    needed: dict[str, int] = {}
    for order in orders:
        for sku, quantity in order.stock.items():
            needed[sku] = needed.get(sku, 0) + quantity
    return dict(sorted(needed.items()))
