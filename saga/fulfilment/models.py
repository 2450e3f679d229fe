"""What an order is, and what its participants are asked and answer (docs/participants.md).

Rules of this file
------------------
Everything is frozen and strict: an integer is an integer, never "7", 7.0 or true. What comes from outside to be kept
(`Order`) refuses unknown fields; an answer of a participant ignores them, so that a participant may add one, and holds
only what a step or a person needs of it. Every number and every text has bounds, chosen so that sums stay far below
2**63, and no text holds a control character, a line break or half a surrogate pair: it goes into databases, mail headers
and paths. Money is integer minor units (saga.fulfilment.money).

The lines of one SKU are kept as they came; `Order.stock` adds them up.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from saga.fulfilment.money import is_known_currency
from saga.fulfilment.texts import OneAddress, Printable, Seen, text

GOODS_MAX = 10**12
AMOUNT_MAX = 10**13
QUANTITY_MAX = 10**6
UNIT_PRICE_MAX = 10**9
LINES_MAX = 2_000
ITEMS_MAX = 10**9
"""Pieces of one order: the most that the inventory holds of one SKU, and that a parcel is quoted for."""
RESERVATION_TTL_S = 900


def _currency(code: str) -> str:
    if not is_known_currency(code):
        raise ValueError(f"{code} is not a currency of ISO 4217; it is three capitals such as GBP")
    return code


def _true(flag: bool) -> bool:
    if not flag:
        raise ValueError("the participant answers false where only true is a success")
    return flag


def _is_unsaid(value: object) -> bool:
    return value is None


def _unsaid(description: str | None = None) -> Any:
    """A field that is left out of the JSON while nobody says it, so an order without it keeps the bytes that it has."""
    return Field(default=None, exclude_if=_is_unsaid, description=description)


ID = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$"
CURRENCY = r"^[A-Z]{3}$"
EMAIL = r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$"
IN_WORDS = {
    ID: "must be 1 to 64 letters, digits, '.', '_' and '-', with a letter, a digit or '_' first, as in SO-1001",
    CURRENCY: "must be a currency of ISO 4217, three capitals, as in GBP",
    EMAIL: "must be an address of letters, digits and the usual signs, with one '@', as in ada@example.org",
}
"""The rules of an order that a person cannot read from the pattern."""
_PATTERN_RULES = {f"String should match pattern '{pattern}'": words for pattern, words in IN_WORDS.items()}

Id = Annotated[str, StringConstraints(pattern=ID)]
"""It becomes part of paths, file names and command lines, so it begins with neither a dot nor a dash."""
Reference = Annotated[str, text(128), Printable]
"""An id that a participant gave."""
Text = Annotated[str, text(200), Printable, Seen]
Country = Annotated[str, text(64), Printable]
Postcode = Annotated[str, text(20), Printable]
Currency = Annotated[str, StringConstraints(pattern=CURRENCY), AfterValidator(_currency)]
Email = Annotated[
    str,
    StringConstraints(max_length=254, pattern=EMAIL),
    OneAddress,
]
Yes = Annotated[bool, AfterValidator(_true)]
TaxClass = Literal["standard", "reduced", "zero", "exempt"]
Amount = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]


def in_words(message: str) -> str:
    """A rule as a validation error says it, for a person: a pattern in words, and no word on how it was found out."""
    return _PATTERN_RULES.get(message) or message.removeprefix("Value error, ")


def broken_rules(error: ValidationError, *, whole: str = "the order") -> str:
    """What a person needs of a validation error: each field and the rule it breaks, at most five. A rule that is broken by
    no field, such as that of being JSON, stands under the name of the `whole`."""
    rules = [
        ": ".join(filter(None, (".".join(map(str, one["loc"])) or whole, in_words(one["msg"]))))
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
    postcode: Postcode | None = _unsaid("some countries have none; whether this one does, the shipping service says")
    region: Text | None = None
    """State or province, where the country's addresses have one."""


class OrderLine(Given):
    """So many of one SKU at one price."""

    sku: Id
    quantity: Annotated[int, Field(ge=1, le=QUANTITY_MAX)]
    unit_price: Annotated[int, Field(ge=0, le=UNIT_PRICE_MAX)]
    """Minor units of the order's currency, without tax."""
    tax_class: TaxClass | None = _unsaid("the rate that the goods are taxed at; unsaid it is standard")

    @property
    def amount(self) -> int:
        return self.quantity * self.unit_price


def _within_bounds(lines: tuple[OrderLine, ...]) -> tuple[OrderLine, ...]:
    if not lines:
        raise ValueError("an order has at least one line")
    pieces = sum(line.quantity for line in lines)
    if pieces > ITEMS_MAX:
        raise ValueError(f"the quantities come to {pieces} pieces; an order is for at most {ITEMS_MAX}")
    goods = sum(line.amount for line in lines)
    if not 1 <= goods <= GOODS_MAX:
        raise ValueError(f"the goods come to {goods} minor units; an order is for 1 to {GOODS_MAX}")
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
    payment_country: Country | None = _unsaid("where the way of paying is from, when the shop knows it")
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
    currency: Currency

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
    tax_class: TaxClass | None = _unsaid()


class TaxRequest(Given):
    order_id: Id
    country: Country
    region: Text | None = None
    currency: Currency
    lines: tuple[TaxedLine, ...]


class LineTax(Answer):
    sku: Id
    tax_amount: Amount


class TaxQuote(Answer):
    tax_amount: Amount
    currency: Currency
    lines: tuple[LineTax, ...] = ()
    """In the order of the request's lines; none from a service that says only the sum."""


# Shipping.


class FreightRequest(Given):
    country: Country
    postcode: Postcode | None = _unsaid()
    currency: Currency
    item_count: int


class ShippingQuote(Answer):
    amount: Amount
    currency: Currency
    carrier: Reference


class Destination(Address):
    """A whole address, as the shipping service wants it."""

    country: Country

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
    item_count: int


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
    quantity: int


class ReserveRequest(Given):
    order_id: Id
    lines: tuple[ReservedLine, ...]
    ttl_s: int = RESERVATION_TTL_S
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
    currency: Currency
    country: Country
    payment_country: Country | None = _unsaid()
    customer_id: Id
    email: Email | None = _unsaid()
    skus: tuple[Id, ...]
    """Each once, sorted."""


class FraudScreen(Answer):
    score: float
    passed: Yes


class AuthorizeRequest(Given):
    order_id: Id
    amount: Amount
    currency: Currency
    payment_method: Id
    customer_id: Id


class Authorization(Answer):
    authorization_id: Reference
    amount: Amount
    currency: Currency


class CaptureRequest(Given):
    authorization_id: Reference
    amount: Amount
    currency: Currency


class Capture(Answer):
    capture_id: Reference
    amount: Amount
    currency: Currency


# Confirmation.


class Confirmation(Given):
    """Which mail told the customer."""

    message_id: Text
