"""The table of orders against the journal: broken by hand it is told by I5, and made again it says what the journal says."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from saga.core.events import CancelAsked
from saga.fulfilment.orders_table import ORDERS
from saga.runtime.engine import tell
from saga.store.port import Rewrite, RowChange, RowFilter, Store
from saga.surfaces.order_rows import PAGE, rebuild
from tests.integration.audit.conftest import ACCEPTED, COMPLETED, DECLINED, DEFINITIONS, HALTED, TWICE, World
from tests.integration.audit.falsifying import execute
from tests.integration.audit.test_audit_rows import tells

EVERY = (*COMPLETED, DECLINED, HALTED, ACCEPTED, TWICE)
COLUMNS = ", ".join(ORDERS.names)


def table(world: World) -> list[tuple[object, ...]]:
    """Every row, in the order of the key."""
    rows = world.store.rows(ORDERS, RowFilter(ORDERS.key), PAGE)
    return sorted(tuple(row[name] for name in ORDERS.names) for row in rows)


def stray(world: World, order_id: str = "SO-99") -> None:
    """A row of an order that nobody placed."""
    copied = COLUMNS.replace("order_id", f"'{order_id}'").replace("saga_id", "'gone'", 1)
    execute(world.database, f"INSERT INTO orders ({COLUMNS}) SELECT {copied} FROM orders WHERE order_id = ?", DECLINED)


@pytest.mark.parametrize("order_id", EVERY)
def test_a_row_that_is_missing(world: World, order_id: str) -> None:
    """An order that ended, one that waits, one of two runs: the list does not show it."""
    saga_id = world.saga_id(order_id)
    execute(world.database, "DELETE FROM orders WHERE order_id = ?", order_id)
    tells(world.audit(), saga_id, order_id, "there is no row", "saga orders rebuild")


@pytest.mark.parametrize(
    ("order_id", "assignment", "says"),
    [
        (COMPLETED[0], "status = 'processing'", "status is processing and must be confirmed"),
        (COMPLETED[0], "total = total - 1", "total is"),
        (DECLINED, "ended_at = NULL", "ended_at is nothing"),
        (HALTED, "halt_reason = NULL", "halt_reason is nothing"),
        (TWICE, "run = 1", "run is 1 and must be 2"),
        (TWICE, "saga_id = 'gone'", "its saga is not there"),
    ],
)
def test_a_row_that_is_stale(world: World, order_id: str, assignment: str, says: str) -> None:
    """Each column is compared with the fold."""
    saga_id = world.saga_id(order_id)
    execute(world.database, f"UPDATE orders SET {assignment} WHERE order_id = ?", order_id)
    tells(world.audit(), saga_id, order_id, says)


def test_a_row_of_no_saga(world: World) -> None:
    """The list shows an order that nobody placed."""
    stray(world)
    tells(world.audit(), "gone", "SO-99", "no saga knows the order")


def test_rebuilding_makes_the_table_what_it_was(world: World) -> None:
    """Emptied, falsified and with a stray: the same rows as the decisions wrote; once more there is nothing to do, and the
    audit is green."""
    before = table(world)
    execute(world.database, "DELETE FROM orders WHERE order_id IN (?, ?)", COMPLETED[0], TWICE)
    execute(
        world.database, "UPDATE orders SET status = 'paid', total = 1, saga_id = 'gone' WHERE order_id = ?", DECLINED
    )
    stray(world)
    done = rebuild(world.store)
    assert (done.written, done.dropped, done.moving, done.unreadable) == (3, 1, 0, [])
    assert table(world) == before
    assert len(before) == len(EVERY) + 1
    again = rebuild(world.store)
    assert (again.orders, again.right, again.written, again.dropped) == (len(before), len(before), 0, 0)
    assert world.audit().violations == ()


def test_rebuilding_leaves_alone_what_it_cannot_read(world: World) -> None:
    """The row of an unreadable journal stays as it is, and is named; the others are made again."""
    execute(
        world.database, "UPDATE journal SET body = 'no JSON' WHERE saga_id = ? AND seq = 2", world.saga_id(DECLINED)
    )
    execute(world.database, "UPDATE orders SET status = 'paid'")
    done = rebuild(world.store)
    assert (done.unreadable, done.written) == ([DECLINED], len(EVERY))
    assert [row[5] for row in table(world) if row[2] == DECLINED] == ["paid"]


class MovingStore:
    """A store on which a worker appends to one saga whenever a row of it is about to be written."""

    def __init__(self, store: Store, saga_id: str) -> None:
        self._store, self._saga_id = store, saga_id
        self.now = store.now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def rewrite(self, rewrites: Sequence[Rewrite]) -> list[RowChange]:
        if any(it.saga_id == self._saga_id for it in rewrites):
            event = CancelAsked(self._store.clock(), "worker", "moves on")
            tell(self._store, DEFINITIONS, self._saga_id, event, actor="worker")
        return self._store.rewrite(rewrites)


def test_what_moves_on_meanwhile_is_written_by_its_own_decision(world: World) -> None:
    """Between the fold and the write a worker ends the order: the row of the older entry is not written, and the worker's stays."""
    execute(world.database, "UPDATE orders SET status = 'shipped' WHERE order_id = ?", ACCEPTED)
    done = rebuild(cast("Store", MovingStore(world.store, world.saga_id(ACCEPTED))))
    assert (done.written, done.moving, done.right) == (0, 0, len(EVERY) + 1)
    assert [row[5] for row in table(world) if row[2] == ACCEPTED] == ["cancelled"]
