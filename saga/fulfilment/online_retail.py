"""Orders from the *Online Retail* layouts (UCI Machine Learning Repository, Daqing Chen, 2015 and 2019).

One row is one order line. The second layout has the same columns under other names. Rules of this file:

- An invoice is an order when every row of it is clean; one that is not refuses the whole invoice, with the first
  reason. Invoices `A...` (bad-debt adjustments) are skipped; a `C...` is a `Cancelled`: pieces that a customer gives back.
- The layouts have no address, currency or way of paying. The address is made up from Country and CustomerID, the currency
  is GBP unless another is said, the payment method `pm_card`. A customer without CustomerID is `guest`.
- A space in a StockCode becomes `_` (`BANK CHARGES`): a SKU is part of a path. Prices become pence half-up; `Rounded`
  stands before an order whose prices were finer than that.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from saga.fulfilment.csv_text import Record
from saga.fulfilment.intake import Cancelled, Found, Refused, Rounded, Skipped
from saga.fulfilment.models import LINES_MAX, Order, OrderLine, broken_rules
from saga.fulfilment.money import minor_units
from saga.fulfilment.numbers_text import whole_number_of
from saga.fulfilment.order_rows import Column, Layout, Reading, Sheet, Values, read_rows, sheet_of
from saga.fulfilment.text_files import Meter

CURRENCY = "GBP"
PAYMENT_METHOD = "pm_card"
GUEST = "guest"
CANCELLATION = "cancellation"
ADJUSTMENT = "adjustment"
RETURNED_MAX = 10**9 - 1


@dataclass(slots=True)
class _Invoice:
    """What has been read of an invoice."""

    sheet: Sheet
    first: int = 0
    """The line that it begins in."""
    buyer: tuple[str, str] = ("", "")
    """CustomerID and Country."""
    lines: list[OrderLine] = field(default_factory=list)
    rounded_count: int = 0
    fault: str = ""

    def take(self, record: Record, values: Values | None) -> None:
        self.first = self.first or record.first
        if self.fault:
            return
        try:
            self._add(record, values)
        except ValidationError as error:
            self.fault = f"line {record.first}: {broken_rules(error, named=self._named)}"
        except ValueError as error:
            self.fault = f"line {record.first}: {error}"
        if self.fault:
            self.lines.clear()

    def _add(self, record: Record, values: Values | None) -> None:
        """`ValueError` names the column and the rule."""
        if values is None:
            raise ValueError(f"the line: {record.fault}")
        line, is_rounded = self._line(values)
        buyer = (_customer(values), values["country"].strip())
        if self.lines and buyer != self.buyer:
            named = f"{self.sheet.named('customer_id')}, {self.sheet.named('country')}"
            raise ValueError(f"{named}: differ from those of the invoice's first line")
        if len(self.lines) == LINES_MAX:
            raise ValueError(f"{self.sheet.named('order_id')}: more than {LINES_MAX} lines")
        self.buyer = buyer
        self.lines.append(line)
        self.rounded_count += is_rounded

    def closed(self, reference: str) -> Iterator[Found]:
        if self.fault:
            yield Refused(reference, self.fault)
            return
        try:
            order = Order.model_validate(self._values(reference))
        except ValidationError as error:
            yield Refused(reference, f"line {self.first}: {broken_rules(error, named=self._named)}")
            return
        if self.rounded_count:
            yield Rounded(reference, self.rounded_count)
        yield order

    def _named(self, field_: str) -> str:
        """The column that a field of an order was made of."""
        made_of = {"unit_price": "price", "address.city": "country", "address.postcode": "country"}
        made_of |= {"address.name": "customer_id", "address.street": "customer_id"}
        return self.sheet.named(made_of.get(field_, field_))

    def _line(self, values: Values) -> tuple[OrderLine, bool]:
        """A row, and whether its price was rounded."""
        quantity = self.sheet.whole_above_0(values, "quantity")
        price = self.sheet.number_above_0(values, "price")
        pence, is_rounded = minor_units(price, self._currency)
        return OrderLine(sku=_sku(values), quantity=quantity, unit_price=pence), is_rounded

    @property
    def _currency(self) -> str:
        return self.sheet.reading.currency or CURRENCY

    def _values(self, reference: str) -> dict[str, object]:
        customer, country = self.buyer
        return {
            "order_id": reference,
            "customer_id": customer,
            "currency": self._currency,
            "country": country,
            "address": {
                "name": f"Customer {customer}",
                "street": f"{customer} Customer Street",
                "city": country,
                "postcode": POSTCODES.get(country, "0"),
            },
            "lines": self.lines,
            "payment_method": PAYMENT_METHOD,
        }


@dataclass(slots=True)
class _Returned:
    """What has been read of a cancellation; the lines of one SKU add up."""

    sheet: Sheet
    customer_id: str = ""
    pieces: dict[str, int] = field(default_factory=dict)
    unreadable_count: int = 0

    def take(self, _record: Record, values: Values | None) -> None:
        quantity = self._quantity(values)
        if values is None or not -RETURNED_MAX <= quantity < 0 or not _sku(values):
            self.unreadable_count += 1
            return
        customer = _customer(values)
        if self.customer_id not in ("", customer):
            self.unreadable_count += 1
            return
        self.customer_id = customer
        self.pieces[_sku(values)] = self.pieces.get(_sku(values), 0) - quantity

    def _quantity(self, values: Values | None) -> int:
        try:
            return whole_number_of(values["quantity"], self.sheet.head.mark) if values is not None else 0
        except ValueError:
            return 0

    def closed(self, reference: str) -> Iterator[Found]:
        yield Cancelled(reference, self.customer_id or GUEST, self.pieces, self.unreadable_count)


@dataclass(slots=True)
class _Adjusted:
    """What is no order, however its rows look."""

    def take(self, record: Record, values: Values | None) -> None:
        pass

    def closed(self, reference: str) -> Iterator[Found]:
        yield Skipped(reference, ADJUSTMENT)


def _begun(reference: str, sheet: Sheet) -> _Invoice | _Returned | _Adjusted:
    match reference[0].upper():
        case "C":
            return _Returned(sheet)
        case "A":
            return _Adjusted()
        case _:
            return _Invoice(sheet)


def _columns(invoice: str, price: str, customer: str) -> tuple[Column, ...]:
    return (
        Column("order_id", (invoice,), "`order_id`; `C…` is a cancellation, `A…` an adjustment"),
        Column("sku", ("StockCode",), "`sku`, with `_` for a blank"),
        Column("quantity", ("Quantity",), "`quantity`"),
        Column("price", (price,), "`unit_price`, rounded half-up to the minor unit"),
        Column("customer_id", (customer,), "`customer_id`; `guest` where it is empty"),
        Column("country", ("Country",), "`country`"),
    )


ONLINE_RETAIL = Layout(
    "Online Retail",
    "UCI Machine Learning Repository, *Online Retail* (Daqing Chen, 2015)",
    _columns("InvoiceNo", "UnitPrice", "CustomerID"),
    _begun,
    has_notes=False,
)
ONLINE_RETAIL_II = Layout(
    "Online Retail II",
    "UCI Machine Learning Repository, *Online Retail II* (Daqing Chen, 2019)",
    _columns("Invoice", "Price", "Customer ID"),
    _begun,
    has_notes=False,
)
LAYOUTS = (ONLINE_RETAIL, ONLINE_RETAIL_II)


def read_online_retail(path: Path, meter: Meter | None = None) -> Iterator[Found]:
    """The orders of a file of one of these layouts, as `read_rows` hands them out."""
    return read_rows(sheet_of(path, LAYOUTS, Reading()), meter)


def returned_pairs(sheet: Sheet) -> set[tuple[str, str]]:
    """Every (customer, SKU) that a cancellation of the file names, so that nobody need keep what no return can be about."""
    pairs: set[tuple[str, str]] = set()
    for record in sheet.records():
        if sheet.reference(record)[:1].upper() == "C":
            one = _Returned(sheet)
            one.take(record, sheet.values(record))
            pairs.update((one.customer_id, sku) for sku in one.pieces)
    return pairs


def _sku(values: Values) -> str:
    return values["sku"].strip().replace(" ", "_")


def _customer(values: Values) -> str:
    return values["customer_id"].strip().removesuffix(".0").removesuffix(",0") or GUEST


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
