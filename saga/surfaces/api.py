"""The order API, put together: routes, problems, OpenAPI, and whether this process can take orders.

| module | what |
|---|---|
| `saga.surfaces.orders_api` | `/v1/orders`: the protocol of taking an order, lists, waiting, events, cancels |
| `saga.surfaces.returns_api` | `/v1/orders/{id}/returns`: pieces come back |
| `saga.surfaces.sagas_api` | `/v1/sagas`: any saga and its journal |
| `saga.surfaces.following` | the one thread that looks for everybody who waits |
| `saga.surfaces.problems` | every refusal and failure as RFC 9457 |
| `saga.surfaces.describing` | what OpenAPI cannot read off the code |
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI, Response
from pydantic import BaseModel

from saga import __version__
from saga.errors import DefinitionError, SagaError
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.orders_table import ORDERS
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.runtime.work import Hint
from saga.segments import WholeSegments
from saga.store import schema
from saga.store.port import RowFilter, Store
from saga.surfaces import describing, reading, reading_orders
from saga.surfaces.backlog import Backlog
from saga.surfaces.describing import ALWAYS, BODY, JOURNAL, DescribedApi, answer, problems, request_of
from saga.surfaces.following import Bounds, Follower
from saga.surfaces.heads import HeadAsGet
from saga.surfaces.orders_api import AcceptedOrder, CancelledOrder, Orders
from saga.surfaces.problems import install
from saga.surfaces.returns_api import AcceptedReturn, Returns
from saga.surfaces.sagas_api import CancelledSaga, Sagas, StartRequest

READY_S = 3.0
READY_THREADS = 6
"""Of two probes at once; one that hangs is ended by the walls of its statements."""
TOLD = ("definition_missing", "contended")


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
    """The database at `url` has the tables of this release; those of a later one will do while it is brought in."""

    def find_trouble() -> str | None:
        at = schema.current(url)
        if at is not None and not schema.is_behind(at):
            return None  # of this release, or of the next one, which this one survives
        return f"at revision {at or 'none'}, needs {schema.head()}: run `saga db upgrade`"

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
    backlog_bound: int | None = None,
    bounds: Bounds | None = None,
) -> FastAPI:
    """The API over `store`. Orders start the latest `fulfil_order` of `definitions`; without one there are no orders here. Any
    definition but the product's is started at `/v1/sagas`.

    `publish` returns at once and never raises: it is called between commit and answer. With a `backlog_bound` new orders are
    refused while so many sagas are on their way; without, never. The caller keeps store and starter and closes them after the
    server; before he waits for the server's connections to end he calls `state.follower.stop()` of the answer, which ends
    event streams. Raises `DefinitionError` without any definition.
    """
    if not list(definitions):
        raise DefinitionError("an API needs a definition: name one, as in  saga api shop:place_order")
    app = DescribedApi(
        title="ordersaga",
        summary="Takes orders and shows how far each one is",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.read_as_bytes = (*app.read_as_bytes, StartRequest)
    install(app)
    app.add_middleware(HeadAsGet)
    app.add_middleware(WholeSegments)
    follower = Follower(store, starter.environment, starter.tenant, bounds or Bounds())
    app.state.follower = follower
    if any(saga.name == fulfil_order.name for saga in definitions):
        order = definitions.latest(fulfil_order.name)
        backlog = Backlog(store, backlog_bound)
        orders = Orders(store, starter, publish, order, definitions, follower, backlog)
        app.include_router(_order_routes(orders))
        app.include_router(_return_routes(Returns(store, starter, publish, definitions)))
    app.include_router(_saga_routes(Sagas(store, definitions, starter, publish)))
    app.include_router(
        _process_routes((ReadyCheck("database", lambda: _database_trouble(store, starter)), *ready_checks))
    )
    return app


def _order_routes(orders: Orders) -> APIRouter:
    routes = APIRouter(tags=["orders"])
    path = "/v1/orders/{order_id:id}"
    ended = answer(200, "`Prefer: wait`: the order has ended", **describing.ACCEPTED, **describing.TAG)
    ended[200]["model"] = reading_orders.OrderReading
    routes.add_api_route(
        "/v1/orders",
        orders.accept,
        methods=["POST"],
        status_code=202,
        response_model=AcceptedOrder,
        responses=ended
        | answer(202, "Durable", **describing.ACCEPTED)
        | problems(
            "key_missing", "key_malformed", *BODY, "duplicate_order", "invalid", "key_reused", "backlog", *ALWAYS
        ),
        openapi_extra=request_of(describing.KEY, describing.PREFER, body="Order", one_line=describing.EXAMPLE),
    )
    routes.add_api_route(
        "/v1/orders",
        orders.page,
        responses=answer(200, "One page", Link=describing.LINK) | problems("invalid", *ALWAYS),
    )
    routes.add_api_route(
        path,
        orders.show,
        response_model=reading_orders.OrderReading,
        responses=answer(200, "The order", **describing.TAG, **describing.APPLIED)
        | answer(304, "The caller has this already", **describing.TAG, **describing.APPLIED)
        | problems("not_found", "invalid", *JOURNAL, *ALWAYS),
        openapi_extra=request_of(describing.PREFER, describing.IF_NONE_MATCH),
    )
    _add_following(routes, path, orders)
    return routes


def _add_following(routes: APIRouter, path: str, orders: Orders) -> None:
    """The cancel and the events of one order."""
    done = answer(200, "Everything is undone already", **describing.TAG)
    done[200]["model"] = CancelledOrder
    routes.add_api_route(
        f"{path}/cancel",
        orders.cancel,
        methods=["POST"],
        status_code=202,
        responses=done
        | answer(202, "`cancel` says whether it is being rolled back or nothing follows yet", **describing.CANCELLED)
        | problems(
            "key_malformed",
            *BODY,
            "not_found",
            "past_no_return",
            "waits_for_person",
            "changed",
            "invalid",
            *JOURNAL,
            *ALWAYS,
            *TOLD,
        ),
        openapi_extra=request_of(
            describing.OPTIONAL_KEY, describing.IF_MATCH, body="CancelRequest", by_support=describing.CANCEL_EXAMPLE
        ),
    )
    routes.add_api_route(
        f"{path}/events",
        orders.events,
        response_class=Response,
        responses=describing.events()
        | answer(204, "The event behind which the caller asks has ended the order")
        | problems("not_found", "invalid", *JOURNAL, *ALWAYS, "too_many_streams"),
        openapi_extra=request_of(describing.LAST_EVENT_ID),
    )


def _return_routes(returns: Returns) -> APIRouter:
    routes = APIRouter(tags=["orders"])
    routes.add_api_route(
        "/v1/orders/{order_id:id}/returns",
        returns.accept,
        methods=["POST"],
        status_code=202,
        response_model=AcceptedReturn,
        responses=answer(202, "Durable", **describing.RETURNING)
        | problems(
            "key_missing", "key_malformed", *BODY, "not_found", "cancel_instead", "not_completed", "rolled_back", "invalid",
            "return_waits", "too_many_returns", "worth_nothing", "exceeds_sold", "key_reused", *JOURNAL, *ALWAYS, *TOLD,
        ),
        openapi_extra=request_of(
            describing.RETURN_KEY,
            body="ReturnRequest",
            one_piece=describing.RETURN_EXAMPLE,
            all_that_is_left=describing.RETURN_ALL_EXAMPLE,
        ),
    )  # fmt: skip
    return routes


def _saga_routes(sagas: Sagas) -> APIRouter:
    routes = APIRouter(tags=["sagas"])
    found = problems("not_found", "invalid", *JOURNAL, *ALWAYS)
    routes.add_api_route(
        "/v1/sagas",
        sagas.page,
        responses=answer(200, "One page", Link=describing.LINK) | problems("invalid", *ALWAYS),
    )
    if sagas.startable:
        routes.add_api_route(
            "/v1/sagas",
            sagas.start,
            methods=["POST"],
            status_code=202,
            responses=answer(202, "Durable", **describing.STARTED)
            | problems("key_missing", "key_malformed", *BODY, "duplicate_order", "invalid", "key_reused", *ALWAYS),
            openapi_extra=request_of(
                describing.KEY, body="StartRequest", one_saga={"definition": next(iter(sagas.startable)), "input": {}}
            ),
        )
    _add_cancel(routes, sagas)
    routes.add_api_route(
        "/v1/sagas/{saga_id}",
        sagas.show,
        response_model=reading.SagaReading,
        responses=answer(200, "The saga", **describing.TAG)
        | answer(304, "The caller has this already", **describing.TAG)
        | found,
        openapi_extra=request_of(describing.IF_NONE_MATCH),
    )
    routes.add_api_route("/v1/sagas/{saga_id}/journal", sagas.journal, responses=found)
    return routes


def _add_cancel(routes: APIRouter, sagas: Sagas) -> None:
    done = answer(200, "Everything is undone already", **describing.TAG)
    done[200]["model"] = CancelledSaga
    routes.add_api_route(
        "/v1/sagas/{saga_id}/cancel",
        sagas.cancel,
        methods=["POST"],
        status_code=202,
        responses=done
        | answer(202, "`cancelled` says whether it is being rolled back or nothing follows yet", **describing.CANCELLED)
        | problems(
            "key_malformed", *BODY, "not_found", "past_no_return", "waits_for_person", "changed", "invalid", *JOURNAL,
            *ALWAYS, *TOLD,
        ),
        openapi_extra=request_of(
            describing.OPTIONAL_KEY, describing.IF_MATCH, body="CancelRequest", by_support=describing.CANCEL_EXAMPLE
        ),
    )  # fmt: skip


def _database_trouble(store: Store, starter: Starter) -> str | None:
    """Raises what an order would meet, in the thread and on the connections that accept orders: a database that does not
    answer, is read-only, or lacks a table or a right on it; a full disk is not seen."""
    starter.probe(READY_S)
    store.rows(ORDERS, RowFilter(order=("accepted_at", "order_id"), equal={}), 1)
    return None


async def _checked(check: ReadyCheck, threads: ThreadPoolExecutor) -> CheckResult:
    """In a thread that no request can take, for `READY_S` at most: what hangs is not ready."""
    try:
        looking = asyncio.get_running_loop().run_in_executor(threads, check.find_trouble)
        trouble = await asyncio.wait_for(looking, READY_S)
    except TimeoutError:
        trouble = f"no answer within {READY_S:g} s"
    except (SagaError, OSError) as error:
        trouble = str(error)
    return CheckResult(name=check.name, is_required=check.is_required, is_ok=trouble is None, detail=trouble or "")


def _process_routes(checks: Sequence[ReadyCheck]) -> APIRouter:
    routes = APIRouter(tags=["process"])
    threads = ThreadPoolExecutor(READY_THREADS, "saga-ready")

    # Coroutines on purpose: they answer also when every thread of the pool waits for the database.
    @routes.get("/healthz")
    async def healthz() -> Health:
        """The process is up; nothing else is asked."""
        return Health(status="ok", version=__version__)

    @routes.get("/readyz", responses={503: {"model": Readiness, "description": "A required check failed"}})
    async def readyz(response: Response) -> Readiness:
        """Whether this process can take orders: the database may be written and has its tables. The broker is reported only."""
        results = await asyncio.gather(*(_checked(check, threads) for check in checks))
        is_ready = all(result.is_ok or not result.is_required for result in results)
        response.status_code = 200 if is_ready else 503
        return Readiness(is_ready=is_ready, checks=list(results))

    return routes
