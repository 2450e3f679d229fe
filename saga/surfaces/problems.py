"""Refusals and failures of the HTTP API as RFC 9457 problem documents.

Rules of this file
------------------
- Every answer from 400 up is `application/problem+json`, except the list of checks of `/readyz`, and what is no HTTP: that the
  server refuses before anything here sees it. `type` is
  `urn:ordersaga:problem:<code>`; a code in `CODES` keeps its meaning and its status for good.
- `errors` names each field and the rule that it breaks. The value is never repeated: it may be personal data. The name
  of a field may come from outside as well (an unknown one), so it is cut and its unprintable characters are replaced.
- 500 says nothing of the inside; the log does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from saga.errors import (
    CodecError,
    ConcurrencyError,
    DefinitionError,
    DuplicateOrder,
    IllegalTransition,
    KeyReused,
    SagaNotFound,
    StoreUnavailable,
    UsageError,
)
from saga.fulfilment.fields import in_words
from saga.fulfilment.returns import NotAnOrder
from saga.log import logger
from saga.surfaces.contract import URN
from saga.surfaces.proxies import Link

MEDIA_TYPE = "application/problem+json"
STORE_RETRY_AFTER_S = 5
CONTENDED_RETRY_AFTER_S = 1
NOTHING_STORED = "; nothing was stored"
ERRORS_SHOWN = 50
FIELD_LENGTH_SHOWN = 120

CODES: dict[str, tuple[int, str]] = {
    "not_json": (400, "The body is not JSON"),
    "key_missing": (400, "The header Idempotency-Key is missing"),
    "key_malformed": (400, "The header Idempotency-Key breaks a rule"),
    "bad_request": (400, "The request cannot be read"),
    "not_found": (404, "There is nothing here"),
    "method_not_allowed": (405, "This method is not offered here"),
    "duplicate_order": (409, "The order has a saga already"),
    "past_no_return": (409, "The order is past the point of no return"),
    "waits_for_person": (409, "The saga waits for a person: the cancel is kept, and nothing follows"),
    "cancel_instead": (409, "The order has not come to its point of no return: it can be cancelled"),
    "not_completed": (409, "The order has not completed yet"),
    "return_waits": (409, "An earlier return of the order waits for a person"),
    "too_many_returns": (409, "The order has had as many returns as an order may have"),
    "rolled_back": (409, "The order is rolled back: nothing of it can come back"),
    "changed": (412, "The order is no longer as the caller has seen it"),
    "too_slow": (408, "The body did not come in time"),
    "too_large": (413, "The body is too large"),
    "not_offered_type": (415, "The body is of a type that is not accepted"),
    "invalid": (422, "The request breaks a rule"),
    "worth_nothing": (422, "What is to come back cost nothing"),
    "exceeds_sold": (422, "More is to come back than was sold and is left"),
    "key_reused": (422, "The Idempotency-Key belongs to another request"),
    "internal": (500, "The request could not be answered"),
    "journal_unreadable": (500, "The journal of this saga cannot be read by this release"),
    "store_unavailable": (503, "The database does not answer"),
    "backlog": (503, "More orders are on their way than the workers bring to an end"),
    "too_many_streams": (503, "This process serves no more event streams"),
    "definition_missing": (503, "This process does not have the definition of the saga"),
    "contended": (503, "Others kept writing to the saga"),
}
"""Code -> (status, title)."""

BY_STATUS = {404: "not_found", 405: "method_not_allowed"}
"""What the framework itself refuses; any other status of its own is `bad_request` or `internal`."""


class FieldError(BaseModel):
    """One broken rule."""

    field: str
    rule: str


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": f"{URN}invalid",
                    "title": CODES["invalid"][1],
                    "status": 422,
                    "code": "invalid",
                    "detail": "1 rule is broken; nothing was stored",
                    "errors": [{"field": "lines.0.quantity", "rule": "Input should be greater than or equal to 1"}],
                }
            ]
        }
    )

    type: str = Field(description=f"`{URN}<code>`; stable")
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldError] | None = None
    saga_id: str | None = Field(default=None, description="the saga that stands in the way")
    links: dict[str, Link] | None = Field(default=None, description="what can be asked for instead, by name")


class Refusal(Exception):
    """The request is refused with the problem `code`; raised by the API, answered by `install`."""

    def __init__(
        self,
        code: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        *,
        saga_id: str | None = None,
        links: Mapping[str, str] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.code, self.detail, self.errors, self.saga_id = code, detail, list(errors), saga_id
        self.links = dict(links or {})
        self.headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}


def field_errors(found: Sequence[Mapping[str, Any]], *, whole: str) -> list[FieldError]:
    """Pydantic's errors as fields and rules, the first `ERRORS_SHOWN` of them; `whole` names the field of no path."""
    return [
        FieldError(field=shown_name(".".join(map(str, one["loc"])) or whole), rule=in_words(str(one["msg"])))
        for one in found[:ERRORS_SHOWN]
    ]


def broken(count: int) -> str:
    """The detail of an `invalid` problem."""
    rules = "1 rule is broken" if count == 1 else f"{count} rules are broken"
    shown = f"; the first {ERRORS_SHOWN} are shown" if count > ERRORS_SHOWN else ""
    return f"{rules}{shown}{NOTHING_STORED}"


def install(app: FastAPI) -> None:
    """Make `app` answer every refusal and failure with a problem document."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _by_framework)
    app.add_exception_handler(SagaNotFound, _not_found)
    app.add_exception_handler(DuplicateOrder, _duplicate)
    app.add_exception_handler(KeyReused, _key_reused)
    app.add_exception_handler(StoreUnavailable, _unavailable)
    app.add_exception_handler(CodecError, _unreadable)
    app.add_exception_handler(IllegalTransition, _unreadable)
    app.add_exception_handler(DefinitionError, _definition_missing)
    app.add_exception_handler(ConcurrencyError, _contended)
    app.add_exception_handler(UsageError, _unusable)
    app.add_exception_handler(Exception, _internal)


def shown_name(name: str) -> str:
    """The name of a field, which may come from outside: cut, and without what is not printable."""
    cut = name if len(name) <= FIELD_LENGTH_SHOWN else f"{name[:FIELD_LENGTH_SHOWN]}…"
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in cut)


def _problem(
    code: str,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    saga_id: str | None = None,
    links: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    status, title = CODES[code]
    problem = Problem(
        type=URN + code,
        title=title,
        status=status,
        code=code,
        detail=detail,
        errors=list(errors) or None,
        saga_id=saga_id,
        links=dict(links or {}) or None,
    )
    # A refused body may still be on its way: this connection is not used again.
    closing = {"Connection": "close"} if status in (408, 413) else {}
    return JSONResponse(
        problem.model_dump(exclude_none=True), status, {**(headers or {}), **closing}, media_type=MEDIA_TYPE
    )


# What answers an exception gets it as Starlette hands it over: typed as Exception, of the class it is installed for.


def _refused(request: Request, refusal: Exception) -> JSONResponse:
    assert isinstance(refusal, Refusal)
    return _problem(
        refusal.code,
        _detail(request, refusal.detail),
        errors=refusal.errors,
        saga_id=refusal.saga_id,
        links=refusal.links,
        headers=refusal.headers,
    )


def _detail(request: Request, detail: str) -> str:
    """Of a request that only asks nobody wants to hear that nothing was stored."""
    return detail.removesuffix(NOTHING_STORED) if request.method in ("GET", "HEAD") else detail


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    return _problem("invalid", _detail(request, broken(len(found))), errors=field_errors(found, whole="request"))


def _by_framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = BY_STATUS.get(error.status_code, "bad_request" if error.status_code < 500 else "internal")
    offered = _offered(request) if error.status_code == 405 else []
    allow = {"Allow": ", ".join(offered)} if offered else {}
    detail = f"offered are {allow['Allow']}" if allow else str(error.detail)
    return _problem(code, detail, headers={**(error.headers or {}), **allow})


def _offered(request: Request) -> list[str]:
    """Every method that the document has for the path; the framework names those of the first route that matches."""
    paths = request.app.openapi()["paths"]
    fitting = (methods for path, methods in paths.items() if compile_path(path)[0].fullmatch(request.url.path))
    methods = {method.upper() for methods in fitting for method in methods}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _not_found(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SagaNotFound)
    detail = str(error) if isinstance(error, NotAnOrder) else f"no saga with id or order {error.reference!r}"
    return _problem("not_found", detail)


def _duplicate(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DuplicateOrder)
    return _problem("duplicate_order", str(error), saga_id=error.saga_id)


def _key_reused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, KeyReused)
    return _problem("key_reused", str(error), saga_id=error.saga_id)


def _unavailable(_: Request, error: Exception) -> JSONResponse:
    logger.warning("store_unavailable", error=error)
    detail = "nothing is known to be stored; send the same request with the same Idempotency-Key again"
    return _problem("store_unavailable", detail, headers={"Retry-After": str(STORE_RETRY_AFTER_S)})


def _unusable(_: Request, error: Exception) -> JSONResponse:
    """The database was found without its tables or without a right: an operator mends it, and the log tells him what."""
    logger.error("store_unusable", error=error)
    detail = "nothing was stored; send the same request with the same Idempotency-Key again"
    return _problem("store_unavailable", detail, headers={"Retry-After": str(STORE_RETRY_AFTER_S)})


def _unreadable(request: Request, error: Exception) -> JSONResponse:
    logger.error("journal_unreadable", saga_id=request.path_params.get("saga_id"), error=type(error).__name__)
    return _problem("journal_unreadable", "written by a newer release, or damaged; the log says which")


def _definition_missing(_: Request, error: Exception) -> JSONResponse:
    logger.error("definition_missing", error=error)
    return _problem("definition_missing", "nothing was written; ask a process that runs its definition and version")


def _contended(_: Request, __: Exception) -> JSONResponse:
    detail = "nothing was written; send the same request again"
    return _problem("contended", detail, headers={"Retry-After": str(CONTENDED_RETRY_AFTER_S)})


def _internal(_: Request, __: Exception) -> JSONResponse:
    return _problem("internal", "the log says why")
