"""An embedded stack keeps its engine on one core and its services on another, and leaves its caller where it was."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saga.core.definition import Saga, readonly
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Order
from saga.settings import Settings
from saga.surfaces.cores import cores_of, on_core
from saga.surfaces.demo_stack import demo_stack
from saga.surfaces.embedded import embedded

ALLOWED = os.sched_getaffinity(0)
TWO = pytest.mark.skipif(len(ALLOWED) < 2, reason="one core only")


def check(order: Order) -> None:
    """A step that calls nobody."""


def children() -> set[int]:
    """The processes that this one started and that live."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for path in lists for pid in path.read_text().split()}


@pytest.fixture
def a_core() -> Iterator[int]:
    """A core that this thread may use; afterwards it may use all that it could before."""
    yield min(ALLOWED)
    os.sched_setaffinity(0, ALLOWED)


def homes(
    tmp_path: Path, *, own_cores: bool, saga: Saga[Any] = fulfil_order
) -> tuple[set[frozenset[int]], set[frozenset[int]]]:
    """On which cores the threads of the engine may run, and on which the processes of the services."""
    threads, processes = {thread.ident for thread in threading.enumerate()}, children()
    with embedded(Settings(home=tmp_path / "home", own_cores=own_cores), [saga], port=0):
        assert os.sched_getaffinity(0) == ALLOWED, "the caller's thread was moved"
        ours = [thread.native_id for thread in threading.enumerate() if thread.ident not in threads]
        engine = {frozenset(os.sched_getaffinity(native)) for native in ours if native is not None}
        services = {frozenset(os.sched_getaffinity(pid)) for pid in children() - processes}
    return engine, services


@TWO
def test_engine_and_services_have_a_core_each(tmp_path: Path) -> None:
    """Every thread that a stack starts has one and the same core, and its services have another."""
    engine, services = homes(tmp_path, own_cores=True)
    assert (len(engine), len(services)) == (1, 1), (engine, services)
    assert [len(cores) for cores in (*engine, *services)] == [1, 1]
    assert engine != services


def test_nobody_is_bound_where_it_is_not_wanted(tmp_path: Path) -> None:
    """`SAGA_OWN_CORES=0`: whatever the caller may use, the stack may use."""
    assert homes(tmp_path, own_cores=False) == ({frozenset(ALLOWED)}, {frozenset(ALLOWED)})


def test_a_definition_of_somebody_else_keeps_all_cores(tmp_path: Path) -> None:
    """A step of a user's may compute on all of them, or start a process that does."""
    theirs = Saga("theirs", version=1, input=Order, entity=lambda order: order.order_id, steps=[readonly(check)])
    assert homes(tmp_path, own_cores=True, saga=theirs)[0] == {frozenset(ALLOWED)}


@TWO
def test_the_demo_keeps_to_its_cores(tmp_path: Path) -> None:
    """The worker of `saga demo` has a core, the one that follows a killed one has the same, the services have another."""
    before = children()
    with demo_stack(Settings(), tmp_path / "demo") as stack:
        first = os.sched_getaffinity(stack.worker.pid)
        (services,) = children() - before - {stack.worker.pid}
        theirs = os.sched_getaffinity(services)
        stack.worker.kill()
        stack.replace_worker()
        assert os.sched_getaffinity(stack.worker.pid) == first
    assert (len(first), len(theirs)) == (1, 1)
    assert first != theirs


def test_a_process_on_one_core_has_none_to_give(a_core: int) -> None:
    """A container with one processor, a `taskset`: nothing is chosen, nothing fails."""
    with on_core(a_core):
        assert os.sched_getaffinity(0) == {a_core}
        assert cores_of(Settings()) == (None, None)
    assert os.sched_getaffinity(0) == ALLOWED


def test_a_block_that_fails_gives_the_cores_back(a_core: int) -> None:
    """A stack that does not start leaves the caller where it was."""
    with pytest.raises(KeyError), on_core(a_core):
        raise KeyError
    assert os.sched_getaffinity(0) == ALLOWED
