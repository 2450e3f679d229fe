"""Every connector of the product against every row of DESIGN's table of outcomes, through the client that runs it.

Where a participant answers, `responses` answers in its place: it stands in for the adapter of `requests`, so nothing is
connected. Where the connection breaks there is a real socket, because how far a call came is recorded by the connection
itself, which `responses` goes round. At the end, every request is made once to the four services as they run.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from saga.clock import SystemClock
from saga.core.connector import Call as Asked
from saga.core.connector import Connector, Operation, Undo
from saga.core.definition import Kind, Step
from saga.core.fold import SagaState
from saga.core.outcomes import Outcome, OutcomeCode, Payload, Request
from saga.core.states import Direction
from saga.errors import UsageError
from saga.fulfilment import connectors
from saga.fulfilment import fulfil_order as steps
from saga.fulfilment import models as m
from saga.runtime.executor import Executor
from saga.runtime.http import BODY_LIMIT_BYTES
from saga.runtime.work import Call
from saga.surfaces.samples import sample
from services.skeleton.server import NAMES, serve_in_thread
from tests.integration.services.asking import at_once

Asking = Operation[Any, Any] | Undo[Any]
EVERYTHING: dict[str, Asking] = {
    name: it for name, it in sorted(vars(connectors).items()) if isinstance(it, Operation | Undo)
}
CONNECTORS = {it.name: it for it in vars(connectors).values() if isinstance(it, Connector)}
ONE_OF_EACH = [
    next(it for it in EVERYTHING.values() if it.connector is connector and isinstance(it, kind))
    for connector in CONNECTORS.values()
    for kind in (Operation, Undo)
    if any(it.connector is connector and isinstance(it, kind) for it in EVERYTHING.values())
]
"""An operation of each connector, and an undo where it has one."""
HOST = "http://participant.invalid"
ECHOED = {"currency": "GBP"}
KEY = "a2345678b2345678c2345678d2345678"
STATE = SagaState(
    saga_id="1",
    definition="fulfil_order",
    version=1,
    fingerprint="",
    environment="test",
    tenant="test",
    entity="SO-1",
    run=1,
    input=Payload("{}"),
    accepted_at=datetime(2026, 1, 1, tzinfo=UTC),
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)


def call_of(asked: Asking, *, key: str = KEY, body: str = "{}", timeout_s: float = 5.0, late_s: float = 0.0) -> Call:
    """One attempt at `asked`, as the driver hands it to a thread."""
    is_undo = isinstance(asked, Undo)
    operation = asked.of if isinstance(asked, Undo) else asked
    kind = Kind.COMPENSATABLE if is_undo else Kind.RETRIABLE
    undo = asked if isinstance(asked, Undo) else None
    step = Step("step", kind, operation, compensation=undo, operation=operation, timeout_s=timeout_s)
    direction = Direction.COMPENSATION if is_undo else Direction.ACTION
    deadline_at = SystemClock().now() + timedelta(seconds=timeout_s + 1.0 - late_s)
    request = Request("POST", asked.path, Payload(body))
    return Call(steps.fulfil_order, STATE, step, direction, f"step:{direction}", 1, deadline_at, request, key)


@contextmanager
def executor(url_of: Callable[[str], str]) -> Iterator[Executor]:
    made = Executor(url_of, SystemClock().now)
    try:
        yield made
    finally:
        made.close()


def good(asked: Asking) -> str:
    """An answer that this participant may give."""
    if isinstance(asked, Undo):
        return json.dumps({"undone": True, "effects": []})
    return json.dumps(sample(asked.result, ECHOED, 1))


def problem(code: str) -> str:
    return json.dumps({"type": f"urn:problem:{code}", "title": code, "status": 400, "code": code})


CLIENT = Executor(lambda _name: HOST, SystemClock().now)
"""One client for every answer, as a process has one. `responses` answers in place of its connections, so it opens none."""


def answered(asked: Asking, status: int, body: str = "", **headers: str) -> Outcome:
    """The outcome of an attempt that is answered so."""
    with responses.RequestsMock() as participant:
        where = HOST + asked.path
        participant.post(where, body=body, status=status, headers=headers, auto_calculate_content_length=True)
        outcome = CLIENT.perform(call_of(asked))
        (sent,) = participant.calls
        assert sent.request.headers["Idempotency-Key"] == KEY
        assert sent.request.headers["traceparent"] == STATE.traceparent
        return outcome


def wrong(expected: OutcomeCode, status: int, body: str = "", **headers: str) -> list[str]:
    """What is taken otherwise: name and outcome of each operation and each undo."""
    outcomes = {name: answered(asked, status, body, **headers) for name, asked in EVERYTHING.items()}
    return [f"{name}: {it.code} {it.detail}" for name, it in outcomes.items() if it.code is not expected]


def test_everything_that_is_asked_is_here() -> None:
    """Every step of the product asks for something in the table of this file, and every connector is in it."""
    asked = [step.operation for step in steps.fulfil_order.order if step.operation is not None]
    undone = [step.compensation for step in steps.fulfil_order.order if isinstance(step.compensation, Undo)]
    known = list(EVERYTHING.values())
    assert [str(it) for it in (*asked, *undone) if it not in known] == []
    assert {it.connector.name for it in EVERYTHING.values()} == set(NAMES) == set(CONNECTORS)


@pytest.mark.parametrize("status", [200, 201])
def test_an_answer_that_parses_succeeds(status: int) -> None:
    """2xx with what the model wants; the result is what was answered, the effects too."""
    for name, asked in EVERYTHING.items():
        outcome = answered(asked, status, good(asked))
        assert outcome.code is OutcomeCode.SUCCEEDED, f"{name}: {outcome.detail}"
        if isinstance(asked, Undo):
            assert (outcome.result, outcome.effects) == (None, ())
        else:
            assert outcome.result is not None
            assert asked.result.model_validate_json(outcome.result.data)


@pytest.mark.parametrize(
    "body",
    ["", "null", "[]", '"ok"', "{}", "<html>", "{", '{"effects": 1}', "\ud800".encode("utf-8", "replace").decode()],
)
def test_an_answer_that_does_not_parse_is_a_defect(body: str) -> None:
    """It was perhaps applied: never a success, never a rejection. An undo has no model: only what it says of effects counts."""
    for name, asked in EVERYTHING.items():
        if isinstance(asked, Operation):
            outcome = answered(asked, 200, body)
            assert outcome.code is OutcomeCode.DEFECT, f"{name}: {outcome.code}"
        elif "effects" in body:
            assert answered(asked, 200, body).code is OutcomeCode.DEFECT, name


def test_a_flag_that_is_false_is_no_success() -> None:
    """Where the contract has it always true."""
    for asked, flag in (
        ("check_address", "valid"),
        ("dispatch", "dispatched"),
        ("firm", "firm"),
        ("commit", "committed"),
        ("screen", "passed"),
    ):
        body = json.dumps({**json.loads(good(EVERYTHING[asked])), flag: False})
        assert answered(EVERYTHING[asked], 200, body).code is OutcomeCode.DEFECT, asked


ENUMERATED = [
    (name, status, code)
    for name, it in CONNECTORS.items()
    for status in it.rejected
    for code in it.rejection_codes(status)
]


@pytest.mark.parametrize(("name", "status", "code"), ENUMERATED)
def test_a_business_no_is_the_one_that_is_enumerated(name: str, status: int, code: str) -> None:
    """Rejected with its code where the connector lists it; at a connector that does not, it is none."""
    for asked in EVERYTHING.values():
        outcome = answered(asked, status, problem(code))
        if code in asked.connector.rejection_codes(status):
            assert (outcome.code, outcome.detail) == (OutcomeCode.REJECTED, code), f"{asked}"
        else:
            assert outcome.code is (OutcomeCode.UNKNOWN if status == 409 else OutcomeCode.DEFECT), f"{asked}"


def test_a_status_without_a_code_is_no_business_no() -> None:
    """402 from a gateway that writes no body is nobody's "no"; 409 without a code is one that is being worked on."""
    for asked in EVERYTHING.values():
        is_listed = 402 in asked.connector.rejected
        assert answered(asked, 402).code is (OutcomeCode.UNKNOWN if is_listed else OutcomeCode.DEFECT), f"{asked}"
    assert wrong(OutcomeCode.UNKNOWN, 409) == []


@pytest.mark.parametrize("code", ["in_progress", "something_new"])
def test_a_conflict_that_is_not_enumerated_is_unknown(code: str) -> None:
    """The same key is being worked on: it is asked for again."""
    assert wrong(OutcomeCode.UNKNOWN, 409, problem(code)) == []


def test_a_code_that_is_not_enumerated_is_no_business_no() -> None:
    """402 with a code of its own: whoever added it decides what it means (P7)."""
    assert wrong(OutcomeCode.DEFECT, 402, problem("card_on_fire")) == []


@pytest.mark.parametrize(("status", "headers"), [(429, {}), (429, {"Retry-After": "7"}), (503, {"Retry-After": "7"})])
def test_an_answer_before_any_work_is_throttled(status: int, headers: dict[str, str]) -> None:
    """It waits as it is told."""
    assert wrong(OutcomeCode.THROTTLED, status, problem("overloaded"), **headers) == []
    for asked in ONE_OF_EACH:
        assert answered(asked, status, **headers).retry_after_s == (7.0 if headers else None)


@pytest.mark.parametrize("status", [408, 500, 501, 502, 503, 504, 507, 599])
def test_a_server_error_is_unknown(status: int) -> None:
    """It says nothing of what was done; 503 without Retry-After neither."""
    assert wrong(OutcomeCode.UNKNOWN, status, problem("out_of_stock")) == []


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *(
            (status, "")
            for status in (300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 410, 413, 415, 418, 451)
        ),
        (400, "missing_key"),
        (422, "key_reused"),
        (422, "invalid"),
        (403, "declined"),
        (422, "out_of_stock"),
    ],
)
def test_everything_else_is_a_defect(status: int, code: str) -> None:
    """A redirect is not followed, a credential that was rotated and a schema error roll no order back, whatever code they
    carry; the detail names the status."""
    assert wrong(OutcomeCode.DEFECT, status, problem(code) if code else "", Location="/elsewhere") == []
    assert str(status) in answered(ONE_OF_EACH[0], status).detail


def read_request(connection: socket.socket) -> None:
    """The whole request, so that what comes next comes after it."""
    received = b""
    while b"\r\n\r\n{}" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return
        received += chunk


@contextmanager
def peer(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """A participant that reads each request and then does `behave`; its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def one(connection: socket.socket) -> None:
        with connection:
            read_request(connection)
            behave(connection)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def codes_at(url: str, *, timeout_s: float = 5.0, late_s: float = 0.0) -> set[OutcomeCode]:
    """The outcomes of an operation and an undo of each connector, made at once against one address."""
    with executor(lambda _name: url) as made:
        calls = [call_of(asked, timeout_s=timeout_s, late_s=late_s) for asked in ONE_OF_EACH]
        return {it.code for it in at_once([lambda c=call: made.perform(c) for call in calls])}  # type: ignore[misc]


JSON_TYPE = b"Content-Type: application/problem+json\r\n"
CUT = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-x\r\n\r\n",
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
    "size of a later chunk": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0009\r\n{"a": 1, \r\n00',
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
    "status line of a yes": b"HTTP/1.1 200",
    "head of a yes": b"HTTP/1.1 200 OK\r\n" + JSON_TYPE,
    "name of a header": b"HTTP/1.1 201 Created\r\nContent-Le",
    "status line of a no": b"HTTP/1.1 402 Payment Requ",
    "behind the status line of a no": b"HTTP/1.1 402 Payment Required\r\n",
    "head of a no": b"HTTP/1.1 402 Payment Required\r\n" + JSON_TYPE,
    "head of a no with a length": b"HTTP/1.1 402 Payment Required\r\nContent-Length: 0\r\n",
    "head of a yes without a body": b"HTTP/1.1 204 No Content\r\n",
    "head of another no": b"HTTP/1.1 409 Conflict\r\n" + JSON_TYPE,
    "body of another yes without a length": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n12",
    "body of a yes without a length": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{",
}


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT)
def test_a_line_that_breaks_after_the_request_is_unknown(answer: bytes) -> None:
    """Closed without an answer, and cut wherever an answer can be cut; also by something that speaks no HTTP. Half of a "no" is
    no "no", and half of a "yes" no success: both are settled by asking again."""
    with peer(lambda connection: connection.sendall(answer)) as url:
        assert codes_at(url) == {OutcomeCode.UNKNOWN}


HALF_A_NO = {
    "behind the head": b"HTTP/1.1 402 Payment Required\r\n" + JSON_TYPE + b"\r\n",
    "body": b"HTTP/1.1 402 Payment Required\r\n" + JSON_TYPE + b'\r\n{"code": "decl',
    "size of the only chunk": b"HTTP/1.1 402 No\r\nTransfer-Encoding: chunked\r\n\r\n00",
    "size of the second chunk": b"HTTP/1.1 402 No\r\nTransfer-Encoding: chunked\r\n\r\n0001\r\n{\r\n00",
}
"""The head is whole; `00` of `001a` reads as the last chunk."""


@pytest.mark.parametrize("answer", HALF_A_NO.values(), ids=HALF_A_NO)
def test_half_a_no_is_no_no(answer: bytes) -> None:
    """Where a 402 may mean "no" it is unknown, at an action and at an undo; where it means nothing it is the defect that a whole
    one would be, and nowhere a rejection."""
    with peer(lambda connection: connection.sendall(answer)) as url, executor(lambda _name: url) as made:
        for asked in (connectors.authorize, connectors.void):
            assert made.perform(call_of(asked)).code is OutcomeCode.UNKNOWN
        assert made.perform(call_of(connectors.reserve)).code is OutcomeCode.DEFECT


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "302 Found", "404 Not Found"])
def test_where_the_body_decides_nothing_it_need_not_be_whole(status: str) -> None:
    """A credential that was rotated is a defect, for a person, however the answer is framed: asking again would not help, and a
    step that compensates the unknown would roll orders back."""
    answer = f"HTTP/1.0 {status}\r\nContent-Type: text/html\r\n\r\n<p>no".encode()
    with peer(lambda connection: connection.sendall(answer)) as url, executor(lambda _name: url) as made:
        assert made.perform(call_of(connectors.authorize)).code is OutcomeCode.DEFECT


def test_a_body_that_is_too_long_is_a_defect() -> None:
    """What was read of it is a part, and no part of a body says no."""
    body = b'{"more": "' + b"x" * BODY_LIMIT_BYTES + b'", "code": "declined"}'
    answer = b"HTTP/1.1 402 No\r\n" + JSON_TYPE + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    with peer(lambda connection: connection.sendall(answer)) as url, executor(lambda _name: url) as made:
        outcome = made.perform(call_of(connectors.authorize))
    assert (outcome.code, "more than 4194304 bytes" in outcome.detail) == (OutcomeCode.DEFECT, True)


def test_a_body_without_a_length_counts_when_it_is_whole() -> None:
    """It ends with its connection, as HTTP/1.0 has it: a JSON value that is whole was not cut."""
    body = problem("declined").encode()
    answer = b"HTTP/1.0 402 No\r\n" + JSON_TYPE + b"\r\n" + body
    with peer(lambda connection: connection.sendall(answer)) as url, executor(lambda _name: url) as made:
        outcome = made.perform(call_of(connectors.authorize))
    assert (outcome.code, outcome.detail) == (OutcomeCode.REJECTED, "declined")


def test_a_reset_is_unknown() -> None:
    """RST instead of FIN."""

    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    with peer(reset) as url:
        assert codes_at(url) == {OutcomeCode.UNKNOWN}


def test_an_answer_that_does_not_come_is_unknown() -> None:
    """The step's time-out is kept by every connector."""
    over = threading.Event()

    def wait(_connection: socket.socket) -> None:
        over.wait(10)

    with peer(wait) as url:
        assert codes_at(url, timeout_s=2.0) == {OutcomeCode.UNKNOWN}
        over.set()


def test_what_never_left_is_not_sent() -> None:
    """Nobody listens, no such name, no address, TLS that fails while connecting, and no time left before the first byte."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert codes_at(f"http://127.0.0.1:{nobody.getsockname()[1]}") == {OutcomeCode.NOT_SENT}
    assert codes_at("http://nowhere.invalid") == {OutcomeCode.NOT_SENT}
    with peer(lambda _connection: None) as url:
        assert codes_at(url, late_s=2.0) == {OutcomeCode.NOT_SENT}
    with socket.create_server(("127.0.0.1", 0)) as plain:
        answering = threading.Thread(target=_refuse_tls, args=(plain, len(ONE_OF_EACH)), daemon=True)
        answering.start()
        assert codes_at(f"https://127.0.0.1:{plain.getsockname()[1]}") == {OutcomeCode.NOT_SENT}
    with executor(_no_address) as made:
        assert {made.perform(call_of(asked)).code for asked in ONE_OF_EACH} == {OutcomeCode.NOT_SENT}


def _refuse_tls(listener: socket.socket, count: int) -> None:
    for _ in range(count):
        connection, _peer = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def _no_address(name: str) -> str:
    raise UsageError(f"connector {name} has no address")


@dataclass
class Running:
    """The four services as they run, asked by the client of the product."""

    urls: Mapping[str, str]
    executor: Executor
    prefix: str

    def ask(self, call: Asked[Any], key: str = "") -> Outcome:
        """One attempt at what a step asks for, under the key of its path."""
        operation = call.operation
        key = key or self.key(operation)
        return self.executor.perform(call_of(operation, key=key, body=call.request.model_dump_json()))

    def undo(self, undo: Undo[Any]) -> Outcome:
        body = json.dumps({"undoes": self.key(undo.of)})
        return self.executor.perform(call_of(undo, key=f"{self.key(undo.of)}-u", body=body))

    def key(self, operation: Operation[Any, Any]) -> str:
        return f"{self.prefix}{operation.path.replace('/', '-')}"

    def result(self, call: Asked[Any]) -> Any:
        outcome = self.ask(call)
        assert outcome.code is OutcomeCode.SUCCEEDED, f"{call.operation}: {outcome.code} {outcome.detail}"
        assert outcome.result is not None
        return call.operation.result.model_validate_json(outcome.result.data)

    def fault(self, operation: Operation[Any, Any], fault: str, **more: Any) -> None:
        rule = {"fault": fault, "operation": f"POST {operation.path}", "times": 1, **more}
        url = f"{self.urls[operation.connector.name]}/v1/faults"
        assert requests.put(url, json={"seed": 1, "rules": [rule]}, timeout=20).ok

    def order(self, **changes: Any) -> m.Order:
        head = {"order_id": self.prefix, "customer_id": "C1", "currency": "GBP", "country": "United Kingdom"}
        address = {"name": "A. Buyer", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"}
        lines = [{"sku": "A", "quantity": 2, "unit_price": 150}]
        return m.Order.model_validate(
            {**head, "address": address, "lines": lines, "payment_method": "pm_card", **changes}
        )


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """inventory, tax, shipping and payment, each on a port and with a database of its own."""
    folder: Path = tmp_path_factory.mktemp("services")
    with ExitStack() as parts:
        urls = {}
        for name in NAMES:
            service = serve_in_thread(name, f"sqlite:///{folder / name}.db")
            parts.callback(service.stop)
            urls[name] = service.url
        stock = {"items": [{"sku": "A", "quantity": 1_000}]}
        headers = {"Idempotency-Key": "stock"}
        assert requests.post(f"{urls['inventory']}/v1/stock", json=stock, headers=headers, timeout=20).ok
        yield urls


@pytest.fixture
def running(addresses: dict[str, str], unique: str) -> Iterator[Running]:
    """The client, with keys of this test alone."""
    with executor(addresses.__getitem__) as made:
        yield Running(addresses, made, unique)


def test_what_is_asked_is_what_the_services_take(running: Running) -> None:
    """One whole order forward, each request made by its step, each answer parsed by its model; and each undo of it."""
    order = running.order()
    tax, freight = running.result(steps.calculate_tax(order)), running.result(steps.quote_shipping(order))
    running.result(steps.validate_address(order))
    running.result(steps.screen_fraud(order))
    reservation = running.result(steps.reserve_inventory(order))
    price = steps.price_order(order, tax, freight)
    shipment = running.result(steps.book_shipment(order, freight))
    authorization = running.result(steps.authorize_payment(order, price))
    running.result(steps.firm_reservation(reservation))
    for undo in (connectors.unfirm, connectors.void, connectors.cancel_shipment, connectors.release):
        assert running.undo(undo).code is OutcomeCode.SUCCEEDED, f"{undo.path}"
    running.prefix += "2"
    order = running.order()
    reservation = running.result(steps.reserve_inventory(order))
    shipment = running.result(steps.book_shipment(order, freight))
    authorization = running.result(steps.authorize_payment(order, price))
    running.result(steps.firm_reservation(reservation))
    assert running.result(steps.capture_payment(authorization, price)).amount == price.total
    running.result(steps.commit_inventory(reservation))
    running.result(steps.dispatch_shipment(shipment))


def test_a_service_s_no_is_a_rejection(running: Running) -> None:
    """Out of stock, declined, undeliverable, and a tombstone: as the services say them."""
    order = running.order(lines=[{"sku": "A", "quantity": 5_000, "unit_price": 1}], payment_method="pm_declined")
    price = m.OrderPrice(goods=5_000, tax=0, freight=0, total=5_000, currency="GBP")
    refused = [running.ask(steps.reserve_inventory(order)), running.ask(steps.authorize_payment(order, price))]
    running.fault(connectors.book, "reject", code="undeliverable")
    freight = m.ShippingQuote(amount=495, currency="GBP", carrier="eurolane")
    refused.append(running.ask(steps.book_shipment(order, freight)))
    assert [(it.code, it.detail) for it in refused] == [
        (OutcomeCode.REJECTED, "out_of_stock: not enough of A"),
        (OutcomeCode.REJECTED, "declined: the card is declined"),
        (OutcomeCode.REJECTED, "undeliverable: the fault script says so"),
    ]
    running.prefix += "2"
    assert running.undo(connectors.release).code is OutcomeCode.SUCCEEDED
    late = running.ask(steps.reserve_inventory(running.order()))
    assert (late.code, late.detail) == (OutcomeCode.REJECTED, "tombstoned")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("overloaded", OutcomeCode.THROTTLED),
        ("error_before", OutcomeCode.UNKNOWN),
        ("error_after", OutcomeCode.UNKNOWN),
        ("drop_response", OutcomeCode.UNKNOWN),
        ("refuse", OutcomeCode.UNKNOWN),
        ("late", OutcomeCode.UNKNOWN),
    ],
)
def test_a_service_that_fails_is_asked_again_with_the_same_bytes(
    running: Running, fault: str, code: OutcomeCode
) -> None:
    """What a fault leaves behind is never a success and never a no; the same request under the same key then succeeds."""
    running.fault(connectors.reserve, fault, delay_s=0.0)
    wanted = steps.reserve_inventory(running.order())
    assert running.ask(wanted).code is code
    assert running.ask(wanted).code is OutcomeCode.SUCCEEDED


def test_another_body_under_a_key_is_a_defect(running: Running) -> None:
    """422 `key_reused`: a bug of ours, which rolls nothing back."""
    assert running.ask(steps.reserve_inventory(running.order())).code is OutcomeCode.SUCCEEDED
    other = steps.reserve_inventory(running.order(lines=[{"sku": "A", "quantity": 3, "unit_price": 1}]))
    outcome = running.ask(other)
    assert outcome.code is OutcomeCode.DEFECT
    assert "key_reused" in outcome.detail
