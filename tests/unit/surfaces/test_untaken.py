"""`saga status` when a worker lives and something is due that it does not take."""

from datetime import UTC, datetime, timedelta

from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Address, Order, OrderLine
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.store.memory import MemoryStore
from saga.store.port import WorkerRow
from saga.surfaces.standing import standing
from saga.surfaces.status_page import status_page
from tests.simulation.stepping import Process


class SetClock:
    """Stands where the test puts it."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 21, 3, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


def test_what_nobody_takes_is_told() -> None:
    """It is due for longer than a worker needs to find it, and a worker is there: its definition is named, with what to type.
    Without a worker that line alone is said, and a young one is nobody's fault."""
    clock = SetClock()
    store = MemoryStore(clock)
    starter = Starter(store, environment="test", tenant="default")
    address = Address(name="A Person", street="1 Way", city="Berlin", postcode="10115")
    lines = (OrderLine(sku="MUG", quantity=1, unit_price=100),)
    order = Order(
        order_id="SO-1", customer_id="C-1", currency="GBP", country="Germany", address=address, lines=lines,
        payment_method="pm_card",
    )  # fmt: skip
    starter.start(fulfil_order, order)
    starter.stop()
    clock.at += timedelta(seconds=113)
    assert "taken by nobody" not in status_page(standing(store, Definitions([])))
    store.register_worker(WorkerRow("w1", "vm", 7, ("stock",)))
    found = standing(store, Definitions([]))
    version = f"fulfil_order v{fulfil_order.version}"
    assert found.untaken == [version]
    (told,) = (line for line in status_page(found).splitlines() if "taken by nobody" in line)
    assert told.startswith("✗ due for ")
    assert told.endswith(
        f"and taken by nobody ({version}) → start a worker with its definition: saga worker MODULE:SAGA"
    )
    again = Starter(store, environment="test", tenant="default")
    held = again.start(fulfil_order, order.model_copy(update={"order_id": "SO-2"}))
    again.stop()
    busy = Process(store, Definitions([fulfil_order]), "w2")
    busy.wake(held.saga_id)
    busy.settle()
    assert standing(store, Definitions([])).untaken == []  # a backlog: somebody is at work on the same definition
    clock.at -= timedelta(seconds=108)
    young = standing(store, Definitions([]))
    assert (young.untaken, "taken by nobody" in status_page(young)) == ([], False)
    store.close()
