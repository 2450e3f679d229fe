"""Makes an HTTP program of a service: one edge for all four, so that they answer alike.

The way of a request
--------------------
body read (at most 4 MiB) → key and body checked → a fault chosen → the desk works in a thread → answer. The edge is the
only asynchronous code: it reads, waits and writes; whatever touches the database is a plain function in a thread of the
service's own pool. Bodies are checked by the operation's own model and answers are written as the JSON that the desk made,
so FastAPI's validation of parameters and responses costs nothing here; its OpenAPI document is filled in by
`services.skeleton.describing`.

What each fault does is `Edge._met`, in the order of docs/participants.md. A `late` request is worked on by a thread after the
delay, through the same desk and barrier as any other; when the service is stopped before that, it is lost like a message
on the way.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import compile_path

from saga.segments import WholeSegments, with_ids
from services.skeleton import answers
from services.skeleton.answers import Answer, ClosedConnection, Refused
from services.skeleton.database import THREADS, Database, Unavailable
from services.skeleton.describing import describe
from services.skeleton.desk import UNDO_SUFFIX, Desk, UndoRequest, parsed
from services.skeleton.faults import Fault, Faults, Script, refused_rules
from services.skeleton.service import Operation, Route, Service, Strict
from services.skeleton.tables import BARRIER_COLUMNS, PAGE_ROWS_MAX, page_reader

log = logging.getLogger(__name__)

BODY_MAX_BYTES = 4 * 2**20
KEY_HEADER = "idempotency-key"
REFUSES = "the database refuses: %s"
DATABASE_RETRY = {"Retry-After": "5"}
"""Seconds; a disk is not emptied within one."""
KEY_RULE = re.compile(r"[\x21-\x7e]{1,255}")

BEFORE_WORK = frozenset({"refuse", "error_before", "overloaded", "late"})
"""Faults under which the request is not worked on before it is answered."""

After = Annotated[int, Query(ge=0, lt=2**63)]
Limit = Annotated[int, Query(ge=1, le=PAGE_ROWS_MAX)]
Endpoint = Callable[[Request], Awaitable[Response]]
Work = Callable[[str | None], Answer]
"""Works on the request; the argument is the code that a fault wants it to be rejected with."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request whose form is right."""

    key: str
    body: Strict
    body_hash: str

    @property
    def fault_key(self) -> str:
        """What a fault is chosen by; a readonly call may come without a key."""
        return self.key or self.body_hash


def build_app(service: Service, database_url: str) -> FastAPI:
    """The service as an ASGI program on its database, whose tables are made when they are missing.

    `app.state.edge.close()` ends its threads and connections. The faults that close a connection need the server of
    `services.skeleton.server`.
    """
    edge = Edge(service, Database(database_url))
    app = FastAPI(
        title=service.name,
        redoc_url=None,
        redirect_slashes=False,  # the address that it leads to would be made of what the caller says in Host
        exception_handlers={
            HTTPException: _refused_by_routing,
            RequestValidationError: _refused_query,
            Refused: _refused,
            Unavailable: _unavailable,
            ClientDisconnect: _gone,
            Exception: _failed,
        },
    )
    app.add_middleware(WholeSegments)
    app.state.edge = edge
    # What is asked most stands first, because routes are tried in their order.
    for operation in service.operations:
        app.add_api_route(operation.path, edge.action(operation), methods=["POST"], response_model=None)
        if operation.undo is not None:
            path = operation.path + UNDO_SUFFIX
            app.add_api_route(path, edge.undo(operation), methods=["POST"], response_model=None)
    for route in service.routes:
        app.add_api_route(with_ids(route.path), edge.route(route), methods=[route.method], response_model=None)
    edge.add_own_routes(app)
    describe(app, service, UndoRequest, KEY_HEADER)
    return app


class Edge:
    """The asynchronous edge around the desk."""

    def __init__(self, service: Service, database: Database) -> None:
        self.service, self.database = service, database
        self.desk, self.faults = Desk(service, database), Faults()
        database.create(service.metadata)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=service.name)

    def close(self) -> None:
        """End threads and connections; what is being worked on is finished first."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.database.close()

    def action(self, operation: Operation) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            got = await _received(request, operation.request, needs_key=not operation.is_readonly)
            fault = self.faults.choose(operation.name, got.fault_key, getattr(got.body, "order_id", None))
            return await self._met(fault, lambda code: self.desk.do(operation, got.key, got.body, got.body_hash, code))

        return endpoint

    def undo(self, operation: Operation) -> Endpoint:
        name = operation.name + UNDO_SUFFIX

        async def endpoint(request: Request) -> Response:
            got = await _received(request, UndoRequest, needs_key=True)
            body = got.body
            assert isinstance(body, UndoRequest)
            fault = self.faults.choose(name, got.fault_key, None)
            return await self._met(fault, lambda _: self.desk.undo(operation, got.key, body))

        return endpoint

    def route(self, route: Route) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            key = _key(request, needs_key=False)
            body = parsed(route.request, await _body(request))[0] if route.request else None
            parameters = {**request.path_params, **_query(route, request)}
            answer = await self._in_thread(lambda _: self.desk.run(route, key, body, parameters))
            return answer.response()

        return endpoint

    async def _met(self, fault: Fault | None, work: Work) -> Response:
        """Work on the request as the fault wants it."""
        if fault is None:
            return (await self._in_thread(work)).response()
        if fault.name in BEFORE_WORK:
            return self._instead_of_work(fault, work)
        both = [self._in_thread(work, fault.code if fault.name == "reject" else None)]
        if fault.name == "duplicate":
            both.append(self._in_thread(work))
        answer = first_of(await asyncio.gather(*both, return_exceptions=True))
        if fault.name == "drop_response":
            return ClosedConnection()
        if fault.name == "error_after":
            return answers.problem(500, "fault", "the fault script says so, after the work").response()
        if fault.name == "latency":
            await asyncio.sleep(fault.delay_s)
        return answer.response()

    def _instead_of_work(self, fault: Fault, work: Work) -> Response:
        if fault.name == "error_before":
            return answers.problem(500, "fault", "the fault script says so; nothing was applied").response()
        if fault.name == "overloaded":
            return answers.overloaded("the fault script says so").response()
        if fault.name == "late":
            asyncio.get_running_loop().call_later(fault.delay_s, self._work_late, work)
        return ClosedConnection()

    async def _in_thread(self, work: Work, code: str | None = None) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, code)

    def _work_late(self, work: Work) -> None:
        self._pool.submit(work, None).add_done_callback(_log_failure)

    def add_own_routes(self, app: FastAPI) -> None:
        """Books, faults, health."""
        ledger = page_reader(self.desk.ledger)
        barrier = page_reader(self.desk.barrier, BARRIER_COLUMNS)

        def healthz() -> Response:
            try:
                self.database.read(lambda connection: connection.execute(text("SELECT 1")).scalar_one())
            except (SQLAlchemyError, Unavailable):
                return answers.unavailable("the database does not answer").response()
            return answers.of_value({"status": "ok"})

        def show_ledger(after: After = 0, limit: Limit = 1000) -> Response:
            return answers.of_value(self.database.read(lambda connection: ledger(connection, after, limit)))

        def show_barrier(after: After = 0, limit: Limit = 1000) -> Response:
            return answers.of_value(self.database.read(lambda connection: barrier(connection, after, limit)))

        app.add_api_route("/healthz", healthz, methods=["GET"], response_model=None)
        app.add_api_route("/v1/ledger", show_ledger, methods=["GET"], response_model=None)
        app.add_api_route("/v1/barrier", show_barrier, methods=["GET"], response_model=None)
        self._add_fault_routes(app)

    def _add_fault_routes(self, app: FastAPI) -> None:
        async def put_faults(request: Request) -> Response:
            self.set_faults(await _body(request))
            return answers.of_value(self.faults.shown())

        def show_faults() -> Response:
            return answers.of_value(self.faults.shown())

        def clear_faults() -> Response:
            self.faults.replace(Script())
            return answers.of_value(self.faults.shown())

        def show_fired(after: After = 0, limit: Limit = 1000) -> Response:
            return answers.of_value(self.faults.fired(after, limit))

        app.add_api_route("/v1/faults", put_faults, methods=["PUT"], response_model=None)
        app.add_api_route("/v1/faults", show_faults, methods=["GET"], response_model=None)
        app.add_api_route("/v1/faults", clear_faults, methods=["DELETE"], response_model=None)
        app.add_api_route("/v1/faults/fired", show_fired, methods=["GET"], response_model=None)

    def set_faults(self, script_json: bytes) -> None:
        """Replace the script. Raises `Refused` for one that this service cannot do."""
        script = parsed(Script, script_json)[0]
        assert isinstance(script, Script)
        if errors := refused_rules(script, self.service.operations):
            raise Refused(answers.invalid(errors))
        self.faults.replace(script)


async def _received(request: Request, model: type[Strict], *, needs_key: bool) -> Received:
    key = _key(request, needs_key=needs_key)
    body, body_hash = parsed(model, await _body(request))
    return Received(key, body, body_hash)


def _key(request: Request, *, needs_key: bool) -> str:
    key = ", ".join(request.headers.getlist(KEY_HEADER))  # two of them are none that is visible ASCII alone
    if not key:
        if needs_key:
            raise Refused(answers.problem(400, "missing_key", "the header Idempotency-Key is required"))
        return ""
    if not KEY_RULE.fullmatch(key):
        raise Refused(answers.problem(400, "invalid_key", "Idempotency-Key: 1 to 255 visible ASCII characters"))
    return key


def _query(route: Route, request: Request) -> dict[str, Any]:
    if route.query is None:
        return {}
    try:
        return dict(route.query.model_validate_strings(dict(request.query_params)))
    except ValidationError as error:
        raise Refused(answers.invalid_of(error)) from None


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX_BYTES:
            raise Refused(
                answers.problem(413, "too_large", f"a body has at most {BODY_MAX_BYTES} bytes", {"Connection": "close"})
            )
    return bytes(body)


def _log_failure(done: Future[Any]) -> None:
    if done.cancelled() or (error := done.exception()) is None:
        return
    if isinstance(error, Unavailable):
        log.error(REFUSES, error)
    else:
        log.error("a late request failed", exc_info=error)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.answer.response()


async def _unavailable(_request: Request, error: Exception) -> Response:
    """503 and one line in the log. Retry-After stands only where nothing was applied for certain: a caller may take it for
    an answer that was given before any work."""
    assert isinstance(error, Unavailable)
    log.error(REFUSES, error)
    if error.may_stand:
        return answers.unavailable("the database failed at the commit; repeat with the same key to find out").response()
    return answers.unavailable("the database refuses; nothing was applied", DATABASE_RETRY).response()


async def _gone(_request: Request, _error: Exception) -> Response:
    """The client went away before its body was read: nothing was done, and nobody hears an answer."""
    return ClosedConnection()


def first_of(done: list[Answer | BaseException]) -> Answer:
    """What the first copy of a request was answered. When a copy was applied and another met a database that refuses, nobody may
    be told that nothing was applied."""
    failures = [one for one in done if isinstance(one, BaseException)]
    if failures and len(failures) < len(done) and isinstance(failures[0], Unavailable):
        raise Unavailable(str(failures[0]), may_stand=True)
    for failure in failures:
        raise failure
    return next(one for one in done if isinstance(one, Answer))


async def _refused_by_routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
    detail = f"{request.method} {request.url.path}: {error.detail}"
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_offered(request)) or headers.get("Allow", "")
    return answers.problem(error.status_code, code, detail, headers).response()


def _offered(request: Request) -> list[str]:
    """Every method that the document has for the path; the framework names those of the first route that matches."""
    paths: dict[str, dict[str, Any]] = request.app.openapi()["paths"]
    fitting = (methods for path, methods in paths.items() if compile_path(path)[0].fullmatch(request.url.path))
    return sorted({method.upper() for methods in fitting for method in methods})


async def _refused_query(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [{"field": ".".join(map(str, one["loc"])), "rule": one["msg"]} for one in error.errors()]
    return answers.invalid(found).response()


async def _failed(_request: Request, _error: Exception) -> Response:
    """A bug; the server logs the traceback."""
    return answers.problem(500, "internal", "the service failed; repeat with the same key").response()
