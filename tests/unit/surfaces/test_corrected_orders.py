"""An order that comes again with another content: it is started anew where it was rolled back, and nowhere else."""

from collections.abc import Iterator

import pytest

from saga.core.states import SagaStatus
from saga.errors import KeyReused
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Order
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.store.memory import MemoryStore
from saga.surfaces.cancelling import CancelRequest, cancel
from saga.surfaces.submit import DirectIntake
from tests.unit.surfaces.test_submitting import order_line


@pytest.fixture
def intake() -> Iterator[DirectIntake]:
    """A store in memory that takes orders, and nobody who works on them."""
    store = MemoryStore()
    starter = Starter(store, environment="test", tenant="default")
    yield DirectIntake(store, starter, fulfil_order, lambda _hints: None)
    starter.stop()
    store.close()


def test_what_was_cancelled_is_not_started_by_a_file(intake: DirectIntake) -> None:
    """An export that says something else of it is no wish to have it after all; the same again is already there."""
    order = Order.model_validate_json(order_line("SO-1"))
    saga_id = intake.submit(order).saga_id
    cancel(intake.store, Definitions([fulfil_order]), saga_id, CancelRequest(reason="changed my mind"), surface="cli")
    assert intake.status(saga_id)[0] is SagaStatus.COMPENSATED
    with pytest.raises(KeyReused):
        intake.submit(order.model_copy(update={"customer_id": "C-2"}))
    assert intake.submit(order).is_known
