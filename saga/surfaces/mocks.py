"""Stand-in participants for a definition of one's own: they behave as the connectors' facts describe, and keep books.

Rules of this file
------------------
- One mock per connector, on a port of its own. It answers the operations and undos that the definition names, and
  404 else.
- An answer is a sample of the operation's result model (`saga.surfaces.samples`), whose fields echo the request's.
- **A rejection on demand**: when any text in the request contains a code that the connector enumerates, the answer is
  that status and code. `{"card": "declined"}` is declined where the connector says `rejected={402: "declined"}`.
- `keys="serialise"` is a barrier, by the rules of `saga.barrier`: one effect per key, the kept answer is replayed, other
  bytes under one key are 422, an undo is idempotent, and from the first undo on its action is 409 `tombstoned`, whether it
  had come before or not. `keys="replay"` keeps answers and has no undo. `keys="ignored"` does the work on every request. Rejections are kept where `remembers_rejections`.
- The books are a file of JSON lines, one per effect, written and flushed before the answer leaves and read again at start: a
  kill -9 loses nothing. `GET /v1/ledger` shows them.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from saga.barrier import problem_text
from saga.core.connector import Connector, Operation, Undo
from saga.core.definition import Saga
from saga.core.states import Direction
from saga.private import make_private_folder, private
from saga.surfaces.samples import sample

Json = Any
BODY_MAX = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back; `is_replayed` marks the kept answer of the first time."""

    status: int
    body: Mapping[str, Json]
    is_replayed: bool = False


@dataclass(slots=True)
class Mock:
    """One participant: what it can be asked, and its books. `answer` is thread-safe and works one request at a time."""

    connector: Connector
    books: Path
    operations: dict[str, Operation[Any, Any]] = field(default_factory=dict)
    undos: dict[str, Undo[Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _rows: list[dict[str, Json]] = field(default_factory=list)
    _kept: dict[str, dict[str, Json]] = field(default_factory=dict)
    """The row that answers each key."""
    _tombstones: set[str] = field(default_factory=set)

    def open(self) -> None:
        """Read the books of earlier runs, and try one sample per operation, so that a bad one is told at start."""
        for operation in self.operations.values():
            sample(operation.result, {}, 1)
        if self.books.is_file():
            for line in self.books.read_text(encoding="utf-8").splitlines():
                self._remember(json.loads(line))
        make_private_folder(self.books.parent)

    @property
    def ledger(self) -> list[dict[str, Json]]:
        """Every effect, undo, rejection and tombstone, oldest first."""
        with self._lock:
            return list(self._rows)

    def answer(self, path: str, key: str, body: bytes) -> Reply:
        """Work on one request."""
        try:
            request = json.loads(body)
        except ValueError:
            return _problem(422, "invalid", "the body is not JSON")
        if not isinstance(request, dict):
            return _problem(422, "invalid", "the body is not an object")
        if not key and self.connector.keys != "ignored":
            return _problem(400, "missing_key", f"the header {self.connector.key_header} is required")
        with self._lock:
            if path in self.undos:
                return self._undo(path, key, request)
            if path in self.operations:
                return self._act(path, key, request, sha256(path.encode() + body).hexdigest())
        return _problem(404, "not_found", f"{self.connector.name} is not asked {path} by any definition here")

    def _act(self, path: str, key: str, request: dict[str, Json], request_hash: str) -> Reply:
        if key in self._tombstones:
            return _problem(409, "tombstoned", "this key was undone before; nothing is held or done under it any more")
        kept = self._kept.get(key) if self.connector.keys != "ignored" else None
        if kept is not None:
            if kept["request_hash"] != request_hash:
                return _problem(422, "key_reused", "this key belongs to another request")
            return Reply(kept["status"], kept["answer"], is_replayed=True)
        rejection = self._rejection(request)
        row = {"path": path, "key": key, "request_hash": request_hash, "request": request}
        if rejection is not None:
            reply = _problem(*rejection, "a text in the request asks for it")
            outcome = "rejected"
        else:
            reply = Reply(200, sample(self.operations[path].result, request, len(self._rows) + 1))
            outcome = "applied"
        if outcome == "applied" or self.connector.remembers_rejections:
            self._write({**row, "outcome": outcome, "status": reply.status, "answer": dict(reply.body)})
        return reply

    def _undo(self, path: str, key: str, request: dict[str, Json]) -> Reply:
        undoes = request.get("undoes")
        if not isinstance(undoes, str):
            return _problem(422, "invalid", "undoes: the wire key of the action is required")
        kept, action = self._kept.get(key), self._kept.get(undoes)
        is_other_undo = kept is not None and (kept["path"], kept["request"].get("undoes")) != (path, undoes)
        if is_other_undo or (action is not None and action["path"] != self.undos[path].of.path):
            return _problem(422, "key_reused", "this key belongs to another request")
        if kept is not None:
            return Reply(200, kept["answer"], is_replayed=True)
        was_applied = action is not None and action["outcome"] == "applied"
        is_first = undoes not in self._tombstones
        outcome = "tombstone" if action is None and is_first else "undone" if was_applied and is_first else "null"
        answer: dict[str, Json] = {"undone": was_applied, "effects": []}
        row = {"path": path, "key": key, "request_hash": "", "request": request, "outcome": outcome}
        self._write({**row, "status": 200, "answer": answer})
        return Reply(200, answer)

    def _rejection(self, request: dict[str, Json]) -> tuple[int, str] | None:
        texts = list(_texts(request))
        for status in self.connector.rejected:
            for code in self.connector.rejection_codes(status):
                if any(code in text for text in texts):
                    return status, code
        return None

    def _write(self, row: dict[str, Json]) -> None:
        row = {"id": len(self._rows) + 1, **row}
        with open(self.books, "a", encoding="utf-8", opener=private) as file:
            file.write(json.dumps(row) + "\n")
        self._remember(row)

    def _remember(self, row: dict[str, Json]) -> None:
        self._rows.append(row)
        self._kept[row["key"]] = row
        if row["outcome"] in ("undone", "tombstone", "null"):
            self._tombstones.add(row["request"]["undoes"])


def mocks_for(sagas: Iterable[Saga[Any]], known: Iterable[Connector], folder: Path) -> list[Mock]:
    """One mock for every connector that the definitions call and that is none of `known` (which have real services)."""
    real = list(known)
    mocks: dict[str, Mock] = {}
    for saga in sagas:
        for step in saga.order:
            for direction in Direction:
                operation = step.operation_in(direction)
                if operation is None or any(operation.connector is connector for connector in real):
                    continue
                name = operation.connector.name
                mock = mocks.setdefault(name, Mock(operation.connector, folder / f"{name}.jsonl"))
                mock.operations[operation.path] = operation
            if isinstance(step.compensation, Undo) and step.compensation.connector.name in mocks:
                mocks[step.compensation.connector.name].undos[step.compensation.path] = step.compensation
    return list(mocks.values())


@dataclass(frozen=True, slots=True)
class ServedMock:
    """A mock behind its port."""

    url: str
    server: ThreadingHTTPServer
    thread: threading.Thread

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def serve_mock(mock: Mock, host: str = "127.0.0.1") -> ServedMock:
    """Open the books and answer on a free port."""
    mock.open()

    class Conversation(_Conversation):
        participant = mock

    server = ThreadingHTTPServer((host, 0), Conversation)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name=f"mock-{mock.connector.name}", daemon=True)
    thread.start()
    return ServedMock(f"http://{host}:{server.server_port}", server, thread)


class _Conversation(BaseHTTPRequestHandler):
    """HTTP/1.1 around `Mock.answer`."""

    participant: Mock
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if size > BODY_MAX:
            self.close_connection = True
            self._send(_problem(413, "too_large", f"a body has at most {BODY_MAX} bytes"))
            return
        key = self.headers.get(self.participant.connector.key_header) or ""
        self._send(self.participant.answer(self.path, key, self.rfile.read(size)))

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/v1/ledger":
            self._send(Reply(200, {"rows": self.participant.ledger, "next_after": None}))
        elif path == "/healthz":
            self._send(Reply(200, {"status": "ok"}))
        else:
            self._send(_problem(404, "not_found", "a mock shows /v1/ledger and /healthz"))

    def _send(self, reply: Reply) -> None:
        body = json.dumps(reply.body).encode()
        self.send_response(reply.status)
        kind = "application/problem+json" if reply.status >= 400 else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if reply.is_replayed:
            self.send_header("Idempotency-Replayed", "true")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
        """Silence: the ledger says what was asked."""


def _problem(status: int, code: str, detail: str) -> Reply:
    return Reply(status, json.loads(problem_text(status, code, detail)))


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(inner)
