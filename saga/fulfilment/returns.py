"""What a return is, and what its participants are asked and answer (docs/participants.md).

A return is about one order that completed: some of its pieces come back, their price and their tax go back to whoever paid,
and the pieces go on the shelf again. It stands on facts of the order's own journal (what was captured, which tax was paid, which
parcel), which `return_of` takes from there, so that nobody types an amount. Freight is not refunded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from saga.core.fold import SagaState
from saga.core.outcomes import Payload
from saga.core.states import SagaStatus
from saga.errors import CodecError, SagaError, SagaNotFound, UsageError
from saga.fulfilment import models as m
from saga.fulfilment.fields import Amount, Country, Email, Id, Reference, Said, SaidCurrency, Text, Whole
from saga.fulfilment.models import LINES_MAX, QUANTITY_MAX, Answer, Given, OrderLine
from saga.fulfilment.tax_back import pieces_of, tax_due
from saga.runtime.readback import read_kept

Held = TypeVar("Held", bound=BaseModel)


def _not_empty(lines: tuple[OrderLine, ...]) -> tuple[OrderLine, ...]:
    if not lines or not any(line.amount for line in lines):
        raise ValueError("a return has at least one line that cost something")
    return lines


class ReturnOrder(Given):
    """One return; `return_id` names the saga's entity, so a return is made once."""

    return_id: Id
    order_id: Id
    customer_id: Id
    currency: SaidCurrency
    country: Country
    capture_id: Reference
    shipment_id: Reference
    lines: Annotated[
        tuple[OrderLine, ...],
        Field(max_length=LINES_MAX, strict=False, json_schema_extra={"minItems": 1}),
        AfterValidator(_not_empty),
    ]
    tax: Amount = Field(description="minor units: what of the order's tax goes back with these lines")
    reason: Text
    email: Email | None = None

    @property
    def goods(self) -> int:
        return sum(line.amount for line in self.lines)

    @property
    def total(self) -> int:
        """What is refunded."""
        return self.goods + self.tax

    @property
    def pieces(self) -> dict[str, int]:
        """The quantity of each SKU over all lines, by SKU."""
        sums: dict[str, int] = {}
        for line in self.lines:
            sums[line.sku] = sums.get(line.sku, 0) + line.quantity
        return dict(sorted(sums.items()))


class ReturnPrice(Given):
    """What goes back: the goods and their share of the tax that was paid."""

    goods: Amount
    tax: Amount
    total: Amount
    currency: SaidCurrency

    @classmethod
    def of(cls, wanted: ReturnOrder) -> Self:
        return cls(goods=wanted.goods, tax=wanted.tax, total=wanted.total, currency=wanted.currency)


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
    currency: SaidCurrency
    reason: Said


class Refund(Answer):
    refund_id: Reference
    amount: Amount
    currency: SaidCurrency


class ReturnedLine(Given):
    sku: Id
    quantity: Whole


class RestockRequest(Given):
    order_id: Id
    return_id: Id
    lines: tuple[ReturnedLine, ...]


class Restock(Answer):
    restock_id: Reference


class NotAnOrder(SagaNotFound):
    """A return was asked for of a saga that is there and is no order of this product, or by the id of its saga."""

    def __init__(self, reference: str, definition: str, order_id: str = "") -> None:
        SagaError.__init__(self, reference, definition, order_id)
        self.reference, self.scope, self.definition, self.order_id = reference, "", definition, order_id

    def __str__(self) -> str:
        if self.order_id:
            return f"{self.reference!r} is the id of a saga; the order is {self.order_id!r}"
        return f"{self.reference!r} is a saga of {self.definition} and no order of this product, so nothing of it can come back"


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


class TooManyReturns(UsageError):
    """The order had as many returns as an order may have, those that were rolled back among them."""


class ReturnWaits(UsageError):
    """An earlier return of the order waits for a person. Whether its pieces were paid is not known, so no more are: after a backup
    was restored its number may be that of a return that was paid and is lost."""


class NotStorable(UsageError):
    """The database cannot hold the return."""


class WorthNothing(UsageError):
    """What is to come back was given away, so there is nothing to refund."""


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a SKU at one price, perhaps more than one line may hold."""

    sku: str
    unit_price: int
    quantity: int

    def lines(self, quantity: int) -> list[OrderLine]:
        """So many of it, in as many lines as that takes."""
        whole, rest = divmod(quantity, QUANTITY_MAX)
        counts = [QUANTITY_MAX] * whole + [rest] * (rest > 0)
        return [OrderLine(sku=self.sku, quantity=count, unit_price=self.unit_price) for count in counts]


def what_is_left(bought: m.Order, returned: Iterable[ReturnOrder]) -> list[Left]:
    """What was bought and has not come back, by SKU and of a SKU the dearest first."""
    back = pieces_of(line for one in returned for line in one.lines)
    left = {group: quantity - back.get(group, 0) for group, quantity in pieces_of(bought.lines).items()}
    return [
        Left(sku, price, quantity)
        for (sku, price), quantity in sorted(left.items(), key=lambda it: (it[0][0], -it[0][1]))
        if quantity > 0
    ]


def payload_of(model: type[Held], state: SagaState, payload: Payload) -> Held:
    """What a journal holds, parsed. Raises `CodecError` when this release reads no such model in it."""
    try:
        return read_kept(model, payload.data)
    except ValidationError as error:
        raise CodecError(f"saga {state.saga_id}: its journal holds no {model.__name__}: saga audit") from error


def return_of(
    order: SagaState, return_id: str, pieces: Mapping[str, int], *, reason: str, returned: Iterable[ReturnOrder] = ()
) -> ReturnOrder:
    """The return of these pieces of a completed order, at the prices of its lines and with the tax that was paid for them: of
    a SKU that stands on several lines the dearest pieces first, and none that is among the `returned`, which are those that
    were refunded or still may be. No pieces mean all that is left.

    Raises `NotCompleted`, `MoreThanLeft` or `WorthNothing`; each names what cannot be returned. `CodecError`: see `payload_of`.
    """
    tax, capture = order.node("calculate_tax:a").result, order.node("capture_payment:a").result
    shipment = order.node("book_shipment:a").result
    if order.status is not SagaStatus.COMPLETED or tax is None or capture is None or shipment is None:
        raise NotCompleted(order.entity, order.status)
    bought, earlier = payload_of(m.Order, order, order.input), list(returned)
    lines = _taken(bought.order_id, what_is_left(bought, earlier), pieces)
    if not any(line.amount for line in lines):
        raise WorthNothing(f"lines: what comes back of {bought.order_id} cost nothing, so there is nothing to refund")
    due = tax_due(bought, payload_of(m.TaxQuote, order, tax), [*(it for one in earlier for it in one.lines), *lines])
    return ReturnOrder(
        return_id=return_id,
        order_id=bought.order_id,
        customer_id=bought.customer_id,
        currency=bought.currency,
        country=bought.country,
        capture_id=payload_of(m.Capture, order, capture).capture_id,
        shipment_id=payload_of(m.Shipment, order, shipment).shipment_id,
        lines=tuple(lines),
        # Below zero when a return was rolled back after a later one had its share rounded up: then that one has it already.
        tax=max(0, due - sum(one.tax for one in earlier)),
        reason=reason,
        email=bought.email,
    )


def _taken(order_id: str, left: list[Left], pieces: Mapping[str, int]) -> list[OrderLine]:
    if not left:
        raise MoreThanLeft(order_id)
    if not pieces:
        return [line for one in left for line in one.lines(one.quantity)]
    lines: list[OrderLine] = []
    for sku, wanted in sorted(pieces.items()):
        of_sku = [one for one in left if one.sku == sku]
        if not 1 <= wanted <= sum(one.quantity for one in of_sku):
            raise MoreThanLeft(order_id, sku, wanted, sum(one.quantity for one in of_sku))
        missing = wanted
        for one in of_sku:
            taken = min(missing, one.quantity)
            lines += one.lines(taken)
            missing -= taken
    return lines
