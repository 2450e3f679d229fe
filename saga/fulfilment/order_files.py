"""Files of orders: JSON lines of `Order`, a CSV of one of the layouts, or a Northwind folder, told apart by how they begin."""

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from pydantic import ValidationError

from saga.errors import UsageError
from saga.fulfilment import online_retail, shop_exports
from saga.fulfilment.intake import Found, Refused, Repeated
from saga.fulfilment.json_text import DOUBLED, doubled_names, spreads_over_lines
from saga.fulfilment.models import Order, broken_rules
from saga.fulfilment.northwind import read_northwind
from saga.fulfilment.order_rows import PAGE, UNSAID, Reading, read_rows, sheet_of
from saga.fulfilment.text_files import LINE_MAX, Line, Meter, lines_of, text_fault

LAYOUTS = (*online_retail.LAYOUTS, *shop_exports.LAYOUTS)
"""Of CSV files, as docs/order-files.md has them."""


def read_orders(path: Path, meter: Meter | None = None, reading: Reading = UNSAID) -> Iterator[Found]:
    """Everything found in a file, plain or packed, in its order. Raises `UsageError` when it cannot be read, or is no text:
    its first line is looked at now. `meter` is told how far the reading is, and where the lines went."""
    if path.is_dir():
        return read_northwind(path, meter, reading)
    first = _first(path, reading)
    begin = first.data.lstrip()[:1] if first else b""
    if first is None or begin == b"{":
        if reading.currency:
            raise UsageError(f"{path}: each order of JSON lines says its currency; leave --currency out")
        _refuse_spread(path, first, reading)
        return read_json_lines(path, meter, reading)
    if begin == b"[":
        raise UsageError(f"{path}: is a JSON array; write one JSON object a line, as  jq -c '.[]'  does")
    if fault := text_fault(first.data):
        raise UsageError(f"{path}: is no text that can be read: {fault} (line {first.number}; {PAGE})")
    return read_rows(sheet_of(path, LAYOUTS, reading), meter)


def _first(path: Path, reading: Reading) -> Line | None:
    """The first line with content."""
    return next((line for line in lines_of(path, encoding=reading.encoding) if line.data.strip()), None)


def _refuse_spread(path: Path, first: Line | None, reading: Reading) -> None:
    """An order that a program has indented would be refused line by line, for no reason that a reader can find."""
    if first is None or not first.data.rstrip().endswith((b"{", b"[", b",")):
        return
    beginning = bytearray()
    for line in lines_of(path, encoding=reading.encoding):
        beginning += line.data
        if len(beginning) > LINE_MAX:
            break
    if spreads_over_lines(bytes(beginning)):
        raise UsageError(f"{path}: looks like JSON over several lines; write one order a line, as  jq -c .  does")


def returnable(path: Path, reading: Reading = UNSAID) -> set[tuple[str, str]]:
    """What the cancellations of a file name: (customer, SKU). Only the Online Retail layouts have some."""
    first = None if path.is_dir() else _first(path, reading)
    if first is None or first.data.lstrip()[:1] in (b"{", b"["):
        return set()
    sheet = sheet_of(path, LAYOUTS, reading)
    return online_retail.returned_pairs(sheet) if sheet.layout in online_retail.LAYOUTS else set()


def read_json_lines(path: Path, meter: Meter | None = None, reading: Reading = UNSAID) -> Iterator[Found]:
    """An order, a refusal or a repeat for every line; lines without a character are the space between two.

    An id that stood in an earlier line with another content is refused with the number of that line; one digest for
    each order is kept for that. The same content again is the same order, which is handed out once.
    """
    known: dict[str, tuple[int, bytes]] = {}
    count = (meter or Meter()).lines
    for line in lines_of(path, meter, reading.encoding):
        if not line.data.strip():
            count.empty += 1
            continue
        found = _unless_repeated(_order(line), line.number, known)
        if isinstance(found, Refused):
            count.refused += 1
            found = replace(found, lines=((line.number, line.number),))
        else:
            count.in_orders += 1
        yield found


def _unless_repeated(found: Order | Refused, number: int, known: dict[str, tuple[int, bytes]]) -> Found:
    if isinstance(found, Refused):
        return found
    is_first = found.order_id not in known
    digest = blake2b(found.model_dump_json().encode(), digest_size=16).digest()
    first, before = known.setdefault(found.order_id, (number, digest))
    if before == digest:
        return found if is_first else Repeated(f"line {number}", found.order_id)
    reason = f"order_id: line {number} repeats the id {found.order_id} of line {first}, with another content"
    return Refused(f"line {number}", reason)


def _order(line: Line) -> Order | Refused:
    if not line.is_whole:
        return Refused(f"line {line.number}", "the line: longer than a line may be")
    if fault := text_fault(line.data):
        return Refused(f"line {line.number}", f"the line: {fault}")
    data = line.data.removeprefix(BOM_UTF8).strip()  # of a file that was put together from several
    if doubled := doubled_names(data):
        return Refused(f"line {line.number}", "; ".join(f"{place}: {DOUBLED}" for place in doubled))
    try:
        return Order.model_validate_json(data)
    except ValidationError as error:
        return Refused(f"line {line.number}", broken_rules(error, whole="the line"))


def stock_needed(orders: Iterable[Order]) -> dict[str, int]:
    """How much of each SKU all of them take, by SKU; what has to be on stock for none to be refused."""
    needed: dict[str, int] = {}
    for order in orders:
        for sku, quantity in order.stock.items():
            needed[sku] = needed.get(sku, 0) + quantity
    return dict(sorted(needed.items()))
