"""Stock for orders is asked for under keys that a header takes."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from saga.fulfilment.models import Order
from saga.surfaces.provisioning import Provisioner
from tests.unit.surfaces.test_submitting import order_line


@contextmanager
def inventory() -> Iterator[tuple[str, dict[str, bytes]]]:
    """An inventory that keeps what each key put there, and refuses another body under it; its address."""
    kept: dict[str, bytes] = {}

    class Conversation(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_same = kept.setdefault(self.headers["Idempotency-Key"], body) == body
            answer = b"{}" if is_same else json.dumps({"code": "key_reused"}).encode()
            self.send_response(200 if is_same else 422)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
            """Silence."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Conversation) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", kept
        server.shutdown()


@pytest.mark.parametrize("order_id", ["SO-1", "B 7", "注文 #9", "Nº 1", "100%", "é" * 64])
def test_any_id_is_provisioned(order_id: str) -> None:
    """Once, whatever it is made of; a corrected order that takes other pieces puts those there, once too."""
    order = Order.model_validate_json(order_line(order_id))
    more = order.model_copy(update={"lines": (order.lines[0].model_copy(update={"quantity": 3}),)})
    with inventory() as (url, kept):
        for one in (order, order, more, more, order):
            Provisioner(url).provide(one)
    assert [json.loads(body)["items"][0]["quantity"] for body in kept.values()] == [2, 3]
    assert all(key.isascii() and key.isprintable() and " " not in key for key in kept)
