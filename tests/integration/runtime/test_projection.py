"""A saga's row in a table of its owner goes with the decisions, and no mistake in it costs a decision."""

import logging
from collections.abc import Callable, Mapping, Sequence

import pytest
from pydantic import BaseModel

from saga.core.definition import Saga, pivot, readonly
from saga.core.events import CancelAsked
from saga.core.fold import SagaState
from saga.core.projection import Projection, Value
from saga.errors import Rejected
from saga.runtime.engine import Definitions, tell
from saga.runtime.executor import Executor
from saga.runtime.starting import answer, new_saga
from saga.runtime.worker import Worker
from saga.store.memory import MemoryStore
from saga.store.port import Append, AppendResult, RowFilter
from tests.waiting import wait_until

RowOf = Callable[[SagaState], Mapping[str, Value]]


class Order(BaseModel):
    order_id: str
    declines: bool = False


def check(_order: Order) -> None: ...


def pay(order: Order) -> None:
    if order.declines:
        raise Rejected("declined")


def plain(state: SagaState) -> Mapping[str, Value]:
    return {"order_id": state.entity, "status": state.status.value, "ended_at": state.ended_at}


class _Noting(MemoryStore):
    """Notes the status of every row that it is handed, and refuses what a constraint of its owner would."""

    def __init__(self, *, refuses: str = "") -> None:
        super().__init__()
        self.refuses = refuses
        self.statuses: list[str] = []

    def _append_together(self, group: Sequence[Append]) -> list[AppendResult]:
        rows = [item.row for item in group if item.row is not None]
        if any(row.values[1] == self.refuses for row in rows):
            raise RuntimeError("a trigger of the owner")
        self.statuses += [str(row.values[1]) for row in rows]
        return super()._append_together(group)


class _RefusingNo(_Noting):
    """Refuses the data of every business "no"."""

    def _append_together(self, group: Sequence[Append]) -> list[AppendResult]:
        if any('"code":"rejected"' in item.entry.body for item in group):
            return [AppendResult.REFUSED for _ in group]
        return super()._append_together(group)


class Bench:
    """One store, one saga of two steps, one worker."""

    def __init__(self, row_of: RowOf = plain, *, refuses: str = "") -> None:
        self.store: _Noting = _Noting(refuses=refuses)
        self.projection = Projection(
            table="shop_orders",
            key=("order_id",),
            columns={"order_id": "text", "status": "text", "ended_at": "timestamptz"},
            face=lambda state: state.status,
            row_of=row_of,
        )
        self.saga = Saga(
            "shop",
            version=1,
            input=Order,
            entity=lambda it: it.order_id,
            steps=[readonly(check), pivot(pay, keys="serialise")],
            on_change=self.projection,
        )
        self.definitions = Definitions([self.saga])

    def begin(self, order: Order) -> str:
        new = new_saga(self.saga, order, self.store, environment="test", tenant="test")
        return answer(new, self.store.accept([new])[0]).saga_id

    def run(self, saga_id: str) -> None:
        worker = Worker(self.store, self.definitions, Executor(str, self.store.clock))
        worker.start()
        try:
            wait_until(lambda: (row := self.store.row(saga_id)) is not None and row.ended_at is not None, 20)
        finally:
            worker.stop(5)

    def row(self) -> dict[str, Value]:
        [found] = self.store.rows(self.projection, RowFilter(("order_id",)), 10)
        return found


@pytest.mark.parametrize(("declines", "statuses"), [(False, ["completed"]), (True, ["compensating", "compensated"])])
def test_the_row_is_as_far_as_the_saga(declines: bool, statuses: list[str]) -> None:
    """Made with the accept; written again only when what it depends on has changed, and never behind the end."""
    bench = Bench()
    saga_id = bench.begin(Order(order_id="SO-1", declines=declines))
    assert bench.row() == {"order_id": "SO-1", "status": "running", "ended_at": None}
    bench.run(saga_id)
    ended = bench.store.row(saga_id)
    assert ended is not None
    assert bench.row() == {"order_id": "SO-1", "status": statuses[-1], "ended_at": ended.ended_at}
    assert bench.store.statuses in (statuses, statuses[-1:])


def test_a_cancel_from_outside_writes_it_too() -> None:
    """Whoever decides writes the row: here no worker runs at all."""
    bench = Bench()
    saga_id = bench.begin(Order(order_id="SO-1"))
    tell(bench.store, bench.definitions, saga_id, CancelAsked(bench.store.clock(), "clerk", "called"), actor="clerk")
    assert bench.row()["status"] == "compensated"


def test_a_mistake_in_the_view_costs_no_decision(caplog: pytest.LogCaptureFixture) -> None:
    """What `row_of` raises is logged with the saga; the order goes on and the row stays as it was."""

    def breaks(state: SagaState) -> Mapping[str, Value]:
        if state.nodes:
            raise KeyError("customer")
        return plain(state)

    bench = Bench(breaks)
    saga_id = bench.begin(Order(order_id="SO-1"))
    with caplog.at_level(logging.ERROR, "saga"):
        bench.run(saga_id)
    assert bench.row()["status"] == "running"
    assert f"projection_failed error=KeyError: 'customer' saga_id={saga_id}" in caplog.text


def test_a_row_that_the_database_refuses_costs_no_decision(caplog: pytest.LogCaptureFixture) -> None:
    """A constraint of the owner's table: the outcome is kept as it is, the saga completes, and the log says what is missing."""
    bench = Bench(refuses="completed")
    saga_id = bench.begin(Order(order_id="SO-1"))
    with caplog.at_level(logging.ERROR, "saga"):
        bench.run(saga_id)
    row = bench.store.row(saga_id)
    assert row is not None
    assert row.status == "completed"
    assert bench.row()["status"] == "running"
    assert (
        f"row_left_out error=RuntimeError: a trigger of the owner reason=shop_orders saga_id={saga_id}" in caplog.text
    )


def test_a_mistake_at_the_accept_refuses_no_order() -> None:
    """Nor those that were to be accepted with it."""

    def breaks(_state: SagaState) -> Mapping[str, Value]:
        raise KeyError("customer")

    bench = Bench(breaks)
    saga_id = bench.begin(Order(order_id="SO-1"))
    assert bench.store.row(saga_id) is not None
    assert bench.store.rows(bench.projection, RowFilter(("order_id",)), 10) == []


def test_an_order_that_is_halted_for_its_data_is_told_in_its_row() -> None:
    """The outcome cannot be stored, and becomes a defect; the row goes with that."""

    def says_no(_order: Order) -> None:
        raise Rejected("no")

    bench = Bench()
    bench.store = _RefusingNo()
    bench.saga = Saga(
        "shop", version=1, input=Order, entity=lambda it: it.order_id, steps=[readonly(says_no)],
        on_change=bench.projection,
    )  # fmt: skip
    bench.definitions = Definitions([bench.saga])
    saga_id = bench.begin(Order(order_id="SO-1"))
    worker = Worker(bench.store, bench.definitions, Executor(str, bench.store.clock))
    worker.start()
    try:
        wait_until(lambda: bench.row()["status"] == "halted", 20)
    finally:
        worker.stop(5)
    row = bench.store.row(saga_id)
    assert row is not None
    assert row.status == "halted"


def test_a_refused_row_does_not_hold_up_a_cancel() -> None:
    """The same for a decision that is made outside of a worker."""
    bench = Bench(refuses="compensated")
    saga_id = bench.begin(Order(order_id="SO-1"))
    tell(bench.store, bench.definitions, saga_id, CancelAsked(bench.store.clock(), "clerk", "called"), actor="clerk")
    row = bench.store.row(saga_id)
    assert row is not None
    assert row.status == "compensated"
