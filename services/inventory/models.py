"""What the inventory service is asked and answers (docs/participants.md)."""

from typing import Annotated

from pydantic import BaseModel, Field

from services.inventory.tables import MAIN
from services.skeleton.fields import LINES_MAX, QUANTITY_MAX, Id, Integral, Quantity, Reference
from services.skeleton.service import Effect, Strict

TTL_MAX_S = 30 * 24 * 3600
PAGE_SKUS_MAX = 5_000


class Line(Strict):
    """So many pieces of one SKU. The lines of one SKU add up."""

    sku: Id
    quantity: Quantity


class ReserveRequest(Strict):
    order_id: Id
    lines: Annotated[list[Line], Field(min_length=1, max_length=LINES_MAX)]
    ttl_s: Annotated[int, Field(ge=0, le=TTL_MAX_S), Integral] = 900


class ReservationRequest(Strict):
    reservation_id: Reference


class ReturnedLine(Strict):
    """Pieces of one SKU that came back."""

    sku: Id
    quantity: Quantity
    warehouse: Id | None = None
    """The one that they were shipped from; None takes any."""


class RestockRequest(Strict):
    order_id: Id
    return_id: Id
    lines: Annotated[list[ReturnedLine], Field(min_length=1, max_length=LINES_MAX)]


class ProvisionedItem(Strict):
    sku: Id
    quantity: Annotated[int, Field(ge=0, le=QUANTITY_MAX), Integral]
    warehouse: Id = MAIN


class ProvisionRequest(Strict):
    items: Annotated[list[ProvisionedItem], Field(min_length=1, max_length=10_000)]


class QuantityRequest(Strict):
    quantity: Annotated[int, Field(ge=0, le=QUANTITY_MAX), Integral]
    warehouse: Id = MAIN


class StockQuery(Strict):
    """Which page of the stock: `limit` SKUs after the SKU `after`. Without a limit it is all of them."""

    after: Annotated[str, Field(max_length=64)] = ""
    limit: Annotated[int, Field(ge=1, le=PAGE_SKUS_MAX)] | None = None


class PlacedLine(BaseModel):
    """So many pieces of one SKU in one warehouse."""

    sku: str
    quantity: int
    warehouse: str


class ReservationAnswer(BaseModel):
    reservation_id: str
    order_id: str
    lines: list[PlacedLine]
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


class RestockAnswer(BaseModel):
    restock_id: str
    order_id: str
    return_id: str
    lines: list[PlacedLine]
    effects: list[Effect]


class Buckets(BaseModel):
    initial: int
    available: int
    reserved: int
    shipped: int


class WarehouseStock(Buckets):
    warehouse: str


class StockItem(Buckets):
    """One SKU: the sums over its warehouses, and each of them."""

    sku: str
    warehouses: list[WarehouseStock]


class StockAnswer(BaseModel):
    items: list[StockItem]
    effects: list[Effect] = []


class StockPage(BaseModel):
    items: list[StockItem]
    next_after: str | None = None
    """`after` of the next page; None on the last."""
