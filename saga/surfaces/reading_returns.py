"""What a return looks like as JSON: one shape for the HTTP API and for `-o json`.

Rules of this file: those of `saga.surfaces.reading`. The sum of a refund stands in the return's input, goods and tax, so it is
known from the moment the return is accepted; whether it was paid back, the saga's status says.
"""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, Field

from saga.core.fold import SagaState
from saga.core.states import SagaStatus
from saga.fulfilment.returns import ReturnOrder
from saga.segments import order_path
from saga.surfaces.proxies import Link


class ReturnLinks(BaseModel):
    order: Link
    saga: Link
    journal: Link


class ReturnLineReading(BaseModel):
    sku: str
    quantity: int


class ReturnReading(BaseModel):
    """One return of an order."""

    return_id: str
    order_id: str
    saga_id: str
    saga_status: SagaStatus
    reason: str
    currency: str
    goods: int = Field(description="minor units: the pieces alone")
    refund: int = Field(description="minor units: goods and their tax; whether it is paid back, saga_status says")
    lines: list[ReturnLineReading]
    accepted_at: datetime
    ended_at: datetime | None
    links: ReturnLinks


def read_return(wanted: ReturnOrder, state: SagaState) -> ReturnReading:
    """The return that a saga of `return_order` is about."""
    saga = f"/v1/sagas/{state.saga_id}"
    return ReturnReading(
        return_id=wanted.return_id,
        order_id=wanted.order_id,
        saga_id=state.saga_id,
        saga_status=state.status,
        reason=wanted.reason,
        currency=wanted.currency,
        goods=wanted.goods,
        refund=wanted.total,
        lines=[ReturnLineReading(sku=sku, quantity=quantity) for sku, quantity in wanted.pieces.items()],
        accepted_at=state.accepted_at,
        ended_at=state.ended_at,
        links=ReturnLinks(order=order_path(wanted.order_id), saga=saga, journal=f"{saga}/journal"),
    )


def statuses_of(returns: Sequence[ReturnReading]) -> str:
    """All of what is shown of them that can change, as one text."""
    return ",".join(f"{one.saga_id}:{one.saga_status}:{one.refund}" for one in returns)
