"""Small sagas for hand-stepped and simulated runs: lettered steps against one barrier participant and one without."""

from datetime import timedelta

from pydantic import BaseModel

from saga.core.connector import Call, Connector
from saga.core.definition import Saga, compensatable, parallel, pivot, readonly, retriable, sequence
from saga.runtime.starting import answer, new_saga
from saga.store.port import Store


class Order(BaseModel):
    order_id: str


class Asked(BaseModel):
    order_id: str
    step: str


class A(BaseModel):
    ref: str


class B(BaseModel):
    ref: str


class C(BaseModel):
    ref: str


class D(BaseModel):
    ref: str


class E(BaseModel):
    ref: str


barrier = Connector("barrier", keys="serialise", remembers_rejections=True, rejected={409: "no"}, timeout_s=5.0)
do_a, do_b, do_c = barrier.post("/a", Asked, A), barrier.post("/b", Asked, B), barrier.post("/c", Asked, C)
do_d, do_e = barrier.post("/d", Asked, D), barrier.post("/e", Asked, E)
ask_f = barrier.query("/f", Asked, E)
undo_a, undo_b = barrier.undo("/a/undo", of=do_a), barrier.undo("/b/undo", of=do_b)
undo_c = barrier.undo("/c/undo", of=do_c)


def a(order: Order) -> Call[A]:
    return do_a(Asked(order_id=order.order_id, step="a"))


def b(order: Order) -> Call[B]:
    return do_b(Asked(order_id=order.order_id, step="b"))


def c(order: Order) -> Call[C]:
    return do_c(Asked(order_id=order.order_id, step="c"))


def d(order: Order) -> Call[D]:
    return do_d(Asked(order_id=order.order_id, step="d"))


def e(order: Order) -> Call[E]:
    return do_e(Asked(order_id=order.order_id, step="e"))


def f(order: Order) -> Call[E]:
    return ask_f(Asked(order_id=order.order_id, step="f"))


def _id(order: Order) -> str:
    return order.order_id


line = Saga(
    "line",
    version=1,
    input=Order,
    entity=_id,
    steps=[compensatable(a, compensation=undo_a), compensatable(b, compensation=undo_b), pivot(d), retriable(e)],
)
fork = Saga(
    "fork",
    version=1,
    input=Order,
    entity=_id,
    steps=[
        parallel(
            sequence(compensatable(a, compensation=undo_a, queue="left")),
            sequence(compensatable(b, compensation=undo_b, queue="right")),
        ),
        compensatable(c, compensation=undo_c, queue="left"),
        pivot(d, queue="left"),
        readonly(f, queue="left"),
    ],
)
SAGAS = (line, fork)


def begin(store: Store, saga: Saga[Order], order_id: str, saga_id: str | None = None) -> str:
    """Accept one saga; its id."""
    new = new_saga(saga, Order(order_id=order_id), store, environment="test", tenant="test", saga_id=saga_id)
    return answer(new, store.accept([new])[0]).saga_id


GRACE = timedelta(seconds=3)
