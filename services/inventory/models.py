"""What the inventory service is asked and answers (docs/participants.md)."""

from typing import Annotated

from pydantic import BaseModel, Field

from services.skeleton.fields import LINES_MAX, QUANTITY_MAX, Id, Quantity, Reference
from services.skeleton.service import Effect, Strict

TTL_MAX_S = 30 * 24 * 3600


class Line(Strict):
    """So many pieces of one SKU. The lines of one SKU add up."""

    sku: Id
    quantity: Quantity


class ReserveRequest(Strict):
    order_id: Id
    lines: Annotated[list[Line], Field(min_length=1, max_length=LINES_MAX)]
    ttl_s: Annotated[int, Field(ge=0, le=TTL_MAX_S)] = 900


class ReservationRequest(Strict):
    reservation_id: Reference


class ProvisionedItem(Strict):
    sku: Id
    quantity: Annotated[int, Field(ge=0, le=QUANTITY_MAX)]


class ProvisionRequest(Strict):
    items: Annotated[list[ProvisionedItem], Field(min_length=1, max_length=10_000)]


class QuantityRequest(Strict):
    quantity: Annotated[int, Field(ge=0, le=QUANTITY_MAX)]


class ReservationAnswer(BaseModel):
    reservation_id: str
    order_id: str
    lines: list[Line]
    expires_at: str
    effects: list[Effect]


class FirmAnswer(BaseModel):
    reservation_id: str
    firm: bool = True
    effects: list[Effect] = []


class CommitAnswer(BaseModel):
    reservation_id: str
    committed: bool = True
    effects: list[Effect] = []


class StockItem(BaseModel):
    sku: str
    initial: int
    available: int
    reserved: int
    shipped: int


class StockAnswer(BaseModel):
    items: list[StockItem]
    effects: list[Effect] = []
