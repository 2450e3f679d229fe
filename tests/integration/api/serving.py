"""An API with the real definition, starter and store, what it publishes, and a worker to move its sagas by hand."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import uvicorn
from fastapi.testclient import TestClient

from saga.core.outcomes import EffectChange, Outcome, OutcomeCode, Payload
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.runtime.work import Call, Hint
from saga.store.port import SagaFilter, SagaRow, Store
from saga.surfaces.api import ReadyCheck, build_api
from saga.surfaces.following import Bounds, Follower
from saga.surfaces.problems import MEDIA_TYPE
from tests.simulation.stepping import Process, kinds
from tests.waiting import wait_until

PERSONAL = ("Zoë Müller", "1 High Street", "LS1 1AA", "zoe@example.com")
RESULTS: dict[str, dict[str, Any]] = {
    "calculate_tax": {"tax_amount": 20, "currency": "GBP"},
    "quote_shipping": {"amount": 495, "currency": "GBP", "carrier": "DHL"},
    "validate_address": {"valid": True, "country_code": "GB"},
    "screen_fraud": {"score": 0.1, "passed": True},
    "reserve_inventory": {"reservation_id": "r1"},
    "price_order": {"goods": 1530, "tax": 20, "freight": 495, "total": 2045, "currency": "GBP"},
    "book_shipment": {"shipment_id": "s1", "tracking": "0034", "carrier": "DHL"},
    "authorize_payment": {"authorization_id": "a1", "amount": 2045, "currency": "GBP"},
    "firm_reservation": {"reservation_id": "r1", "firm": True},
    "capture_payment": {"capture_id": "c1", "amount": 2045, "currency": "GBP"},
    "commit_inventory": {"reservation_id": "r1", "committed": True},
    "dispatch_shipment": {"shipment_id": "s1", "dispatched": True},
    "confirm_order": {"message_id": "<m1@shop.invalid>"},
    "price_return": {"goods": 255, "tax": 20, "total": 275, "currency": "GBP"},
    "book_return_label": {"return_label_id": "l1", "tracking": "0099"},
    "refund_payment": {"refund_id": "f1", "amount": 275, "currency": "GBP"},
    "restock_inventory": {"restock_id": "t1"},
    "confirm_return": {"message_id": "<m2@shop.invalid>"},
}
LABEL = EffectChange("label", "DHL", 1, 1)


def order_values(**changes: Any) -> dict[str, Any]:
    """An order as JSON would hold it."""
    values: dict[str, Any] = {
        "order_id": "SO-1",
        "customer_id": "C7",
        "currency": "GBP",
        "country": "United Kingdom",
        "address": {"name": PERSONAL[0], "street": PERSONAL[1], "city": "Leeds", "postcode": PERSONAL[2]},
        "lines": [{"sku": "85123A", "quantity": 6, "unit_price": 255}],
        "payment_method": "pm_card",
        "email": PERSONAL[3],
    }
    return values | changes


@dataclass
class Shop:
    """An API and what stands behind it."""

    store: Store
    client: httpx2.Client
    published: list[Hint] = field(default_factory=list)
    follower: Follower | None = None

    def post(self, order: dict[str, Any], key: str = "key-1", **headers: str) -> httpx2.Response:
        """Send an order."""
        return self.client.post("/v1/orders", json=order, headers={"Idempotency-Key": key, **headers})

    def cancel(self, order_id: str = "SO-1", reason: str = "customer called", **headers: str) -> httpx2.Response:
        """Ask for the cancel of an order."""
        return self.client.post(f"/v1/orders/{order_id}/cancel", json={"reason": reason}, headers=headers)

    def give_back(
        self, lines: dict[str, int] | None = None, key: str = "r-1", *, order_id: str = "SO-1", **headers: str
    ) -> httpx2.Response:
        """Ask for the return of these pieces, or of all that is left."""
        wanted = [{"sku": sku, "quantity": quantity} for sku, quantity in (lines or {}).items()]
        body = {"lines": wanted, "reason": "broken handle"}
        return self.client.post(
            f"/v1/orders/{order_id}/returns", json=body, headers={"Idempotency-Key": key, **headers}
        )

    def kinds(self, saga_id: str) -> list[str]:
        """The kinds of all transitions of a journal, in order."""
        return list(kinds(self.store, saga_id))

    def post_text(self, text: str | bytes, key: str = "key-1") -> httpx2.Response:
        """Send a body to the letter."""
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        return self.client.post("/v1/orders", content=text, headers=headers)

    def accepted(self, **changes: Any) -> str:
        """The saga of an order that was accepted."""
        values = order_values(**changes)
        answer = self.post(values, key=f"key-of-{values['order_id']}")
        assert answer.status_code == 202, answer.text
        return str(answer.json()["saga_id"])

    def rows(self) -> list[SagaRow]:
        """Every saga that is stored."""
        return self.store.find(SagaFilter(), 1000)

    def move(self, saga_id: str, outcomes: dict[str, Outcome] | None = None, *, until: str | None = None) -> None:
        """Run the saga with answers of participants, to its end or until the node `until` is called."""
        process = Process(self.store, Definitions([fulfil_order, return_order]), f"worker-of-{saga_id}")
        process.wake(saga_id)
        process.settle()
        while process.calls:
            call = next((it for it in process.calls if it.node != until), None)
            if call is None:
                return
            process.finish(call, (outcomes or {}).get(call.node) or answered(call))
            process.settle()


def answered(call: Call) -> Outcome:
    """What the participant says when all is well; a booked label is an effect and its undo takes it back."""
    step, _, direction = call.node.rpartition(":")
    if direction == "c":
        return Outcome(OutcomeCode.SUCCEEDED, result=Payload('{"undone":true}'))
    effects = (LABEL,) if step == "book_shipment" else ()
    return Outcome(OutcomeCode.SUCCEEDED, result=Payload(json.dumps(RESULTS[step])), effects=effects)


@contextmanager
def opened(
    store: Store,
    *,
    publish: Callable[[Sequence[Hint]], None] | None = None,
    ready_checks: Sequence[ReadyCheck] = (),
    backlog_bound: int | None = None,
    bounds: Bounds | None = None,
) -> Iterator[Shop]:
    """An API in this process, called without a socket; hints go into `published` unless `publish` says otherwise."""
    published: list[Hint] = []
    starter = Starter(store, environment="test", tenant="shop")
    definitions = Definitions([fulfil_order, return_order])
    api = build_api(
        store,
        definitions,
        starter,
        publish or published.extend,
        ready_checks=ready_checks,
        backlog_bound=backlog_bound,
        bounds=bounds,
    )
    with TestClient(api, raise_server_exceptions=False) as client:
        yield Shop(store, client, published, api.state.follower)
    api.state.follower.stop()
    starter.stop()


@contextmanager
def served(
    store: Store,
    *,
    publish: Callable[[Sequence[Hint]], None] = lambda _hints: None,
    bounds: Bounds | None = None,
    connections: int = 64,
) -> Iterator[Shop]:
    """The same behind a real server on a socket, for what happens at once."""
    starter = Starter(store, environment="test", tenant="shop")
    api = build_api(store, Definitions([fulfil_order, return_order]), starter, publish, bounds=bounds)
    server = uvicorn.Server(uvicorn.Config(api, log_level="critical", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            wait_until(lambda: server.started, what="the server")
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            limits = httpx2.Limits(max_connections=connections)
            with httpx2.Client(base_url=url, limits=limits, timeout=30, trust_env=False) as client:
                yield Shop(store, client, follower=api.state.follower)
        finally:
            api.state.follower.stop()
            server.should_exit = True
            thread.join()
            starter.stop()


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer, checked for what every one has."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, MEDIA_TYPE), answer.text
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"urn:ordersaga:problem:{code}"
    assert (found["status"], found["code"]) == (status, code)
    assert found["title"]
    assert found["detail"]
    return found
