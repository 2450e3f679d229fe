"""Steps and sagas to tell stories about: one barrier participant, one that forgets, and steps named by one letter.

`barrier` serialises keys and remembers rejections; `forgetful` serialises them and forgets what it rejected; `provider` does
neither, so a lost answer there cannot be settled by asking again. A step made here is a call step unless `at` is None; with `asks` its action takes the result of another.
"""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel

from saga.core.binding import From
from saga.core.connector import Call, Connector, Keys, Operation
from saga.core.definition import Kind, Saga, Step, Tree, compensatable, pivot, readonly, retriable
from saga.core.retry import RetryPolicy


class Order(BaseModel):
    """The saga's input."""

    order_id: str


class Done(BaseModel):
    """What every step answers."""

    done: bool = True


barrier = Connector("barrier", keys="serialise", remembers_rejections=True, rejected={409: "out_of_stock"})
forgetful = Connector("forgetful", keys="serialise", rejected={402: "declined"})
provider = Connector("provider", keys="ignored", rejected={402: "declined"})

TWO_TRIES = RetryPolicy(max_attempts=2, max_elapsed_s=100.0, base_s=1.0, cap_s=8.0)
"""A budget that is spent by the second attempt that costs one."""


def _asking(operation: Operation[Any, Done], source: str) -> Callable[..., Call[Done]]:
    def ask(order: Order, before: Annotated[Done, From(source)]) -> Call[Done]:
        return operation(order)

    return ask


def _own_work() -> Callable[..., Done]:
    def work(order: Order) -> Done:
        return Done()

    return work


def _release(done: Done) -> None:
    """A compensation that is a function: it gets the action's result."""


def step(name: str, kind: Kind = Kind.COMPENSATABLE, *, at: Connector | None = barrier, **options: Any) -> Step:
    """A step of that kind at that participant, or a function step; with `asks` it takes that step's result."""
    asks: str | None = options.pop("asks", None)
    ask = at and (at.query if kind is Kind.READONLY else at.post)
    operation = ask(f"/{name}", Order, Done) if ask else None
    if operation is None:
        action: Any = _own_work()
    elif asks:
        action = _asking(operation, asks)
    else:
        action = operation
    is_repeatable = operation.connector.keys == "serialise" if operation else options.get("keys") == "serialise"
    if kind is not Kind.READONLY and not is_repeatable:
        options = {"on_unknown": "halt", **options}
    if kind is Kind.COMPENSATABLE:
        can_undo = operation is not None and operation.connector.keys == "serialise"
        undo = operation.connector.undo(f"/{name}/undo", of=operation) if operation and can_undo else None
        options = {"compensation": undo or _undoing(name), **options}
    makers: dict[Kind, Callable[..., Step]] = {
        Kind.COMPENSATABLE: compensatable,
        Kind.PIVOT: pivot,
        Kind.READONLY: readonly,
        Kind.RETRIABLE: retriable,
    }
    return makers[kind](action, name=name, **options)


def by_order(name: str, keys: Keys = "serialise") -> Step:
    """A compensatable function step whose compensation asks for the order alone: its action has no result."""

    def act(order: Order) -> None:
        """Own work."""

    def undo(order: Order) -> None:
        """Own work."""

    return compensatable(
        act, compensation=undo, name=name, keys=keys, on_unknown="retry" if keys == "serialise" else "halt"
    )


def undoing_by_result(name: str, at: Connector) -> Callable[..., Call[Done]]:
    """A compensation that needs what the action answered, and asks the participant to undo it."""
    give_back = at.post(f"/{name}/give-back", Done, Done)

    def release(done: Annotated[Done, From(name)]) -> Call[Done]:
        return give_back(done)

    return release


def _undoing(name: str) -> Callable[..., None]:
    def release(done: Annotated[Done, From(name)]) -> None:
        _release(done)

    return release


def saga_of(*steps: Tree, **options: Any) -> Saga[Order]:
    """A saga of those steps over an `Order`."""
    return Saga("shop", 1, Order, lambda order: order.order_id, steps, **options)


def abc(**options: Any) -> Saga[Order]:
    """`a`, `b`, `c`: three compensatable steps at the barrier, one after another."""
    return saga_of(step("a"), step("b"), step("c"), **options)


def with_pivot(**of_pivot: Any) -> Saga[Order]:
    """`a` compensatable, `p` the pivot, `r` retriable."""
    return saga_of(step("a"), step("p", Kind.PIVOT, **of_pivot), step("r", Kind.RETRIABLE))
