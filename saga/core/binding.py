"""How a step gets what it asks for: by the annotations of its function, resolved once, when the definition is built.

A parameter may ask for the saga's input, for the result model of a step that is surely done before it, or for the
`StepContext`. Two steps with the same result model are ambiguous, and `Annotated[Model, From("step")]` resolves it.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from saga.core.connector import Call, Model, Operation
from saga.core.options import why_unrun
from saga.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class From:
    """Marks which step's result a parameter means: `Annotated[Quote, From("quote_shipping")]`."""

    step: str


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step may know about its own attempt."""

    saga_id: str
    entity: str
    node: str
    key: str
    """The wire key: stable over attempts. Hand it to whatever must happen once."""
    attempt: int
    deadline_at: datetime
    traceparent: str | None = None


CONTEXT, INPUT = "", None
BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Binding:
    """For each parameter, in order: the step whose result it takes, `INPUT` or `CONTEXT`; and its model."""

    names: tuple[str, ...] = ()
    sources: tuple[str | None, ...] = ()
    models: tuple[type[Model] | None, ...] = ()


def hints_of(function: Callable[..., Any], where: str) -> dict[str, Any]:
    """The function's type hints, or an error that says which of them cannot be resolved."""
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        msg = f"{where}: the type hint {error.name!r} cannot be resolved; import it at run time, outside of `if TYPE_CHECKING`"
        raise DefinitionError(msg) from error
    except TypeError as error:
        msg = f"{where}: {function!r} carries no type hints; write a function (def) around it"
        raise DefinitionError(msg) from error


def is_model(candidate: object) -> bool:
    """Whether it is a class that offers what `Model` asks."""
    needed = ("model_json_schema", "model_validate_json", "model_dump_json")
    return isinstance(candidate, type) and all(hasattr(candidate, name) for name in needed)


def result_model(action: Callable[..., Any], where: str) -> type[Model] | None:
    """The model that a function step returns; None for a function without a result."""
    returned = hints_of(action, where).get("return", inspect.Parameter.empty)
    if returned is type(None):
        return None
    if not is_model(returned):
        says = "nothing" if returned is inspect.Parameter.empty else repr(returned)
        msg = f"{where}: must say what it returns, a JSON model (a pydantic model), Call[Model] or None; it says {says}"
        raise DefinitionError(msg)
    return returned  # type: ignore[no-any-return]


def called_operation(action: object) -> Operation[Any, Any] | None:
    """The operation that a call step uses: the one among the names in its code whose result it promises.

    None for a function step. `DefinitionError` when it promises a `Call` and the operation cannot be seen.
    """
    if isinstance(action, Operation):
        return action
    if not (inspect.isfunction(action) or inspect.ismethod(action)):
        return None
    where = action.__name__
    returned = hints_of(action, where).get("return")
    if get_origin(returned) is not Call:
        return None
    model = get_args(returned)[0]
    closure = inspect.getclosurevars(action)
    seen = {**closure.globals, **closure.nonlocals}
    found = {id(value): value for value in seen.values() if isinstance(value, Operation) and value.result is model}
    if len(found) != 1:
        msg = f"{where} returns Call[{getattr(model, '__name__', model)}] by {len(found)} operations; write operation=... in its step"
        raise DefinitionError(msg)
    return next(iter(found.values()))


def bind(
    action: Callable[..., Any], input_model: type[Model], results: Mapping[str, type[Model]], where: str
) -> Binding:
    """Resolve what each parameter of `action` takes; an operation takes its request model."""
    if why := why_unrun(action):
        raise DefinitionError(f"{where}: {why}; write a plain function (def)")
    if isinstance(action, Operation):
        wanted: list[tuple[str, Any]] = [("request", action.request)]
    else:
        hints = hints_of(action, where)
        names = inspect.signature(action).parameters
        if odd := [name for name, it in names.items() if it.kind not in BY_PLACE]:
            msg = f"{where}: parameter {odd[0]} stands behind a * or **; write each parameter without, as in (order: {input_model.__name__})"
            raise DefinitionError(msg)
        if bare := [name for name in names if name not in hints]:
            msg = f"{where}: parameter {bare[0]} has no type annotation; annotate it with the saga's input, a result model of an earlier step, or StepContext"
            raise DefinitionError(msg)
        wanted = [(name, hints[name]) for name in names]
    rows = [_resolve(name, hint, input_model, results, where) for name, hint in wanted]
    return Binding(tuple(name for name, _ in wanted), tuple(row[0] for row in rows), tuple(row[1] for row in rows))


def _resolve(
    name: str, hint: Any, input_model: type[Model], results: Mapping[str, type[Model]], where: str
) -> tuple[str | None, type[Model] | None]:
    if hint is StepContext:
        return CONTEXT, None
    if get_origin(hint) is Annotated:
        hint, *marks = get_args(hint)
        named = [mark.step for mark in marks if isinstance(mark, From)]
        if named:
            if results.get(named[0]) is not hint:
                msg = f"{where}: {name} takes From({named[0]!r}), and no step of that name before it returns {hint!r}"
                raise DefinitionError(msg)
            return named[0], hint
    sources: list[str | None] = [step for step, model in results.items() if model is hint]
    if hint is input_model:
        sources.append(INPUT)
    if len(sources) == 1:
        return sources[0], hint
    shown = getattr(hint, "__name__", repr(hint))
    if not sources:
        has = sorted({input_model.__name__, *(model.__name__ for model in results.values())})
        msg = f"{where}: parameter {name} asks for {shown}, which nothing before it produces; there is {', '.join(has)}"
        raise DefinitionError(msg)
    choices = " or ".join(f"Annotated[{shown}, From({source!r})]" for source in sources if source)
    msg = f"{where}: parameter {name} asks for {shown}, which comes from {len(sources)} places; write {choices}"
    raise DefinitionError(msg)
