"""Four participants in one small HTTP server, with ledgers that a test may falsify.

They keep the contract of docs/participants.md as far as the audit reads it: a row per movement, a barrier row per key, the
undo by key with its tombstone, the effects in each answer. `POST` works on the books under one lock. Pages are short, so that every read takes several.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from saga.clock import SystemClock

PAGE = 7
SERVICES = ("inventory", "tax", "shipping", "payment")
FREIGHT = 495
HELD_UNTIL = "2030-01-01T00:00:00+00:00"
Answer = tuple[int, dict[str, Any]]


@dataclass
class Books:
    """Everything the four participants know; plain values, so a test copies it and falsifies the copy."""

    ledger: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in SERVICES})
    barrier: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in SERVICES})
    kept: dict[str, Answer] = field(default_factory=dict)
    stock: dict[str, dict[str, int]] = field(default_factory=dict)
    fired: dict[str, int] = field(default_factory=dict)
    things: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Reservations, shipments and authorizations by id, and by the key that made them."""

    def provision(self, sku: str, quantity: int) -> None:
        self.stock[sku] = {"initial": quantity, "available": quantity, "reserved": 0, "shipped": 0}
        self.write("inventory", "PUT /v1/stock", "", "", **_stock_row(sku, "outside", "available", quantity))

    def write(self, service: str, operation: str, key: str, order_id: str, **columns: Any) -> dict[str, Any]:
        """One more row of a ledger."""
        rows = self.ledger[service]
        row = {"id": len(rows) + 1, "at": _now(), "operation": operation, "key": key, "order_id": order_id, **columns}
        rows.append(row)
        return row

    def keep(
        self, service: str, operation: str, key: str, order_id: str, kind: str, outcome: str, undoes: str | None = None
    ) -> None:
        """One more row of a barrier."""
        rows = self.barrier[service]
        seen = {"operation": operation, "key": key, "order_id": order_id, "kind": kind, "outcome": outcome}
        rows.append({"id": len(rows) + 1, "at": _now(), "undoes": undoes, **seen})

    def move(
        self, operation: str, key: str, order_id: str, lines: list[dict[str, Any]], places: tuple[str, str]
    ) -> None:
        for line in lines:
            sku, quantity = line["sku"], line["quantity"]
            self.stock[sku][places[0]] -= quantity
            self.stock[sku][places[1]] += quantity
            self.write("inventory", operation, key, order_id, **_stock_row(sku, *places, quantity))

    def post(self, service: str, path: str, key: str, body: dict[str, Any]) -> Answer:
        """What the participant answers; a repeat under a key gets the kept answer."""
        if key in self.kept:
            return self.kept[key]
        operation = f"POST {path}"
        if path.endswith("/undo"):
            answer = self._undo(service, operation, key, body["undoes"])
        else:
            answer = getattr(self, "_" + path.removeprefix("/v1/").replace("/", "_").replace("-", "_"))(
                operation, key, body
            )
        if answer[0] < 500 and answer[0] != 400:
            self.kept[key] = answer
        return answer

    def _undo(self, service: str, operation: str, key: str, undoes: str) -> Answer:
        made = self.things.get(undoes)
        if undoes not in self.kept:
            self.keep(service, operation, undoes, "", "action", "tombstone")
        self.kept[undoes] = 409, {"code": "tombstoned", "status": 409}
        order_id = made["order_id"] if made else ""
        self.keep(service, operation, key, order_id, "undo", "undone" if made else "null", undoes)
        if made and made["kind"] == "reservation":
            self.move(operation, key, order_id, made["lines"], ("reserved", "available"))
        elif made and made["kind"] == "shipment":
            self.write(service, operation, key, order_id, shipment_id=made["id"], movement="voided")
        elif made and made["kind"] == "authorization":
            self.write(service, operation, key, order_id, **_posting(made, "holds", f"customer:{order_id}"))
        return 200, {
            "undone": made is not None,
            "effects": [{**it, "sign": -1} for it in made["effects"]] if made else [],
        }

    def _make(self, kind: str, key: str, **values: Any) -> dict[str, Any]:
        made = {"id": f"{kind}-{len(self.things)}", "kind": kind, "key": key, "effects": [], **values}
        self.things[made["id"]] = self.things[key] = made
        return made

    def _no(self, service: str, operation: str, key: str, order_id: str, no: tuple[int, str]) -> Answer:
        self.keep(service, operation, key, order_id, "action", "rejected")
        return no[0], {"code": no[1], "status": no[0]}

    def _tax_quotes(self, operation: str, key: str, body: dict[str, Any]) -> Answer:
        amount = sum(line["amount"] for line in body["lines"]) // 5
        self.write("tax", operation, key, body["order_id"], amount=amount, currency=body["currency"])
        return 200, {"tax_amount": amount, "currency": body["currency"]}

    def _quotes(self, operation: str, key: str, body: dict[str, Any]) -> Answer:
        return 200, {"amount": FREIGHT, "currency": body["currency"], "carrier": "carrier"}

    def _address_validations(self, operation: str, key: str, body: dict[str, Any]) -> Answer:
        return 200, {"valid": True, "country_code": "GB"}

    def _fraud_screens(self, operation: str, key: str, body: dict[str, Any]) -> Answer:
        return 200, {"score": 0.1, "passed": True}

    def _reservations(self, operation: str, key: str, body: dict[str, Any]) -> Answer:
        order_id, lines = body["order_id"], body["lines"]
        if any(self.stock[line["sku"]]["available"] < line["quantity"] for line in lines):
            return self._no("inventory", operation, key, order_id, (409, "out_of_stock"))
        self.keep("inventory", operation, key, order_id, "action", "applied")
        self.move(operation, key, order_id, lines, ("available", "reserved"))
        effects = [_effect("stock", line["sku"], line["quantity"], expires_at=HELD_UNTIL) for line in lines]
        made = self._make("reservation", key, order_id=order_id, lines=lines, effects=effects)
        return 201, {"reservation_id": made["id"], "effects": effects}

    def _reservations_firm(self, operation: str, key: str, body: dict[str, Any]) -> Answer:
        made = self.things[body["reservation_id"]]
        self.keep("inventory", operation, key, made["order_id"], "action", "applied")
        self._make("firm", key, order_id=made["order_id"])
        return 200, {"reservation_id": made["id"], "firm": True, "effects": []}

    def _reservations_commit(self, operation: str, key: str, body: dict[str, Any]) -> Answer:
        made = self.things[body["reservation_id"]]
        self.keep("inventory", operation, key, made["order_id"], "action", "applied")
        self.move(operation, key, made["order_id"], made["lines"], ("reserved", "shipped"))
        return 200, {"reservation_id": made["id"], "committed": True, "effects": []}

    def _shipments(self, operation: str, key: str, body: dict[str, Any]) -> Answer:
        made = self._make("shipment", key, order_id=body["order_id"], effects=[_effect("label", "carrier", 1)])
        self.keep("shipping", operation, key, body["order_id"], "action", "applied")
        self.write("shipping", operation, key, body["order_id"], shipment_id=made["id"], movement="bought")
        return 201, {"shipment_id": made["id"], "tracking": "T1", "carrier": "carrier", "effects": made["effects"]}

    def _shipments_dispatch(self, operation: str, key: str, body: dict[str, Any]) -> Answer:
        made = self.things[body["shipment_id"]]
        self.keep("shipping", operation, key, made["order_id"], "action", "applied")
        self.write("shipping", operation, key, made["order_id"], shipment_id=made["id"], movement="dispatched")
        return 200, {"shipment_id": made["id"], "dispatched": True, "effects": []}

    def _authorizations(self, operation: str, key: str, body: dict[str, Any]) -> Answer:
        order_id = body["order_id"]
        if body["payment_method"] == "pm_broken":
            return 400, {"code": "invalid", "status": 400}
        if body["payment_method"] == "pm_declined":
            return self._no("payment", operation, key, order_id, (402, "declined"))
        values = {"amount": body["amount"], "currency": body["currency"]}
        effects = [_effect("money", values["currency"], values["amount"])]
        made = self._make("authorization", key, order_id=order_id, effects=effects, **values)
        self.keep("payment", operation, key, order_id, "action", "applied")
        self.write("payment", operation, key, order_id, **_posting(made, f"customer:{order_id}", "holds"))
        return 201, {"authorization_id": made["id"], "effects": effects, **values}

    def _captures(self, operation: str, key: str, body: dict[str, Any]) -> Answer:
        made = self.things[body["authorization_id"]]
        self.keep("payment", operation, key, made["order_id"], "action", "applied")
        self.write("payment", operation, key, made["order_id"], **_posting(made, "holds", "merchant"))
        return 201, {"capture_id": "c1", "amount": made["amount"], "currency": made["currency"], "effects": []}

    def get(self, service: str, path: str, after: int) -> Any:
        if path == "/v1/stock":
            return {"items": [{"sku": sku, **item} for sku, item in self.stock.items()]}
        if path == "/v1/faults":
            counts = self.fired if service == "payment" else {}
            return {"seed": 1, "rules": [{"fault": fault, "fired": count} for fault, count in counts.items()]}
        rows = (self.ledger if path == "/v1/ledger" else self.barrier)[service]
        page = [row for row in rows if row["id"] > after][:PAGE]
        return {"rows": page, "next_after": page[-1]["id"] if len(page) == PAGE else None}


def _now() -> str:
    return SystemClock().now().isoformat()


def _stock_row(sku: str, source: str, target: str, quantity: int) -> dict[str, Any]:
    return {"sku": sku, "bucket_from": source, "bucket_to": target, "quantity": quantity}


def _effect(kind: str, unit: str, quantity: int, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "unit": unit, "quantity": quantity, "sign": 1, **more}


def _posting(made: dict[str, Any], debit: str, credit: str) -> dict[str, Any]:
    return {
        "entry_id": f"e-{made['id']}",
        "debit": debit,
        "credit": credit,
        "amount": made["amount"],
        "currency": made["currency"],
    }


@contextmanager
def serving(books: Books) -> Iterator[dict[str, str]]:
    """Serve the books; yields the address of each service."""
    lock = threading.Lock()

    class Counter(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes

        def do_GET(self) -> None:
            service, path, query = self._asked()
            with lock:
                self._answer(200, books.get(service, path, int(parse_qs(query).get("after", ["0"])[0])))

        def do_POST(self) -> None:
            service, path, _ = self._asked()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                self._answer(*books.post(service, path, self.headers["Idempotency-Key"], body))

        def _asked(self) -> tuple[str, str, str]:
            url = urlsplit(self.path)
            _, service, path = url.path.split("/", 2)
            return service, f"/{path}", url.query

        def _answer(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the base class's
            """Silence: a test prints what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Counter)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        port = server.server_address[1]
        yield {service: f"http://127.0.0.1:{port}/{service}" for service in SERVICES}
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
