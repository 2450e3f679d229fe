"""What is checked when a saga is built: its shape, its models, where each parameter comes from, and its effects.

Rules of this file: every refusal is a `DefinitionError` that names the step and says what to write instead. The shape
`(compensatable | readonly)* pivot? (retriable | readonly)*` is what makes rollback decidable (Richardson,
*Microservices Patterns*, ch. 4): before the pivot everything can be undone, after it everything must succeed.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from saga.core.binding import CONTEXT, Binding, bind, called_operation, hints_of, is_model, result_model
from saga.core.connector import Model, Operation, Undo
from saga.core.models import refuse_lossy
from saga.core.states import Direction
from saga.core.steps import Kind, Step
from saga.errors import DefinitionError
from saga.words import shown


def checked(saga: str, input_model: type[Model], order: list[Step]) -> tuple[Step, ...]:
    """The steps of `saga`, in order, each with what it takes and gives. Raises `DefinitionError`."""
    _check_shape(saga, order)
    _check_model(input_model, f"{saga}: input")
    refuse_lossy(input_model, f"{saga}: input")
    known: dict[str, type[Model]] = {}
    done: list[Step] = []
    for step in order:
        operation = (
            step.action if isinstance(step.action, Operation) else step.operation or called_operation(step.action)
        )
        model = operation.result if operation else result_model(step.action, step.name)
        if operation:
            _check_model(operation.result, f"{step.name}: the result of {operation}")
            refuse_lossy(operation.request, f"{step.name}: the request of {operation}", is_sent=True)
        if model:
            refuse_lossy(model, f"{step.name}: its result")
        visible = {name: known[name] for name in known if name in step.ancestors}
        bound = replace(step, operation=operation, result=model)
        bound = replace(bound, takes=bind(bound.action, input_model, visible, step.name))
        if bound.compensation is not None:
            own = {**visible, **({step.name: model} if model else {})}
            takes = _bind_compensation(bound, input_model, own, order)
            calls = called_operation(bound.compensation)
            if calls:
                refuse_lossy(calls.request, f"{step.name} (compensation): the request of {calls}", is_sent=True)
            bound = replace(bound, compensation_takes=takes, compensation_operation=calls)
        if model and step.on_rejected != "record":
            known[step.name] = model
        _check_effectful(bound)
        done.append(bound)
    return tuple(done)


def _check_model(model: object, what: str) -> None:
    if not is_model(model):
        msg = f"{what} must be a JSON model (a pydantic model), not {model!r}"
        raise DefinitionError(msg)


def _check_shape(saga: str, order: list[Step]) -> None:
    pivots = [step for step in order if step.kind is Kind.PIVOT]
    if len(pivots) > 1:
        msg = f"{saga}: two pivots ({pivots[0].name}, {pivots[1].name}); there is one point of no return"
        raise DefinitionError(msg)
    for step in order:
        if step.on_rejected == "record" and step.kind is not Kind.RETRIABLE:
            msg = f"{step.name}: on_rejected='record' is for retriable steps; the rejection of a {step.kind} rolls back"
            raise DefinitionError(msg)
        if step.kind is Kind.PIVOT and (step.compensation is not None or step.on_unknown == "compensate"):
            msg = f"{step.name}: a pivot is never compensated; make it compensatable, or drop its compensation policy"
            raise DefinitionError(msg)
        if step.kind in (Kind.READONLY, Kind.RETRIABLE) and step.compensation is not None:
            msg = (
                f"{step.name}: a {step.kind} step has nothing to undo; make it compensatable, or drop its compensation"
            )
            raise DefinitionError(msg)
        if step.kind is Kind.COMPENSATABLE and step.compensation is None:
            msg = f"{step.name}: compensatable(...) without compensation; name its undo, or say what it is: readonly, retriable"
            raise DefinitionError(msg)
        if pivots and step is not pivots[0]:
            _check_side_of_pivot(pivots[0], step)
    if not pivots:
        _check_without_pivot(saga, order)


def _check_side_of_pivot(the_pivot: Step, step: Step) -> None:
    is_before, is_after = step.name in the_pivot.ancestors, the_pivot.name in step.ancestors
    if not is_before and not is_after:
        msg = f"{the_pivot.name}: a pivot inside parallel(...) beside {step.name}; put it behind the join"
        raise DefinitionError(msg)
    if is_before and step.kind is Kind.RETRIABLE:
        msg = f"{step.name} is retriable and stands before the pivot {the_pivot.name}; only compensatable and readonly may"
        raise DefinitionError(msg)
    if is_after and step.kind is Kind.COMPENSATABLE:
        msg = (
            f"{step.name} is compensatable and stands after the pivot {the_pivot.name}; only retriable and readonly may"
        )
        raise DefinitionError(msg)


def _check_without_pivot(saga: str, order: list[Step]) -> None:
    for step in order:
        late = [other.name for other in order if other.kind is Kind.COMPENSATABLE and other.name not in step.ancestors]
        if step.kind is Kind.RETRIABLE and late:
            msg = (
                f"{saga}: {late[0]} is compensatable and stands after or beside the retriable {step.name}, which cannot "
                "be rolled back; put it before"
            )
            raise DefinitionError(msg)


def _check_effectful(step: Step) -> None:
    """An effect must be repeatable or be settled by a person, in both directions; a readonly step must have none."""
    if step.kind is Kind.READONLY:
        if step.operation is not None and step.operation.has_effect:
            msg = (
                f"{step.name}: {step.operation} has an effect, so the step is not readonly; say what it is (compensatable, "
                f"pivot, retriable), or make the operation with {step.operation.connector.name}.query(...) if it has none"
            )
            raise DefinitionError(msg)
        return
    for direction in Direction:
        callee = step.action if direction is Direction.ACTION else step.compensation
        if callee is None or step.serialises_in(direction) or step.on_unknown == "halt":
            continue
        operation = step.operation_in(direction)
        raise DefinitionError(_of_operation(step, operation) if operation else _of_function(step, direction))


def _of_operation(step: Step, operation: Operation[Any, Any]) -> str:
    return (
        f"{step.name}: {operation} has an effect, and connector {operation.connector.name} has "
        f"keys={operation.connector.keys!r}, so a lost answer cannot be settled by asking again. State keys='serialise' "
        "if the participant has a barrier, or write on_unknown='halt' to have a person settle each"
    )


def _of_function(step: Step, direction: Direction) -> str:
    does = "the function does" if direction is Direction.ACTION else "its compensation is a function that does"
    or_none = "" if step.kind is Kind.COMPENSATABLE else " If it has no effect, it is readonly(...)."
    return (
        f"{step.name}: {does} its own work, and a worker may die in it: nobody knows then whether it was done. Write "
        f"{step.kind}(..., keys='serialise') when a repeat under the key that StepContext hands it has one effect, so that "
        f"it is run again, or {step.kind}(..., on_unknown='halt') to have a person settle each lost answer.{or_none}"
    )


def _bind_compensation(step: Step, input_model: type[Model], own: dict[str, type[Model]], order: list[Step]) -> Binding:
    compensation = step.compensation
    assert compensation is not None
    if not isinstance(compensation, Undo):
        takes = bind(compensation, input_model, own, f"{step.name} (compensation)")
        if called_operation(compensation) is None:
            _check_gives_nothing(compensation, f"{step.name} (compensation)")
        return _own_result_taken(step, takes)
    if step.operation is None or compensation.of != step.operation:
        does = str(step.operation) if step.operation else "a function's own work"
        right = [
            other.name
            for other in order
            if other.operation == compensation.of or called_operation(other.action) == compensation.of
        ]
        hint = f" It undoes step {right[0]}." if right else ""
        msg = f"{step.name}: compensation {compensation.path} undoes {compensation.of}, but the step does {does}.{hint}"
        raise DefinitionError(msg)
    return Binding()


def _check_gives_nothing(compensation: Callable[..., Any], where: str) -> None:
    """What a compensation does is done when it returns: what it would give back is for nobody, and may be work still to be done."""
    returned = hints_of(compensation, where).get("return", type(None))
    if returned is not type(None):
        msg = f"{where}: it gives {shown(returned)}, which nobody takes; it does its work and returns None, or returns a Call[Model]"
        raise DefinitionError(msg)


def _own_result_taken(step: Step, takes: Binding) -> Binding:
    """A function that takes another step's result and not its own undoes the other step, or nothing that is known."""
    others = [source for source in takes.sources if source and source not in (CONTEXT, step.name)]
    if step.result is None or step.name in takes.sources:
        return takes
    has = f"it takes the result of {others[0]}" if others else "it does not take it"
    msg = (
        f"{step.name}: its compensation {getattr(step.compensation, '__name__', step.compensation)} must take what {step.name} "
        f"returned, a {step.result.__name__}, to know what to undo; {has}"
    )
    raise DefinitionError(msg)
