"""B: work that never ran counts as done. The saga was compensated, the audit green, and nothing had run."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, compensatable, pivot
from saga.core.outcomes import OutcomeCode
from saga.errors import DefinitionError
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import new_saga
from saga.store.memory import MemoryStore
from tests.simulation.stepping import Process


class B(BaseModel):
    order_id: str = "SO-1"


class Held(BaseModel):
    ref: str = "r"


def hold(_order: B) -> Held:
    return Held()


async def later(_held: Held) -> None: ...


async def each(_held: Held) -> Any:
    yield 1


def bit_by_bit(_held: Held) -> Iterator[None]:
    yield


@contextmanager
def around(_held: Held) -> Iterator[None]:
    yield


class Later:
    async def __call__(self, _held: Held) -> None: ...


class Thing:
    def __init__(self, held: Held) -> None: ...


@cache
def kept(_held: Held) -> None: ...


def gives(_held: Held) -> bool:
    return True


def built(compensation: Any) -> Saga[Any]:
    step = compensatable(hold, compensation=compensation, keys="serialise")
    return Saga("x", 1, B, lambda order: order.order_id, [step, pivot(hold, name="charge", keys="serialise")])


@pytest.mark.parametrize(
    ("never", "says"),
    [
        (later, "nothing of an async function"),
        (each, "nothing of an async function"),
        (bit_by_bit, "or a generator runs"),
        (partial(later), "nothing of an async function"),
        (Later(), "nothing of an async function"),
        (Thing, "a class makes an object"),
        (kept, r"keeps its answers \(functools.cache\) does not run a second time"),
        (
            around,
            r"hold \(compensation\): it gives .*Iterator.*, which nobody takes; it does its work and returns None",
        ),
        (gives, "it gives <class 'bool'>"),
    ],
    ids=["F1", "async generator", "generator", "partial", "async object", "class", "cache", "context manager", "bool"],
)
def test_what_does_not_run_when_it_is_called_is_refused(never: Any, says: str) -> None:
    """When the saga is built, for a compensation as for a step."""
    with pytest.raises(DefinitionError, match=says):
        built(never)


class Answers:
    """A function that gives a value of its own for each order, whatever its annotation promises."""

    def __init__(self, gives: Callable[[Held], Any]) -> None:
        self.gives = gives

    def charge(self, _order: B) -> None:
        return self.gives(Held())  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore:coroutine 'later' was never awaited")
@pytest.mark.parametrize("given", [later, bit_by_bit, around, gives, lambda _: Future[None]()])
def test_what_it_returns_instead_of_none_is_a_defect(given: Callable[[Held], Any]) -> None:
    """What only the call shows: nobody can tell whether its work was done, so a person looks."""
    charge = pivot(Answers(given).charge, keys="serialise")
    saga = Saga("x", 1, B, lambda order: order.order_id, [charge])
    store = MemoryStore()
    new = new_saga(saga, B(), store, environment="test", tenant="test")
    process = Process(store, Definitions([saga]), "w1")
    process.wake(store.accept([new])[0].saga_id)
    process.settle()
    outcome = Executor(str, store.clock).perform(process.calls[0])
    assert outcome.code is OutcomeCode.DEFECT
    assert "and its annotation promises None: whether its work was done is not known" in outcome.detail
