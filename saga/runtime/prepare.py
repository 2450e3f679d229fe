"""Making a node's request and its arguments from the journal: pure, apart from calling the user's pure step functions.

A call step is run twice and the two calls compared, because its bytes go into the journal with the first attempt and
every later attempt sends those bytes: a step that reads a clock or draws a random number is found before anything left.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from saga.core.binding import CONTEXT, INPUT, Binding, StepContext
from saga.core.connector import Call, Model, Operation, Undo
from saga.core.definition import Step
from saga.core.fold import SagaState
from saga.core.keys import logical_key, wire_key
from saga.core.outcomes import Payload, Request
from saga.core.plan import action_of
from saga.core.states import Direction

ENGINE = Path(__file__).parents[1]


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
    logical = logical_key(state.definition, state.entity, state.run, node)
    connector = step.connector_in(direction)
    wire = wire_key(state.environment, state.tenant, logical, connector.key_max if connector else 32)
    callee = step.action if direction is Direction.ACTION else step.compensation
    if isinstance(callee, Undo):
        undoes = state.node(action_of(step)).wire_key
        body = json.dumps({"undoes": undoes}, separators=(",", ":"))
        return Prepared(logical, wire, Request("POST", callee.path, Payload(body)))
    operation = step.operation_in(direction)
    if operation is None:
        return Prepared(logical, wire, None)
    context = context_of(state, node, wire, 1, deadline_at)
    call = _called(callee, operation, step, direction, state, context)
    try:
        body = call.request.model_dump_json()
    except BaseException as error:  # the user's serialisers: not even `sys.exit` ends the thread that drives all sagas
        raise BrokenStep(_shown(step, error)) from error
    return Prepared(logical, wire, Request(operation.method, operation.path, Payload(body)))


def _called(
    callee: Any,
    operation: Operation[Any, Any],
    step: Step,
    direction: Direction,
    state: SagaState,
    context: StepContext,
) -> Call[Any]:
    takes = step.takes if direction is Direction.ACTION else step.compensation_takes
    try:
        values = arguments(takes, state, context)
        call = callee(*values)
        again = call if isinstance(callee, Operation) else callee(*values)
    except BaseException as error:  # the user's code: whatever it raises is a defect of this one order
        raise BrokenStep(_shown(step, error)) from error
    if not isinstance(call, Call) or call.operation != operation:
        msg = f"{step.name}: returned {call!r:.200}, and its definition says it calls {operation}"
        raise BrokenStep(msg)
    if call != again:
        msg = f"{step.name}: two runs on the same facts gave different calls; a step must be a pure function"
        raise BrokenStep(msg)
    return call


def _shown(step: Step, error: BaseException) -> str:
    return f"{step.name}: {type(error).__name__}: {error}"[:500] + place_of(error)


def place_of(error: BaseException) -> str:
    """Where in the user's code it was raised, ` (shop.py:61)`: the innermost frame outside of installed packages and of the
    engine. Empty when there is none."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if "site-packages" not in path.parts and ENGINE not in path.parents and path.suffix == ".py":
            place = f" ({path.name}:{trace.tb_lineno})"
        trace = trace.tb_next
    return place


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
    return model.model_validate_json(payload.data)
