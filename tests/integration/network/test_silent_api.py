"""The order API while its database is silent: it says so, answers each request, and comes back by itself."""

import logging
import threading
from collections.abc import Sequence

import httpx2
import pytest

from saga.clock import monotonic
from saga.errors import StoreUnavailable
from saga.runtime.starting import Starter
from saga.store.memory import MemoryStore
from saga.store.opening import open_store
from saga.store.port import AcceptResult, NewSaga, SagaFilter
from tests.chaos.proxy import Proxy
from tests.integration.api.serving import opened, order_values, problem, served
from tests.simulation.sagas import Order, line
from tests.waiting import wait_until

BOUND_S = 12.0
CROWD = 45
"""More than the server has threads."""


def send(client: httpx2.Client, number: int) -> httpx2.Response:
    order = order_values(order_id=f"SO-{number}")
    return client.post("/v1/orders", json=order, headers={"Idempotency-Key": f"key-{number}"})


@pytest.mark.timeout(90)
def test_orders_are_refused_in_time_and_readiness_says_why(far_url: str, proxy: Proxy) -> None:
    """Every connection is swallowed, new ones too. Each POST of a crowd is a 503 within the bound, /readyz is one meanwhile and
    /healthz is well; when the database answers again an order is taken."""
    store = open_store(far_url)
    with served(store) as shop:
        assert send(shop.client, 0).status_code == 202
        assert shop.client.get("/readyz").status_code == 200
        proxy.swallow(new=True)
        answers: list[tuple[int, float]] = []

        def post(number: int) -> None:
            asked_at = monotonic()
            answers.append((send(shop.client, number).status_code, monotonic() - asked_at))

        crowd = [threading.Thread(target=post, args=(number,)) for number in range(1, CROWD)]
        for thread in crowd:
            thread.start()
        ready = shop.client.get("/readyz")
        assert shop.client.get("/healthz").status_code == 200
        for thread in crowd:
            thread.join()
        assert ready.status_code == 503
        [database] = [it for it in ready.json()["checks"] if it["name"] == "database"]
        assert not database["is_ok"]
        assert "answer" in database["detail"]
        assert {status for status, _ in answers} == {503}
        assert max(took_s for _, took_s in answers) < BOUND_S
        proxy.heal()
        wait_until(lambda: shop.client.get("/readyz").status_code == 200, BOUND_S)
        assert send(shop.client, 1).status_code == 202
        problem(shop.post(order_values(order_id="SO-2"), key="key-1"), 422, "key_reused")
    store.close()


@pytest.mark.timeout(60)
def test_an_order_over_forgotten_connections_is_taken(far_url: str, proxy: Proxy) -> None:
    """Only what stands is swallowed: the caller waits for one wall, and his order is taken over a new connection, once."""
    store = open_store(far_url)
    with opened(store) as shop:
        assert shop.post(order_values()).status_code == 202
        assert proxy.swallow() >= 1
        asked_at = monotonic()
        assert shop.post(order_values(order_id="SO-2"), key="key-2").status_code == 202
        assert monotonic() - asked_at < BOUND_S
        assert len(store.find(SagaFilter(), 10)) == 2
    store.close()


class _Hanging(MemoryStore):
    """A store whose accepts hang until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.entered = 0

    def accept(self, group: Sequence[NewSaga]) -> list[AcceptResult]:
        self.entered += 1
        self.gate.wait(30)
        return super().accept(group)


def test_a_stuck_starter_is_said_and_replaced_and_not_without_end(caplog: pytest.LogCaptureFixture) -> None:
    """Every caller gets his answer in time; two stuck threads are replaced and no third; what a caller left behind
    is not started behind his back."""
    store = _Hanging()
    starter = Starter(store, environment="test", tenant="test", patience_s=0.1)
    with caplog.at_level(logging.ERROR, "saga"):
        for number in range(5):
            with pytest.raises(StoreUnavailable, match=r"did not answer within 0.1 s"):
                starter.start(line, Order(order_id=f"SO-{number}"))
    assert caplog.text.count("starter_stuck") == 2
    entered = store.entered
    assert entered == 3
    store.gate.set()
    wait_until(lambda: len(store.find(SagaFilter(), 10)) == entered)
    starter.probe(5.0)
    starter.start(line, Order(order_id="SO-9"))
    assert len(store.find(SagaFilter(), 10)) == entered + 1
    starter.stop()
