"""Handing a file of orders over: what is counted as what, and who answers there at all."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from saga.errors import DataRefused, SagaError, StoreUnavailable, UsageError
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Order
from saga.fulfilment.order_files import read_orders
from saga.runtime.starting import Starter
from saga.store.memory import MemoryStore
from saga.surfaces.contract import URN
from saga.surfaces.submit import DirectIntake, HttpIntake, hand_over
from saga.surfaces.tally import Tally


def order_line(order_id: str, country: str = "Germany") -> str:
    address = {"name": "A Person", "street": "1 Way", "city": "Berlin", "postcode": "10115"}
    line = {"sku": "MUG", "quantity": 2, "unit_price": 450}
    values = {"order_id": order_id, "customer_id": "C-1", "currency": "GBP", "country": country, "address": address}
    return json.dumps({**values, "lines": [line], "payment_method": "pm_card"})


@pytest.fixture
def intake() -> Iterator[DirectIntake]:
    """A store in memory that takes orders, and nobody who works on them."""
    store = MemoryStore()
    starter = Starter(store, environment="test", tenant="default")
    yield DirectIntake(store, starter, fulfil_order, lambda _hints: None)
    starter.stop()
    store.close()


def submitted(folder: Path, intake: DirectIntake, *lines: str) -> Tally:
    path = folder / "orders.jsonl"
    path.write_text("\n".join(lines))
    return hand_over(read_orders(path), intake)


def counts(tally: Tally) -> tuple[int, int, int, int, int]:
    """Orders; then what must add up to the lines of the file; then sagas that are waited for."""
    return tally.orders, tally.submitted, tally.already, len(tally.refused), len(tally.saga_ids)


def test_a_repeated_line_is_no_second_order(tmp_path: Path, intake: DirectIntake) -> None:
    """It is already there: not another order, and its saga is waited for once. Every line is counted once."""
    lines = [order_line("SO-1"), order_line("SO-2"), order_line("SO-1"), "{", order_line("SO-1")]
    assert counts(submitted(tmp_path, intake, *lines)) == (2, 2, 2, 1, 2)
    assert counts(submitted(tmp_path, intake, *lines)) == (2, 0, 4, 1, 2)


def test_a_repeat_of_what_was_refused_is_refused(tmp_path: Path, intake: DirectIntake) -> None:
    """It shares what became of the order in its first line; nothing of it is there."""
    submitted(tmp_path, intake, order_line("SO-1"))
    tally = submitted(tmp_path, intake, *[order_line("SO-1", country="France")] * 2)
    assert counts(tally) == (1, 0, 0, 2, 0)
    assert [one.reference for one in tally.refused] == ["SO-1", "line 2"]


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that answers every POST alike; its address."""

    class Conversation(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
            """Silence."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Conversation) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def problem(code: str) -> bytes:
    return json.dumps({"type": URN + code, "detail": "why"}).encode()


@pytest.mark.parametrize(
    ("status", "body", "raised"),
    [
        (404, b"<html>", UsageError),
        (404, problem("not_found"), UsageError),
        (405, b"", UsageError),
        (403, b"{}", UsageError),
        (422, b'{"type": "urn:saga:problem:invalid"}', UsageError),
        (200, b"<html>", UsageError),
        (202, b"[]", UsageError),
        (422, problem("invalid"), DataRefused),
        (413, b"too large, says the proxy", DataRefused),
        (408, b"", StoreUnavailable),
        (429, b"", StoreUnavailable),
        (502, b"", StoreUnavailable),
    ],
)
def test_what_is_no_order_api_is_not_the_order_s_fault(status: int, body: bytes, raised: type[SagaError]) -> None:
    """Only a problem document of the order API refuses an order; an answer of something else ends the command."""
    order = Order.model_validate_json(order_line("SO-1"))
    with answering(status, body) as url, pytest.raises(raised) as caught:
        HttpIntake(url).submit(order)
    if raised is UsageError:
        assert str(caught.value).startswith(f"{url} is no order API: POST /v1/orders answers {status} there")
