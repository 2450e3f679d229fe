"""Transitions as JSON text and back: what a journal row's body says.

A body is an array of objects, one per transition; `t` names its kind. A field that has its default is left out, and so is
`at` when it equals that of the object before, so a body is about as long as what it says. The spec of a class is read off
its dataclass once, at import: there is no second list of fields to forget. Enums and instants are text (ISO 8601, UTC).

Each field is held to its annotation, on the way in and on the way out: what a step raised or a participant answered never
stands in a journal that nobody can read again, and a spoiled entry is a `CodecError` that names the field, not a surprise in
whoever folds it. Of what is read more is asked: an instant has its zone and is of this age, a node is one step in one
direction, a number fits a database. A `detail` of another type is read as its JSON, since it is a text for people.

NUL cannot be stored by PostgreSQL's JSON functions, and half of a surrogate pair by no database, so a body that would hold
one is refused here, for every database. A payload (input, request, result) has at most `PAYLOAD_MAX` characters: as many as an
answer over HTTP may have bytes, so that a process can load a few dozen journals at once.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from datetime import datetime
from enum import StrEnum
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from saga.core.outcomes import EffectChange, Outcome, OutcomeCode, Payload, Request
from saga.core.transitions import KINDS, PlannedEntry, Transition
from saga.errors import CodecError
from saga.words import one_line, shown

PAYLOAD_MAX = 4 * 1024 * 1024
YEARS = range(1970, 9000)
LARGEST = 2**63
ESCAPED_NUL = "\\u0000"
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""An escaped NUL, and not an escaped backslash that the letters u0000 follow. It costs far more than looking for the letters
does, so those are looked for first."""
_ESCAPED_HALF = "\\ud"
_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)

Convert = Callable[[Any], Any] | None
_Spec = tuple[str, Any, Convert, Convert, tuple[type, ...]]
"""Of one field: its name and default, how it is written and read, and of which types it may be."""


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
    if _ESCAPED_HALF in body and _has_half(rows):
        msg = "holds half of a surrogate pair, which is no text"
        raise CodecError(msg)
    return body


def decode(body: str) -> tuple[Transition, ...]:
    """The transitions of a body. Raises `CodecError` for text that this release cannot read."""
    try:
        at = None
        found = []
        for row in _rows_of(body):
            cls = _kind_of(row)
            row.setdefault("at", at)
            at = row["at"]
            found.append(_unpack(cls, row))
    except CodecError as error:
        raise CodecError(one_line(f"a journal body that this release cannot read: {error}")) from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        msg = f"a journal body that this release cannot read: it is no list of transitions ({type(error).__name__})"
        raise CodecError(msg) from error
    return tuple(found)


def _rows_of(body: str) -> list[Any]:
    rows = json.loads(body)
    if type(rows) is not list:
        raise CodecError("it is no list")
    if _ESCAPED_HALF in body and _has_half(rows):
        raise CodecError("it holds half of a surrogate pair")
    return rows


def _kind_of(row: dict[str, Any]) -> type[Transition]:
    kind = row.pop("t")
    if kind not in KINDS:
        raise CodecError(f"{shown(kind)} is no kind of transition of this release")
    return KINDS[kind]


def fault_of(outcome: Outcome) -> str:
    """Which field of an outcome a journal or a database cannot hold, and the rule; empty when they can."""
    try:
        _held_to_types(outcome)
        for part in (outcome.result, *(outcome.effects or ())):
            if part is not None:
                _held_to_types(part)
                _held_to_texts(part)
        _pack(outcome, {})
    except CodecError as error:
        return str(error)
    return ""


def fault_of_change(change: EffectChange) -> str:
    """The same of one movement; it begins with the name of the field."""
    return fault_of(Outcome(OutcomeCode.SUCCEEDED, effects=(change,))).removeprefix(f"{EffectChange.__name__}.")


def _has_half(rows: Any) -> bool:
    try:
        json.dumps(rows, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _pack(it: Any, row: dict[str, Any], before: datetime | None = None) -> dict[str, Any]:
    for name, default, convert, _, types in _specs_of(type(it)):
        value = getattr(it, name)
        if type(value) not in types:
            _check(it, name, value, types)
        if value == default or (name == "at" and value == before):
            continue
        try:
            row[name] = convert(value) if convert and value is not None else value
        except ValueError as error:
            raise CodecError(f"{type(it).__name__}.{name}: {error}") from error
    return row


def _specs_of(cls: type[Any]) -> "list[_Spec]":
    try:
        return _SPECS[cls]
    except KeyError:
        raise CodecError(f"{cls.__name__} has no place in a journal") from None


def _held_to_types(it: Any) -> None:
    for name, _, _, _, types in _specs_of(type(it)):
        if type(value := getattr(it, name)) not in types:
            _check(it, name, value, types)


def _held_to_texts(it: Any) -> None:
    for name, *_ in _specs_of(type(it)):
        if isinstance(value := getattr(it, name), str) and (fault := _fault_of_text(value)):
            raise CodecError(f"{type(it).__name__}.{name}: {fault}")


def _fault_of_text(text: str) -> str:
    if "\0" in text:
        return "a text holds a NUL character, which PostgreSQL cannot store"
    return "" if text.isascii() or not _has_half(text) else "a text holds half of a surrogate pair"


def _check(it: Any, name: str, value: object, types: tuple[type, ...]) -> None:
    """A class below is as good (an enum where a text stands), but for a flag where a number stands."""
    if not issubclass(type(value), types) or type(value) is bool:
        wanted = " or ".join("None" if one is type(None) else one.__name__ for one in types)
        raise CodecError(f"{type(it).__name__}.{name} is of type {type(value).__name__}; it is {wanted}")


def _unpack(cls: type[Any], row: dict[str, Any]) -> Any:
    spec, name = _READERS[cls], ""
    try:
        for name, value in row.items():
            if (convert := spec[name]) and value is not None:
                row[name] = convert(value)
        it = cls(**row)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CodecError(_what_of(cls, row, name, error)) from error
    _held_to_types(it)
    return it


def _what_of(cls: type[Any], row: Any, name: str, error: Exception) -> str:
    """What of a row cannot be read; never its values, which may be personal."""
    if not isinstance(row, dict):
        return f"{cls.__name__} is a {type(row).__name__} and no object"
    if name not in _READERS[cls]:
        return f"{cls.__name__} has no field {one_line(name)!r:.60}"
    if missing := [it[0] for it in _SPECS[cls] if it[1] is MISSING and it[0] not in row]:
        return f"{cls.__name__} lacks {', '.join(missing)}"
    return f"{cls.__name__}.{name} cannot be read ({type(error).__name__})"


def _rows(values: Sequence[Any]) -> list[dict[str, Any]]:
    return [_pack(value, {}) for value in values]


def _texts(values: Sequence[Any]) -> list[str]:
    if not all(issubclass(type(value), str) for value in values):
        raise CodecError("a list of texts holds something else")
    return list(values)


def _read_texts(values: list[Any]) -> tuple[str, ...]:
    return tuple(_texts(values))


def _instant(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("an instant has no time zone")
    if value.year not in YEARS:
        raise ValueError(f"an instant is of a year from {YEARS[0]} to {YEARS[-1]}")
    return value.isoformat()


def _read_instant(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None or value.year not in YEARS:
        raise CodecError("an instant is not of this age, or lacks its time zone")
    return value


def _number(value: Any) -> Any:
    if not _fits(value):
        raise ValueError("a number is too large: it has at most 63 bits")
    return value


def _read_number(value: Any) -> Any:
    if not _fits(value):
        raise CodecError("a number is too large")
    return value


def _fits(value: Any) -> bool:
    return type(value) is not int or -LARGEST <= value < LARGEST


def _payload_data(text: str) -> str:
    if len(text) > PAYLOAD_MAX:
        raise ValueError(f"a payload has {len(text):,} characters; a journal takes {PAYLOAD_MAX:,}")
    return text


def _read_node(value: Any) -> Any:
    if type(value) is str and value[-2:] not in (":a", ":c"):
        raise CodecError("a node is no step in one direction")
    return value


def _read_mode(value: Any) -> Any:
    if value not in ("compensate", "repeat", "settle"):
        raise CodecError("an entry of a plan has no known mode")
    return value


def _read_detail(value: Any) -> str:
    return value if type(value) is str else json.dumps(value)


_BY_NAME: dict[str, tuple[Convert, Convert]] = {
    "data": (_payload_data, None),
    "node": (None, _read_node),
    "mode": (None, _read_mode),
    "detail": (None, _read_detail),
}


def _converters(name: str, hint: Any) -> tuple[Convert, Convert]:
    """How a value of that type is written and how it is read."""
    if isinstance(hint, UnionType):
        hint = next(arg for arg in get_args(hint) if arg is not type(None))
    if hint is datetime:
        return _instant, _read_instant
    if hint is int:
        return _number, _read_number
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return None, hint
    if hint in _VALUES:
        return lambda value: _pack(value, {}), lambda row, cls=hint: _unpack(cls, row)
    if (item := next(iter(get_args(hint)), None)) in _VALUES:
        return _rows, lambda rows, cls=item: tuple(_unpack(cls, row) for row in rows)
    if item is str:
        return _texts, _read_texts
    return _BY_NAME.get(name, (None, None))


def _types(hint: Any) -> tuple[type, ...]:
    """The types of which a value of that annotation may be; an int is as good as a float."""
    if isinstance(hint, UnionType):
        return tuple(one for arg in get_args(hint) for one in _types(arg))
    return (float, int) if hint is float else (get_origin(hint) or hint,)


_VALUES: tuple[Any, ...] = (Payload, Request, EffectChange, PlannedEntry)
_SPECS: dict[type[Any], list[_Spec]] = {}
_READERS: dict[type[Any], dict[str, Convert]] = {}
for _cls in (*_VALUES, Outcome, *KINDS.values()):
    _hints = get_type_hints(_cls)
    _SPECS[_cls] = [
        (spec.name, spec.default, *_converters(spec.name, _hints[spec.name]), _types(_hints[spec.name]))
        for spec in fields(_cls)
    ]
    _READERS[_cls] = {name: reader for name, _, _, reader, _ in _SPECS[_cls]}
