"""Orders from what shops export: Shopify, and WooCommerce by two of its extensions.

One row is one order line, in the columns of a `Layout`. Rules of this file:

- What an order says once (address, sums) stands in each of its rows or in its first alone: a later row is empty there or says the same.
- An order has the price of a piece, without tax, in whole minor units, and the participants say tax and freight anew. So an export is
  taken when its own sums say that the prices are these: lines + shipping + tax = total. One that has its tax in its prices, a discount,
  fee or refund that the prices do not show, or a price that ends between two minor units is refused with the sum that does not hold.
- What the shop has cancelled is skipped; what it has refunded is refused. Whether an order was paid or sent there is not read.
- The way of paying is `pm_card`, as of the other layouts: the names that shops have for theirs mean nothing to a bank.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from pydantic import ValidationError

from saga.fulfilment.csv_text import Record
from saga.fulfilment.intake import Found, Refused, Skipped
from saga.fulfilment.models import LINES_MAX, Order, OrderLine, broken_rules
from saga.fulfilment.money import is_known_currency, minor_units
from saga.fulfilment.online_retail import GUEST, PAYMENT_METHOD
from saga.fulfilment.order_rows import Column, Layout, Sheet, Values

OF_LINES = frozenset({"sku", "quantity", "piece_price", "line_price", "line_discount", "line_refunded"})
"""What each row says for itself."""
NOTHING = ("discount", "refunded", "line_discount", "line_refunded", "fees", "duties")
"""What an order has no place for: empty or 0 in every row."""
CANCELLED = "cancelled order"
TAKEN = frozenset(
    {
        "",
        "pending",
        "pending payment",
        "authorized",
        "partially_paid",
        "paid",
        "unpaid",
        "processing",
        "on-hold",
        "on hold",
        "completed",
    }
)
SKIPPED = frozenset({"voided", "expired", "cancelled", "canceled", "failed", "trash", "draft", "checkout-draft"})
"""What shops call an order that nothing comes of."""
NO_CUSTOMER = ("", "0")
SHIP, BILL = "ship_", "bill_"


@dataclass(slots=True)
class _ShopOrder:
    """What has been read of an order."""

    sheet: Sheet
    first: int = 0
    said: dict[str, str] = field(default_factory=dict)
    """What it says once."""
    lines: list[OrderLine] = field(default_factory=list)
    goods: Decimal = Decimal(0)
    fault: str = ""

    def take(self, record: Record, values: Values | None) -> None:
        if self.fault:
            return
        try:
            self._add(record, values)
        except ValidationError as error:
            self.fault = f"line {record.first}: {broken_rules(error, named=self._named)}"
        except ValueError as error:
            self.fault = f"line {record.first}: {error}"

    def _add(self, record: Record, values: Values | None) -> None:
        """`ValueError` names the column and the rule."""
        if values is None:
            raise ValueError(f"the line: {record.fault}")
        self._say(record.first, values)
        if not self._kind():
            self._take_line(values)

    def closed(self, reference: str) -> Iterator[Found]:
        if kind := self._kind():
            yield Skipped(reference, kind)
        elif self.fault:
            yield Refused(reference, self.fault)
        else:
            yield self._order(reference)

    def _order(self, reference: str) -> Order | Refused:
        try:
            self._refuse_other_sums()
            return Order.model_validate(self._values(reference))
        except ValidationError as error:
            return Refused(reference, f"line {self.first}: {broken_rules(error, named=self._named)}")
        except ValueError as error:
            return Refused(reference, str(error))

    def _named(self, field_: str) -> str:
        """The columns that a field of an order was made of; a field that was made of none by its own name."""
        side = self._side()
        parts = {
            "address.name": [side + it for it in ("name", "first_name", "last_name")],
            "country": [f"{side}country"],
            "unit_price": ["line_price" if "line_price" in self.sheet.places else "piece_price"],
        }
        made_of = parts.get(field_, [side + field_.removeprefix("address.") if "." in field_ else field_])
        there = [self.sheet.named(it) for it in made_of if it in self.sheet.places]
        if field_ == "address.name" and not any(self.said.get(it) for it in made_of):
            there.append(self.sheet.named(f"{side}company"))
        return ", ".join(there) or field_

    def _say(self, number: int, values: Values) -> None:
        if not self.said:
            self.first = number
            self.said = {name: cell.strip() for name, cell in values.items() if name not in OF_LINES}
            return
        for name, before in self.said.items():
            if values[name].strip() not in ("", before):
                raise ValueError(f"{self.sheet.named(name)}: differs from that of the order's first line")

    def _kind(self) -> str:
        """Why it is skipped; empty when it is not."""
        return CANCELLED if self.said.get("cancelled_at") or self._status in SKIPPED else ""

    @property
    def _status(self) -> str:
        return self.said.get("status", "").casefold().removeprefix("wc-")

    def _take_line(self, values: Values) -> None:
        for name in NOTHING:
            if values.get(name, "").strip() and self.sheet.number(values, name):
                raise ValueError(f"{self.sheet.named(name)}: {values[name].strip()}; an order has no place for it")
        if len(self.lines) == LINES_MAX:
            raise ValueError(f"{self.sheet.named('order_id')}: more than {LINES_MAX} lines")
        if not values["sku"].strip():
            raise ValueError(f"{self.sheet.named('sku')}: is empty; an order line names what is sold by its SKU")
        quantity = self.sheet.whole_above_0(values, "quantity")
        name = "line_price" if "line_price" in values else "piece_price"
        price = self.sheet.number(values, name)
        minor, is_rounded = minor_units(price, self._currency)
        rest = minor % quantity if name == "line_price" else 0
        if is_rounded or rest:
            of = f" for {quantity} pieces" if name == "line_price" else ""
            raise ValueError(f"{self.sheet.named(name)}: {price}{of} is no price of a piece in whole minor units")
        piece = minor // quantity if name == "line_price" else minor
        self.lines.append(OrderLine(sku=values["sku"].strip(), quantity=quantity, unit_price=piece))
        self.goods += price if name == "line_price" else price * quantity

    @property
    def _currency(self) -> str:
        """Of the file or, where it says none, of who reads it."""
        found = self.said.get("currency", self.sheet.reading.currency or "")
        if not is_known_currency(found):
            raise ValueError(f"{self.sheet.named('currency')}: {found[:3]!r} is no currency of ISO 4217")
        return found

    def _refuse_other_sums(self) -> None:
        """`ValueError` when the prices of the lines are not what the order comes to."""
        # Not taken: refunded, or a word in another language, which may mean that; or nothing where the layout has a word.
        if self._is_to_be_said("status") or self._status not in TAKEN:
            rule = f"{self.said['status']!r} is no status of an order that is to be charged"
            raise ValueError(f"line {self.first}: {self.sheet.named('status')}: {rule}")
        if "subtotal" in self.said:
            self._refuse_unless(
                self._sum("subtotal") - self._sum("taken_off"), self.goods, "subtotal", "the sum of its lines"
            )
        shipping, tax, total = self._sum("shipping"), self._sum("tax"), self._sum("total")
        if tax and total == self.goods + shipping:
            why = f"is lines and shipping alone, so the prices have the {self.sheet.named('tax')} in them"
            named = self.sheet.named("total")
            raise ValueError(f"line {self.first}: {named}: {why}; an order has prices without tax")
        self._refuse_unless(total, self.goods + shipping + tax, "total", "lines, shipping and tax")

    def _refuse_unless(self, said: Decimal, sum_: Decimal, name: str, what: str) -> None:
        if said != sum_:
            raise ValueError(f"line {self.first}: {self.sheet.named(name)}: {said} is not {what}, {sum_}")

    def _sum(self, name: str) -> Decimal:
        """An amount that the order says once; 0 where it says none."""
        if not self.said.get(name) and name not in ("subtotal", "total"):
            return Decimal(0)
        try:
            found = self.sheet.number(self.said, name)
        except ValueError as error:
            raise ValueError(f"line {self.first}: {error}") from error
        if found < 0:  # it would make up for another sum that is too great
            raise ValueError(f"line {self.first}: {self.sheet.named(name)}: {found} is below 0")
        return found

    def _is_to_be_said(self, name: str) -> bool:
        """Whether a cell is empty whose column the layout needs."""
        return not self.said.get(name) and any(it.field == name and it.is_needed for it in self.sheet.layout.columns)

    def _values(self, reference: str) -> dict[str, object]:
        customer = self.said.get("customer_id", "")
        return {
            "order_id": reference,
            "customer_id": GUEST if customer in NO_CUSTOMER else customer,
            "currency": self._currency,
            "lines": self.lines,
            "payment_method": PAYMENT_METHOD,
            "email": self.said.get("email") or None,
            **self._address(),
        }

    def _side(self) -> str:
        has_ship = any(cell for name, cell in self.said.items() if name.startswith(SHIP))
        return SHIP if has_ship or f"{BILL}street" not in self.said else BILL

    def _address(self) -> dict[str, object]:
        """Where the parcel goes: the one place that knows which parts of an export an `Address` takes. Where an export has no
        address for shipping at all, shops ship to that of the bill, if the layout has its columns."""
        side = self._side()
        part = {name.removeprefix(side): cell for name, cell in self.said.items() if name.startswith(side)}
        for name in ("street", "city", "country"):
            if not part.get(name):
                raise ValueError(f"line {self.first}: {self.sheet.named(side + name)}: is empty; an order needs it")
        name = " ".join(filter(None, (part.get("name", ""), part.get("first_name", ""), part.get("last_name", ""))))
        company = part.get("company", "")
        address = {"name": name or company, "street": part["street"], "city": part["city"]}
        more = {field_: part.get(field_, "").lstrip("'") for field_ in ("street2", "postcode", "region", "phone")}
        more["company"] = company if name else ""
        return {"country": part["country"], "address": address | {it: text for it, text in more.items() if text}}


def _begun(_reference: str, sheet: Sheet) -> _ShopOrder:
    return _ShopOrder(sheet)


def _may(field_: str, names: str | tuple[str, ...], becomes: str) -> Column:
    return Column(field_, (names,) if isinstance(names, str) else names, becomes, is_needed=False)


def _must(field_: str, names: str | tuple[str, ...], becomes: str) -> Column:
    return Column(field_, (names,) if isinstance(names, str) else names, becomes)


MUST_BE_NOTHING = "refused unless it is empty or 0"
CHECKED = "checked against the lines"
INSTEAD = "the same where all shipping cells are empty"

SHOPIFY = Layout(
    "Shopify's order export",
    "Shopify Help Center, *Exporting orders*; columns as in exports of 2025",
    (
        _must("order_id", "Name", "`order_id`"),
        _must("sku", "Lineitem sku", "`sku`"),
        _must("quantity", "Lineitem quantity", "`quantity`"),
        _must("piece_price", "Lineitem price", "`unit_price`"),
        _must("currency", "Currency", "`currency`"),
        _must("subtotal", "Subtotal", f"{CHECKED}: their sum"),
        _must("shipping", "Shipping", f"{CHECKED}: lines + Shipping + Taxes = Total"),
        _must("tax", "Taxes", "the same"),
        _must("total", "Total", "the same"),
        _may("discount", "Discount Amount", MUST_BE_NOTHING),
        _may("line_discount", "Lineitem discount", MUST_BE_NOTHING),
        _may("refunded", "Refunded Amount", MUST_BE_NOTHING),
        _may("duties", "Duties", MUST_BE_NOTHING),
        _may("status", "Financial Status", "voided, expired: skipped; refunded, partially_refunded: refused"),
        _may("cancelled_at", "Cancelled at", "skipped when it is said"),
        _may("email", "Email", "`email`"),
        _must("ship_name", "Shipping Name", "`address.name`"),
        _may("ship_company", "Shipping Company", "`address.company`; `address.name` where there is none"),
        _must("ship_street", ("Shipping Address1", "Shipping Street"), "`address.street`"),
        _may("ship_street2", "Shipping Address2", "`address.street2`"),
        _must("ship_city", "Shipping City", "`address.city`"),
        _must("ship_postcode", "Shipping Zip", "`address.postcode`, without the `'` before it"),
        _may("ship_region", "Shipping Province", "`address.region`"),
        _must("ship_country", "Shipping Country", "`country`"),
        _may("ship_phone", "Shipping Phone", "`address.phone`, without the `'` before it"),
    ),
    _begun,
)
WOOCOMMERCE = Layout(
    "WooCommerce's Customer / Order / Coupon Export",
    "WooCommerce documentation, *Customer / Order / Coupon Export*, format *Default - One Row per Item*; also *Order Import Export "
    "for WooCommerce* (WebToffee) with line items in rows",
    (
        _must("order_id", ("order_number", "order_id"), "`order_id`"),
        _must("sku", "item_sku", "`sku`"),
        _must("quantity", "item_quantity", "`quantity`"),
        _must(
            "line_price", "item_total", "`unit_price`, by `item_quantity`: it is the line after discounts, without tax"
        ),
        _must("currency", "order_currency", "`currency`"),
        _must("shipping", "shipping_total", f"{CHECKED}: lines + shipping_total + tax_total = order_total"),
        _must("tax", "tax_total", "the same"),
        _must("total", "order_total", "the same"),
        _may("fees", "fee_total", MUST_BE_NOTHING),
        _may("refunded", "refunded_total", MUST_BE_NOTHING),
        _may("line_refunded", "item_refunded", MUST_BE_NOTHING),
        _must("status", "status", "cancelled, failed, trash, draft: skipped; refunded and what is not known: refused"),
        _may("customer_id", "customer_id", "`customer_id`; `guest` where it is empty or 0"),
        _may("email", ("billing_email", "customer_email"), "`email`"),
        _must("ship_first_name", "shipping_first_name", "`address.name`"),
        _must("ship_last_name", "shipping_last_name", "`address.name`"),
        _may("ship_company", "shipping_company", "`address.company`; `address.name` where there is none"),
        _must("ship_street", "shipping_address_1", "`address.street`"),
        _may("ship_street2", "shipping_address_2", "`address.street2`"),
        _must("ship_city", "shipping_city", "`address.city`"),
        _must("ship_postcode", "shipping_postcode", "`address.postcode`"),
        _may("ship_region", ("shipping_state_code", "shipping_state"), "`address.region`"),
        _must("ship_country", "shipping_country", "`country`"),
        _may("ship_phone", "shipping_phone", "`address.phone`"),
        _may("bill_first_name", "billing_first_name", INSTEAD),
        _may("bill_last_name", "billing_last_name", INSTEAD),
        _may("bill_company", "billing_company", INSTEAD),
        _may("bill_street", "billing_address_1", INSTEAD),
        _may("bill_street2", "billing_address_2", INSTEAD),
        _may("bill_city", "billing_city", INSTEAD),
        _may("bill_postcode", "billing_postcode", INSTEAD),
        _may("bill_region", ("billing_state_code", "billing_state"), INSTEAD),
        _may("bill_country", "billing_country", INSTEAD),
        _may("bill_phone", "billing_phone", INSTEAD),
    ),
    _begun,
)
WOOCOMMERCE_ADVANCED = Layout(
    "WooCommerce's Advanced Order Export",
    "AlgolPlus, *Advanced Order Export For WooCommerce*, its default columns",
    (
        _must("order_id", "Order Number", "`order_id`"),
        _must("sku", "SKU", "`sku`"),
        _must("quantity", ("Quantity (- Refund)", "Quantity"), "`quantity`"),
        _must("piece_price", "Item Cost", "`unit_price`: it is after discounts, without tax"),
        _must(
            "currency",
            ("Currency", "Order Currency"),
            "`currency`; not in the default columns: add it, or say `--currency`",
        ),
        _may("subtotal", "Order Subtotal Amount", f"{CHECKED}: their sum + Cart Discount Amount"),
        _may("taken_off", "Cart Discount Amount", "the same"),
        _must("shipping", "Order Shipping Amount", f"{CHECKED}: lines + shipping + tax = Order Total Amount"),
        _must("tax", "Order Total Tax Amount", "the same"),
        _must("total", "Order Total Amount", "the same"),
        _may("refunded", "Order Refund Amount", MUST_BE_NOTHING),
        _must(
            "status",
            "Order Status",
            "cancelled, failed, trash, draft: skipped; refunded and what is not known: refused",
        ),
        _may("customer_id", "Customer User ID", "`customer_id`; `guest` where it is empty or 0"),
        _may("email", "Email (Billing)", "`email`"),
        _must("ship_first_name", "First Name (Shipping)", "`address.name`"),
        _must("ship_last_name", "Last Name (Shipping)", "`address.name`"),
        _may("ship_company", "Company (Shipping)", "`address.company`; `address.name` where there is none"),
        _must("ship_street", ("Address 1&2 (Shipping)", "Address 1 (Shipping)"), "`address.street`"),
        _may("ship_street2", "Address 2 (Shipping)", "`address.street2`"),
        _must("ship_city", "City (Shipping)", "`address.city`"),
        _must("ship_postcode", "Postcode (Shipping)", "`address.postcode`"),
        _may("ship_region", "State Code (Shipping)", "`address.region`"),
        _must("ship_country", ("Country Code (Shipping)", "Country Name (Shipping)"), "`country`"),
        _may("bill_first_name", "First Name (Billing)", INSTEAD),
        _may("bill_last_name", "Last Name (Billing)", INSTEAD),
        _may("bill_company", "Company (Billing)", INSTEAD),
        _may("bill_street", ("Address 1&2 (Billing)", "Address 1 (Billing)"), INSTEAD),
        _may("bill_street2", "Address 2 (Billing)", INSTEAD),
        _may("bill_city", "City (Billing)", INSTEAD),
        _may("bill_postcode", "Postcode (Billing)", INSTEAD),
        _may("bill_region", "State Code (Billing)", INSTEAD),
        _may("bill_country", ("Country Code (Billing)", "Country Name (Billing)"), INSTEAD),
    ),
    _begun,
)
LAYOUTS = (SHOPIFY, WOOCOMMERCE, WOOCOMMERCE_ADVANCED)
