"""Each service against its own OpenAPI document: generated requests, good and bad, and the examples of the document.

In process, without a server or a broker; on SQLite, and the inventory on PostgreSQL too, since it has the most SQL. The cases
come from Hypothesis: `SAGA_HYPOTHESIS=repeatable` fixes them, `deep` makes them 20 times as many. What is held: no 5xx, no
status that the document does not name, every body and header as its schema says, a request that breaks the schema is
refused, and one that keeps it is not called invalid.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance

from services.skeleton.app import build_app
from services.skeleton.server import NAMES, service_named
from services.skeleton.service import Operation, Route
from tests import services_available as servers

load_all_checks()

TIMES = 20 if os.environ.get("SAGA_HYPOTHESIS") == "deep" else 1
CASES_MAX = {GenerationMode.POSITIVE: 5 * TIMES, GenerationMode.NEGATIVE: 3 * TIMES}
"""Per operation; unless the search is deep, the suite is to stay within twenty seconds. A bad request takes longer to make
than a good one."""
SET_FAULTS, PRICED = "PUT /v1/faults", "/v1/quotes"
CONFIG = {
    # Free text refuses NUL, which JSON Schema has no word for that every reader knows.
    "generation": {"allow-x00": False},
    # Whether the order can be declined or the parcel delivered is no question of the request's form.
    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "402", "404", "409"]}},
}
KEYS = count()
JUDGED = [*((name, "sqlite") for name in NAMES), ("inventory", "postgresql")]


@contextmanager
def a_database(name: str, dialect: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of one that no other test uses."""
    if dialect == "sqlite":
        folder: Path = request.getfixturevalue("tmp_path_factory").mktemp("contract")
        yield f"sqlite:///{folder / name}.db"
        return
    server_url, own = request.getfixturevalue("postgres_server_url"), f"{request.getfixturevalue('run_name')}_contract"
    yield servers.create_database(server_url, own)
    servers.drop_database(server_url, own)


@pytest.fixture(scope="module", params=JUDGED, ids="-".join)
def schema(request: pytest.FixtureRequest) -> Iterator[BaseSchema]:
    """The document of a service in this process, on a database of its own."""
    name, dialect = request.param
    with a_database(name, dialect, request) as url:
        app = build_app(service_named(name), url)
        yield schemathesis.openapi.from_asgi("/openapi.json", app, config=SchemathesisConfig.from_dict(CONFIG))
        app.state.edge.close()


def operations_of(schema: BaseSchema) -> dict[str, APIOperation[Any, Any, Any, Any]]:
    found = {}
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        found[f"{operation.method.upper()} {operation.path}"] = operation
    return found


def asked(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode) -> None:
    """Ask so many generated requests of one kind, and hold each answer against the document."""

    @settings(
        max_examples=CASES_MAX[mode],
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            # Requests under one key are one request, and an undo is of one operation: the subject of other tests.
            number = next(KEYS)
            case.headers["Idempotency-Key"] = f"k{number}"
            if operation.path == PRICED and isinstance(case.body, dict) and number % 2:
                # Most of what three capitals can be is in no price list.
                case.body["currency"] = "GBP"
            if operation.path.endswith("/undo"):
                case.body = {"undoes": f"k{next(KEYS)}"}
        # A script names operations, and a path names things, by rules that the schema does not spell out.
        is_named = operation.method.upper() == "PUT" or "{" in operation.path
        case.call_and_validate(excluded_checks=[positive_data_acceptance] if is_named else [])

    ask()


def test_requests_that_keep_the_document_are_answered_by_it(schema: BaseSchema) -> None:
    """Every operation and route: a well-formed request is done or refused for a reason of the business, as documented."""
    for name, operation in operations_of(schema).items():
        if name != SET_FAULTS:
            asked(operation, GenerationMode.POSITIVE)


def test_requests_that_break_the_document_are_refused(schema: BaseSchema) -> None:
    """Every operation and route that takes anything: a request that breaks its schema is 4xx, as documented."""
    for name, operation in operations_of(schema).items():
        described = schema.raw_schema["paths"][operation.path][operation.method]
        if name != SET_FAULTS and ("requestBody" in described or described.get("parameters")):
            asked(operation, GenerationMode.NEGATIVE)


def test_fault_scripts_by_the_document(schema: BaseSchema) -> None:
    """A script of whatever form is taken or refused as documented; the one in force is shown by its schema."""
    operations = operations_of(schema)
    asked(operations[SET_FAULTS], GenerationMode.POSITIVE)
    asked(operations[SET_FAULTS], GenerationMode.NEGATIVE)
    operations["GET /v1/faults"].Case().call_and_validate()
    assert operations["DELETE /v1/faults"].Case().call_and_validate().status_code == 200


def answers_of(name: str) -> Iterator[tuple[str, int, Operation | Route]]:
    service = service_named(name)
    for operation in service.operations:
        yield operation.name, operation.status, operation
    for route in service.routes:
        yield f"{route.method} {route.path}", 200, route


@pytest.mark.parametrize("name", ["shipping", "payment"])
def test_the_document_has_examples_that_hold(name: str, tmp_path: Path) -> None:
    """Each operation has an example of its body that its model takes, each answer one that its model makes and nothing is
    lost of; each undo has one too."""
    app = build_app(service_named(name), f"sqlite:///{tmp_path / name}.db")
    paths = app.openapi()["paths"]
    app.state.edge.close()
    for label, status, asked_for in answers_of(name):
        method, path = label.split()
        described = paths[path][method.lower()]
        answered = described["responses"][str(status)]["content"]["application/json"]["example"]
        if isinstance(asked_for, Operation):
            body = described["requestBody"]["content"]["application/json"]["example"]
            asked_for.request.model_validate_json(json.dumps(body))
            made = asked_for.response.model_validate_json(json.dumps(answered))
            assert made.model_dump(mode="json") == answered
    undos = [path for path in paths if path.endswith("/undo")]
    assert undos
    assert all(
        "undoes" in paths[path]["post"]["requestBody"]["content"]["application/json"]["example"] for path in undos
    )
