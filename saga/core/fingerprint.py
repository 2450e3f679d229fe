"""The fingerprint of a definition: what must not change under one version, and nothing else.

sha256 over canonical JSON of the node tree (each step with what must be done before it), kinds, names, compensations,
bindings, and the JSON schemas of input and results. Not in it: code, queues, retry numbers, time-outs, and what a schema
says to people (titles, descriptions, examples); those may change in any deploy.
"""

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from saga.core.connector import Model, Undo
from saga.errors import DefinitionError
from saga.words import words_of

if TYPE_CHECKING:
    from saga.core.definition import Saga
    from saga.core.steps import Step


_PROSE = frozenset({"title", "description", "examples"})


def fingerprint(saga: "Saga[Any]") -> str:
    """Hex sha256 of the structure of `saga`."""
    shape = {
        "name": saga.name,
        "version": saga.version,
        "input": _schema(saga.input),
        "steps": [_step(step) for step in saga.order],
        "parallel_compensation": saga.parallel_compensation,
    }
    return sha256(json.dumps(shape, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _step(step: "Step") -> dict[str, Any]:
    compensation = step.compensation
    return {
        "name": step.name,
        "kind": step.kind,
        "after": sorted(step.after),
        "operation": str(step.operation) if step.operation else None,
        "result": _schema(step.result) if step.result else None,
        "takes": [list(step.takes.names), list(step.takes.sources)],
        "compensation": compensation.path
        if isinstance(compensation, Undo)
        else getattr(compensation, "__name__", None),
        "compensation_takes": [list(step.compensation_takes.names), list(step.compensation_takes.sources)],
    }


def _schema(model: type[Model]) -> Any:
    try:
        return _without_prose(model.model_json_schema(), is_names=False)
    except Exception as error:  # the user's types make their own part of it
        msg = f"{model.__name__}: no JSON schema can be made of it ({words_of(error)}); use types that have one, such as str or a model"
        raise DefinitionError(msg) from error


def _without_prose(schema: Any, *, is_names: bool) -> Any:
    """The schema without its prose. `is_names`: the keys are names of fields or models, where `title` is a field."""
    if isinstance(schema, list):
        return [_without_prose(item, is_names=False) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_prose(value, is_names=not is_names and key in ("properties", "$defs"))
        for key, value in schema.items()
        if is_names or key not in _PROSE
    }
