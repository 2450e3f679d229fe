"""B: work that never ran counts as done. The saga was compensated, the audit green, and nothing had run."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache, partial, partialmethod, singledispatch, singledispatchmethod
from operator import attrgetter
from typing import Any

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, compensatable, pivot
from saga.core.outcomes import OutcomeCode
from saga.core.projection import Kind, Projection
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


class Methods:
    async def bound(self, _held: Held) -> None: ...

    @staticmethod
    async def static(_held: Held) -> None: ...

    @singledispatchmethod
    def chosen(self, _held: Held) -> None: ...

    @chosen.register  # type: ignore[arg-type]
    async def _(self, _held: int) -> None: ...

    @cache  # noqa: B019
    def kept(self, _held: Held) -> None: ...

    __call__ = partialmethod(bound)


class Late(Held): ...


@singledispatch
def chosen(_held: Held) -> None: ...


@chosen.register  # type: ignore[arg-type]
async def _(_held: Late) -> None: ...


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
        (Methods().bound, "nothing of an async function"),
        (Methods.__dict__["static"], "nothing of an async function"),
        (Methods(), "nothing of an async function"),
        (Methods().chosen, "nothing of an async function"),
        (chosen, "nothing of an async function"),
        (Methods().kept, "does not run a second time"),
        (Thing, "a class makes an object"),
        (kept, r"keeps its answers \(functools.cache\) does not run a second time"),
        (
            around,
            r"hold \(compensation\): it gives .*Iterator.*, which nobody takes; it does its work and returns None",
        ),
        (gives, "it gives <class 'bool'>"),
    ],
    ids=[
        "F1",
        "async generator",
        "generator",
        "partial",
        "async object",
        "method",
        "staticmethod",
        "partialmethod",
        "singledispatchmethod",
        "singledispatch",
        "cached method",
        "class",
        "cache",
        "context manager",
        "bool",
    ],
)
def test_what_does_not_run_when_it_is_called_is_refused(never: Any, says: str) -> None:
    """When the saga is built, for a compensation as for a step."""
    with pytest.raises(DefinitionError, match=says):
        built(never)


class AnyAttribute:
    """As the objects of `unittest.mock` are: it has whatever one asks for, but what Python asks for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any) -> Any: ...


def test_an_object_with_any_attribute_keeps_no_answers() -> None:
    """It is told what it lacks, a result that it promises, and nothing about caches."""
    with pytest.raises(DefinitionError) as refused:
        built(AnyAttribute())
    assert "cache" not in str(refused.value)


NEVER = [later, each, bit_by_bit, partial(later), Later(), Methods.__dict__["static"], chosen, cache(later), 5]


@pytest.mark.parametrize("never", NEVER)
@pytest.mark.parametrize("option", ["entity", "classify", "face", "row_of"])
def test_whatever_else_is_called_gives_its_answer_at_once(option: str, never: Any) -> None:
    """A coroutine was the entity of every order, an outcome that is none, or a row that was never written."""
    functions = {"entity": lambda order: order.order_id, "classify": None, "face": str, "row_of": dict, option: never}
    with pytest.raises(
        DefinitionError, match=rf"{option}=.*; it is a function .*; it is neither async nor a generator"
    ):
        charge = pivot(hold, name="charge", keys="serialise", classify=functions["classify"])
        columns: dict[str, Kind] = {"a": "text", "b": "text"}
        projection = Projection("t", ("a",), columns, functions["face"], functions["row_of"])
        Saga("x", 1, B, functions["entity"], [charge], on_change=projection)


@pytest.mark.parametrize("plain", [attrgetter("order_id"), cache(lambda order: order.order_id), str, partial(str)])
def test_what_is_no_step_may_keep_its_answers_or_be_a_class(plain: Any) -> None:
    """The same input has the same entity, so nothing is lost when it is not asked for again."""
    assert Saga("x", 1, B, plain, [pivot(hold, keys="serialise")]).entity is plain


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
