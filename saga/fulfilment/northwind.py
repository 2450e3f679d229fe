"""Orders from the *Northwind* sample database of Microsoft, as a folder of CSV files.

Read are `orders.csv` (ship address), `order_details.csv` (lines) and `products.csv` (units in stock). Rules of this file:

- An order is one row of `orders.csv` with its lines. The price of a line is what was paid: unit price less discount, in cents,
  half-up. The currency is USD, the way of paying `pm_card`; the database has neither.
- `NULL` is the database's mark of nothing. A ship address without a part that an order needs refuses the order by that field.
- What is on the shelf is what `products.csv` says, and it is put there once: most orders of two years want more than that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from saga.errors import UsageError
from saga.fulfilment.csv_text import Head, Record, head_of, records_of
from saga.fulfilment.intake import Found, Refused
from saga.fulfilment.models import Order, broken_rules
from saga.fulfilment.money import minor_units
from saga.fulfilment.numbers_text import number_of, whole_number_of
from saga.fulfilment.order_rows import UNSAID, Reading, key_of
from saga.fulfilment.text_files import Meter

ORDERS, LINES, PRODUCTS = "orders.csv", "order_details.csv", "products.csv"
CURRENCY = "USD"
PAYMENT_METHOD = "pm_card"
NULL = "NULL"
ROWS_MAX = 1_000_000
ORDER_COLUMNS = (
    "orderID",
    "customerID",
    "shipName",
    "shipAddress",
    "shipCity",
    "shipRegion",
    "shipPostalCode",
    "shipCountry",
)
LINE_COLUMNS = ("orderID", "productID", "unitPrice", "quantity", "discount")
PARTS = {"name": "shipName", "street": "shipAddress", "city": "shipCity", "postcode": "shipPostalCode"}
SHOWN = 40
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Sheet:
    """One file of the folder, and where the columns stand that are read."""

    path: Path
    reading: Reading
    head: Head
    places: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Line:
    """An order line, or why it is none."""

    number: int
    values: Mapping[str, object] = field(default_factory=dict)
    fault: str = ""


def is_northwind(folder: Path) -> bool:
    """Whether the files of this layout are in the folder."""
    return all((folder / name).is_file() for name in (ORDERS, LINES, PRODUCTS))


def read_northwind(folder: Path, meter: Meter | None = None, reading: Reading = UNSAID) -> Iterator[Found]:
    """An order or a refusal for every row of `orders.csv`, and a refusal for each line that is of none of them. Raises
    `UsageError` for a file that is none of the layout."""
    meter = meter if meter is not None else Meter()
    lines = _lines(folder / LINES, reading)
    for record, row in _rows(_sheet(folder / ORDERS, ORDER_COLUMNS, reading), meter):
        found = _order(row, lines.pop(row["orderID"], None), reading) if row else _broken(ORDERS, record)
        if isinstance(found, Refused):
            meter.lines.refused += record.last - record.first + 1
            found = replace(found, lines=((record.first, record.last),))
        else:
            meter.lines.in_orders += record.last - record.first + 1
        yield found
    for reference, left in lines.items():
        why = f"is of order {reference[:SHOWN]!r}, which {ORDERS} does not have"
        yield from (
            Refused(f"{LINES} line {one.number}", one.fault or f"{LINES}: line {one.number}: {why}") for one in left
        )


def _lines(path: Path, reading: Reading) -> dict[str, list[_Line]]:
    """The lines of each order. A broken one may be of the orders around it, so it stands in both."""
    lines: dict[str, list[_Line]] = {}
    before, lost = "", list[_Line]()
    sheet = _sheet(path, LINE_COLUMNS, reading)
    for record, row in _rows(sheet):
        if row:
            one = _line(record.first, row, sheet.head.mark)
            lines.setdefault(row["orderID"], []).extend([*lost, one])
            before, lost = row["orderID"], []
        else:
            lost.append(_Line(record.first, fault=_broken(LINES, record).reason))
            lines.setdefault(before, []).append(lost[-1])
    return lines


def _line(number: int, row: Row, mark: str) -> _Line:
    try:
        paid = number_of(row["unitPrice"], mark) * (1 - number_of(row["discount"], mark))
        price = minor_units(paid, CURRENCY)[0]
        return _Line(
            number, {"sku": _sku(row), "quantity": whole_number_of(row["quantity"], mark), "unit_price": price}
        )
    except ValueError as error:
        return _Line(number, fault=f"{LINES}: a quantity, price or discount is no number: {error} (line {number})")


def northwind_stock(folder: Path, reading: Reading = UNSAID) -> dict[str, int]:
    """SKU → units in stock. Raises `UsageError` for a number that is none."""
    stock: dict[str, int] = {}
    for record, row in _rows(_sheet(folder / PRODUCTS, ("productID", "unitsInStock"), reading)):
        if not row:
            raise UsageError(_broken(PRODUCTS, record).reason)
        if not row["unitsInStock"].isdecimal():
            raise UsageError(
                f"{PRODUCTS}: product {row['productID']}: unitsInStock: {row['unitsInStock'][:SHOWN]!r} is no number"
            )
        stock[_sku(row)] = int(row["unitsInStock"])
    return stock


def _sheet(path: Path, columns: tuple[str, ...], reading: Reading) -> _Sheet:
    head = head_of(path, reading.encoding)
    names = [key_of(name) for name in head.names]
    if missing := [name for name in columns if key_of(name) not in names]:
        raise UsageError(f"{path}: has no column {missing[0]}; a Northwind folder is expected")
    return _Sheet(path, reading, head, {name: names.index(key_of(name)) for name in columns})


def _rows(sheet: _Sheet, meter: Meter | None = None) -> Iterator[tuple[Record, Row]]:
    """Each record with its cells by column; a broken one has none."""
    records = records_of(sheet.path, sheet.head, has_notes=False, meter=meter, encoding=sheet.reading.encoding)
    for number, record in enumerate(records):
        if number >= ROWS_MAX:
            raise UsageError(f"{sheet.path}: has more than {ROWS_MAX:,} rows")
        yield record, {} if record.fault else {name: record.cells[at].strip() for name, at in sheet.places.items()}


def _broken(name: str, record: Record) -> Refused:
    return Refused(f"{name} line {record.first}", f"{name}: line {record.first}: {record.fault}")


def _order(row: Row, lines: list[_Line] | None, reading: Reading) -> Order | Refused:
    reference = row["orderID"]
    if fault := next((one.fault for one in lines or () if one.fault), ""):
        return Refused(reference, fault)
    for part, column in PARTS.items():
        if row[column] in ("", NULL):
            return Refused(reference, f"{column}: is {NULL}; an order needs the {part} of its ship address")
    region = {} if row["shipRegion"] in ("", NULL) else {"region": row["shipRegion"]}
    values = {
        "order_id": reference,
        "customer_id": row["customerID"],
        "currency": reading.currency or CURRENCY,
        "country": row["shipCountry"],
        "address": {**{part: row[column] for part, column in PARTS.items()}, **region},
        "lines": [one.values for one in lines or ()],
        "payment_method": PAYMENT_METHOD,
    }
    try:
        return Order.model_validate(values)
    except ValidationError as error:
        return Refused(reference, broken_rules(error))


def _sku(row: Row) -> str:
    return f"NW-{row['productID']}"
