"""What goes back over HTTP: an answer as a value, problem documents, and the closing of a connection instead."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from saga.barrier import Kept, problem_text

JSON = "application/json"
PROBLEM = "application/problem+json"
CLOSES = "saga.close"
"""Name of the function in the request's state that closes its connection; `services.skeleton.server` puts it there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, JSON text, headers."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        kind = PROBLEM if self.status >= 400 else JSON
        return Response(self.body, self.status, dict(self.headers), kind)


class Refused(Exception):
    """The request is answered with a problem, and nothing was done."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


def problem(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None, **further: Any) -> Answer:
    """A problem document as an answer."""
    return Answer(status, problem_text(status, code, detail, **further), headers or {})


def overloaded(detail: str) -> Answer:
    """Nothing was done; come back in a second."""
    return problem(503, "overloaded", detail, {"Retry-After": "1"})


def unavailable(detail: str, headers: Mapping[str, str] | None = None) -> Answer:
    """The service's own database refuses. With Retry-After nothing was done; without it nobody knows."""
    return problem(503, "unavailable", detail, headers)


def invalid(errors: list[dict[str, str]]) -> Answer:
    """The body breaks rules; nothing was stored."""
    first = errors[0]
    return problem(422, "invalid", f"{first['field']}: {first['rule']}", errors=errors)


def invalid_of(error: ValidationError) -> Answer:
    """Field and rule of each break, without the value: it may be personal."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return invalid([{"field": ".".join(map(str, one["loc"])) or "body", "rule": one["msg"]} for one in found])


def of_kept(kept: Kept) -> Answer:
    """The kept answer, marked when it is not the first time."""
    return Answer(kept.status, kept.body, {"Idempotency-Replayed": "true"} if kept.is_replayed else {})


def of_value(value: Any) -> Response:
    """A 200 with the value as JSON."""
    return Response(json.dumps(value), 200, media_type=JSON)


class ClosedConnection(Response):
    """No answer: the connection is closed. Only a server that offers `CLOSES` can do it (`services.skeleton.server`)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  ASGI's signature
        scope["state"][CLOSES]()
