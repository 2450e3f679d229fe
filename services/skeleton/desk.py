"""Works on one request of one service: validated, behind the barrier, in one local transaction. Knows no HTTP server.

A desk is the synchronous half of the app: it may be called from any thread, twice at once for the same request (the
fault `duplicate`), and long after the connection is gone (the fault `late`).
"""

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Annotated, Any

from pydantic import BaseModel, StringConstraints, ValidationError
from sqlalchemy import Connection
from sqlalchemy.exc import DataError

from saga.barrier import ACTION, KEY_MAX, BusinessRejection, Kept, KeyRefused, problem_text, run_action, run_undo
from services.skeleton import answers
from services.skeleton.answers import Answer, Refused
from services.skeleton.clock import now
from services.skeleton.database import Database, StillBusy
from services.skeleton.fields import whole
from services.skeleton.service import Context, ExplainedRejection, Ledger, Operation, Route, Service, Strict
from services.skeleton.tables import declare_tables

UNDO_SUFFIX = "/undo"


class UndoRequest(Strict):
    """Body of every undo."""

    undoes: Annotated[str, StringConstraints(min_length=1, max_length=KEY_MAX, pattern=r"^[\x21-\x7e]+$")]


class Desk:
    """A service at work on its database."""

    def __init__(self, service: Service, database: Database) -> None:
        self.service, self.database = service, database
        self.ledger, self.barrier = declare_tables(service)

    def do(
        self, operation: Operation, key: str, request: Strict, request_hash: str, reject: str | None = None
    ) -> Answer:
        """One action. `reject` is the code that a fault wants it to be rejected with."""
        if operation.is_readonly:
            return self._asked(operation, key, request, reject)

        def work(connection: Connection) -> Answer:
            refusals: list[BusinessRejection] = []

            def act() -> tuple[int, str]:
                try:
                    return self._act(connection, operation, key, request, reject)
                except BusinessRejection as no:
                    refusals.append(no)
                    raise

            kept = run_action(
                connection,
                self.barrier,
                key=key,
                operation=operation.name,
                request_hash=request_hash,
                order_id=getattr(request, "order_id", None),
                at=now(),
                act=act,
            )
            return answers.of_kept(self._with_reasons(connection, key, kept, refusals))

        return self._answered(lambda: self.database.write(work))

    def undo(self, operation: Operation, key: str, request: UndoRequest) -> Answer:
        """Take an action of `operation` back."""

        def work(connection: Connection) -> Answer:
            kept = run_undo(
                connection,
                self.barrier,
                key=key,
                undoes=request.undoes,
                operation=operation.name + UNDO_SUFFIX,
                action=operation.name,
                at=now(),
                undo=lambda answer: self._take_back(connection, operation, key, answer),
            )
            return answers.of_kept(kept)

        return self._answered(lambda: self.database.write(work))

    def run(self, route: Route, key: str, request: Strict | None, parameters: Mapping[str, Any]) -> Answer:
        """Something else than an operation, in one transaction, without the barrier."""

        def work(connection: Connection) -> Answer:
            context = self._context(connection, key, f"{route.method} {route.path}")
            answer = route.run(context, request, **parameters)
            context.ledger.write(connection, now())
            return Answer(200, answer.model_dump_json() if isinstance(answer, BaseModel) else json.dumps(answer))

        run = self.database.read if route.method == "GET" else self.database.write
        return self._answered(lambda: run(work))

    def _act(
        self, connection: Connection, operation: Operation, key: str, request: Strict, reject: str | None
    ) -> tuple[int, str]:
        if reject is not None:
            raise BusinessRejection(operation.rejections.get(reject, 409), reject, "the fault script says so")
        context = self._context(connection, key, operation.name)
        answer = operation.act(context, request)
        context.ledger.write(connection, now())
        return operation.status, answer.model_dump_json()

    def _with_reasons(self, connection: Connection, key: str, kept: Kept, refusals: list[BusinessRejection]) -> Kept:
        """The kept rejection with what the service explains beside code and detail, in the barrier's row too: the barrier
        itself knows of neither, and a late copy must hear the same."""
        if not any(isinstance(no, ExplainedRejection) for no in refusals):
            return kept
        body = _rejection_text(refusals[-1])
        row = self.barrier.update().where(self.barrier.c.key == key, self.barrier.c.kind == ACTION)
        connection.execute(row.values(body=body))
        return replace(kept, body=body)

    def _take_back(
        self, connection: Connection, operation: Operation, key: str, answer: dict[str, Any]
    ) -> list[dict[str, Any]]:
        assert operation.undo is not None
        context = self._context(connection, key, operation.name + UNDO_SUFFIX)
        effects = operation.undo(context, answer)
        context.ledger.write(connection, now())
        return [effect.model_dump() for effect in effects]

    def _asked(self, operation: Operation, key: str, request: Strict, reject: str | None) -> Answer:
        """A readonly operation looks without blocking writers; a ledger row that it wants is written afterwards."""

        def work() -> Answer:
            ledger, answer = self.database.read(look)
            if ledger.rows:
                self.database.write(lambda connection: ledger.write(connection, now()))
            return Answer(operation.status, answer.model_dump_json())

        def look(connection: Connection) -> tuple[Ledger, BaseModel]:
            if reject is not None:
                raise BusinessRejection(operation.rejections.get(reject, 409), reject, "the fault script says so")
            context = self._context(connection, key, operation.name)
            return context.ledger, operation.act(context, request)

        return self._answered(work)

    def _context(self, connection: Connection, key: str, operation: str) -> Context:
        return Context(connection, key, operation, now, Ledger(self.ledger, key, operation))

    @staticmethod
    def _answered(work: Callable[[], Answer]) -> Answer:
        """What the work answers, or what its refusal means to the caller."""
        try:
            return work()
        except KeyRefused as refused:
            return answers.problem(refused.status, refused.code, str(refused))
        except BusinessRejection as no:
            return Answer(no.status, _rejection_text(no))
        except Refused as refused:
            return refused.answer
        except StillBusy:
            return answers.problem(409, "in_progress", "the same key is being worked on", {"Retry-After": "1"})
        except DataError:
            return answers.invalid([{"field": "body", "rule": "a value is out of the database's range"}])


def _rejection_text(no: BusinessRejection) -> str:
    further = no.further if isinstance(no, ExplainedRejection) else {}
    return problem_text(no.status, no.code, no.detail, **further)


def parsed(model: type[Strict], body: bytes) -> tuple[Strict, str]:
    """The body as a value, and the hash of its canonical form. Raises `Refused` naming each field and rule."""
    body = body.removeprefix(BOM_UTF8)
    try:
        request = model.model_validate_json(body)
        raw = json.loads(body, parse_float=_number)
    except ValidationError as error:
        raise Refused(answers.invalid_of(error)) from None
    except (ValueError, RecursionError):
        raise Refused(answers.invalid([{"field": "body", "rule": "must be JSON in UTF-8"}])) from None
    if b"\\u0000" in body:
        errors = [{"field": path, "rule": "must not contain the character NUL"} for path in _with_nul(raw, "")]
        if errors:
            raise Refused(answers.invalid(errors))
    canonical = json.dumps(raw, sort_keys=True, separators=(",", ":"))
    return request, sha256(canonical.encode()).hexdigest()


def _number(text: str) -> object:
    """`1250.0` is the number 1250, so both are one request under one key; the hash of an integer is that of its digits."""
    return whole(float(text))


def _with_nul(value: Any, path: str) -> list[str]:
    if isinstance(value, str):
        return [path.lstrip(".")] if "\0" in value else []
    if isinstance(value, dict):
        named = [*((value[key], f"{path}.{key}") for key in value), *((key, path or "body") for key in value)]
    elif isinstance(value, list):
        named = [(inner, f"{path}.{number}") for number, inner in enumerate(value)]
    else:
        named = []
    return [found for inner, inner_path in named for found in _with_nul(inner, inner_path)]
