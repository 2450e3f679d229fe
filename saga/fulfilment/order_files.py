"""Files of orders: JSON lines of `Order`, or the *Online Retail* layout, told apart by the first character."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

from pydantic import ValidationError

from saga.errors import UsageError
from saga.fulfilment.intake import LINE_MAX, Found, Line, Meter, Refused, Repeated, lines_of, text_fault
from saga.fulfilment.json_text import DOUBLED, doubled_names, spreads_over_lines
from saga.fulfilment.models import Order, broken_rules
from saga.fulfilment.northwind import read_northwind
from saga.fulfilment.online_retail import read_online_retail, returned_pairs

LAYOUTS = "a file of orders is JSON lines or the Online Retail CSV"


def read_orders(path: Path, meter: Meter | None = None) -> Iterator[Found]:
    """Everything found in a file, plain or gzip, in its order. Raises `UsageError` when it cannot be read, or is no text:
    its first line is looked at now. `meter` is told how far the reading is."""
    if path.is_dir():
        return read_northwind(path, meter)
    first = next((line for line in lines_of(path) if line.data.strip()), None)
    begin = first.data.lstrip(b"\xef\xbb\xbf \t")[:1] if first else b""
    if first is None or begin == b"{":
        _refuse_spread(path, first)
        return read_json_lines(path, meter)
    if begin == b"[":
        raise UsageError(f"{path}: is a JSON array; write one JSON object a line, as  jq -c '.[]'  does")
    if fault := text_fault(first.data):
        raise UsageError(f"{path}: is neither UTF-8 text nor gzip: {fault} in line {first.number}; {LAYOUTS}")
    return read_online_retail(path, meter)


def _refuse_spread(path: Path, first: Line | None) -> None:
    """An order that a program has indented would be refused line by line, for no reason that a reader can find."""
    if first is None or not first.data.rstrip().endswith((b"{", b"[", b",")):
        return
    beginning = bytearray()
    for line in lines_of(path):
        beginning += line.data + b"\n"
        if len(beginning) > LINE_MAX:
            break
    if spreads_over_lines(bytes(beginning)):
        raise UsageError(f"{path}: looks like JSON over several lines; write one order a line, as  jq -c .  does")


def returnable(path: Path) -> set[tuple[str, str]]:
    """What the cancellations of a file name: (customer, SKU). JSON lines have none."""
    if path.is_dir():
        return set()
    first = next((line for line in lines_of(path) if line.data.strip()), None)
    is_csv = first is not None and first.data.lstrip(b"\xef\xbb\xbf \t")[:1] not in b"{["
    return returned_pairs(path) if is_csv else set()


def read_json_lines(path: Path, meter: Meter | None = None) -> Iterator[Found]:
    """An order, a refusal or a repeat for every line; lines without a character are the space between two.

    An id that stood in an earlier line with another content is refused with the number of that line; one digest for
    each order is kept for that. The same content again is the same order, which is handed out once.
    """
    known: dict[str, tuple[int, bytes]] = {}
    for line in lines_of(path, meter):
        if line.data.strip():
            yield _unless_repeated(_order(line), line.number, known)


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
    data = line.data.removeprefix(b"\xef\xbb\xbf")
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
