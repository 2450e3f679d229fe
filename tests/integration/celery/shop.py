"""The sagas and worker processes of these tests: steps that write down where they ran.

Each step appends a line `step order pid thread` to the file that its order names, so a test reads what really ran from a
file that every process can write.
"""

import os
import threading
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel

from saga.core.binding import From
from saga.core.definition import Saga, compensatable, pivot, readonly
from saga.errors import Rejected
from tests.waiting import wait_until

SALES, STOCK, MONEY = "sales", "stock", "money"
GATE_S = 20.0


class Order(BaseModel):
    """What the sagas of these tests run on."""

    order_id: str
    log: str
    declines: bool = False
    gate: str | None = None
    """A file: the first step waits until it is there."""


class Done(BaseModel):
    step: str


def write_line(order: Order, step: str) -> Done:
    line = f"{step} {order.order_id} {os.getpid()} {threading.current_thread().name}\n"
    with Path(order.log).open("a", encoding="utf-8") as log:
        log.write(line)
    return Done(step=step)


def check(order: Order) -> Done:
    done = write_line(order, "check")
    if order.gate:
        wait_until(Path(order.gate).exists, GATE_S, what="the gate")
    return done


def reserve(order: Order) -> Done:
    return write_line(order, "reserve")


def release(_done: Annotated[Done, From("reserve")], order: Order) -> None:
    write_line(order, "release")


def pay(order: Order) -> Done:
    write_line(order, "pay")
    if order.declines:
        raise Rejected("declined")
    return Done(step="pay")


def shop(unique: str, check_timeout_s: float | None = None) -> Saga[Any]:
    """Three steps on three queues, which belong to one test; the last may say no."""
    prefix = f"{unique}_"
    return Saga(
        f"shop_{unique}",
        version=1,
        input=Order,
        entity=lambda order: order.order_id,
        steps=[
            readonly(check, queue=prefix + SALES, timeout_s=check_timeout_s),
            compensatable(reserve, compensation=release, queue=prefix + STOCK, keys="serialise"),
            pivot(pay, queue=prefix + MONEY, keys="serialise"),
        ],
    )
