"""What every service answers alike at its edge: keys, bodies, problems, health, speed of one answer."""

import json
import logging
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

if TYPE_CHECKING:
    from tests.integration.services.conftest import Caller

GOOD = {"order_id": "SO-1", "name": "a", "amount": 1}


def sent(caller: "Caller", body: bytes, key: str | None = "k1", path: str = "/v1/counts") -> requests.Response:
    headers = {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
    return requests.post(caller.url + path, data=body, headers=headers, timeout=20)


def test_effectful_call_without_a_key_is_refused(sqlite_caller: "Caller") -> None:
    """An action and an undo without Idempotency-Key are 400; nothing is stored."""
    for path, body in (("/v1/counts", GOOD), ("/v1/counts/undo", {"undoes": "k1"})):
        answer = sqlite_caller.post(path, None, body)
        assert (answer.status_code, answer.json()["code"]) == (400, "missing_key")
    assert sqlite_caller.rows("/v1/barrier") == []


@pytest.mark.parametrize("key", ["a b", "x" * 256, "\xe9"])
def test_key_that_breaks_its_rule_is_refused(sqlite_caller: "Caller", key: str) -> None:
    """A key is 1 to 255 visible ASCII characters."""
    assert sqlite_caller.post("/v1/counts", key, GOOD).json()["code"] == "invalid_key"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (json.dumps(GOOD | {"amount": "1"}), "amount"),
        (json.dumps(GOOD | {"amount": 1.0}), "amount"),
        (json.dumps(GOOD | {"extra": 1}), "extra"),
        (json.dumps({"order_id": "SO-1", "name": "a"}), "amount"),
        (json.dumps(GOOD | {"name": "a\0b"}), "name"),
        (json.dumps(GOOD).replace('"a"', '"\\ud800"'), "body"),
        ("[1]", "body"),
        ("{", "body"),
        ("", "body"),
        ("[" * 100_000, "body"),
    ],
)
def test_body_that_breaks_a_rule_names_field_and_rule(caller: "Caller", body: str, field: str) -> None:
    """422 with field and rule and without the value, and nothing stored: the key is free for the right body."""
    answer = sent(caller, body.encode())
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == field
    assert sent(caller, json.dumps(GOOD).encode()).status_code == 201


def test_number_beyond_the_database_is_refused(caller: "Caller") -> None:
    """PostgreSQL's range is a 422 of the body; SQLite has none, and the stand-in's own rule says no. Never a 500."""
    answer = caller.count("k1", 2**40)
    assert (answer.status_code, answer.json()["code"]) in {(422, "invalid"), (409, "too_many")}
    assert caller.total() == 0


def test_body_is_compared_by_meaning(sqlite_caller: "Caller") -> None:
    """Other white space and another order of fields are the same request; an escaped backslash before u0000 is no NUL."""
    assert sent(sqlite_caller, b'{"order_id":"SO-1","name":"\\\\u0000","amount":1}').status_code == 201
    again = sent(sqlite_caller, b'{ "amount": 1, "name": "\\\\u0000", "order_id": "SO-1" }')
    assert again.headers["Idempotency-Replayed"] == "true"


def test_body_over_the_limit_is_refused(sqlite_caller: "Caller") -> None:
    """More than 4 MiB is 413, and the service goes on."""
    answer = sent(sqlite_caller, b'{"name":"' + b"x" * 4 * 2**20 + b'"}')
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert sqlite_caller.count("k1").status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/counts", 405, "method_not_allowed"),
        ("GET", "/v1/ledger?limit=5001", 422, "invalid"),
        ("GET", "/v1/ledger?after=x", 422, "invalid"),
    ],
)
def test_every_refusal_is_a_problem_document(
    sqlite_caller: "Caller", method: str, path: str, status: int, code: str
) -> None:
    """Also what routing and query parameters refuse has type, title, status, detail and code."""
    answer = requests.request(method, sqlite_caller.url + path, timeout=20)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.status_code == status
    assert answer.json()["code"] == code
    assert {"type", "title", "status", "detail"} <= set(answer.json())


def test_health_and_description(caller: "Caller") -> None:
    """`/healthz` asks the database; `/openapi.json` names the models of the operations and resolves its references."""
    assert requests.get(f"{caller.url}/healthz", timeout=20).json() == {"status": "ok"}
    document = requests.get(f"{caller.url}/openapi.json", timeout=20).json()
    schema = document["paths"]["/v1/counts"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["$ref"].rsplit("/", 1)[1] in document["components"]["schemas"]
    refusals = document["paths"]["/v1/counts"]["post"]["responses"]
    assert "too_many" in refusals["409"]["description"].split(", ")
    assert refusals["409"]["content"]["application/problem+json"]["schema"]["$ref"].endswith("/Problem")


def test_answers_do_not_wait_for_an_acknowledgement(sqlite_caller: "Caller") -> None:
    """On a kept connection an answer is not held back by the 40 ms of a delayed acknowledgement."""
    body: dict[str, Any] = {"name": "a"}
    with requests.Session() as session:
        took = []
        for _ in range(20):
            began_at = time.monotonic()
            session.post(f"{sqlite_caller.url}/v1/looks", json=body, timeout=20)
            took.append(time.monotonic() - began_at)
    assert min(took[1:]) < 0.03


def test_a_client_that_goes_away_is_nothing_to_tell(sqlite_caller: "Caller", caplog: pytest.LogCaptureFixture) -> None:
    """Killed while its body is read, it leaves no effect and no traceback in the log, and the service goes on."""
    address = urlsplit(sqlite_caller.url)
    head = "POST /v1/counts HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k1\r\nContent-Length: 100\r\n\r\n{"
    with caplog.at_level(logging.WARNING):
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=20) as client:
            client.sendall(head.encode())
        assert sqlite_caller.count("k1").status_code == 201
        sqlite_caller.service.stop()  # whatever was being worked on is over
    assert [it.getMessage() for it in caplog.records] == []
