"""What an order is, and what its participants are asked and answer (docs/participants.md).

Rules of this file
------------------
Everything is frozen and strict: an integer is an integer, never "7", 7.5 or true (saga.fulfilment.fields). What comes from outside to be kept
(`Order`) refuses unknown fields; an answer of a participant ignores them, so that a participant may add one, and holds
only what a step or a person needs of it. Every number and every text has bounds, chosen so that sums stay far below
2**63, and no text holds a control character, a line break or half a surrogate pair: it goes into databases, mail headers
and paths. Money is integer minor units (saga.fulfilment.money).

The lines of one SKU are kept as they came; `Order.stock` adds them up.
"""

from collections.abc import Callable
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from saga.fulfilment.fields import (
    Amount,
    Country,
    Currency,
    Email,
    Id,
    Integral,
    Phone,
    Postcode,
    Reference,
    Said,
    SaidCountry,
    SaidCurrency,
    SaidPostcode,
    TaxClass,
    Text,
    Whole,
    Yes,
    in_words,
    unsaid,
)

GOODS_MAX = 10**12
QUANTITY_MAX = 10**6
UNIT_PRICE_MAX = 10**9
LINES_MAX = 10_000
SKU_BYTES_MAX = 64 * LINES_MAX
"""Of all lines together, in UTF-8: what a participant answers about each line stays below the 4 MiB that an answer may have."""
ITEMS_MAX = 10**9
"""Pieces of one order: the most that the inventory holds of one SKU, and that a parcel is quoted for."""
RESERVATION_TTL_S = 900


def broken_rules(
    error: ValidationError, *, whole: str = "the order", named: Callable[[str], str] = lambda field: field
) -> str:
    """What a person needs of a validation error: each field and the rule it breaks, at most five. A rule that is broken by
    no field, such as that of being JSON, stands under the name of the `whole`. `named` says what a file calls a field."""
    rules = [
        ": ".join(filter(None, (named(".".join(map(str, one["loc"]))) or whole, in_words(one["msg"]))))
        for one in error.errors(include_url=False)
    ]
    more = f"; and {len(rules) - 5} more" if len(rules) > 5 else ""
    return "; ".join(rules[:5]) + more


class Given(BaseModel):
    """What comes from outside, or goes out, to the letter."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Answer(BaseModel):
    """What a participant says; it may say more than is read here.

    A flag that the contract has always true is a `Yes`: a false one is a defect, never a success.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class Address(Given):
    """Where the parcel goes, within the order's country."""

    name: Text
    street: Text
    city: Text
    postcode: Postcode | None = unsaid("some countries have none; whether this one does, the shipping service says")
    region: Text | None = None
    """State or province, where the country's addresses have one."""
    street2: Text | None = unsaid("the second line of the street: a flat, a floor, a building")
    company: Text | None = unsaid()
    phone: Phone | None = unsaid("for the carrier")


class OrderLine(Given):
    """So many of one SKU at one price."""

    sku: Id
    quantity: Annotated[int, Field(ge=1, le=QUANTITY_MAX), Integral]
    unit_price: Annotated[int, Field(ge=0, le=UNIT_PRICE_MAX), Integral]
    """Minor units of the order's currency, without tax."""
    tax_class: TaxClass | None = unsaid("the rate that the goods are taxed at; unsaid it is standard")

    @property
    def amount(self) -> int:
        return self.quantity * self.unit_price


def _within_bounds(lines: tuple[OrderLine, ...]) -> tuple[OrderLine, ...]:
    if not lines:
        raise ValueError("an order has at least one line")
    pieces = sum(line.quantity for line in lines)
    if pieces > ITEMS_MAX:
        raise ValueError(f"the quantities come to {pieces} pieces; an order is for at most {ITEMS_MAX}")
    sku_bytes = sum(len(line.sku.encode()) for line in lines)
    if sku_bytes > SKU_BYTES_MAX:
        raise ValueError(f"the SKUs come to {sku_bytes} bytes of UTF-8; an order has at most {SKU_BYTES_MAX}")
    goods = sum(line.amount for line in lines)
    if goods > GOODS_MAX:
        raise ValueError(f"the goods come to {goods} minor units; an order is for at most {GOODS_MAX}")
    return _of_one_tax_class_each(lines)


def _of_one_tax_class_each(lines: tuple[OrderLine, ...]) -> tuple[OrderLine, ...]:
    """Pieces of one SKU that come back are told apart by nothing, so neither may their tax be."""
    classes: dict[str, TaxClass] = {}
    for line in lines:
        this = line.tax_class or "standard"
        if (first := classes.setdefault(line.sku, this)) != this:
            raise ValueError(f"{line.sku} has tax_class {first} in one line and {this} in another; a SKU has one")
    return lines


class Order(Given):
    """One order, as a shop hands it over; `order_id` names the saga's entity."""

    order_id: Id
    customer_id: Id
    currency: Currency
    country: Country
    address: Address
    # Not strict: a framework that parsed the JSON already offers a list. The lines themselves stay strict.
    lines: Annotated[
        tuple[OrderLine, ...],
        Field(max_length=LINES_MAX, strict=False, json_schema_extra={"minItems": 1}),
        AfterValidator(_within_bounds),
    ]
    payment_method: Id
    payment_country: Country | None = unsaid("where the way of paying is from, when the shop knows it")
    email: Email | None = None

    @property
    def goods(self) -> int:
        """What the goods cost, in minor units."""
        return sum(line.amount for line in self.lines)

    @property
    def item_count(self) -> int:
        return sum(line.quantity for line in self.lines)

    @property
    def stock(self) -> dict[str, int]:
        """The quantity of each SKU over all its lines, by SKU: participants lock rows in this order."""
        needed: dict[str, int] = {}
        for line in self.lines:
            needed[line.sku] = needed.get(line.sku, 0) + line.quantity
        return dict(sorted(needed.items()))


class OrderPrice(Given):
    """The one journalled total."""

    goods: Amount
    tax: Amount
    freight: Amount
    total: Amount
    currency: SaidCurrency

    @classmethod
    def of(cls, order: Order, tax: "TaxQuote", freight: "ShippingQuote") -> Self:
        """Goods + tax + freight. `ValueError` when a quote is in another currency: adding those up charges a wrong sum."""
        if {tax.currency, freight.currency} != {order.currency}:
            raise ValueError(f"order in {order.currency}, tax in {tax.currency}, freight in {freight.currency}")
        total = order.goods + tax.tax_amount + freight.amount
        return cls(goods=order.goods, tax=tax.tax_amount, freight=freight.amount, total=total, currency=order.currency)


# Tax.


class TaxedLine(Given):
    sku: Id
    amount: Amount
    tax_class: TaxClass | None = unsaid()


class TaxRequest(Given):
    order_id: Id
    country: SaidCountry
    region: Said | None = None
    currency: SaidCurrency
    lines: tuple[TaxedLine, ...]


class LineTax(Answer):
    sku: Id
    tax_amount: Amount


class TaxQuote(Answer):
    tax_amount: Amount
    currency: SaidCurrency
    lines: tuple[LineTax, ...] = ()
    """In the order of the request's lines; none from a service that says only the sum."""


# Shipping.


class FreightRequest(Given):
    country: SaidCountry
    postcode: SaidPostcode | None = unsaid()
    currency: SaidCurrency
    item_count: Whole


class ShippingQuote(Answer):
    amount: Amount
    currency: SaidCurrency
    carrier: Reference


class Destination(Given):
    """A whole address, as the shipping service wants it."""

    name: Said
    street: Said
    city: Said
    postcode: SaidPostcode | None = unsaid()
    region: Said | None = None
    street2: Said | None = unsaid()
    company: Said | None = unsaid()
    phone: Said | None = unsaid()
    country: SaidCountry

    @classmethod
    def of(cls, order: Order) -> Self:
        return cls(**order.address.model_dump(), country=order.country)


class ValidAddress(Answer):
    valid: Yes
    country_code: Reference


class ShipmentRequest(Given):
    order_id: Id
    carrier: Reference
    address: Destination
    item_count: Whole


class Shipment(Answer):
    shipment_id: Reference
    tracking: Reference
    carrier: Reference


class DispatchRequest(Given):
    shipment_id: Reference


class Dispatch(Answer):
    shipment_id: Reference
    dispatched: Yes


# Inventory.


class ReservedLine(Given):
    sku: Id
    quantity: Whole


class ReserveRequest(Given):
    order_id: Id
    lines: tuple[ReservedLine, ...]
    ttl_s: Whole = RESERVATION_TTL_S
    """How long the hold lasts unless it is made firm."""


class ReservationRequest(Given):
    """Names the reservation that is made firm or committed."""

    reservation_id: Reference


class Reservation(Answer):
    reservation_id: Reference


class FirmReservation(Answer):
    reservation_id: Reference
    firm: Yes


class CommittedReservation(Answer):
    reservation_id: Reference
    committed: Yes


# Payment.


class FraudRequest(Given):
    order_id: Id
    amount: Amount
    currency: SaidCurrency
    country: SaidCountry
    payment_country: SaidCountry | None = unsaid()
    customer_id: Id
    email: Email | None = unsaid()
    skus: tuple[Id, ...]
    """Each once, sorted."""


class FraudScreen(Answer):
    score: float
    passed: Yes


class AuthorizeRequest(Given):
    order_id: Id
    amount: Amount
    currency: SaidCurrency
    payment_method: Id
    customer_id: Id


class Authorization(Answer):
    authorization_id: Reference
    amount: Amount
    currency: SaidCurrency


class CaptureRequest(Given):
    authorization_id: Reference
    amount: Amount
    currency: SaidCurrency


class Capture(Answer):
    capture_id: Reference
    amount: Amount
    currency: SaidCurrency


# Confirmation.


class Confirmation(Given):
    """Which mail told the customer."""

    message_id: Text
