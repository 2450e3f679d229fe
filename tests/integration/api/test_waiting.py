"""`Prefer: wait=N`: an answer that is held back until the order has ended, at the cost of no thread and no connection."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.projection import Projection, Value
from saga.store.memory import MemoryStore
from saga.store.opening import open_store
from saga.store.port import RowFilter, SagaRow
from saga.surfaces.following import WITHOUT_ROW_MAX, Bounds, Follower
from tests.integration.api.serving import Shop, opened, order_values, problem, served
from tests.waiting import wait_until

BROKEN = {"authorize_payment:a": Outcome(OutcomeCode.DEFECT, "answer 200 that does not parse")}
DECLINED = {"authorize_payment:a": Outcome(OutcomeCode.REJECTED, "declined")}
WAITERS = 200


def waiters(shop: Shop) -> int:
    assert isinstance(shop.follower, Follower)
    return shop.follower.waiter_count


@pytest.mark.parametrize("kind", ["postgres", "sqlite", "memory"])
def test_a_post_is_answered_when_the_order_has_ended(kind: str, request: pytest.FixtureRequest) -> None:
    """200 with the order as it ended and no Retry-After; the preference is said to be applied."""
    store = MemoryStore() if kind == "memory" else open_store(request.getfixturevalue(f"api_{kind}_url"))
    with served(store) as shop, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(shop.post, order_values(), Prefer="wait=30")
        [row] = wait_until(shop.rows)
        wait_until(lambda: waiters(shop), what="the waiter")
        assert not asked.done()
        shop.move(row.saga_id)
        answer = asked.result(20)
    store.close()
    assert answer.status_code == 200, answer.text
    assert (answer.json()["status"], answer.json()["saga_id"]) == ("confirmed", row.saga_id)
    assert answer.headers["preference-applied"] == "wait=30"
    assert answer.headers["location"] == "/v1/orders/SO-1"
    assert "retry-after" not in answer.headers
    assert answer.headers["etag"].startswith(f'"{row.saga_id}-')


def test_a_repeat_shows_what_the_order_shows(small_shop: Shop) -> None:
    """Order, returns and ETag are those of a GET, so what was seen in either can be asked about in the other."""
    small_shop.move(small_shop.accepted())
    small_shop.give_back({"85123A": 1})
    again, shown = (
        small_shop.post(order_values(), key="key-of-SO-1", Prefer="wait=30"),
        small_shop.client.get("/v1/orders/SO-1"),
    )
    assert len(again.json()["returns"]) == 1
    assert (again.json(), again.headers["etag"]) == (shown.json(), shown.headers["etag"])


def test_a_repeat_waits_too_and_an_ended_order_is_no_wait(small_shop: Shop) -> None:
    """The repeat under the key of an order that has ended is 200 at once, marked as replayed; without Prefer it is the kept
    202."""
    first = small_shop.post(order_values())
    small_shop.move(first.json()["saga_id"])
    again = small_shop.post(order_values(), Prefer="wait=30")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    assert small_shop.post(order_values()).text == first.text


def test_the_bound_over_it_is_202(small_shop: Shop) -> None:
    """Nobody moves the order: after the seconds asked for it is answered as without; 0 seconds is at once."""
    for number, prefer in enumerate(("wait=0", "wait=1")):
        answer = small_shop.post(order_values(order_id=f"SO-{number}"), key=prefer, Prefer=prefer)
        assert (answer.status_code, answer.headers["preference-applied"]) == (202, prefer)
        assert answer.json()["order_id"] == f"SO-{number}"
        assert answer.headers["retry-after"]
    assert "preference-applied" not in small_shop.post(order_values(), Prefer="wait=x").headers


def test_a_halt_for_a_person_ends_the_wait(small_shop: Shop) -> None:
    """Nobody knows when a person comes: a POST is 202 at once, a GET shows the order as it stands."""
    small_shop.move(small_shop.accepted(), BROKEN)
    answer = small_shop.post(order_values(), key="key-of-SO-1", Prefer="wait=30")
    assert answer.status_code == 202
    shown = small_shop.client.get("/v1/orders/SO-1", headers={"Prefer": "wait=30"})
    assert (shown.status_code, shown.json()["saga_status"]) == (200, "halted")


def test_a_repeat_of_a_run_that_was_rolled_back_does_not_wait_for_the_next(small_shop: Shop) -> None:
    """The order was accepted again and its next run is on its way: a repeat under the first key is about the run that it
    accepted, which has ended, and is answered at once with how that ended."""
    first = small_shop.accepted()
    small_shop.move(first, DECLINED)
    second = small_shop.post(order_values(), key="second").json()["saga_id"]
    small_shop.move(second, until="authorize_payment:a")
    answer = small_shop.post(order_values(), key="key-of-SO-1", Prefer="wait=10")
    assert answer.status_code == 200, answer.text
    assert answer.headers["idempotency-replayed"] == "true"
    assert (answer.json()["saga_id"], answer.json()["saga_status"]) == (first, "compensated")
    shown = small_shop.client.get("/v1/orders/SO-1").json()
    assert (shown["saga_id"], shown["saga_status"]) == (second, "running")


def test_an_order_that_has_no_row_is_waited_for(small_shop: Shop) -> None:
    """The table of orders is a cache: what was accepted before there was one is found by its saga."""
    store = _WithoutRows()
    with opened(store) as shop:
        saga_id = shop.accepted()
        shop.move(saga_id)
        answer = shop.post(order_values(), key="key-of-SO-1", Prefer="wait=30")
        assert (answer.status_code, answer.json()["status"]) == (200, "confirmed")


class _WithoutRows(MemoryStore):
    def rows(self, projection: Projection, wanted: RowFilter, limit: int) -> list[dict[str, Value]]:
        return []


class _Counting(MemoryStore):
    """Notes which threads ask for rows, and how many orders a question is about."""

    def __init__(self) -> None:
        super().__init__()
        self.askers: set[int] = set()
        self.widest = 0

    def rows(self, projection: Projection, wanted: RowFilter, limit: int) -> list[dict[str, Value]]:
        self.askers.add(threading.get_ident())
        self.widest = max(self.widest, len(wanted.one_of.get("order_id", ())))
        return super().rows(projection, wanted, limit)


def test_two_hundred_waiters_hold_no_thread() -> None:
    """While 200 callers wait, orders are taken and shown as ever; one thread asks, in one question about all 200; all are
    answered once their orders have ended, and nobody is left."""
    store = _Counting()
    with served(store, connections=WAITERS + 20) as shop, ThreadPoolExecutor(WAITERS) as pool:
        ids = [f"SO-{number}" for number in range(WAITERS)]
        for order_id in ids:
            assert shop.post(order_values(order_id=order_id), key=order_id).status_code == 202

        def wait(order_id: str) -> httpx2.Response:
            return shop.client.get(f"/v1/orders/{order_id}", headers={"Prefer": "wait=30"})

        asked = [pool.submit(wait, order_id) for order_id in ids]
        wait_until(lambda: waiters(shop) == WAITERS, 20, what="200 waiters")
        wait_until(lambda: store.widest == WAITERS, what="one question about 200 orders")
        assert len(store.askers) == 1
        assert shop.post(order_values(order_id="one-more"), key="one-more").status_code == 202
        assert not any(one.done() for one in asked)
        for row in shop.rows():
            assert shop.cancel(row.entity).status_code == 200
        answers = [one.result(30) for one in asked]
        assert {answer.json()["status"] for answer in answers} == {"cancelled"}
        assert waiters(shop) == 0


def test_above_the_bound_nobody_is_made_to_wait() -> None:
    """The preference is passed over and not said to be applied."""
    with opened(MemoryStore(), bounds=Bounds(waiters=0)) as shop:
        answer = shop.post(order_values(), Prefer="wait=30")
        assert answer.status_code == 202
        assert "preference-applied" not in answer.headers


def test_the_poller_ends_with_the_last_waiter_and_begins_again(small_shop: Shop) -> None:
    """No thread looks while nobody waits, and the next who waits gets one."""

    def looking() -> bool:
        return any(thread.name == "saga-follower" for thread in threading.enumerate())

    for number in range(2):
        saga_id = small_shop.accepted(order_id=f"SO-{number}")
        small_shop.move(saga_id)
        answer = small_shop.post(order_values(order_id=f"SO-{number}"), key=f"key-of-SO-{number}", Prefer="wait=30")
        assert answer.status_code == 200
        wait_until(lambda: not looking(), what="the end of the thread")


class _ReadAlone(MemoryStore):
    """Whose orders were accepted before there was a table of them."""

    def __init__(self) -> None:
        super().__init__()
        self.alone = self.looks = 0
        self.most = 0

    def rows(self, projection: Projection, wanted: RowFilter, limit: int) -> list[dict[str, Value]]:
        self.most, self.alone = max(self.most, self.alone), 0
        self.looks += 1
        return []

    def row(self, saga_id: str) -> SagaRow | None:
        if threading.current_thread().name == "saga-follower":
            self.alone += 1
        return super().row(saga_id)


def test_orders_without_a_row_cost_no_more_than_a_bound() -> None:
    """Each costs a read of its own, so only so many are looked at in one tick; all of them are answered in the end."""
    store = _ReadAlone()
    with served(store) as shop, ThreadPoolExecutor(30) as pool:
        sagas = {f"SO-{number}": shop.accepted(order_id=f"SO-{number}") for number in range(30)}

        def wait(order_id: str) -> httpx2.Response:
            return shop.client.get(f"/v1/orders/{order_id}", headers={"Prefer": "wait=30"})

        asked = [pool.submit(wait, order_id) for order_id in sagas]
        wait_until(lambda: waiters(shop) == 30 and store.looks > 3, 20, what="30 waiters")
        for saga_id in sagas.values():
            shop.move(saga_id)
        assert {one.result(30).json()["status"] for one in asked} == {"confirmed"}
    assert store.most == WITHOUT_ROW_MAX


def test_a_process_that_stops_lets_everybody_go() -> None:
    """Who waits is answered at once as after a wait in vain, so the server can end."""
    with served(MemoryStore()) as shop, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(shop.post, order_values(), Prefer="wait=30")
        wait_until(lambda: waiters(shop), what="the waiter")
        assert isinstance(shop.follower, Follower)
        shop.follower.stop()
        assert asked.result(10).status_code == 202


def test_a_wait_for_nothing_is_404(small_shop: Shop) -> None:
    """What is not there is not waited for."""
    problem(small_shop.client.get("/v1/orders/none", headers={"Prefer": "wait=30"}), 404, "not_found")
