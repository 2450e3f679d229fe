"""The OpenAPI document against the API: whatever is sent, well-formed or not, the answer is one that the document describes.

In process and over the store in memory. What is held: no 5xx, no status that the document does not name, every body and header
as its schema says, and a request that breaks the schema is refused. Not held is that all that the schema allows is accepted:
an order has rules that JSON Schema cannot say (a currency of ISO 4217, sums below a bound), and an id must be one of a saga.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance

from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.store.memory import MemoryStore
from saga.surfaces.api import build_api
from saga.surfaces.describing import EXAMPLE
from saga.surfaces.following import Bounds
from tests.integration.api.serving import opened

load_all_checks()
CASES_MAX = {GenerationMode.POSITIVE: 6, GenerationMode.NEGATIVE: 3}
"""Per operation; the suite is to stay within twenty seconds."""
CONFIG = {"generation": {"allow-x00": False}}
OPERATIONS = (
    "POST /v1/orders", "GET /v1/orders", "GET /v1/orders/{order_id}", "POST /v1/orders/{order_id}/cancel",
    "POST /v1/orders/{order_id}/returns", "GET /v1/orders/{order_id}/events", "GET /v1/sagas", "GET /v1/sagas/{saga_id}", "GET /v1/sagas/{saga_id}/journal",
    "POST /v1/sagas/{saga_id}/cancel",
    "GET /healthz", "GET /readyz",
)  # fmt: skip
ASKING = tuple(name for name in OPERATIONS if name.startswith(("GET /v1", "POST")))
"""Those that take anything."""


@pytest.fixture(scope="module")
def schema() -> Iterator[BaseSchema]:
    """The document of an API that knows the order of the examples, rolled back, and whose streams and waits are short."""
    store = MemoryStore()
    with opened(store) as shop:
        saga_id = shop.post(EXAMPLE, key="first").json()["saga_id"]
        shop.move(saga_id, until="authorize_payment:a")
        assert shop.cancel(str(EXAMPLE["order_id"])).status_code == 202
        shop.move(saga_id)
    starter = Starter(store, environment="test", tenant="shop")
    app = build_api(
        store,
        Definitions([fulfil_order, return_order]),
        starter,
        lambda _hints: None,
        bounds=Bounds(wait_s=0, stream_s=0.01),
    )
    yield schemathesis.openapi.from_asgi("/openapi.json", app, config=SchemathesisConfig.from_dict(CONFIG))
    app.state.follower.stop()
    starter.stop()


def operations_of(schema: BaseSchema) -> dict[str, APIOperation[Any, Any, Any, Any]]:
    found = {}
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        found[f"{operation.method.upper()} {operation.path}"] = operation
    return found


def asked(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode) -> None:
    """Ask so many generated requests of one kind, and hold each answer against the document; the same ones every time."""

    @settings(
        max_examples=CASES_MAX[mode],
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE and "order_id" in (case.path_parameters or {}):
            case.path_parameters["order_id"] = EXAMPLE["order_id"]  # one that is there; the others are 404
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    ask()


def test_every_operation_is_judged(schema: BaseSchema) -> None:
    """A new operation does not go unseen."""
    assert set(operations_of(schema)) == set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_requests_that_keep_the_document_are_answered_by_it(schema: BaseSchema, name: str) -> None:
    """A well-formed request is done, or refused for a reason of the business, as documented."""
    asked(operations_of(schema)[name], GenerationMode.POSITIVE)


@pytest.mark.parametrize("name", ASKING)
def test_requests_that_break_the_document_are_refused(schema: BaseSchema, name: str) -> None:
    """A request that breaks the schema is 4xx, as documented."""
    asked(operations_of(schema)[name], GenerationMode.NEGATIVE)


def test_examples_of_the_document_hold(schema: BaseSchema) -> None:
    """Every body's examples are taken, every header of a request has one, and each problem's example has a code of that
    status."""
    paths = schema.raw_schema["paths"]
    with opened(MemoryStore()) as shop:
        assert isinstance(shop.client, TestClient)
        for path, operations in paths.items():
            for method, operation in operations.items():
                for parameter in operation.get("parameters", []):
                    assert parameter["in"] != "header" or parameter["example"], f"{method} {path} {parameter['name']}"
                for status, described in operation["responses"].items():
                    examples = described.get("content", {}).get("application/problem+json", {}).get("examples", {})
                    assert all(it["value"]["status"] == int(status) for it in examples.values())
                    assert int(status) < 400 or examples or path == "/readyz", f"{method} {path} {status}"
                bodies = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
                if path.endswith("/returns"):
                    shop.post(EXAMPLE, key="again")  # the cancel that was tried before has rolled it back
                    [live] = [row for row in shop.rows() if row.run == 2]
                    shop.move(live.saga_id)
                for number, example in enumerate(bodies.get("examples", {}).values()):
                    where = path.format(
                        order_id=EXAMPLE["order_id"], saga_id=next((row.saga_id for row in shop.rows()), "")
                    )
                    headers = {"Idempotency-Key": f"{path}{number}", "Content-Type": "application/json"}
                    answer = shop.client.post(where, content=json.dumps(example["value"]), headers=headers)
                    assert answer.status_code in (200, 202), answer.text
