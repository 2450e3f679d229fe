"""What an order looks like as JSON: what was ordered, what it costs, where its parcel is, and what comes back of it.

Rules of this file: those of `saga.surfaces.reading`. Of the input only what the shop itself chose is shown: lines and currency; name,
address and e-mail stay in the journal.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from saga.core.fold import SagaState
from saga.core.states import Direction, NodePhase, SagaStatus
from saga.fulfilment.orders_table import PRICED
from saga.fulfilment.view import OrderView, order_view
from saga.segments import order_path
from saga.surfaces.partly import UnreadableReading
from saga.surfaces.proxies import Link
from saga.surfaces.reading import CauseReading, read_cause
from saga.surfaces.reading_returns import ReturnReading

LABELLED = "book_shipment"
"""The step of `fulfil_order` that buys the label."""


class OrderLinks(BaseModel):
    order: Link
    saga: Link
    journal: Link
    cancel: Link = Field(description="POST: its rollback, before the point of no return")
    returns: Link = Field(description="POST: pieces come back, once it has completed")


class OrderLineReading(BaseModel):
    """What was ordered of one SKU."""

    sku: str
    quantity: int
    unit_price: int = Field(description="minor units")


class OrderReading(BaseModel):
    """What a customer is told about an order; of several runs the latest."""

    order_id: str
    status: OrderView
    saga_id: str
    saga_status: SagaStatus
    run: int
    currency: str | None = Field(description="null when the order itself cannot be read")
    lines: list[OrderLineReading]
    goods: int = Field(description="minor units: the lines alone")
    total: int | None = Field(description="minor units, with tax and freight; null until it is priced")
    carrier: str | None = Field(description="of the label; null until one is bought, and when it was given back")
    tracking: str | None = Field(description="its number, under the same conditions")
    accepted_at: datetime
    ended_at: datetime | None
    cause: CauseReading | None
    returns: list[ReturnReading] = Field(default_factory=list, description="the latest 20, as they were asked for")
    returns_before: int = Field(default=0, description="so many earlier returns are not shown")
    unreadable: UnreadableReading | None = Field(
        default=None, description="what of its journal, or of that of a return, cannot be read here"
    )
    links: OrderLinks


def read_order(
    state: SagaState,
    returns: Sequence[ReturnReading] = (),
    returns_before: int = 0,
    unreadable: UnreadableReading | None = None,
) -> OrderReading:
    """The order that a saga of `fulfil_order` is about, with what comes back of it."""
    order = _order(state)
    lines = [OrderLineReading.model_validate(line) for line in order.get("lines", ())]
    label = _label(state)
    return OrderReading(
        order_id=state.entity,
        status=order_view(state),
        saga_id=state.saga_id,
        saga_status=state.status,
        run=state.run,
        currency=order.get("currency"),
        lines=lines,
        goods=sum(line.quantity * line.unit_price for line in lines),
        total=_result(state, PRICED).get("total"),
        carrier=label.get("carrier"),
        tracking=label.get("tracking"),
        accepted_at=state.accepted_at,
        ended_at=state.ended_at,
        cause=read_cause(state.cause),
        returns=list(returns),
        returns_before=returns_before,
        unreadable=unreadable,
        links=order_links(state.entity, state.saga_id),
    )


def order_links(order_id: str, saga_id: str) -> OrderLinks:
    """Where the HTTP API shows an order, its saga and its journal."""
    order, saga = order_path(order_id), f"/v1/sagas/{saga_id}"
    journal, cancel, returns = f"{saga}/journal", f"{order}/cancel", f"{order}/returns"
    return OrderLinks(order=order, saga=saga, journal=journal, cancel=cancel, returns=returns)


def _order(state: SagaState) -> dict[str, Any]:
    """What was ordered; nothing of a journal whose first entry cannot be read."""
    order = json.loads(state.input.data)
    return order if isinstance(order, dict) else {}


def _label(state: SagaState) -> dict[str, Any]:
    """What was bought and not given back."""
    is_given_back = state.node(f"{LABELLED}:{Direction.COMPENSATION}").phase is NodePhase.DONE
    return {} if is_given_back else _result(state, f"{LABELLED}:{Direction.ACTION}")


def _result(state: SagaState, node: str) -> dict[str, Any]:
    """What a step of `fulfil_order` returned; nothing as long as it has not."""
    result = state.node(node).result
    return {} if result is None else dict(json.loads(result.data))
