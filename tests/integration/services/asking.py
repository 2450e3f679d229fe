"""A service at its desk, asked without HTTP: what the rules do, on a database of the test's own."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from services.skeleton.answers import Answer, Refused
from services.skeleton.database import Database
from services.skeleton.desk import Desk, UndoRequest, parsed
from services.skeleton.service import Service
from services.skeleton.tables import page_reader

T = TypeVar("T")
DATABASES = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Reply:
    """Status and JSON of an answer."""

    status: int
    body: dict[str, Any]
    is_replayed: bool

    @property
    def code(self) -> str:
        return str(self.body.get("code", ""))

    @property
    def effects(self) -> list[tuple[str, str, int]]:
        """(kind, unit, signed quantity) of each effect."""
        return [(it["kind"], it["unit"], it["quantity"] * it["sign"]) for it in self.body["effects"]]


class Asked:
    """One service and its database."""

    def __init__(self, service: Service, database: Database) -> None:
        self._desk = Desk(service, database)
        database.create(service.metadata)
        self._operations = {operation.path: operation for operation in service.operations}

    def post(self, path: str, key: str, body: dict[str, Any]) -> Reply:
        operation = self._operations[path]
        try:
            request, request_hash = parsed(operation.request, json.dumps(body).encode())
        except Refused as refused:
            return _reply(refused.answer)
        return _reply(self._desk.do(operation, key, request, request_hash))

    def undo(self, path: str, key: str, undoes: str) -> Reply:
        """POST `path`/undo."""
        return _reply(self._desk.undo(self._operations[path], key, UndoRequest(undoes=undoes)))

    def route(
        self, method: str, path: str, key: str = "", body: dict[str, Any] | None = None, **parameters: Any
    ) -> Reply:
        route = next(it for it in self._desk.service.routes if (it.method, it.path) == (method, path))
        request = route.request.model_validate(body) if route.request else None
        return _reply(self._desk.run(route, key, request, parameters))

    def ledger(self) -> list[dict[str, Any]]:
        page = page_reader(self._desk.ledger)
        rows: list[dict[str, Any]] = self._desk.database.read(lambda connection: page(connection, 0, 5_000))["rows"]
        return rows


def _reply(answer: Answer) -> Reply:
    return Reply(answer.status, json.loads(answer.body), answer.headers.get("Idempotency-Replayed") == "true")


@contextmanager
def asked(service: Service, dialect: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Asked]:
    """The service on a new database of `dialect`."""
    sqlite_url = f"sqlite:///{folder / service.name}.db"
    database = Database(sqlite_url if dialect == "sqlite" else request.getfixturevalue("empty_postgres_url"))
    try:
        yield Asked(service, database)
    finally:
        database.close()


def at_once(calls: Sequence[Callable[[], T]], threads: int = 8) -> list[T]:
    """The answers of all calls, made by so many threads."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda call: call(), calls))
