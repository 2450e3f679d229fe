"""The fingerprint: changes with everything that would change the path of a running saga, and with nothing else."""

from typing import Any

import pytest
from pydantic import BaseModel

from saga.core.connector import Connector
from saga.core.definition import Kind, Saga, Step, compensatable, parallel, readonly, retriable, sequence
from saga.core.retry import RetryPolicy
from tests.unit.core.shop import Done, Order, barrier, saga_of, step


class Wider(BaseModel):
    """Like `Order`, with one more field."""

    order_id: str
    note: str = ""


class Other(BaseModel):
    """Another result."""

    other: bool = True


def work(order: Order) -> Done:
    return Done(done=bool(order))


def undo_work(done: Done) -> None:
    assert done.done


def undo_otherwise(done: Done) -> None:
    assert done.done


def ignoring_order() -> Done:
    return Done()


def named(name: str, version: int) -> Saga[Order]:
    return Saga(name, version, Order, lambda order: order.order_id, [step("a"), step("b")])


def with_input(model: Any) -> Saga[Any]:
    return Saga("shop", 1, model, lambda order: order.order_id, [readonly(ignoring_order)])


BASE = saga_of(step("a"), step("b"))
STRUCTURE: dict[str, tuple[Saga[Any], Saga[Any]]] = {
    "name": (BASE, named("store", 1)),
    "version": (BASE, named("shop", 2)),
    "step added": (BASE, saga_of(step("a"), step("b"), step("c"))),
    "step renamed": (BASE, saga_of(step("a"), step("x"))),
    "order": (BASE, saga_of(step("b"), step("a"))),
    "parallel": (BASE, saga_of(parallel(step("a"), step("b")))),
    "order of branches": (saga_of(parallel(step("a"), step("b"))), saga_of(parallel(step("b"), step("a")))),
    "kind": (saga_of(step("a", Kind.READONLY)), saga_of(step("a", Kind.RETRIABLE))),
    "parallel compensation": (BASE, saga_of(step("a"), step("b"), parallel_compensation=True)),
    "input schema": (with_input(Order), with_input(Wider)),
    "operation": (
        saga_of(readonly(barrier.query("/x", Order, Done), name="x")),
        saga_of(readonly(barrier.query("/y", Order, Done), name="x")),
    ),
    "result schema": (
        saga_of(readonly(barrier.query("/x", Order, Done), name="x")),
        saga_of(readonly(barrier.query("/x", Order, Other), name="x")),
    ),
    "compensation": (
        saga_of(compensatable(work, compensation=undo_work, keys="serialise")),
        saga_of(compensatable(work, compensation=undo_otherwise, keys="serialise")),
    ),
    "binding": (
        saga_of(step("a"), step("b"), step("c", asks="a")),
        saga_of(step("a"), step("b"), step("c", asks="b")),
    ),
}


@pytest.mark.parametrize("what", STRUCTURE)
def test_it_changes_with_structure(what: str) -> None:
    """A saga that runs under the old definition would take another path under the new one."""
    one, other = STRUCTURE[what]
    assert one.fingerprint != other.fingerprint


def test_undo_paths_are_structure() -> None:
    """An undo by key is named by its path."""
    operation = barrier.post("/x", Order, Done)
    undos = [barrier.undo(path, of=operation) for path in ("/x/undo", "/x/cancel")]
    one, other = (saga_of(compensatable(operation, compensation=undo, name="x")) for undo in undos)
    assert one.fingerprint != other.fingerprint


def _with(**options: Any) -> Step:
    return step("a", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"queue": "elsewhere"},
        {"retry": RetryPolicy(max_attempts=1)},
        {"compensation_retry": RetryPolicy(max_attempts=1)},
        {"timeout_s": 1.0},
        {"pending_s": 1.0},
    ],
    ids=lambda options: next(iter(options)),
)
def test_it_does_not_change_with_queues_retries_and_timeouts(options: dict[str, Any]) -> None:
    """These may change in any deploy."""
    assert saga_of(_with(**options), step("b")).fingerprint == BASE.fingerprint


def test_it_does_not_change_with_code_facts_or_grouping() -> None:
    """Other code under the same name, other time-outs of a connector, a sequence that changes no order."""

    def other_code() -> Saga[Any]:
        def work(order: Order) -> Done:
            return Done(done=order.order_id != "")

        return saga_of(retriable(work, keys="serialise"))

    assert saga_of(retriable(work, keys="serialise")).fingerprint == other_code().fingerprint
    slower = Connector("barrier", keys="serialise", remembers_rejections=True, timeout_s=99.0)
    assert saga_of(step("a", at=slower), step("b")).fingerprint == BASE.fingerprint
    assert saga_of(sequence(step("a"), step("b"))).fingerprint == BASE.fingerprint


def test_it_is_the_same_in_every_process_and_release() -> None:
    """Sets have no order and hashes a seed: the bytes below must not depend on either."""
    built = saga_of(step("z"), parallel(step("a"), step("b"), step("c")), step("d", asks="z"))
    assert built.fingerprint == saga_of(*_again()).fingerprint
    assert len(built.fingerprint) == 64


def _again() -> tuple[Any, ...]:
    return step("z"), parallel(step("a"), step("b"), step("c")), step("d", asks="z")
