"""The four services over HTTP, one suite for all that has an effect: they keep the contract alike, on both databases."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import requests

from saga.core.connector import Call
from saga.fulfilment import connectors
from saga.fulfilment import fulfil_order as steps
from saga.fulfilment import models as m
from saga.testing.participant import SCENARIOS, Participant, Scenario
from services.inventory.service import SERVICE as INVENTORY
from services.payment.service import SERVICE as PAYMENT
from services.shipping.service import SERVICE as SHIPPING
from services.skeleton.server import serve
from services.tax.service import SERVICE as TAX
from tests import services_available as servers
from tests.integration.services.asking import DATABASES, at_once

ROOT = Path(__file__).parents[3]
SERVICES = {service.name: service for service in (INVENTORY, TAX, SHIPPING, PAYMENT)}
ADDRESS = {"name": "A. Buyer", "street": "1 High Street", "city": "Cork", "postcode": "T12 X70A", "country": "EIRE"}
HOLD = {"lines": [{"sku": "A", "quantity": 4}], "ttl_s": 900}
MONEY = {"amount": 500, "currency": "GBP"}
LABEL = {"carrier": "eurolane", "address": ADDRESS, "item_count": 2}

Urls = dict[str, str]


@dataclass(frozen=True)
class Case:
    """One effectful operation: a body that succeeds, and what must have been done before. `{k}` is the test's own key."""

    service: str
    path: str
    body: dict[str, Any]
    before: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    """(path, suffix of the key, body)."""
    row_count: int = 1
    """Rows of the ledger that it writes."""
    other: dict[str, Any] = field(default_factory=dict)
    """What makes the body another one that is well-formed."""

    @property
    def name(self) -> str:
        return f"{self.service} {self.path}"

    @property
    def rejections(self) -> dict[str, int]:
        return next(it for it in SERVICES[self.service].operations if it.path == self.path).rejections


Before = list[tuple[str, str, dict[str, Any]]]
RESERVED: Before = [("/v1/reservations", "r", {"order_id": "{k}", **HOLD})]
SHIPPED: Before = [*RESERVED, ("/v1/reservations/commit", "c", {"reservation_id": "R-{k}r"})]
BOOKED: Before = [("/v1/shipments", "s", {"order_id": "{k}", **LABEL})]
DISPATCHED: Before = [*BOOKED, ("/v1/shipments/dispatch", "d", {"shipment_id": "S-{k}s"})]
HELD: Before = [("/v1/authorizations", "a", {"order_id": "{k}", **MONEY, "payment_method": "pm_card"})]
CAPTURED: Before = [*HELD, ("/v1/captures", "c", {"authorization_id": "A-{k}a", **MONEY})]
BACK = {"order_id": "{k}", "return_id": "RMA-1"}
REFUND = {"order_id": "{k}", "capture_id": "C-{k}c", "amount": 100, "currency": "GBP", "reason": "came back"}
OTHER_ORDER = {"order_id": "other"}
CASES = [
    Case(
        "inventory",
        "/v1/stock",
        {"items": [{"sku": "A", "quantity": 1}]},
        other={"items": [{"sku": "A", "quantity": 2}]},
    ),
    Case("inventory", "/v1/reservations", RESERVED[0][2], other=OTHER_ORDER),
    Case(
        "inventory",
        "/v1/reservations/firm",
        {"reservation_id": "R-{k}r"},
        RESERVED,
        row_count=0,
        other={"reservation_id": "R-other"},
    ),
    Case(
        "inventory",
        "/v1/reservations/commit",
        {"reservation_id": "R-{k}r"},
        RESERVED,
        other={"reservation_id": "R-other"},
    ),
    Case("inventory", "/v1/restocks", {**BACK, "lines": [{"sku": "A", "quantity": 1}]}, SHIPPED, other=OTHER_ORDER),
    Case("shipping", "/v1/shipments", BOOKED[0][2], other=OTHER_ORDER),
    Case("shipping", "/v1/shipments/dispatch", {"shipment_id": "S-{k}s"}, BOOKED, other={"shipment_id": "S-other"}),
    Case("shipping", "/v1/return-labels", {**BACK, "shipment_id": "S-{k}s"}, DISPATCHED, other=OTHER_ORDER),
    Case("payment", "/v1/authorizations", HELD[0][2], other={"amount": 501}),
    Case("payment", "/v1/captures", {"authorization_id": "A-{k}a", **MONEY}, HELD, other={"amount": 501}),
    Case("payment", "/v1/refunds", REFUND, CAPTURED, other={"amount": 101}),
]
UNDOABLE = {
    "/v1/reservations",
    "/v1/reservations/firm",
    "/v1/restocks",
    "/v1/shipments",
    "/v1/return-labels",
    "/v1/authorizations",
}
LEFT_THE_HOUSE = {"inventory": ("committed", "sold_again"), "shipping": ("dispatched",)}
"""What an undo, or a second dispatch, is refused with; each stands in a test of its service."""
SAYS_NOTHING = {"payment": ("captured", "amount_mismatch")}
"""What no order is rolled back for: see `saga.fulfilment.connectors`."""
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
undoable_cases = pytest.mark.parametrize("case", [it for it in CASES if it.path in UNDOABLE], ids=lambda it: it.name)
rejecting_cases = pytest.mark.parametrize("case", [it for it in CASES if it.rejections], ids=lambda it: it.name)


@pytest.fixture(scope="module", params=DATABASES)
def urls(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, run_name: str) -> Iterator[Urls]:
    """The four services on databases of their own; tests keep apart by their keys."""
    folder: Path = tmp_path_factory.mktemp("four")
    is_sqlite = request.param == "sqlite"
    server_url = "" if is_sqlite else request.getfixturevalue("postgres_server_url")
    running = {}
    for name, service in SERVICES.items():
        own = (
            f"sqlite:///{folder / name}.db" if is_sqlite else servers.create_database(server_url, f"{run_name}_{name}")
        )
        running[name] = serve(service, own)
    urls = {name: server.url for name, server in running.items()}
    assert post(urls, "inventory", "/v1/stock", "provision", {"items": [{"sku": "A", "quantity": 100_000}]}).ok
    yield urls
    for name, server in running.items():
        server.stop()
        if not is_sqlite:
            servers.drop_database(server_url, f"{run_name}_{name}")


def post(urls: Urls, service: str, path: str, key: str, body: Any) -> requests.Response:
    return requests.post(urls[service] + path, json=body, headers={"Idempotency-Key": key} if key else {}, timeout=20)


def filled(body: Any, key: str) -> Any:
    """The body with `{k}` replaced in every text."""
    if isinstance(body, dict):
        return {name: filled(value, key) for name, value in body.items()}
    if isinstance(body, list):
        return [filled(value, key) for value in body]
    return body.replace("{k}", key) if isinstance(body, str) else body


def act(urls: Urls, case: Case, key: str, suffix: str = "") -> requests.Response:
    return post(urls, case.service, case.path, key + suffix, filled(case.body, key))


def prepare(urls: Urls, case: Case, key: str) -> None:
    for path, suffix, body in case.before:
        assert post(urls, case.service, path, key + suffix, filled(body, key)).ok


def rows(urls: Urls, case: Case, book: str, key: str, *, is_prefix: bool = False) -> list[dict[str, Any]]:
    """The rows of `ledger` or `barrier` under exactly this key, or under all that begin with it."""
    page = requests.get(f"{urls[case.service]}/v1/{book}", params={"limit": 5_000}, timeout=20).json()
    assert page["next_after"] is None
    return [row for row in page["rows"] if (row["key"].startswith(key) if is_prefix else row["key"] == key)]


def outcomes(urls: Urls, case: Case, key: str) -> list[str]:
    return [row["outcome"] for row in rows(urls, case, "barrier", key)]


def test_every_operation_with_an_effect_is_here() -> None:
    """The cases name each effectful operation of the four, and each that has an undo; none was forgotten."""
    effectful = [(name, it) for name, service in SERVICES.items() for it in service.operations if not it.is_readonly]
    assert {(case.service, case.path) for case in CASES} == {(name, it.path) for name, it in effectful}
    assert {it.path for _, it in effectful if it.undo is not None} == UNDOABLE


@every_case
def test_a_repeat_is_answered_and_not_done(urls: Urls, case: Case, unique: str) -> None:
    """Three times the same request: the same bytes, marked from the second on; one effect; another body is refused."""
    prepare(urls, case, unique)
    first, *repeats = [act(urls, case, unique) for _ in range(3)]
    assert first.ok
    assert "Idempotency-Replayed" not in first.headers
    assert {(it.status_code, it.content) for it in repeats} == {(first.status_code, first.content)}
    assert {it.headers["Idempotency-Replayed"] for it in repeats} == {"true"}
    other = post(urls, case.service, case.path, unique, {**filled(case.body, unique), **case.other})
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert act(urls, case, unique).content == first.content
    assert len(rows(urls, case, "ledger", unique)) == case.row_count
    assert outcomes(urls, case, unique) == ["applied"]


@every_case
def test_equal_requests_at_once_have_one_effect(urls: Urls, case: Case, unique: str) -> None:
    """Eight threads send the same request under the same key: all hear the same, it is done once."""
    prepare(urls, case, unique)
    replies = at_once([partial(act, urls, case, unique) for _ in range(8)])
    assert {(reply.ok, reply.content) for reply in replies} == {(True, replies[0].content)}
    assert len(rows(urls, case, "ledger", unique)) == case.row_count


@undoable_cases
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.__name__)
def test_it_keeps_the_rules_of_a_participant(urls: Urls, case: Case, scenario: Scenario, unique: str) -> None:
    """Whatever comes twice, late, in the wrong order or at once: what any barrier participant is held to."""
    code = next(iter(case.rejections))
    strange = next(it for it in CASES if it.service == case.service and it.path != case.path)
    for one in (case, strange):
        prepare(urls, one, unique)

    def held(key: str) -> int:
        done, undone = rows(urls, case, "ledger", key), rows(urls, case, "ledger", key + "u", is_prefix=True)
        return (len(done) - len(undone)) // max(case.row_count, 1)

    def reject(_key: str) -> None:
        rule = {"fault": "reject", "operation": f"POST {case.path}", "code": code, "times": 1}
        assert requests.put(f"{urls[case.service]}/v1/faults", json={"seed": 1, "rules": [rule]}, timeout=20).ok

    body = filled(case.body, unique)
    participant = Participant(
        urls[case.service],
        case.path,
        body=body,
        other_body={**body, **case.other},
        held=held if case.row_count else None,
        reject=reject,
        stranger=(strange.path, filled(strange.body, unique)),
    )
    scenario(participant, unique)


@undoable_cases
def test_what_was_done_and_undone_nets_to_nothing(urls: Urls, case: Case, unique: str) -> None:
    """The effects of action and undo cancel out, a repeat of the undo adds none, the rows stand under their keys."""
    prepare(urls, case, unique)
    done = act(urls, case, unique).json()["effects"]
    undo = [post(urls, case.service, f"{case.path}/undo", unique + "u", {"undoes": unique}) for _ in range(2)]
    assert undo[0].json()["undone"] is True
    assert undo[0].content == undo[1].content
    net: dict[tuple[str, str], int] = {}
    for effect in [*done, *undo[0].json()["effects"]]:
        unit = (effect["kind"], effect["unit"])
        net[unit] = net.get(unit, 0) + effect["sign"] * effect["quantity"]
    assert not any(net.values())
    assert len(rows(urls, case, "ledger", unique + "u")) == case.row_count
    assert outcomes(urls, case, unique + "u") == ["undone"]
    further = post(urls, case.service, f"{case.path}/undo", unique + "v", {"undoes": unique})
    assert further.json() == {"undone": True, "effects": []}
    assert rows(urls, case, "ledger", unique + "v") == []


@rejecting_cases
def test_a_rejection_is_remembered(urls: Urls, case: Case, unique: str) -> None:
    """Rejected once on demand, the same key is rejected for good; another key is a new intent; an undo finds nothing."""
    prepare(urls, case, unique)
    code, status = next(iter(case.rejections.items()))
    rule = {"fault": "reject", "operation": f"POST {case.path}", "code": code, "times": 1}
    assert requests.put(f"{urls[case.service]}/v1/faults", json={"seed": 1, "rules": [rule]}, timeout=20).ok
    first, second = act(urls, case, unique), act(urls, case, unique)
    assert (first.status_code, first.json()["code"], first.content) == (status, code, second.content)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert rows(urls, case, "ledger", unique) == []
    assert outcomes(urls, case, unique) == ["rejected"]
    if case.path in UNDOABLE:
        undo = post(urls, case.service, f"{case.path}/undo", unique + "u", {"undoes": unique})
        assert undo.json() == {"undone": False, "effects": []}
    assert act(urls, case, unique, suffix="n").ok


@every_case
def test_a_bad_request_leaves_nothing(urls: Urls, case: Case, unique: str) -> None:
    """No key is 400, an unknown field and a wrong type are 422 with the field's name; the key stays unused."""
    prepare(urls, case, unique)
    body = filled(case.body, unique)
    missing = post(urls, case.service, case.path, "", body)
    assert (missing.status_code, missing.json()["code"]) == (400, "missing_key")
    some_field = next(iter(body))
    for wrong, named in (({**body, "surprise": 1}, "surprise"), ({**body, some_field: 1}, some_field)):
        refused = post(urls, case.service, case.path, unique, wrong)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
        assert named in {error["field"] for error in refused.json()["errors"]}
    assert outcomes(urls, case, unique) == []
    assert act(urls, case, unique).ok


def order_named(order_id: str) -> m.Order:
    lines = [{"sku": "A", "quantity": 2, "unit_price": 150}, {"sku": "A", "quantity": 1, "unit_price": 100}]
    head = {"order_id": order_id, "customer_id": "C1", "currency": "GBP", "country": "United Kingdom"}
    address = {"name": "A. Buyer", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"}
    return m.Order.model_validate({**head, "address": address, "lines": lines, "payment_method": "pm_card"})


def test_the_steps_of_fulfil_order_are_understood(urls: Urls, unique: str) -> None:
    """Each request as a step makes it is taken, and each answer is what the step's result model wants: one whole order."""
    order = order_named(unique)

    def sent(call: Call[Any]) -> Any:
        operation = call.operation
        headers = {"Idempotency-Key": f"{unique}{operation.path.replace('/', '-')}"}
        url = urls[operation.connector.name] + operation.path
        reply = requests.post(url, data=call.request.model_dump_json(), headers=headers, timeout=20)
        assert reply.ok, reply.text
        return operation.result.model_validate_json(reply.content)

    tax, freight = sent(steps.calculate_tax(order)), sent(steps.quote_shipping(order))
    sent(steps.validate_address(order))
    sent(steps.screen_fraud(order))
    reservation = sent(steps.reserve_inventory(order))
    price = steps.price_order(order, tax, freight)
    assert (price.goods, price.tax, price.freight) == (400, 80, 495)
    shipment = sent(steps.book_shipment(order, freight))
    authorization = sent(steps.authorize_payment(order, price))
    sent(steps.firm_reservation(reservation))
    assert sent(steps.capture_payment(authorization, price)).amount == 975
    sent(steps.commit_inventory(reservation))
    sent(steps.dispatch_shipment(shipment))


def raised_by(service: str) -> set[tuple[int, str]]:
    """Status and code of each "no" in the modules of a service, where both stand there as a value or as the name of one."""
    found = set()
    for path in sorted((ROOT / "services" / service).glob("*.py")):
        names = vars(import_module(f"services.{service}.{path.stem}"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Rejection"):
                status, code = (
                    names.get(it.id) if isinstance(it, ast.Name) else getattr(it, "value", None) for it in node.args[:2]
                )
                if isinstance(status, int) and isinstance(code, str):
                    found.add((status, code))
    return found


def test_every_code_that_is_raised_is_declared_and_listed() -> None:
    """A final "no" (402, 409) that a service makes is one that it declares, and one that its connector rolls an order back for; the
    two of a capture that say nothing of the kind are not."""
    for connector in (connectors.inventory, connectors.shipping, connectors.payment):
        declared = {
            (status, code) for it in SERVICES[connector.name].operations for code, status in it.rejections.items()
        }
        declared |= {(409, code) for code in LEFT_THE_HOUSE.get(connector.name, ())}
        final = {it for it in raised_by(connector.name) if it[0] in (402, 409)}
        assert final
        unlisted = {(409, code) for code in SAYS_NOTHING.get(connector.name, ())}
        assert final - declared == final & unlisted == unlisted
        assert not {(status, code) for status, code in declared if code not in connector.rejection_codes(status)}


def test_the_codes_that_connectors_enumerate_exist() -> None:
    """A code that a connector takes for a rejection is one that an operation of its service says it rejects with."""
    for connector in (connectors.inventory, connectors.shipping, connectors.payment):
        said = {(status, code) for it in SERVICES[connector.name].operations for code, status in it.rejections.items()}
        said |= {(409, code) for code in LEFT_THE_HOUSE.get(connector.name, ())}
        for status in connector.rejected:
            for code in connector.rejection_codes(status):
                assert code == connectors.TOMBSTONED or (status, code) in said
