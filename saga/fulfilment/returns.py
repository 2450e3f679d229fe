"""What a return is, and what its participants are asked and answer (docs/participants.md).

A return is about one order that completed: some of its pieces come back, their price and their tax go back to whoever paid,
and the pieces go on the shelf again. It stands on facts of the order's own journal (what was captured, which parcel), which
`return_of` takes from there, so that nobody types an amount. Freight is not refunded.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field

from saga.core.fold import SagaState
from saga.core.states import SagaStatus
from saga.errors import UsageError
from saga.fulfilment import models as m
from saga.fulfilment.models import LINES_MAX, Amount, Answer, Country, Currency, Email, Given, Id, OrderLine, Reference


def _not_empty(lines: tuple[OrderLine, ...]) -> tuple[OrderLine, ...]:
    if not lines or not any(line.amount for line in lines):
        raise ValueError("a return has at least one line that cost something")
    return lines


class ReturnOrder(Given):
    """One return; `return_id` names the saga's entity, so a return is made once."""

    return_id: Id
    order_id: Id
    customer_id: Id
    currency: Currency
    country: Country
    capture_id: Reference
    shipment_id: Reference
    lines: Annotated[
        tuple[OrderLine, ...],
        Field(max_length=LINES_MAX, strict=False, json_schema_extra={"minItems": 1}),
        AfterValidator(_not_empty),
    ]
    reason: m.Text
    email: Email | None = None

    @property
    def goods(self) -> int:
        return sum(line.amount for line in self.lines)

    @property
    def pieces(self) -> dict[str, int]:
        """The quantity of each SKU over all lines, by SKU."""
        sums: dict[str, int] = {}
        for line in self.lines:
            sums[line.sku] = sums.get(line.sku, 0) + line.quantity
        return dict(sorted(sums.items()))


class ReturnPrice(Given):
    """What goes back: the goods and their tax, as tax is reckoned for these lines alone."""

    goods: Amount
    tax: Amount
    total: Amount
    currency: Currency

    @classmethod
    def of(cls, wanted: ReturnOrder, tax: m.TaxQuote) -> Self:
        """`ValueError` when the tax is in another currency: adding those up refunds a wrong sum."""
        if tax.currency != wanted.currency:
            raise ValueError(f"return in {wanted.currency}, tax in {tax.currency}")
        total = wanted.goods + tax.tax_amount
        return cls(goods=wanted.goods, tax=tax.tax_amount, total=total, currency=wanted.currency)


class ReturnLabelRequest(Given):
    order_id: Id
    return_id: Id
    shipment_id: Reference


class ReturnLabel(Answer):
    return_label_id: Reference
    tracking: Reference


class RefundRequest(Given):
    order_id: Id
    capture_id: Reference
    amount: Amount
    currency: Currency
    reason: m.Text


class Refund(Answer):
    refund_id: Reference
    amount: Amount
    currency: Currency


class ReturnedLine(Given):
    sku: Id
    quantity: int


class RestockRequest(Given):
    order_id: Id
    return_id: Id
    lines: tuple[ReturnedLine, ...]


class Restock(Answer):
    restock_id: Reference


class NotCompleted(UsageError):
    """A return was asked for of an order that did not complete, or has not yet."""

    def __init__(self, order_id: str, status: str) -> None:
        super().__init__(order_id, status)
        self.order_id, self.status = order_id, status

    def __str__(self) -> str:
        return f"{self.order_id} is {self.status}; only a completed order is returned"


class MoreThanLeft(UsageError):
    """More pieces are to come back than were sold and have not come back; without a SKU nothing is left at all."""

    def __init__(self, order_id: str, sku: str = "", wanted: int = 0, left: int = 0) -> None:
        super().__init__(order_id, sku, wanted, left)
        self.order_id, self.sku, self.wanted, self.left = order_id, sku, wanted, left

    def __str__(self) -> str:
        if not self.sku:
            return f"lines: nothing of {self.order_id} is left that could come back"
        if not self.left:
            return f"lines: {self.order_id} has no line of {self.sku} of which a piece is left"
        return f"lines: {self.wanted} of {self.sku} come back, and {self.order_id} has {self.left}"


class WorthNothing(UsageError):
    """What is to come back was given away, so there is nothing to refund."""


def lines_left(bought: m.Order, returned: Iterable[ReturnOrder]) -> list[OrderLine]:
    """What was bought and has not come back, by SKU and of a SKU the dearest first."""
    left: dict[tuple[str, int], int] = {}
    for line in bought.lines:
        left[line.sku, line.unit_price] = left.get((line.sku, line.unit_price), 0) + line.quantity
    for line in (it for one in returned for it in one.lines):
        left[line.sku, line.unit_price] = left.get((line.sku, line.unit_price), 0) - line.quantity
    return [
        OrderLine(sku=sku, quantity=quantity, unit_price=price)
        for (sku, price), quantity in sorted(left.items(), key=lambda it: (it[0][0], -it[0][1]))
        if quantity > 0
    ]


def return_of(
    order: SagaState, return_id: str, pieces: Mapping[str, int], *, reason: str, returned: Iterable[ReturnOrder] = ()
) -> ReturnOrder:
    """The return of these pieces of a completed order, at the prices of its lines: of a SKU that stands on several lines
    the dearest pieces first, and none that is among the `returned`. No pieces mean all that is left.

    Raises `NotCompleted`, `MoreThanLeft` or `WorthNothing`; each names what cannot be returned.
    """
    capture, shipment = order.node("capture_payment:a").result, order.node("book_shipment:a").result
    if order.status is not SagaStatus.COMPLETED or capture is None or shipment is None:
        raise NotCompleted(order.entity, order.status)
    bought = m.Order.model_validate_json(order.input.data)
    lines = _taken(bought.order_id, lines_left(bought, returned), pieces)
    if not any(line.amount for line in lines):
        raise WorthNothing(f"lines: what comes back of {bought.order_id} cost nothing, so there is nothing to refund")
    return ReturnOrder(
        return_id=return_id,
        order_id=bought.order_id,
        customer_id=bought.customer_id,
        currency=bought.currency,
        country=bought.country,
        capture_id=m.Capture.model_validate_json(capture.data).capture_id,
        shipment_id=m.Shipment.model_validate_json(shipment.data).shipment_id,
        lines=tuple(lines),
        reason=reason,
        email=bought.email,
    )


def _taken(order_id: str, left: list[OrderLine], pieces: Mapping[str, int]) -> list[OrderLine]:
    if not left:
        raise MoreThanLeft(order_id)
    lines: list[OrderLine] = []
    for sku, wanted in sorted(pieces.items()):
        of_sku = [line for line in left if line.sku == sku]
        if not 1 <= wanted <= sum(line.quantity for line in of_sku):
            raise MoreThanLeft(order_id, sku, wanted, sum(line.quantity for line in of_sku))
        missing = wanted
        for line in of_sku:
            if taken := min(missing, line.quantity):
                lines.append(line.model_copy(update={"quantity": taken}))
                missing -= taken
    return lines or left
