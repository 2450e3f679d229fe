"""Orders from the *Northwind* sample database of Microsoft, as a folder of CSV files.

Read are `orders.csv` (ship address), `order_details.csv` (lines) and `products.csv` (units in stock). Rules of this file:

- An order is one row of `orders.csv` with its lines. The price of a line is what was paid: unit price less discount, in cents,
  half-up. The currency is USD, the way of paying `pm_card`; the database has neither.
- `NULL` is the database's mark of nothing. A ship address without a part that an order needs refuses the order by that field.
- What is on the shelf is what `products.csv` says, and it is put there once: most orders of two years want more than that.
"""

import csv
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from io import TextIOWrapper
from pathlib import Path

from pydantic import ValidationError

from saga.errors import UsageError
from saga.fulfilment.intake import Found, Meter, Refused
from saga.fulfilment.models import Order, broken_rules
from saga.fulfilment.money import minor_units

ORDERS, LINES, PRODUCTS = "orders.csv", "order_details.csv", "products.csv"
CURRENCY = "USD"
PAYMENT_METHOD = "pm_card"
NULL = "NULL"
ROWS_MAX = 1_000_000
Row = Mapping[str, str]


def is_northwind(folder: Path) -> bool:
    """Whether the files of this layout are in the folder."""
    return all((folder / name).is_file() for name in (ORDERS, LINES, PRODUCTS))


def read_northwind(folder: Path, meter: Meter | None = None) -> Iterator[Found]:
    """An order or a refusal for every row of `orders.csv`. Raises `UsageError` for a file that is none of the layout."""
    lines: dict[str, list[Row]] = {}
    for row in _rows(folder / LINES, ("orderID", "productID", "unitPrice", "quantity", "discount")):
        lines.setdefault(row["orderID"], []).append(row)
    wanted = (
        "orderID",
        "customerID",
        "shipName",
        "shipAddress",
        "shipCity",
        "shipRegion",
        "shipPostalCode",
        "shipCountry",
    )
    for row in _rows(folder / ORDERS, wanted, meter):
        yield _order(row, lines.get(row["orderID"], []))


def northwind_stock(folder: Path) -> dict[str, int]:
    """SKU → units in stock. Raises `UsageError` for a number that is none."""
    stock: dict[str, int] = {}
    for row in _rows(folder / PRODUCTS, ("productID", "unitsInStock")):
        if not row["unitsInStock"].isdecimal():
            raise UsageError(
                f"{PRODUCTS}: product {row['productID']}: unitsInStock: {row['unitsInStock'][:40]!r} is no number"
            )
        stock[_sku(row)] = int(row["unitsInStock"])
    return stock


def _rows(path: Path, columns: tuple[str, ...], meter: Meter | None = None) -> Iterator[Row]:
    try:
        with path.open("rb") as raw, TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="too many", restval="")
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise UsageError(f"{path}: has no column {missing[0]}; a Northwind folder is expected")
            for number, row in enumerate(reader):
                if meter is not None:
                    meter.size, meter.place = path.stat().st_size, raw.tell()
                if number >= ROWS_MAX:
                    raise UsageError(f"{path}: has more than {ROWS_MAX:,} rows")
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error


def _order(row: Row, lines: list[Row]) -> Found:
    reference = row["orderID"]
    parts = {"name": "shipName", "street": "shipAddress", "city": "shipCity", "postcode": "shipPostalCode"}
    for part, column in parts.items():
        if row[column] in ("", NULL):
            return Refused(reference, f"{column}: is {NULL}; an order needs the {part} of its ship address")
    region = {} if row["shipRegion"] in ("", NULL) else {"region": row["shipRegion"]}
    try:
        values = {
            "order_id": reference,
            "customer_id": row["customerID"],
            "currency": CURRENCY,
            "country": row["shipCountry"],
            "address": {**{part: row[column] for part, column in parts.items()}, **region},
            "lines": [{"sku": _sku(it), "quantity": int(it["quantity"]), "unit_price": _price(it)} for it in lines],
            "payment_method": PAYMENT_METHOD,
        }
        return Order.model_validate(values)
    except ValidationError as error:
        return Refused(reference, broken_rules(error))
    except (ValueError, InvalidOperation) as error:
        return Refused(reference, f"{LINES}: a quantity, price or discount is no number: {error}")


def _price(line: Row) -> int:
    paid = Decimal(line["unitPrice"]) * (1 - Decimal(line["discount"]))
    return minor_units(paid, CURRENCY)[0]


def _sku(row: Row) -> str:
    return f"NW-{row['productID']}"
