"""A shop: hold the stock, charge the card; a card that is declined gives the stock back."""

from pydantic import BaseModel

from saga.core.connector import Call, Connector
from saga.core.definition import Saga, compensatable, pivot


class Order(BaseModel):
    order_id: str
    sku: str
    card: str


class Reservation(BaseModel):
    reservation_id: str


class Charge(BaseModel):
    charge_id: str


stock = Connector("stock", keys="serialise", remembers_rejections=True, rejected={409: "out_of_stock"})
bank = Connector("bank", keys="serialise", remembers_rejections=True, rejected={402: "declined"})
reserve = stock.post("/reservations", Order, Reservation)
release = stock.undo("/reservations/undo", of=reserve)
charge = bank.post("/charges", Order, Charge)


def reserve_stock(order: Order) -> Call[Reservation]:
    return reserve(order)


steps = [
    compensatable(reserve_stock, compensation=release),
    pivot(charge, name="charge_card"),
]
place_order = Saga("place_order", version=1, input=Order, entity=lambda order: order.order_id, steps=steps)
