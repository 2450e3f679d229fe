"""Transitions as JSON text and back: what a journal row's body says.

A body is an array of objects, one per transition; `t` names its kind. A field that has its default is left out, and so is
`at` when it equals that of the object before, so a body is about as long as what it says. The spec of a class is read off
its dataclass once, at import: there is no second list of fields to forget. Enums and instants are text (ISO 8601, UTC).

NUL cannot be stored by PostgreSQL's JSON functions, so a body that would hold one is refused here, for every database.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from datetime import datetime
from enum import StrEnum
from types import UnionType
from typing import Any, get_args, get_type_hints

from saga.core.outcomes import EffectChange, Payload, Request
from saga.core.transitions import KINDS, PlannedEntry, Transition
from saga.errors import CodecError

ESCAPED_NUL = "\\u0000"
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""An escaped NUL, and not an escaped backslash that the letters u0000 follow. It costs far more than looking for the letters
does, so those are looked for first."""
_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)

Convert = Callable[[Any], Any] | None


def encode(transitions: Sequence[Transition]) -> str:
    """The body of a journal entry. Raises `CodecError` for a value that JSON or a database cannot hold."""
    before: datetime | None = None
    rows = []
    for it in transitions:
        rows.append(_pack(it, {"t": it.kind}, before))
        before = it.at
    try:
        body = _JSON.encode(rows)
    except (TypeError, ValueError) as error:
        msg = f"cannot be written as JSON: {error}"
        raise CodecError(msg) from error
    if ESCAPED_NUL in body and _NUL.search(body):
        msg = "holds a NUL character, which PostgreSQL cannot store"
        raise CodecError(msg)
    return body


def decode(body: str) -> tuple[Transition, ...]:
    """The transitions of a body. Raises `CodecError` for text that this release cannot read."""
    try:
        rows = json.loads(body)
        at = None
        found = []
        for row in rows:
            cls = KINDS[row.pop("t")]
            row.setdefault("at", at)
            at = row["at"]
            found.append(_unpack(cls, row))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"a journal body that this release cannot read ({type(error).__name__}: {error}): {body[:120]}"
        raise CodecError(msg) from error
    return tuple(found)


def _pack(it: Any, row: dict[str, Any], before: datetime | None = None) -> dict[str, Any]:
    for name, default, convert, _ in _SPECS[type(it)]:
        value = getattr(it, name)
        if value == default or (name == "at" and value == before):
            continue
        row[name] = convert(value) if convert and value is not None else value
    return row


def _unpack(cls: type[Any], row: dict[str, Any]) -> Any:
    spec = _READERS[cls]
    return cls(
        **{
            name: convert(value) if (convert := spec[name]) and value is not None else value
            for name, value in row.items()
        }
    )


def _rows(values: Sequence[Any]) -> list[dict[str, Any]]:
    return [_pack(value, {}) for value in values]


def _converters(hint: Any) -> tuple[Convert, Convert]:
    """How a value of that type is written and how it is read."""
    if isinstance(hint, UnionType):
        hint = next(arg for arg in get_args(hint) if arg is not type(None))
    if hint is datetime:
        return datetime.isoformat, datetime.fromisoformat
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return None, hint
    if hint in _VALUES:
        return lambda value: _pack(value, {}), lambda row, cls=hint: _unpack(cls, row)
    if (item := next(iter(get_args(hint)), None)) in _VALUES:
        return _rows, lambda rows, cls=item: tuple(_unpack(cls, row) for row in rows)
    if item is str:
        return list, tuple
    return None, None


_VALUES: tuple[Any, ...] = (Payload, Request, EffectChange, PlannedEntry)
_SPECS: dict[type[Any], list[tuple[str, Any, Convert, Convert]]] = {}
_READERS: dict[type[Any], dict[str, Convert]] = {}
for _cls in (*_VALUES, *KINDS.values()):
    _hints = get_type_hints(_cls)
    _SPECS[_cls] = [
        (spec.name, spec.default if spec.default is not MISSING else MISSING, *_converters(_hints[spec.name]))
        for spec in fields(_cls)
    ]
    _READERS[_cls] = {name: reader for name, _, _, reader in _SPECS[_cls]}
