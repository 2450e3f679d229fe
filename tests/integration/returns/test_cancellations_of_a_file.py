"""Cancellations of a file, over the database and over the order API: both ways end in the same."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from saga.core.states import NodePhase, SagaStatus
from saga.fulfilment.cancellations import Sold
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.intake import Cancelled, Found
from saga.fulfilment.models import Order
from saga.fulfilment.return_order import return_order
from saga.runtime.engine import fold
from saga.settings import Settings
from saga.store.port import SagaFilter
from saga.surfaces.embedded import embedded
from saga.surfaces.returning import DirectDesk, HttpDesk, Returning, ReturnTally
from saga.surfaces.submit import DirectIntake, HttpIntake, hand_over
from saga.surfaces.taking_back import ReturnRequest, take_back
from tests.integration.returns.test_returns import END_S, Shop
from tests.waiting import wait_until

STUCK, LATE, PARTLY, DECLINED, PENDING, TAKEN = "SO-1", "SO-2", "SO-3", "SO-4", "SO-5", "SO-6"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """An embedded stack with stock and the order API."""
    settings = Settings(home=tmp_path / "home")
    with embedded(settings, [fulfil_order, return_order], with_broker=False) as stack:
        items = {"items": [{"sku": "mug", "quantity": 100}, {"sku": "tin", "quantity": 100}]}
        url = f"{stack.urls['inventory']}/v1/stock"
        assert requests.post(url, json=items, headers={"Idempotency-Key": "stock"}, timeout=20).ok
        made = Shop(stack)
        set_faults(made, {"fault": "overloaded", "operation": "POST /v1/authorizations", "order_ids": [STUCK]})
        yield made


def set_faults(shop: Shop, rule: dict[str, Any]) -> None:
    """The one thing that payment does wrong from now on."""
    script = {"seed": 1, "rules": [rule]}
    assert requests.put(f"{shop.stack.urls['payment']}/v1/faults", json=script, timeout=10).ok


def customer_of(order_id: str) -> str:
    return f"C-{order_id}"


def placed(shop: Shop, order_id: str, **pieces: int) -> Order:
    method = "pm_declined" if order_id == DECLINED else "pm_card"
    order = shop.order(order_id, customer=customer_of(order_id), pieces=pieces)
    return order.model_copy(update={"payment_method": method})


def is_ended(shop: Shop, order_id: str) -> bool:
    rows = shop.stack.store.find(SagaFilter(fulfil_order.name, entity=order_id), 1)
    return bool(rows) and rows[0].ended_at is not None


def is_at_its_pivot(shop: Shop, order_id: str) -> bool:
    rows = shop.stack.store.find(SagaFilter(fulfil_order.name, entity=order_id), 1)
    journal = shop.stack.store.load([rows[0].saga_id])[rows[0].saga_id] if rows else []
    return bool(journal) and fold(journal)[0].node("capture_payment:a").phase is NodePhase.OPEN


def found_in(shop: Shop, *, is_again: bool) -> Iterator[Found]:
    """The file: each cancellation is read when its order stands where its name says."""
    yield placed(shop, STUCK, mug=1)
    yield Cancelled("C-1", customer_of(STUCK), {"mug": 1})
    for order_id in (LATE, PARTLY, DECLINED, TAKEN):
        yield placed(shop, order_id, mug=2)
    for order_id in (LATE, PARTLY, DECLINED, TAKEN):
        wait_until(partial(is_ended, shop, order_id), END_S, what=f"the end of {order_id}")
    if not is_again:
        everything = ReturnRequest(reason="brought to the counter")
        taken = take_back(shop.stack.store, shop.stack.starter, return_order, TAKEN, everything, key="counter")
        assert shop.ended(taken.returned.state.saga_id).status is SagaStatus.COMPLETED
    yield Cancelled("C-2", customer_of(LATE), {"mug": 2})
    yield Cancelled("C-3", customer_of(PARTLY), {"mug": 1, "spoon": 1})
    yield Cancelled("C-4", customer_of(DECLINED), {"mug": 2})
    yield Cancelled("C-6", customer_of(TAKEN), {"mug": 2})
    set_faults(shop, {"fault": "latency", "operation": "POST /v1/captures", "delay_s": 3.0})
    yield placed(shop, PENDING, tin=1)
    wait_until(lambda: is_at_its_pivot(shop, PENDING) or is_ended(shop, PENDING), END_S, what="the capture")
    yield Cancelled("C-5", customer_of(PENDING), {"tin": 1})


def handed_over(shop: Shop, way: str, *, is_again: bool = False) -> ReturnTally:
    stack = shop.stack
    if way == "api":
        assert stack.api_url is not None
        over = HttpIntake(stack.api_url.partition("/v1")[0])
        returning = Returning(HttpDesk(over), Sold())
        hand_over(found_in(shop, is_again=is_again), over, returning=returning)
    else:
        direct = DirectIntake(stack.store, stack.starter, fulfil_order, stack.publish)
        returning = Returning(DirectDesk(stack.store, stack.starter, stack.publish), Sold())
        hand_over(found_in(shop, is_again=is_again), direct, returning=returning)
    assert returning.finish(bound_s=END_S)
    for saga_id in returning.tally.saga_ids:
        assert shop.ended(saga_id).status is SagaStatus.COMPLETED
    return returning.tally


@pytest.mark.timeout(180)
@pytest.mark.parametrize("way", ["database", "api"])
def test_each_cancellation_becomes_what_its_order_allows(shop: Shop, way: str) -> None:
    """Before the pivot it cancels. What comes too late is a return in the same run: of a whole order, of some of its pieces,
    and of one whose capture was in flight when it was asked, where the cancel is kept, refused by the capture and followed by
    the return. A declined order holds nothing, and pieces that came back at the counter do not come back twice. The same
    file again asks for nothing new, and the books agree."""
    tally = handed_over(shop, way).as_json()
    assert tally == {
        "cancellations": 6, "cancelled": 1, "returned": 3, "already": 0, "nothing_held": 1, "not_left": 1, "waiting": 0,
        "unmatched_lines": 1,
    }  # fmt: skip
    kinds = [row.entity for row in shop.stack.store.find(SagaFilter(return_order.name), 10)]
    assert sorted(kinds) == [f"R1.{it}" for it in (LATE, PARTLY, PENDING, TAKEN)]
    pending = shop.ended(shop.stack.store.find(SagaFilter(fulfil_order.name, entity=PENDING), 1)[0].saga_id)
    assert (pending.cancel is not None, pending.is_cancel_refused) == (True, True)
    assert (shop.shelf("mug"), shop.shelf("tin")) == ((99, 1), (100, 0))
    assert shop.lines_of(shop.audited()) == []
    again = handed_over(shop, way, is_again=True).as_json()
    assert (again["cancelled"], again["returned"], again["already"], again["nothing_held"]) == (0, 0, 4, 1)
