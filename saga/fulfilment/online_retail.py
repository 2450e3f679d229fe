"""Orders from the *Online Retail* layout (UCI Machine Learning Repository, Daqing Chen, 2015).

One CSV row is one order line: InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice (GBP), CustomerID (may
be empty), Country. Rules of this file:

- An invoice is an order when every line of it is clean; one line that is not refuses the whole invoice, with the first
  reason. Invoices `A...` (bad-debt adjustments) are skipped; a `C...` is a `Cancelled`: pieces that a customer gives back.
- The lines of an invoice are *not* always contiguous (two rows of another invoice stand inside 542806). So a first pass
  notes the last line of every invoice, and the second hands an invoice out when that line was read: memory holds one
  number per invoice and the lines of the invoices that are open.
- The layout has no address, currency or way of paying. The address is made up from Country and CustomerID, the currency
  is GBP, the payment method `pm_card`. A customer without CustomerID is `guest`.
- A space in a StockCode becomes `_` (`BANK CHARGES`): a SKU is part of a path. Prices become pence half-up; `Rounded`
  stands before an order whose prices were finer than that.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from pydantic import ValidationError

from saga.errors import UsageError
from saga.fulfilment.intake import Cancelled, Found, Line, Meter, Refused, Rounded, Skipped, lines_of
from saga.fulfilment.models import LINES_MAX, Order, OrderLine, broken_rules
from saga.fulfilment.money import minor_units

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
CURRENCY = "GBP"
PAYMENT_METHOD = "pm_card"
GUEST = "guest"
SHOWN = 80
REFERENCE_MAX = 65
"""One more than an order id may have, so that a longer one is refused and not cut to a valid one."""
CANCELLATION = "cancellation"
NOT_ORDERS = {"C": CANCELLATION, "A": "adjustment"}
RETURNED = re.compile(r"-[1-9][0-9]{0,8}")
INTEGER = re.compile(r"-?[0-9]{1,12}")
DECIMAL = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?")


@dataclass(frozen=True, slots=True)
class _Row:
    """One line as far as it can be read; `fault` names field and rule when it is not a clean order line."""

    number: int
    invoice: str
    fault: str = ""
    line: OrderLine | None = None
    is_rounded: bool = False
    buyer: tuple[str, str] = ("", "")
    """CustomerID and Country."""


@dataclass(slots=True)
class _Invoice:
    """What has been read of an invoice whose last line has not come yet."""

    buyer: tuple[str, str] = ("", "")
    lines: list[OrderLine] = field(default_factory=list)
    rounded_count: int = 0
    fault: str = ""

    def take(self, row: _Row) -> None:
        if self.fault:
            return
        self.fault = row.fault and f"line {row.number}: {row.fault}"
        if self.lines and row.buyer != self.buyer and not self.fault:
            self.fault = f"line {row.number}: CustomerID, Country: differ from those of the invoice's first line"
        if len(self.lines) == LINES_MAX:
            self.fault = f"line {row.number}: InvoiceNo: more than {LINES_MAX} lines"
        if self.fault or row.line is None:
            self.lines.clear()
            return
        self.buyer = row.buyer
        self.lines.append(row.line)
        self.rounded_count += row.is_rounded


@dataclass(slots=True)
class _Returned:
    """What has been read of a cancellation; the lines of one SKU add up."""

    customer_id: str = ""
    pieces: dict[str, int] = field(default_factory=dict)
    unreadable_count: int = 0

    def take(self, values: dict[str, str] | None) -> None:
        if values is None or not RETURNED.fullmatch(values["Quantity"]) or not _sku(values):
            self.unreadable_count += 1
            return
        customer = _customer(values)
        if self.customer_id not in ("", customer):
            self.unreadable_count += 1
            return
        self.customer_id = customer
        self.pieces[_sku(values)] = self.pieces.get(_sku(values), 0) - int(values["Quantity"])

    def closed(self, reference: str) -> Cancelled:
        return Cancelled(reference, self.customer_id or GUEST, self.pieces, self.unreadable_count)


def read_online_retail(path: Path, meter: Meter | None = None) -> Iterator[Found]:
    """The orders of a file, each where its last line stands, and what was refused or skipped, each with its reason.

    The file is read twice, so it must be a file and not a pipe. Raises `UsageError` when columns are missing, when the
    file cannot be read to its end, or when it changed between the passes.
    """
    lasts = {_invoice_of(line) or f"line {line.number}": line.number for line in _records(path)}
    opened: dict[str, _Invoice] = {}
    returned: dict[str, _Returned] = {}
    for line in _records(path, meter):
        reference = _invoice_of(line) or f"line {line.number}"
        last = lasts.get(reference, 0)
        if line.number > last:
            raise UsageError(f"{path}: changed while it was read (line {line.number}); read it again")
        if not _invoice_of(line):
            yield Refused(reference, "InvoiceNo: is empty")
            continue
        kind = NOT_ORDERS.get(reference[0])
        if kind is None:
            opened.setdefault(reference, _Invoice()).take(_row(line, reference))
        elif kind == CANCELLATION:
            returned.setdefault(reference, _Returned()).take(_values_or_none(line))
        if line.number < last:
            continue
        if kind is None:
            yield from _closed(reference, opened.pop(reference))
        elif kind == CANCELLATION:
            yield returned.pop(reference).closed(reference)
        else:
            yield Skipped(reference, kind)


def returned_pairs(path: Path) -> set[tuple[str, str]]:
    """Every (customer, SKU) that a cancellation of the file names, so that nobody need keep what no return can be about."""
    pairs: set[tuple[str, str]] = set()
    for line in _records(path):
        if NOT_ORDERS.get(_invoice_of(line)[:1]) == CANCELLATION:
            one = _Returned()
            one.take(_values_or_none(line))
            pairs.update((one.customer_id, sku) for sku in one.pieces)
    return pairs


def _records(path: Path, meter: Meter | None = None) -> Iterator[Line]:
    lines = lines_of(path, meter)
    header = next(lines, None)
    names = header.data.removeprefix(b"\xef\xbb\xbf") if header else b""
    if names != ",".join(COLUMNS).encode():
        raise UsageError(
            f"{path}: the first line must be {','.join(COLUMNS)}, or '{{' and an order when it is JSON lines; "
            f"it is {_shown(names)}"
        )
    return (line for line in lines if line.data)


def _shown(names: bytes) -> str:
    return repr(names.decode(errors="replace")[:SHOWN]) + (" …" if len(names) > SHOWN else "")


def _cells(data: bytes) -> list[str]:
    try:
        return next(csv.reader([data.decode()], strict=True), [])
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from error
    except csv.Error as error:
        raise ValueError(str(error)) from error


def _invoice_of(line: Line) -> str:
    """The invoice that a line belongs to, also when the rest of it cannot be read: all before the first comma."""
    return line.data.partition(b",")[0].decode(errors="replace").strip().strip('"')[:REFERENCE_MAX]


def _values(line: Line) -> dict[str, str]:
    """The cells by column. `ValueError` says what is wrong with the line as a whole."""
    if not line.is_whole:
        raise ValueError("longer than a line may be")
    cells = _cells(line.data)
    if len(cells) != len(COLUMNS):
        raise ValueError(f"has {len(cells)} cells instead of {len(COLUMNS)}")
    return dict(zip(COLUMNS, cells, strict=True))


def _row(line: Line, reference: str) -> _Row:
    try:
        values = _values(line)
    except ValueError as error:
        return _Row(line.number, reference, f"the line: {error}")
    price = values["UnitPrice"]
    fault = _quantity_fault(values["Quantity"]) or _price_fault(price)
    if fault:
        return _Row(line.number, reference, fault)
    pence, is_rounded = minor_units(Decimal(price), CURRENCY)
    try:
        bought = OrderLine(sku=_sku(values), quantity=int(values["Quantity"]), unit_price=pence)
    except ValidationError as error:
        return _Row(line.number, reference, broken_rules(error))
    buyer = (_customer(values), values["Country"].strip())
    return _Row(line.number, reference, line=bought, is_rounded=is_rounded, buyer=buyer)


def _sku(values: dict[str, str]) -> str:
    return values["StockCode"].strip().replace(" ", "_")


def _customer(values: dict[str, str]) -> str:
    return values["CustomerID"].strip().removesuffix(".0") or GUEST


def _values_or_none(line: Line) -> dict[str, str] | None:
    try:
        return _values(line)
    except ValueError:
        return None


def _quantity_fault(text: str) -> str:
    if not INTEGER.fullmatch(text):
        return f"Quantity: {text[:40]!r} is not a whole number"
    return "" if int(text) > 0 else f"Quantity: {text} is not above 0"


def _price_fault(text: str) -> str:
    if not DECIMAL.fullmatch(text):
        return f"UnitPrice: {text[:40]!r} is not a decimal number"
    return "" if Decimal(text) > 0 else f"UnitPrice: {text} is not above 0"


POSTCODES = {
    "Australia": "2060",
    "Austria": "1010",
    "Bahrain": "317",
    "Belgium": "4000",
    "Brazil": "40301-110",
    "Canada": "H3Z 2Y7",
    "Channel Islands": "GY1 1AA",
    "Cyprus": "2008",
    "Czech Republic": "100 00",
    "Denmark": "8660",
    "EIRE": "A65 F4E2",
    "Finland": "00550",
    "France": "33380",
    "Germany": "26133",
    "Greece": "151 24",
    "Iceland": "320",
    "Israel": "9614303",
    "Italy": "00144",
    "Japan": "154-0023",
    "Lebanon": "2038 3054",
    "Lithuania": "04340",
    "Malta": "NXR 01",
    "Netherlands": "1234 AB",
    "Norway": "0025",
    "Poland": "00-950",
    "Portugal": "2725-079",
    "RSA": "0083",
    "Saudi Arabia": "11564",
    "Singapore": "546080",
    "Spain": "28039",
    "Sweden": "11455",
    "Switzerland": "2544",
    "USA": "95014",
    "United Kingdom": "EC1Y 8SY",
}
"""The layout has no postcode, and most countries have a pattern for theirs: one of each, made up as the rest of the address is."""


def _closed(reference: str, invoice: _Invoice) -> Iterator[Found]:
    if invoice.fault:
        yield Refused(reference, invoice.fault)
        return
    customer, country = invoice.buyer
    values = {
        "order_id": reference,
        "customer_id": customer,
        "currency": CURRENCY,
        "country": country,
        "address": {
            "name": f"Customer {customer}",
            "street": f"{customer} Customer Street",
            "city": country,
            "postcode": POSTCODES.get(country, "0"),
        },
        "lines": invoice.lines,
        "payment_method": PAYMENT_METHOD,
    }
    try:
        order = Order.model_validate(values)
    except ValidationError as error:
        yield Refused(reference, broken_rules(error))
        return
    if invoice.rounded_count:
        yield Rounded(reference, invoice.rounded_count)
    yield order
