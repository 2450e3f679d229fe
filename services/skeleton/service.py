"""A service as a value: its tables and what it can be asked. `services.skeleton.app.build_app` makes an HTTP program of it.

An operation's functions run inside one local transaction that the skeleton opens: `act` does the work and returns the
answer, or raises `saga.barrier.BusinessRejection`, which rolls its work back and is kept under the key. `undo` gets the kept
answer of the action and gives back what was moved. Neither commits, neither sees HTTP.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Column, Connection, MetaData, Table

from saga.barrier import BusinessRejection


class Strict(BaseModel):
    """What comes from outside: no unknown field, no coercion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ExplainedRejection(BusinessRejection):
    """A business "no" whose problem document says more than code and detail, such as `reason` or `errors`.

    The further members are kept under the key like the rest, so a late copy of the request hears them too.
    """

    def __init__(self, status: int, code: str, detail: str, **further: Any) -> None:
        super().__init__(status, code, detail)
        self.further = further


class Effect(BaseModel):
    """One movement, as an answer reports it; see docs/participants.md."""

    kind: str
    unit: str
    quantity: int
    sign: int
    expires_at: str | None = None


@dataclass(frozen=True)
class Context:
    """What an operation's functions may use: the open transaction, the key, the ledger, the clock."""

    connection: Connection
    key: str
    """Wire key of this request: the action's own key in `act`, the undo's own key in `undo`."""
    operation: str
    """`POST /v1/reservations`, as ledger and barrier name it."""
    now: Callable[[], Any]
    """The present instant, aware UTC datetime."""
    ledger: "Ledger"


class Ledger:
    """Rows of the service's ledger, written in the same transaction as the effect, in one statement per request."""

    def __init__(self, table: Table, context_key: str, operation: str) -> None:
        self._table, self._key, self._operation = table, context_key, operation
        self._rows: list[dict[str, Any]] = []

    def add(self, order_id: str, **columns: Any) -> None:
        self._rows.append({"order_id": order_id, "key": self._key, "operation": self._operation, **columns})

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self._rows

    def write(self, connection: Connection, at: Any) -> None:
        """Called by the skeleton before it commits."""
        if self._rows:
            connection.execute(self._table.insert(), [{**row, "at": at} for row in self._rows])


@dataclass(frozen=True)
class Operation:
    """One thing the service can be asked by POST."""

    path: str
    request: type[Strict]
    response: type[BaseModel]
    act: Callable[[Context, Any], BaseModel]
    undo: Callable[[Context, dict[str, Any]], Sequence[Effect]] | None = None
    """Gets the kept answer of the action (its JSON). None: the operation has no undo endpoint."""
    status: int = 200
    is_readonly: bool = False
    """No barrier row and no key needed."""
    rejections: dict[str, int] = field(default_factory=dict)
    """Business codes and their HTTP status, for the fault `reject` and for OpenAPI."""
    example: dict[str, Any] | None = None
    """A body that the operation takes, for OpenAPI."""
    answer_example: dict[str, Any] | None = None
    """What it answers to such a body, for OpenAPI."""

    @property
    def name(self) -> str:
        return f"POST {self.path}"


@dataclass(frozen=True)
class Route:
    """Something else than an operation (stock lists, provisioning): `run(context, body)` in one transaction; no barrier.

    Path parameters come as keyword arguments, and so do the fields of `query`. What `run` is annotated to return is what
    OpenAPI says that it answers."""

    method: str
    path: str
    run: Callable[..., BaseModel | dict[str, Any]]
    request: type[Strict] | None = None
    query: type[BaseModel] | None = None
    """The parameters after the question mark; an unknown one is refused when the model forbids it."""
    answer_example: dict[str, Any] | None = None
    """What it answers, for OpenAPI."""


@dataclass(frozen=True)
class Service:
    """A participant: its tables, the extra columns of its ledger, its operations and routes."""

    name: str
    metadata: MetaData
    ledger_columns: tuple[Column[Any], ...]
    operations: tuple[Operation, ...]
    routes: tuple[Route, ...] = ()
