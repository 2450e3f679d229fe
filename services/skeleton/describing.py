"""Fills in the app's OpenAPI document: what the edge keeps out of FastAPI's sight for speed, and every status it answers.

Rules of this file
------------------
- A status that a service answers stands in its document, with the schema of its body; `tests/integration/services/
  test_contract.py` holds that. A problem document is one schema for all of them (`Problem`).
- The models are those of the operations and routes themselves: what a route answers is the annotation of its function.
- Statuses that an intermediary may answer, such as 502, are not ours to document.
"""

import re
from typing import Annotated, Any, get_type_hints

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from services.skeleton.answers import JSON, PROBLEM
from services.skeleton.faults import Rule, Script
from services.skeleton.service import Effect, Operation, Route, Service

REF = "#/components/schemas/{model}"
UNDO_SUFFIX = "/undo"
KEY_PATTERN, KEY_OR_NONE_PATTERN = r"^[\x21-\x7e]{1,255}$", r"^[\x21-\x7e]{0,255}$"
Document = dict[str, Any]


class BrokenRule(BaseModel):
    """One field, and the rule that it breaks."""

    field: str
    rule: str


class Problem(BaseModel):
    """RFC 9457. A rejection may have further members that say why."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[BrokenRule] = Field(default_factory=list)
    """The fields that break a rule, of code `invalid` and wherever a rejection is about fields."""


class Undone(BaseModel):
    """Answer of every undo."""

    undone: bool
    effects: list[Effect]


class LedgerRow(BaseModel):
    """A row of the ledger has further columns of its service."""

    model_config = ConfigDict(extra="allow")

    id: int
    at: str
    operation: str
    key: str
    order_id: str


class LedgerPage(BaseModel):
    rows: list[LedgerRow]
    next_after: int | None


class BarrierRow(BaseModel):
    id: int
    key: str
    operation: str
    kind: str
    undoes: str | None
    order_id: str | None
    outcome: str
    at: str


class BarrierPage(BaseModel):
    rows: list[BarrierRow]
    next_after: int | None


class FiredRow(BaseModel):
    id: int
    rule: int
    fault: str
    operation: str
    key: str
    attempt: int
    order_id: str | None


class FiredPage(BaseModel):
    rows: list[FiredRow]
    next_after: int | None


class CountedRule(Rule):
    fired: Annotated[int, Field(ge=0)]


class ScriptInForce(Script):
    """The script, and how often each rule has fired."""

    rules: tuple[CountedRule, ...] = ()


class Health(BaseModel):
    status: str


OWN: dict[tuple[str, str], tuple[type[BaseModel], tuple[int, ...]]] = {
    ("/healthz", "get"): (Health, (503,)),
    ("/v1/ledger", "get"): (LedgerPage, (422, 503)),
    ("/v1/barrier", "get"): (BarrierPage, (422, 503)),
    ("/v1/faults", "get"): (ScriptInForce, ()),
    ("/v1/faults", "put"): (ScriptInForce, (413, 422)),
    ("/v1/faults", "delete"): (ScriptInForce, ()),
    ("/v1/faults/fired", "get"): (FiredPage, (422,)),
}
"""What every service has: (path, method) → answer of 200, and the problems beside 500."""

MEANINGS = {
    400: "missing_key, invalid_key",
    404: "what the request names is not there",
    409: "tombstoned, in_progress",
    413: "too_large: the body has more than 4 MiB",
    422: "invalid: errors names each field and rule; key_reused: the key belongs to another request",
    500: "internal; or the fault script",
    503: "overloaded: nothing was done; unavailable: the database refuses, with Retry-After before anything was applied",
}
RETRY_AFTER = {
    "Retry-After": {
        "schema": {"type": "integer"},
        "description": "seconds; on overloaded, in_progress, and unavailable unless the commit itself failed",
    }
}
REPLAYED = {
    "Idempotency-Replayed": {
        "schema": {"type": "string", "enum": ["true"]},
        "description": "only on the kept answer of an earlier request",
    }
}


def describe(app: FastAPI, service: Service, undo_request: type[BaseModel], key_header: str) -> None:
    """Make `/openapi.json` name each operation's header, body, answer, examples, and every status."""
    without_models = app.openapi

    def openapi() -> Document:
        if app.openapi_schema is None:
            document = without_models()
            _Describing(document, service, undo_request, key_header).complete()
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents


class _Describing:
    def __init__(self, document: Document, service: Service, undo_request: type[BaseModel], key_header: str) -> None:
        self.document, self.service, self.undo_request, self.key_header = document, service, undo_request, key_header
        self.answered = {(route.method, route.path): _answer_of(route) for route in service.routes}
        asked = {it.request for it in service.operations} | {undo_request, Script}
        asked |= {route.request for route in service.routes if route.request}
        answers = {it.response for it in service.operations} | {Problem, Undone} | {own for own, _ in OWN.values()}
        answers |= {model for model in self.answered.values() if model}
        models = sorted([*((m, "validation") for m in asked), *((m, "serialization") for m in answers)], key=str)
        self.refs, self.definitions = models_json_schema(models, ref_template=REF)  # type: ignore[arg-type]  # a literal per pair

    def complete(self) -> None:
        self.document["components"] = {"schemas": self.definitions.get("$defs", {})}
        for operation in self.service.operations:
            self._operation(operation)
        for route in self.service.routes:
            self._route(route)
        for (path, method), (answer, problems) in OWN.items():
            described = self.document["paths"][path][method]
            described["responses"] = {"200": self._answer("done", answer), **self._problems((*problems, 500))}
        self.document["paths"]["/v1/faults"]["put"]["requestBody"] = self._body(Script, {"seed": 7, "rules": []})

    def _operation(self, operation: Operation) -> None:
        post = self.document["paths"][operation.path]["post"]
        post["parameters"] = [self._key(is_required=not operation.is_readonly)]
        post["requestBody"] = self._body(operation.request, operation.example)
        done = self._answer("done", operation.response, operation.answer_example)
        statuses = (400, 413, 422, 500, 503) if operation.is_readonly else (400, 404, 409, 413, 422, 500, 503)
        if not operation.is_readonly:
            done["headers"] = REPLAYED
        post["responses"] = {str(operation.status): done, **self._problems(statuses, operation.rejections)}
        if operation.undo is not None:
            undo = self.document["paths"][operation.path + UNDO_SUFFIX]["post"]
            undo["parameters"] = [self._key(is_required=True)]
            undo["requestBody"] = self._body(self.undo_request, {"undoes": "k5xq2m7daa3s6tcl4wpnb9ryvhgeufjo"})
            undone = {**self._answer("undone, or nothing to undo", Undone), "headers": REPLAYED}
            undo["responses"] = {"200": undone, **self._problems((400, 404, 409, 413, 422, 500, 503))}

    def _route(self, route: Route) -> None:
        described = self.document["paths"][route.path][route.method.lower()]
        path = [
            _parameter(name, "path", {"type": "string", "minLength": 1}) for name in re.findall(r"{(\w+)}", route.path)
        ]
        described["parameters"] = [*path, *_query_parameters(route), self._key(is_required=False)]
        if route.request is not None:
            described["requestBody"] = self._body(route.request, None)
        answer = self.answered[route.method, route.path]
        done = self._answer("done", answer, route.answer_example) if answer else {"description": "done"}
        described["responses"] = {"200": done, **self._problems((400, 404, 409, 413, 422, 500, 503))}

    def _key(self, *, is_required: bool) -> Document:
        schema = {"type": "string", "pattern": KEY_PATTERN if is_required else KEY_OR_NONE_PATTERN}
        example = {"example": "k5xq2m7daa3s6tcl4wpnb9ryvhgeufjo"} if is_required else {}
        return {**_parameter(self.key_header, "header", schema, is_required=is_required), **example}

    def _body(self, model: type[BaseModel], example: Document | None) -> Document:
        return {"required": True, "content": {JSON: _media(self.refs[model, "validation"], example)}}

    def _answer(self, description: str, model: type[BaseModel], example: Document | None = None) -> Document:
        return {"description": description, "content": {JSON: _media(self.refs[model, "serialization"], example)}}

    def _problems(self, statuses: tuple[int, ...], rejections: dict[str, int] | None = None) -> Document:
        """Status → problem document, with the business codes of the operation before what every service means by it."""
        codes: dict[int, list[str]] = {}
        for code, status in (rejections or {}).items():
            codes.setdefault(status, []).append(code)
        content = {PROBLEM: {"schema": self.refs[Problem, "serialization"]}}
        return {
            str(status): {
                "description": ", ".join([*codes.get(status, []), *filter(None, [MEANINGS.get(status)])]),
                "content": content,
                **({"headers": RETRY_AFTER} if status in (409, 503) else {}),
            }
            for status in sorted({*statuses, *codes})
        }


def _answer_of(route: Route) -> type[BaseModel] | None:
    answer = get_type_hints(route.run).get("return")
    return answer if isinstance(answer, type) and issubclass(answer, BaseModel) else None


def _query_parameters(route: Route) -> list[Document]:
    if route.query is None:
        return []
    schema = route.query.model_json_schema()
    required = schema.get("required", [])
    return [
        _parameter(name, "query", kind, is_required=name in required) for name, kind in schema["properties"].items()
    ]


def _parameter(name: str, place: str, schema: Document, *, is_required: bool = True) -> Document:
    return {"name": name, "in": place, "required": is_required, "schema": schema}


def _media(schema: Document, example: Document | None) -> Document:
    return {"schema": schema, **({"example": example} if example is not None else {})}
