"""Making a node's request and its arguments from the journal: pure, apart from calling the user's pure step functions.

A call step is run twice and the two calls compared, because its bytes go into the journal with the first attempt and
every later attempt sends those bytes: a step that reads a clock or draws a random number is found before anything left.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from saga.core.binding import CONTEXT, INPUT, Binding, StepContext
from saga.core.connector import Call, Model, Operation, Undo
from saga.core.definition import Step
from saga.core.fold import SagaState
from saga.core.keys import keys_of
from saga.core.outcomes import Payload, Request
from saga.core.plan import action_of
from saga.core.states import Direction
from saga.errors import NotReadBack
from saga.runtime.readback import read_kept, written
from saga.store.codec import PAYLOAD_MAX
from saga.words import place_of, shown, words_of


class BrokenStep(Exception):
    """The step's own code failed, or is not the pure function it must be; carries what to tell the person."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the first attempt writes into the journal."""

    key: str
    wire_key: str
    request: Request | None


def prepare(state: SagaState, step: Step, direction: Direction, deadline_at: datetime) -> Prepared:
    """Keys and request of a node's first attempt. Raises `BrokenStep` when the user's code fails."""
    node = f"{step.name}:{direction}"
    logical, wire = keys_of(state, step, direction)
    callee = step.action if direction is Direction.ACTION else step.compensation
    if isinstance(callee, Undo):
        undoes = (
            state.node(action_of(step)).wire_key or keys_of(state, step, Direction.ACTION)[1]
        )  # its send may be lost
        body = json.dumps({"undoes": undoes}, separators=(",", ":"))
        return Prepared(logical, wire, Request("POST", callee.path, Payload(body)))
    operation = step.operation_in(direction)
    if operation is None:
        return Prepared(logical, wire, None)
    try:
        body = _body(callee, operation, step, direction, state, context_of(state, node, wire, 1, deadline_at))
    except BrokenStep:
        raise
    except NotReadBack as error:
        raise BrokenStep(str(error)) from error
    except BaseException as error:  # the user's code: whatever it raises, `sys.exit` too, is a defect of this one order
        raise BrokenStep(_shown(step, error)) from error
    return Prepared(logical, wire, Request(operation.method, operation.path, Payload(body)))


def _body(
    callee: Any,
    operation: Operation[Any, Any],
    step: Step,
    direction: Direction,
    state: SagaState,
    context: StepContext,
) -> str:
    """The bytes that the step wants sent. Raises `BrokenStep`, and whatever the user's code raises."""
    values = arguments(step.takes if direction is Direction.ACTION else step.compensation_takes, state, context)
    call = callee(*values)
    again = call if isinstance(callee, Operation) else callee(*values)
    if type(call) is not Call or call.operation != operation:
        raise BrokenStep(f"{step.name}: returned {shown(call, 200)}, and its definition says it calls {operation}")
    if call != again:
        msg = f"{step.name}: two runs on the same facts gave different calls; a step must be a pure function"
        raise BrokenStep(msg)
    body = written(call.request, f"{step.name}: its request", is_sent=True)
    if len(body) > PAYLOAD_MAX:
        raise BrokenStep(f"{step.name}: its request is {len(body):,} characters; a journal takes {PAYLOAD_MAX:,}")
    return body


def _shown(step: Step, error: BaseException) -> str:
    return f"{step.name}: {words_of(error)}{place_of(error)}"


def context_of(state: SagaState, node: str, wire: str, attempt: int, deadline_at: datetime) -> StepContext:
    return StepContext(state.saga_id, state.entity, node, wire, attempt, deadline_at, state.traceparent)


def arguments(takes: Binding, state: SagaState, context: StepContext) -> list[Any]:
    """The values that a step's parameters ask for, parsed from the journal's payloads."""
    return [
        context if source == CONTEXT else _model(model, state, source)
        for source, model in zip(takes.sources, takes.models, strict=True)
    ]


def _model(model: type[Model] | None, state: SagaState, source: str | None) -> Model:
    payload = state.input if source is INPUT else state.node(f"{source}:{Direction.ACTION}").result
    if model is None or payload is None:
        msg = f"the result of {source} is missing from the journal"
        raise BrokenStep(msg)
    return read_kept(model, payload.data)
