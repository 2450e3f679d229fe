"""The order API: takes orders in one transaction and shows orders, sagas and journals.

The protocol of `POST /v1/orders`
---------------------------------
1. Content type 415, Idempotency-Key 400 and size 413 are judged before the body is parsed; a body without
   `Content-Length` is counted while it is read. Text that is not JSON is 400; JSON that breaks a rule of the order is
   422, and `errors` names each field and rule. Whatever is refused has stored nothing.
2. The starter accepts the order in one transaction: idempotency row, saga, journal entry 1. When it returns, the order
   is durable and the answer is 202 with `Location` and `Retry-After`.
3. Hints are handed to `publish`, which returns at once and never raises (`saga.runtime.celery.publisher`). A broker that
   is down costs two seconds, by which time the saga is due by itself, and never an order.

A repeat under the same key gets the same 202 with `Idempotency-Replayed: true`, also while the first one is being
written or its saga still runs: what was accepted is the answer, not how it ended. Another order under the key is 422.
A second order with the same id under another key is 409 while a saga of it lives or has completed; after a rollback it
is accepted and is the next run. The key is taken to the letter: quotes, if sent, are part of it. Two texts of the same
order (other white space, other order of fields) are the same request.

After a 503 nobody knows whether the order was stored; the same request with the same key finds out.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from pydantic import BaseModel, ValidationError

from saga import __version__
from saga.core.definition import Saga
from saga.core.states import SagaStatus
from saga.errors import CodecError, DataRefused, SagaError, SagaNotFound
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Order
from saga.runtime.engine import Definitions, fold
from saga.runtime.starting import Starter, first_hints
from saga.runtime.work import Hint
from saga.store import schema
from saga.store.port import JournalEntry, SagaFilter, SagaRow, Store
from saga.surfaces import reading
from saga.surfaces.describing import KEY_HEADER, ORDER_REQUEST, DescribedApi, accepted_headers, problems
from saga.surfaces.problems import FieldError, Refusal, broken, field_errors, install

BODY_MAX = 2**20
KEY = re.compile(r"[!-~]{1,255}")
TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
POLL_AFTER_S = 1
PAGE_MAX = 200
RUNS_SEEN = 100
"""Of an order that was rolled back and accepted again, so many runs are looked through for the latest."""

OrderId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")]
SagaId = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$")]
Text = Annotated[str, Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class AcceptedOrder(BaseModel):
    """The answer that is kept: the order is durable and will end."""

    order_id: str
    saga_id: str
    run: int
    links: reading.OrderLinks


class SagaPage(BaseModel):
    """One page, the latest accepted first; the header `Link` names the next."""

    items: list[reading.SagaSummary]


class Health(BaseModel):
    status: str
    version: str


class CheckResult(BaseModel):
    name: str
    is_required: bool
    is_ok: bool
    detail: str


class Readiness(BaseModel):
    """Whether this process can take orders, and what else it found."""

    is_ready: bool
    checks: list[CheckResult]


@dataclass(frozen=True, slots=True)
class ReadyCheck:
    """One question of `/readyz`. `find_trouble` is bounded in time and answers None, or what is wrong.

    A check that is not required is reported and makes nothing unready: the API accepts while the broker is down.
    """

    name: str
    find_trouble: Callable[[], str | None]
    is_required: bool = True


def migrations_check(url: str) -> ReadyCheck:
    """The database at `url` is at the revision of this release."""

    def find_trouble() -> str | None:
        at, head = schema.current(url), schema.head()
        return None if at == head else f"at revision {at or 'none'}, needs {head}: run `saga db upgrade`"

    return ReadyCheck("migrations", find_trouble)


def broker_check(is_away: Callable[[], bool]) -> ReadyCheck:
    """Reports what the publisher found when it last tried the broker; it makes nothing unready."""
    detail = "away: hints are dropped, and orders start by the due index, up to two seconds later"
    return ReadyCheck("broker", lambda: detail if is_away() else None, is_required=False)


def build_api(
    store: Store,
    definitions: Definitions,
    starter: Starter,
    publish: Callable[[Sequence[Hint]], None],
    *,
    ready_checks: Sequence[ReadyCheck] = (),
) -> FastAPI:
    """The API over `store`. Orders start the latest `fulfil_order` of `definitions`.

    `publish` returns at once and never raises: it is called between commit and answer. The caller keeps store and starter
    and closes them after the server. Raises `DefinitionError` without `fulfil_order`.
    """
    app = DescribedApi(
        title="ordersaga",
        summary="Takes orders and shows how far each one is",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    install(app)
    orders = _Orders(store, starter, publish, definitions.latest(fulfil_order.name))
    app.include_router(_order_routes(orders))
    app.include_router(_saga_routes(_Sagas(store, definitions, starter.environment, starter.tenant)))
    app.include_router(_process_routes((ReadyCheck("database", lambda: _database_trouble(store)), *ready_checks)))
    return app


async def _read_body(request: Request) -> bytes:
    """The body, refused as soon as it is known to be too large. Starlette hands a body to a coroutine only."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if content_type != "application/json" or encoding != "identity":
        raise Refusal("not_offered_type", "send Content-Type: application/json, without Content-Encoding")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > BODY_MAX:
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX:
            raise _too_large()
    return bytes(body)


def _too_large() -> Refusal:
    return Refusal("too_large", f"a body has at most {BODY_MAX} bytes; nothing was stored")


def _request_key(request: Request) -> str:
    keys = request.headers.getlist(KEY_HEADER)
    if not keys:
        raise Refusal("key_missing", f"send {KEY_HEADER}: a new one for each order, the same one for each repeat")
    if len(keys) > 1 or not KEY.fullmatch(keys[0]):
        rule = "one header of 1 to 255 visible ASCII characters"
        raise Refusal("key_malformed", rule, [FieldError(field=KEY_HEADER, rule=rule)])
    return keys[0]


def _parse(body: bytes) -> Order:
    try:
        return Order.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
    shown = field_errors(found, whole="body")
    if found[0]["type"] == "json_invalid":
        raise Refusal("not_json", "the body cannot be read; nothing was stored", shown)
    raise Refusal("invalid", broken(len(found)), shown)


@dataclass(frozen=True)
class _Orders:
    """What stands behind `/v1/orders`."""

    store: Store
    starter: Starter
    publish: Callable[[Sequence[Hint]], None]
    definition: Saga[Any]

    def accept(
        self,
        request: Request,
        response: Response,
        body: Annotated[bytes, Depends(_read_body)],
    ) -> AcceptedOrder:
        """Accept one order. Repeat it with the same Idempotency-Key as often as you like: there is one order."""
        key, order = _request_key(request), _parse(body)
        trace = request.headers.get("traceparent", "")
        try:
            started = self.starter.start(
                self.definition, order, request_key=key, traceparent=trace if TRACEPARENT.fullmatch(trace) else None
            )
        except (CodecError, DataRefused) as error:
            raise Refusal("invalid", "the database cannot hold this order; nothing was stored") from error
        if started.is_replayed:
            response.headers["Idempotency-Replayed"] = "true"
        else:
            self.publish(first_hints(self.definition, started.saga_id))
        links = reading.order_links(order.order_id, started.saga_id)
        response.headers["Location"] = links.order
        response.headers["Retry-After"] = str(POLL_AFTER_S)
        return AcceptedOrder(order_id=order.order_id, saga_id=started.saga_id, run=started.run, links=links)

    def show(self, order_id: OrderId) -> reading.OrderReading:
        """How far an order is; of several runs the latest."""
        scope = self.starter.environment, self.starter.tenant
        wanted = SagaFilter(self.definition.name, entity=order_id, environment=scope[0], tenant=scope[1])
        rows = self.store.find(wanted, RUNS_SEEN)
        if not rows:
            raise SagaNotFound(order_id)
        state, _, _ = fold(_journal(self.store, max(rows, key=lambda row: row.run).saga_id))
        return reading.read_order(state)


@dataclass(frozen=True)
class _Sagas:
    """What stands behind `/v1/sagas`."""

    store: Store
    definitions: Definitions
    environment: str
    tenant: str

    def page(
        self,
        response: Response,
        status: Annotated[list[SagaStatus] | None, Query(description="may be repeated")] = None,
        definition: Text | None = None,
        entity: Text | None = None,
        cursor: Annotated[str | None, Query(max_length=300, description="from `Link`; opaque")] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
    ) -> SagaPage:
        """Sagas of any definition, the latest accepted first."""
        before = None if cursor is None else _position(cursor)
        wanted = SagaFilter(
            definition,
            tuple(status or ()),
            entity=entity,
            environment=self.environment,
            tenant=self.tenant,
            before=before,
        )
        rows = self.store.find(wanted, limit + 1)
        if len(rows) > limit:
            asked = {"status": status, "definition": definition, "entity": entity, "limit": limit}
            query = {name: value for name, value in asked.items() if value} | {"cursor": _cursor(rows[limit - 1])}
            response.headers["Link"] = f'</v1/sagas?{urlencode(query, doseq=True)}>; rel="next"'
        return SagaPage(items=[reading.read_row(row) for row in rows[:limit]])

    def show(self, saga_id: SagaId) -> reading.SagaReading:
        """One saga: status, nodes, plan, and why it stands or turned round."""
        state, seq, _ = fold(self._own_journal(saga_id))
        return reading.read_saga(state, seq, self.definitions.get(state.definition, state.version))

    def journal(self, saga_id: SagaId) -> reading.JournalReading:
        """Every transition of one saga. Of a payload only its length and digest are shown."""
        return reading.read_journal(saga_id, self._own_journal(saga_id))

    def _own_journal(self, saga_id: str) -> list[JournalEntry]:
        """The journal of a saga of this environment and tenant; another's does not exist here: 404, not 403."""
        row = self.store.row(saga_id)
        if row is None or (row.environment, row.tenant) != (self.environment, self.tenant):
            raise SagaNotFound(saga_id)
        return _journal(self.store, saga_id)


def _journal(store: Store, saga_id: str) -> list[JournalEntry]:
    entries = store.load([saga_id]).get(saga_id)
    if not entries:
        raise SagaNotFound(saga_id)
    return entries


def _cursor(row: SagaRow) -> str:
    return urlsafe_b64encode(f"{row.accepted_at.astimezone(UTC).isoformat()} {row.saga_id}".encode()).decode()


def _position(cursor: str) -> tuple[datetime, str]:
    """Where a page begins; a cursor that no page handed out is refused."""
    try:
        at, _, saga_id = urlsafe_b64decode(cursor.encode()).decode("ascii").partition(" ")
        accepted_at = datetime.fromisoformat(at)
    except ValueError:
        raise _foreign_cursor() from None
    if accepted_at.tzinfo is not UTC or not re.fullmatch(r"[!-~]{1,64}", saga_id):
        raise _foreign_cursor()
    return accepted_at, saga_id


def _foreign_cursor() -> Refusal:
    return Refusal("invalid", broken(1), [FieldError(field="query.cursor", rule="one from the header Link")])


def _database_trouble(store: Store) -> str | None:
    store.now()
    return None


def _checked(check: ReadyCheck) -> CheckResult:
    try:
        trouble = check.find_trouble()
    except (SagaError, OSError) as error:
        trouble = str(error)
    return CheckResult(name=check.name, is_required=check.is_required, is_ok=trouble is None, detail=trouble or "")


def _order_routes(orders: _Orders) -> APIRouter:
    routes = APIRouter(tags=["orders"])
    routes.add_api_route(
        "/v1/orders",
        orders.accept,
        methods=["POST"],
        status_code=202,
        responses=accepted_headers() | problems(400, 409, 413, 415, 422, 500, 503),
        openapi_extra=ORDER_REQUEST,
    )
    routes.add_api_route("/v1/orders/{order_id}", orders.show, responses=problems(404, 422, 500, 503))
    return routes


def _saga_routes(sagas: _Sagas) -> APIRouter:
    routes = APIRouter(tags=["sagas"])
    routes.add_api_route("/v1/sagas", sagas.page, responses=problems(422, 500, 503))
    routes.add_api_route("/v1/sagas/{saga_id}", sagas.show, responses=problems(404, 422, 500, 503))
    routes.add_api_route("/v1/sagas/{saga_id}/journal", sagas.journal, responses=problems(404, 422, 500, 503))
    return routes


def _process_routes(checks: Sequence[ReadyCheck]) -> APIRouter:
    routes = APIRouter(tags=["process"])

    # A coroutine on purpose: it answers also when every thread of the pool waits for the database.
    @routes.get("/healthz")
    async def healthz() -> Health:
        """The process is up; nothing else is asked."""
        return Health(status="ok", version=__version__)

    @routes.get("/readyz", responses={503: {"model": Readiness, "description": "A required check failed"}})
    def readyz(response: Response) -> Readiness:
        """Whether this process can take orders: the database answers and is migrated. The broker is reported only."""
        results = [_checked(check) for check in checks]
        is_ready = all(result.is_ok or not result.is_required for result in results)
        response.status_code = 200 if is_ready else 503
        return Readiness(is_ready=is_ready, checks=results)

    return routes
