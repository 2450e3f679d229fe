"""What a return is, and what its participants are asked and answer (docs/participants.md).

A return is about one order that completed: some of its pieces come back, their price and their tax go back to whoever paid,
and the pieces go on the shelf again. It stands on facts of the order's own journal (what was captured, which parcel), which
`return_of` takes from there, so that nobody types an amount. Freight is not refunded.
"""

from collections.abc import Mapping
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


def return_of(order: SagaState, return_id: str, pieces: Mapping[str, int], *, reason: str) -> ReturnOrder:
    """The return of these pieces of a completed order, at the prices of its lines: of a SKU that stands on several lines
    the dearest pieces first. Raises `UsageError` that names what cannot be returned."""
    capture, shipment = order.node("capture_payment:a").result, order.node("book_shipment:a").result
    if order.status is not SagaStatus.COMPLETED or capture is None or shipment is None:
        raise UsageError(f"{order.entity} is {order.status}; only a completed order is returned")
    bought = m.Order.model_validate_json(order.input.data)
    if unknown := sorted(set(pieces) - set(bought.stock)):
        raise UsageError(f"lines: {order.entity} has no line of {unknown[0]}")
    lines: list[OrderLine] = []
    for sku, wanted in sorted(pieces.items()):
        if not 1 <= wanted <= bought.stock[sku]:
            raise UsageError(f"lines: {wanted} of {sku} come back, and {order.entity} has {bought.stock[sku]}")
        left = wanted
        for line in sorted((it for it in bought.lines if it.sku == sku), key=lambda it: -it.unit_price):
            if taken := min(left, line.quantity):
                lines.append(OrderLine(sku=sku, quantity=taken, unit_price=line.unit_price))
                left -= taken
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
