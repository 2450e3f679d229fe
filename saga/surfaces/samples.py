"""Sample answers: an instance of a result model, made from its JSON schema, for participants that do not exist yet.

A field whose name stands in the request is echoed from there, as participants do with ids and amounts. Any other text is
the field's name and the number of the effect. Optional fields take their default. What no rule here can make (a pattern)
is an error that names the field, when the mock is built and not in the middle of a saga.
"""

import json
from collections.abc import Mapping
from typing import Any

from saga.core.connector import Model
from saga.errors import UsageError
from saga.surfaces.inputs import read_by

Json = Any
DEPTH_MAX = 16


def sample(model: type[Model], request: Mapping[str, Json], number: int) -> dict[str, Json]:
    """A JSON object that `model` accepts. Raises `UsageError` when no rule of this file makes one."""
    schema = model.model_json_schema()
    made = _Sampler(schema.get("$defs", {}), request, number).value(schema, model.__name__)
    try:
        read_by(model, json.dumps(made), model.__name__)
    except (ValueError, UsageError) as error:
        raise UsageError(f"no sample of {model.__name__} can be made for its mock: {error}") from error
    assert isinstance(made, dict)
    return made


class _Sampler:
    """Walks a schema; `number` makes the texts of different effects differ."""

    def __init__(self, definitions: Mapping[str, Json], request: Mapping[str, Json], number: int) -> None:
        self._definitions = definitions
        self._request = request
        self._number = number

    def value(self, schema: Mapping[str, Json], name: str, depth: int = 0) -> Json:
        if depth > DEPTH_MAX:
            return None
        if "$ref" in schema:
            return self.value(self._definitions[str(schema["$ref"]).rpartition("/")[2]], name, depth + 1)
        for fixed in ("const", "default"):
            if fixed in schema:
                return schema[fixed]
        choices = schema.get("enum") or schema.get("examples")
        if choices:
            return choices[0]
        inner = schema.get("allOf") or schema.get("anyOf") or schema.get("oneOf")
        return self.value(inner[0], name, depth + 1) if inner else self._typed(schema, name, depth)

    def _typed(self, schema: Mapping[str, Json], name: str, depth: int) -> Json:
        match schema.get("type"):
            case "object":
                return self._object(schema, depth)
            case "array":
                return [self.value(schema.get("items", {}), name, depth + 1)] * int(schema.get("minItems", 0))
            case "integer" | "number":
                return self._number_in(schema)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return self._text(schema, name)

    def _object(self, schema: Mapping[str, Json], depth: int) -> dict[str, Json]:
        fields = schema.get("properties", {})
        return {
            name: self._request[name] if name in self._request else self.value(fields[name], name, depth + 1)
            for name in fields
            if name in schema.get("required", ())
        }

    def _number_in(self, schema: Mapping[str, Json]) -> int:
        above = schema.get("exclusiveMinimum")
        least = int(schema.get("minimum", above + 1 if above is not None else 1))
        return max(least, min(1, int(schema.get("maximum", 1))))

    def _text(self, schema: Mapping[str, Json], name: str) -> str:
        known = {"date-time": "2026-01-01T00:00:00Z", "date": "2026-01-01", "uri": "https://example.invalid/"}
        text = known.get(str(schema.get("format")), f"{name}-{self._number}")
        text = text.ljust(int(schema.get("minLength", 0)), "0")
        return text[: int(schema.get("maxLength", len(text)))]
