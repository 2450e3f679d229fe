"""What the API shows: orders, sagas, journals, lists, the process itself, and no personal data."""

import json
import re
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.transitions import SagaAccepted
from saga.errors import DefinitionError
from saga.fulfilment.models import Order
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.store.codec import decode
from saga.store.memory import MemoryStore
from saga.store.opening import open_store
from saga.store.schema import upgrade
from saga.surfaces.api import ReadyCheck, build_api, migrations_check
from tests.integration.api.serving import PERSONAL, Shop, opened, order_values, problem

DECLINED = {"authorize_payment:a": Outcome(OutcomeCode.REJECTED, "declined")}
BROKEN = {"authorize_payment:a": Outcome(OutcomeCode.DEFECT, "answer 200 that does not parse")}


def shown(shop: Shop, path: str) -> dict[str, Any]:
    """The body of a GET that is 200."""
    answer = shop.client.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_an_order_says_what_it_is_about(shop: Shop) -> None:
    """Lines, money and parcel: the total once it is priced, the label once it is bought and as long as it is held. Nothing of
    the customer's."""
    saga_id = shop.accepted()
    fresh = shop.client.get("/v1/orders/SO-1").json()
    assert fresh["lines"] == [{"sku": "85123A", "quantity": 6, "unit_price": 255}]
    assert (fresh["currency"], fresh["goods"], fresh["total"], fresh["carrier"], fresh["tracking"]) == (
        "GBP", 1530, None, None, None,
    )  # fmt: skip
    shop.move(saga_id, until="authorize_payment:a")
    priced = shop.client.get("/v1/orders/SO-1").json()
    assert (priced["total"], priced["carrier"], priced["tracking"]) == (2045, "DHL", "0034")
    shop.cancel()
    shop.move(saga_id)
    undone = shop.client.get("/v1/orders/SO-1").json()
    assert (undone["saga_status"], undone["total"], undone["tracking"]) == ("compensated", 2045, None)
    assert not [it for it in PERSONAL if it in str(undone)]


def test_an_order_from_accepted_to_confirmed(shop: Shop) -> None:
    """The view follows the saga, and its links lead to the saga and the journal."""
    saga_id = shop.accepted()
    order = shown(shop, "/v1/orders/SO-1")
    assert (order["status"], order["saga_status"], order["run"]) == ("processing", "running", 1)
    shop.move(saga_id)
    order = shown(shop, order["links"]["order"])
    assert (order["status"], order["saga_status"], order["cause"]) == ("confirmed", "completed", None)
    assert order["ended_at"] is not None
    assert shown(shop, order["links"]["saga"])["saga_id"] == saga_id
    assert shown(shop, order["links"]["journal"])["saga_id"] == saga_id


def test_of_several_runs_the_latest_is_shown(shop: Shop) -> None:
    """After a rollback and a second submission the order is what the second saga says."""
    first = shop.accepted()
    shop.move(first, DECLINED)
    order = shown(shop, "/v1/orders/SO-1")
    assert (order["status"], order["cause"]["detail"]) == ("failed", "declined")
    again = shop.post(order_values(), key="second")
    order = shown(shop, "/v1/orders/SO-1")
    assert (order["saga_id"], order["status"], order["run"]) == (again.json()["saga_id"], "processing", 2)


def test_a_saga_that_was_rolled_back(shop: Shop) -> None:
    """Status, cause, frozen plan with the state of each entry, and every node with its attempts and effect."""
    saga_id = shop.accepted()
    shop.move(saga_id, DECLINED)
    saga = shown(shop, f"/v1/sagas/{saga_id}")
    assert (saga["status"], saga["halt"]) == ("compensated", None)
    cause = {name: saga["cause"][name] for name in ("cause", "step", "detail", "reason")}
    assert cause == {"cause": "rejected", "step": "authorize_payment", "detail": "declined", "reason": ""}
    assert saga["plan"] == [
        {"step": "book_shipment", "mode": "compensate", "state": "compensated"},
        {"step": "reserve_inventory", "mode": "compensate", "state": "compensated"},
    ]
    nodes = {node["node"]: node for node in saga["nodes"]}
    assert [name for name in nodes if name.endswith(":c")] == ["book_shipment:c", "reserve_inventory:c"]
    declined = nodes["authorize_payment:a"]
    assert (declined["phase"], declined["outcome"], declined["attempts"]) == ("failed", "rejected", 1)
    assert (declined["effect"], declined["kind"]) == ("absent", "compensatable")
    assert declined["took_s"] >= 0
    untouched = nodes["capture_payment:a"]
    assert (untouched["phase"], untouched["attempts"], untouched["outcome"]) == ("waiting", 0, None)
    assert saga["net_effects"] == []
    assert saga["seq"] == len(shop.store.load([saga_id])[saga_id])


def test_a_saga_that_halted_and_one_in_flight(small_shop: Shop) -> None:
    """A halt names reason and node; an open attempt names its owner and deadline."""
    halted = small_shop.accepted()
    small_shop.move(halted, BROKEN)
    saga = shown(small_shop, f"/v1/sagas/{halted}")
    assert saga["status"] == "halted"
    assert (saga["halt"]["reason"], saga["halt"]["node"]) == ("defect", "authorize_payment:a")
    assert saga["halt"]["heals_itself"] is False
    assert saga["net_effects"] == [{"kind": "label", "unit": "DHL", "quantity": 1}]
    moving = small_shop.accepted(order_id="SO-2")
    small_shop.move(moving, until="reserve_inventory:a")
    nodes = {node["node"]: node for node in shown(small_shop, f"/v1/sagas/{moving}")["nodes"]}
    assert nodes["reserve_inventory:a"]["phase"] == "open"
    assert nodes["reserve_inventory:a"]["owner"] == f"worker-of-{moving}"
    assert nodes["reserve_inventory:a"]["deadline_at"] is not None


def test_the_journal_is_whole_and_without_payloads(shop: Shop) -> None:
    """Every transition is there; of each payload only codec, key, length and digest, which match the stored bytes."""
    saga_id = shop.accepted()
    shop.move(saga_id, DECLINED)
    journal = shown(shop, f"/v1/sagas/{saga_id}/journal")
    stored = shop.store.load([saga_id])[saga_id]
    assert [entry["seq"] for entry in journal["entries"]] == [entry.seq for entry in stored]
    kinds = [[it["kind"] for it in entry["transitions"]] for entry in journal["entries"]]
    assert kinds == [[it.kind for it in decode(entry.body)] for entry in stored]
    accepted = decode(stored[0].body)[0]
    assert isinstance(accepted, SagaAccepted)
    text = accepted.input.data.encode()
    assert journal["entries"][0]["transitions"][0]["facts"]["input"] == {
        "codec": "json",
        "key_id": None,
        "length": len(text),
        "sha256": sha256(text).hexdigest(),
    }
    requests = [
        it["facts"]["request"]
        for entry in journal["entries"]
        for it in entry["transitions"]
        if it["kind"] == "attempt_started" and it["facts"]["request"]
    ]
    assert {request["path"] for request in requests} >= {"/v1/reservations", "/v1/shipments", "/v1/authorizations"}
    assert all(set(request["body"]) == {"codec", "key_id", "length", "sha256"} for request in requests)


def test_no_answer_holds_personal_data(small_shop: Shop) -> None:
    """Name, street, postcode and address of the customer are in the journal and in no answer of the API."""
    saga_id = small_shop.accepted()
    small_shop.move(saga_id)
    bodies = "".join(entry.body for entry in small_shop.store.load([saga_id])[saga_id])
    assert all(json.dumps(text)[1:-1].replace("\\", "") in bodies.replace("\\", "") for text in PERSONAL[1:])
    paths = ["/v1/orders/SO-1", f"/v1/sagas/{saga_id}", f"/v1/sagas/{saga_id}/journal", "/v1/sagas"]
    for text in (small_shop.client.get(path).text for path in paths):
        assert not any(personal in text for personal in PERSONAL)


def test_pages_hold_each_saga_once(shop: Shop) -> None:
    """Following `Link` gives every saga, the latest first, each once, also while new ones arrive; the filter stays."""
    ids = [shop.accepted(order_id=f"SO-{n}") for n in range(7)]
    shop.move(ids[0], DECLINED)
    seen: list[str] = []
    path = "/v1/sagas?status=running&status=halted&definition=fulfil_order&limit=2"
    while path:
        answer = shop.client.get(path)
        seen += [item["saga_id"] for item in answer.json()["items"]]
        link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("link", ""))
        path = link.group(1) if link else ""
        if path:
            assert parse_qs(urlsplit(path).query)["status"] == ["running", "halted"]
        shop.accepted(order_id=f"late-{len(seen)}")
    assert seen == ids[:0:-1]


def test_the_list_filters_in_the_store(small_shop: Shop) -> None:
    """By status, definition and entity; nothing found is an empty page and no link."""
    ids = [small_shop.accepted(order_id=f"SO-{n}") for n in range(3)]
    small_shop.move(ids[1], DECLINED)

    def found(query: str) -> set[str]:
        return {item["saga_id"] for item in shown(small_shop, f"/v1/sagas?{query}")["items"]}

    assert found("status=compensated") == {ids[1]}
    assert found("status=compensated&status=running") == set(ids)
    assert found("entity=SO-2") == {ids[2]}
    assert found("definition=another") == set()
    assert "link" not in small_shop.client.get("/v1/sagas?limit=3").headers


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "query.limit"),
        ("limit=201", "query.limit"),
        ("limit=many", "query.limit"),
        ("status=done", "query.status.0"),
        ("entity=", "query.entity"),
        ("entity=a%00b", "query.entity"),
        ("definition=%0A", "query.definition"),
        ("cursor=", "query.cursor"),
        ("cursor=%FF", "query.cursor"),
        ("cursor=!!!", "query.cursor"),
        ("cursor=MjAyNi0wMS0wMQ==", "query.cursor"),
        ("cursor=MjAyNi0wMS0wMVQwMDowMDowMCBh", "query.cursor"),
        (f"cursor={'A' * 400}", "query.cursor"),
    ],
)
def test_a_bad_query_is_422(shop: Shop, query: str, field: str) -> None:
    """What cannot be asked is refused with its field, on every database."""
    found = problem(shop.client.get(f"/v1/sagas?{query}"), 422, "invalid")
    assert [error["field"] for error in found["errors"]] == [field]


@pytest.mark.parametrize("path", ["/v1/orders/none", "/v1/sagas/none", "/v1/sagas/none/journal", "/", "/v1/orders/"])
def test_what_is_not_there_is_404(shop: Shop, path: str) -> None:
    """An id that nobody has, and a path that nobody serves."""
    problem(shop.client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    "path", ["/v1/orders/a%00b", "/v1/orders/-a", "/v1/sagas/a%00b", "/v1/sagas/%F0%9F%9A%80/journal"]
)
def test_an_id_that_cannot_be_is_422(shop: Shop, path: str) -> None:
    """A NUL never reaches a database."""
    problem(shop.client.get(path), 422, "invalid")


def test_another_method_is_405(small_shop: Shop) -> None:
    """405 names what is allowed."""
    answer = small_shop.client.delete("/v1/sagas/x")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD"
    answer = small_shop.client.put("/v1/orders")
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert answer.json()["detail"] == "offered are GET, HEAD, POST"


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/v1/orders", "/v1/orders/SO-1", "/v1/orders/SO-1/events", "/v1/orders/none"]
)
def test_head_is_get_without_a_body(small_shop: Shop, path: str) -> None:
    """The same status and headers, at once also for a stream that would go on; a POST has no HEAD."""
    small_shop.accepted()
    head = small_shop.client.head(path)
    assert head.content == b""
    if not path.endswith("/events"):
        shown = small_shop.client.get(path)
        assert (head.status_code, head.headers.get("etag")) == (shown.status_code, shown.headers.get("etag"))
    assert head.headers["content-type"].partition(";")[0] != "text/plain"
    assert small_shop.client.head("/v1/orders/SO-1/cancel").status_code == 405


def test_a_journal_that_cannot_be_read_is_told_apart(api_sqlite_url: str) -> None:
    """What can be read is shown, from the row where not even entry 1 can, and what cannot is said; a request that would have to
    decide by it is a 500 of its own type that says nothing of the inside; other sagas are shown."""
    import sqlite3

    store = open_store(api_sqlite_url)
    with opened(store) as shop:
        damaged, whole = shop.accepted(), shop.accepted(order_id="SO-2")
        with sqlite3.connect(api_sqlite_url.removeprefix("sqlite:///")) as connection:
            connection.execute('UPDATE journal SET body = \'[{"t":"from_the_future"}]\' WHERE saga_id = ?', (damaged,))
        connection.close()
        for path in (f"/v1/sagas/{damaged}", "/v1/orders/SO-1"):
            found = shown(shop, path)
            assert found["saga_id"] == damaged
            assert found["unreadable"]["seq"] == 1
            assert "'from_the_future' is no kind of transition" in found["unreadable"]["why"]
        [entry] = shown(shop, f"/v1/sagas/{damaged}/journal")["entries"]
        assert [it["kind"] for it in entry["transitions"]] == ["unreadable"]
        assert "event: unreadable" in shop.client.get("/v1/orders/SO-1/events").text
        refused = problem(shop.cancel(), 500, "journal_unreadable")
        assert "from_the_future" not in json.dumps(refused)
        assert shown(shop, f"/v1/sagas/{whole}")["status"] == "running"
    store.close()


def test_what_nobody_foresaw_is_a_500_without_insides() -> None:
    """A bug (here: a publisher that raises, against its contract) is a problem too, and the order is not lost: the
    repeat with the same key is the kept answer."""

    def broken(_hints: object) -> None:
        raise RuntimeError("secret")

    with opened(MemoryStore(), publish=broken) as shop:
        found = problem(shop.post(order_values()), 500, "internal")
        assert "secret" not in json.dumps(found)
        again = shop.post(order_values())
        assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")


def test_health_says_that_the_process_is_up(small_shop: Shop) -> None:
    """/healthz asks nothing."""
    assert shown(small_shop, "/healthz")["status"] == "ok"


def test_ready_needs_the_migrations_and_not_the_broker(empty_postgres_url: str) -> None:
    """A database without tables is unready and says what to type; a check that is not required only reports."""
    store = open_store(empty_postgres_url)
    away = ReadyCheck("broker", lambda: "away", is_required=False)
    with opened(store, ready_checks=[migrations_check(empty_postgres_url), away]) as shop:
        before = shop.client.get("/readyz")
        assert (before.status_code, before.json()["is_ready"]) == (503, False)
        checks = {check["name"]: check for check in before.json()["checks"]}
        assert "saga db upgrade" in checks["migrations"]["detail"]
        upgrade(empty_postgres_url)
        after = shop.client.get("/readyz")
        assert (after.status_code, after.json()["is_ready"]) == (200, True)
        assert [check["is_ok"] for check in after.json()["checks"]] == [True, True, False]
    store.close()


def test_an_api_without_its_definition_is_not_built() -> None:
    """Nobody finds out at the first order."""
    store = MemoryStore()
    starter = Starter(store, environment="test", tenant="shop")
    with pytest.raises(DefinitionError, match="needs a definition"):
        build_api(store, Definitions([]), starter, lambda _hints: None)
    starter.stop()


def references(node: object) -> set[str]:
    """Every $ref of a document."""
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    return set().union(*(references(value) for value in node)) if isinstance(node, list) else set()


def test_openapi_describes_the_order_and_the_problems(small_shop: Shop) -> None:
    """The example is an order that is accepted, each reference leads somewhere, and every refusal is a problem."""
    document = shown(small_shop, "/openapi.json")
    schemas = document["components"]["schemas"]
    assert {reference.removeprefix("#/components/schemas/") for reference in references(document)} <= set(schemas)
    post = document["paths"]["/v1/orders"]["post"]
    [key] = [parameter for parameter in post["parameters"] if parameter["name"] == "Idempotency-Key"]
    assert key["required"] is True
    [example] = [it["value"] for it in post["requestBody"]["content"]["application/json"]["examples"].values()]
    Order.model_validate_json(json.dumps(example))
    assert small_shop.post(example, key=key["example"]).status_code == 202
    for path, operations in document["paths"].items():
        for operation in operations.values():
            refusals = {code: it for code, it in operation["responses"].items() if code >= "400" and path != "/readyz"}
            assert all("application/problem+json" in it["content"] for it in refusals.values()), path
    assert set(post["responses"]) == {"200", "202", "400", "408", "409", "413", "415", "422", "500", "503"}
