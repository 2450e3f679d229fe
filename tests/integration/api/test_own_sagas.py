"""An API for a saga of one's own: started, shown, listed and cancelled at /v1/sagas, with no order in sight."""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel, BeforeValidator, Field, model_validator

from saga.core.definition import Saga, compensatable, pivot
from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.states import HaltReason
from saga.errors import DefinitionError
from saga.fulfilment.fulfil_order import fulfil_order
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.runtime.work import Hint
from saga.store.memory import MemoryStore
from saga.surfaces.api import build_api
from tests.integration.api.serving import opened, order_values, problem
from tests.simulation.stepping import Process, kinds


def cents(euros: Any) -> int:
    return round(float(euros) * 100)


class Wanted(BaseModel):
    order_id: str
    count: int = Field(ge=1)
    price: Annotated[int, BeforeValidator(cents)] = 0
    weight: float = 0.0

    @model_validator(mode="after")
    def _looked_up(self) -> "Wanted":
        if self.order_id == "unread":
            raise LookupError("no such price")
        if self.order_id == "leaves":
            sys.exit("no price list")
        return self


class Held(BaseModel):
    ref: str


class Paid(BaseModel):
    ref: str


def hold(order: Wanted) -> Held:
    return Held(ref=order.order_id)


def let_go(held: Held) -> None:
    """Nothing is really held."""


def pay(order: Wanted) -> Paid:
    return Paid(ref=order.order_id)


def entity(order: Wanted) -> str:
    if order.order_id == "bad":
        raise KeyError("no such shop")
    if order.order_id == "ends":
        sys.exit("no such shop")
    return order.order_id


PLACE: Saga[Any] = Saga("place", version=1, input=Wanted, entity=entity, steps=[
    compensatable(hold, compensation=let_go, keys="serialise"), pivot(pay, keys="serialise")])  # fmt: skip


JSON = {"Content-Type": "application/json"}


class Own:
    """The API of one definition, what it published, and a worker's moves by hand."""

    def __init__(self, client: TestClient, store: MemoryStore, published: list[Hint]) -> None:
        self.client, self.store, self.published = client, store, published
        self.process = Process(store, Definitions([PLACE]), "w1")

    def start(self, key: str = "k-1", definition: str = "place", **value: Any) -> httpx2.Response:
        body = {"definition": definition, "input": {"order_id": "B1", "count": 2} | value}
        return self.client.post("/v1/sagas", content=json.dumps(body), headers={"Idempotency-Key": key} | JSON)

    def cancel(self, saga_id: str, **headers: str) -> httpx2.Response:
        return self.client.post(f"/v1/sagas/{saga_id}/cancel", json={"reason": "called"}, headers=headers)

    def at(self, saga_id: str, node: str) -> None:
        """Move it until this node is called."""
        self.process.wake(saga_id)
        self.process.settle()
        while self.process.calls[0].node != node:
            self.process.finish(self.process.calls[0])
            self.process.settle()


@pytest.fixture
def own() -> Iterator[Own]:
    store, published = MemoryStore(), list[Hint]()
    starter = Starter(store, environment="test", tenant="shop")
    app = build_api(store, Definitions([PLACE]), starter, published.extend)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Own(client, store, published)
    app.state.follower.stop()
    starter.stop()


def test_it_is_started_once(own: Own) -> None:
    """202 with where it is; the same key again is the same saga; another input under the key is refused."""
    first, again = own.start(), own.start()
    saga_id = first.json()["saga_id"]
    assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
    assert first.headers["location"] == f"/v1/sagas/{saga_id}" == first.json()["links"]["saga"]
    assert again.headers["idempotency-replayed"] == "true"
    assert [hint.saga_id for hint in own.published] == [saga_id]
    problem(own.start(count=3), 422, "key_reused")
    problem(own.start(key="k-2"), 409, "duplicate_order")
    shown = own.client.get(f"/v1/sagas/{saga_id}").json()
    assert (shown["definition"], shown["entity"], shown["status"], shown["environment"]) == (
        "place",
        "B1",
        "running",
        "test",
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"count": 0}, "input.count"),
        ({"count": "many"}, "input.count"),
        ({"definition": "none"}, "definition"),
        ({"definition": "fulfil_order"}, "definition"),
        ({"order_id": "bad"}, "input"),
        ({"order_id": ""}, "input"),
        ({"price": 12.34}, "input.price"),
        ({"weight": float("nan")}, "input.weight"),
    ],
)
def test_a_bad_start_is_refused_with_its_field(own: Own, change: dict[str, Any], field: str) -> None:
    """And nothing is stored."""
    found = problem(own.start(**change), 422, "invalid")
    assert [error["field"] for error in found["errors"]] == [field]
    assert own.client.get("/v1/sagas").json()["items"] == []


def test_a_start_that_no_database_can_hold_names_the_rule(own: Own) -> None:
    """An entity that is no index key, and a letter that no journal can hold, as the command says it."""
    for order_id, rule in (
        ("x" * 300, "saga place: entity gave a text of 300 characters; an index key has 1 to 255"),
        ("a\0", "input of place: order_id: character 2 is U+0000, a NUL character, which no journal can hold"),
    ):
        assert problem(own.start(order_id=order_id), 422, "invalid")["errors"] == [{"field": "input", "rule": rule}]


@pytest.mark.parametrize("query", ["limit=0", "limit=many", "nowhere=1", "cursor=x"])
def test_who_only_asks_is_not_told_that_nothing_was_stored(own: Own, query: str) -> None:
    """Only whoever wanted to store something is."""
    assert problem(own.client.get(f"/v1/sagas?{query}"), 422, "invalid")["detail"] == "1 rule is broken"
    assert problem(own.start(count=0), 422, "invalid")["detail"] == "1 rule is broken; nothing was stored"


@pytest.mark.parametrize(
    ("order_id", "rule"),
    [
        ("bad", "saga place: entity raised KeyError: 'no such shop'"),
        ("ends", "saga place: entity raised SystemExit: no such shop"),
        ("unread", "saga place: the model of its input raised LookupError: no such price"),
        ("leaves", "saga place: the model of its input raised SystemExit: no price list"),
    ],
)
def test_what_the_users_code_raised_is_said(own: Own, order_id: str, rule: str) -> None:
    """With the saga and the place, whatever it raised: it is neither a 500 nor the end of the process."""
    [error] = problem(own.start(order_id=order_id), 422, "invalid")["errors"]
    assert (error["field"], error["rule"].partition(" (")[0]) == ("input", rule)
    assert "test_own_sagas.py:" in error["rule"]
    assert own.client.get("/v1/sagas").json()["items"] == []


def test_a_start_needs_a_key_and_json(own: Own) -> None:
    """As an order does."""
    problem(own.client.post("/v1/sagas", json={"definition": "place", "input": {}}), 400, "key_missing")
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    problem(own.client.post("/v1/sagas", content="{", headers=headers), 400, "not_json")
    problem(own.client.post("/v1/sagas", content='{"definition": "place"}', headers=headers), 422, "invalid")


def test_it_is_cancelled(own: Own) -> None:
    """Before the point of no return 202, and a repeat is the same; in the end 200; `If-Match` counts."""
    saga_id = own.start().json()["saga_id"]
    own.at(saga_id, "pay:a")
    tag = own.client.get(f"/v1/sagas/{saga_id}").headers["etag"]
    problem(own.cancel(saga_id, **{"If-Match": '"other-1"'}), 412, "changed")
    answer = own.cancel(saga_id, **{"If-Match": tag})
    assert (answer.status_code, answer.json()["cancelled"], answer.json()["cancel"]["reason"]) == (
        202,
        "pending",
        "called",
    )
    own.process.finish(own.process.calls[0], Outcome(OutcomeCode.REJECTED, "declined"))
    own.process.finish_all()
    assert (own.cancel(saga_id).status_code, own.cancel(saga_id).json()["cancelled"]) == (200, "done")
    problem(own.cancel("none"), 404, "not_found")


def test_what_is_past_or_held_is_said(own: Own) -> None:
    """409 of two kinds."""
    saga_id = own.start().json()["saga_id"]
    own.process.wake(saga_id)
    own.process.finish_all()
    problem(own.cancel(saga_id), 409, "past_no_return")
    held = own.start(key="k-2", order_id="B2").json()["saga_id"]
    own.at(held, "pay:a")
    own.process.finish(own.process.calls[0], Outcome(OutcomeCode.DEFECT, "no"))
    own.process.settle()
    assert problem(own.cancel(held), 409, "waits_for_person")["saga_id"] == held
    assert "cancel_requested" in kinds(own.store, held)


def test_there_are_no_orders_here(own: Own) -> None:
    """Its routes come with fulfil_order; the document describes what is there, and the process is ready."""
    assert own.client.get("/v1/orders").status_code == 404
    described = own.client.get("/openapi.json").json()
    assert set(described["paths"]["/v1/sagas"]) == {"get", "post"}
    assert "/v1/orders" not in described["paths"]
    assert "StartRequest" in described["components"]["schemas"]
    assert own.client.get("/readyz").json()["is_ready"] is True


def test_the_product_is_not_started_there() -> None:
    """An order has a protocol of its own, so beside it the route is missing; with a definition of one's own both are there."""
    with opened(MemoryStore()) as shop:
        body = {"definition": "fulfil_order", "input": order_values()}
        assert shop.client.post("/v1/sagas", json=body, headers={"Idempotency-Key": "k"}).status_code == 405
    store = MemoryStore()
    starter = Starter(store, environment="test", tenant="shop")
    app = build_api(store, Definitions([fulfil_order, PLACE]), starter, lambda _hints: None)
    with TestClient(app) as client:
        assert {"/v1/orders", "/v1/sagas"} <= set(client.get("/openapi.json").json()["paths"])
        assert client.post("/v1/sagas", json=body, headers={"Idempotency-Key": "k"}).status_code == 422
    app.state.follower.stop()
    with pytest.raises(DefinitionError, match="saga api shop:place_order"):
        build_api(store, Definitions([]), starter, lambda _hints: None)
    starter.stop()


@pytest.mark.parametrize("reason", [None, *HaltReason])
def test_sagas_are_listed_by_why_they_are_halted(own: Own, reason: HaltReason | None) -> None:
    """Only those; a reason that there is none of is 422, and the filter is part of the next page's link."""
    for number in range(2):
        saga_id = own.start(key=f"k-{number}", order_id=f"B{number}").json()["saga_id"]
        own.process.wake(saga_id)
        own.process.settle()
        own.process.finish(own.process.calls[0], Outcome(OutcomeCode.DEFECT, "no"))
        own.process.settle()
    if reason is None:
        problem(own.client.get("/v1/sagas?halt_reason=tired"), 422, "invalid")
        problem(own.client.get("/v1/sagas?halt_reason=defect&halt_reason=poison"), 422, "invalid")
        return
    answer = own.client.get("/v1/sagas", params={"halt_reason": reason.value, "limit": 1})
    assert [row["halt_reason"] for row in answer.json()["items"]] == (["defect"] if reason is HaltReason.DEFECT else [])
    if reason is HaltReason.DEFECT:
        assert "halt_reason=defect" in answer.headers["link"]
