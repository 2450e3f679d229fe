"""Cancellations of a file, over the database and over the order API: both ways end in the same."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests

from saga.core.events import CancelAsked
from saga.core.states import NodePhase, SagaStatus
from saga.errors import KeyReused, SagaError, UsageError
from saga.fulfilment.cancellations import Sold
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.intake import Cancelled, Found
from saga.fulfilment.models import Order
from saga.fulfilment.return_order import return_order
from saga.fulfilment.returns import MoreThanLeft, WorthNothing
from saga.runtime.engine import Definitions, fold, tell
from saga.settings import Settings
from saga.store.port import SagaFilter
from saga.surfaces.cli.submitting import _text_of
from saga.surfaces.embedded import embedded
from saga.surfaces.returning import REUSED, DirectDesk, HttpDesk, Returning, ReturnTally
from saga.surfaces.submit import DirectIntake, HttpIntake, hand_over
from saga.surfaces.taking_back import ReturnRequest, take_back
from saga.surfaces.tally import Tally
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
        "unmatched_lines": 1, "not_taken_lines": 0, "refused": 0,
    }  # fmt: skip
    kinds = [row.entity for row in shop.stack.store.find(SagaFilter(return_order.name), 10)]
    assert sorted(kinds) == [f"R1.{it}" for it in (LATE, PARTLY, PENDING, TAKEN)]
    pending = shop.ended(shop.stack.store.find(SagaFilter(fulfil_order.name, entity=PENDING), 1)[0].saga_id)
    assert (pending.cancel is not None, pending.is_cancel_refused) == (True, True)
    assert (shop.shelf("mug"), shop.shelf("tin")) == ((99, 1), (100, 0))
    assert shop.lines_of(shop.audited()) == []
    again = handed_over(shop, way, is_again=True).as_json()
    assert (again["cancelled"], again["returned"], again["already"], again["nothing_held"]) == (0, 0, 4, 1)


def run_twice(shop: Shop) -> str:
    """The declined first run of an order whose later runs wait at their authorization."""
    first = placed_again(shop)
    assert shop.ended(first).status is SagaStatus.COMPENSATED
    set_faults(shop, {"fault": "overloaded", "operation": "POST /v1/authorizations", "order_ids": [DECLINED]})
    return first


def placed_again(shop: Shop) -> str:
    return shop.stack.starter.start(fulfil_order, placed(shop, DECLINED, mug=1)).saga_id


def cause_of(shop: Shop, saga_id: str) -> object:
    return fold(shop.stack.store.load([saga_id])[saga_id])[0].cause


class Meanwhile(HttpIntake):
    """The order API, at which something happens just before the first cancel arrives."""

    def __init__(self, shop: Shop, happens: Callable[[], object]) -> None:
        assert shop.stack.api_url is not None
        super().__init__(shop.stack.api_url.partition("/v1")[0])
        self._happens = [happens]

    def ask(self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None) -> requests.Response:
        if method == "POST" and self._happens:
            self._happens.pop()()
        return super().ask(method, path, body, headers)


@pytest.mark.timeout(120)
def test_another_run_of_the_order_is_not_cancelled(shop: Shop) -> None:
    """A cancellation is about the run that was handed over. When that was declined and the order was placed again, the API,
    which cancels the latest run, is not asked at all."""
    first = run_twice(shop)
    second = placed_again(shop)
    asked: list[str] = []
    assert HttpDesk(Meanwhile(shop, lambda: asked.append("cancel"))).cancel(DECLINED, first, "C-1") is False
    assert asked == []
    assert cause_of(shop, second) is None
    desk = HttpDesk(Meanwhile(shop, lambda: None))
    assert (desk.cancel(DECLINED, second, "C-2"), desk.cancel(DECLINED, second, "C-2")) == (True, False)


@pytest.mark.timeout(120)
def test_a_run_that_begins_while_the_cancel_is_on_its_way_is_not_cancelled(shop: Shop) -> None:
    """The run is cancelled by somebody else and the order is placed again between the look and the cancel: the cancel counts
    for what was seen or not at all."""
    run_twice(shop)
    second, later = placed_again(shop), list[str]()

    def happens() -> None:
        asked = CancelAsked(shop.stack.store.clock(), "shop", "called")
        tell(shop.stack.store, Definitions([fulfil_order]), second, asked, actor="shop")
        assert shop.ended(second).status is SagaStatus.COMPENSATED
        later.append(placed_again(shop))

    assert HttpDesk(Meanwhile(shop, happens)).cancel(DECLINED, second, "C-1") is False
    assert cause_of(shop, later[0]) is None


@pytest.mark.timeout(120)
def test_an_order_that_moves_is_looked_at_again(shop: Shop) -> None:
    """412 says that the order has moved, and not that it cannot be cancelled."""
    saga_id = shop.stack.starter.start(fulfil_order, placed(shop, STUCK, mug=1)).saga_id

    def length() -> int:
        return len(shop.stack.store.load([saga_id])[saga_id])

    def happens() -> None:
        before = length()
        wait_until(lambda: length() > before, END_S, what="another try")

    assert HttpDesk(Meanwhile(shop, happens)).cancel(STUCK, saga_id, "C-1") is True
    assert shop.ended(saga_id).status is SagaStatus.COMPENSATED


@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", ["database", "api"])
def test_a_changed_cancellation_hinders_no_other(shop: Shop, way: str) -> None:
    """A reference that stands twice in the file with other pieces is refused with its reason, and the cancellations behind
    it become what they would have."""

    def found() -> Iterator[Found]:
        for order_id in (LATE, PARTLY):
            yield placed(shop, order_id, mug=4)
        for order_id in (LATE, PARTLY):
            wait_until(partial(is_ended, shop, order_id), END_S, what=f"the end of {order_id}")
        yield Cancelled("C-1", customer_of(LATE), {"mug": 1})
        yield Cancelled("C-1", customer_of(LATE), {"mug": 2})
        yield Cancelled("C-2", customer_of(PARTLY), {"mug": 1})

    stack, tally = shop.stack, Tally()
    assert stack.api_url is not None
    if way == "api":
        over = HttpIntake(stack.api_url.partition("/v1")[0])
        returning = Returning(HttpDesk(over), Sold())
        hand_over(found(), over, returning=returning, tally=tally)
    else:
        direct = DirectIntake(stack.store, stack.starter, fulfil_order, stack.publish)
        returning = Returning(DirectDesk(stack.store, stack.starter, stack.publish), Sold())
        hand_over(found(), direct, returning=returning, tally=tally)
    assert returning.finish(bound_s=END_S)
    tally.returns = returning.tally
    value = tally.as_json(with_ends=False)
    assert (value["returns"]["returned"], value["returns"]["refused"]) == (2, 1)
    assert value["returns"]["refusals"] == [{"reference": "C-1", "reason": REUSED}]
    assert f"{REUSED}   C-1" in " ".join(_text_of(tally, with_ends=False).split()).replace(" C-1", "   C-1")


class Answering:
    """An order API of one answer."""

    def __init__(self, status: int, code: str) -> None:
        self._answer = requests.Response()
        self._answer.status_code = status
        self._answer.raw = BytesIO(json.dumps({"code": code, "detail": code}).encode())

    def saga(self, saga_id: str) -> dict[str, Any]:
        raise AssertionError(saga_id)

    def ask(self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None) -> requests.Response:
        return self._answer


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("worth_nothing", WorthNothing),
        ("exceeds_sold", MoreThanLeft),
        ("key_reused", KeyReused),
        ("invalid", UsageError),
    ],
)
def test_each_refusal_of_the_api_is_its_own(code: str, error: type[SagaError]) -> None:
    """Of the refusals only what cost nothing is worth nothing; any other broken rule is told in the API's own words, and is
    not counted as pieces that are not left."""
    with pytest.raises(SagaError) as raised:
        HttpDesk(Answering(422, code)).take_back("SO-1", ReturnRequest(reason="x"), "k")
    assert type(raised.value) is error
