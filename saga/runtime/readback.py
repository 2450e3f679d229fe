"""The text of a value as a journal holds it: whatever is written here reads back as the value that was written.

An input, a result and a request are values of the user's models. They are kept as JSON, and every later step gets what is read back
from it. A model may lose or change something on the way: a field that is left out, a secret that is masked, a validator that turns
euros into cents a second time. So a value is read back and compared before anybody may rely on its text, and nothing is stored
when the two differ.

Rules of this file
------------------
- A value is written by the aliases that it is read by, and without its computed fields, which are computed anew (`round_trip`). A
  request says its computed fields too, since its participant does not compute them.
- Two values are equal when each part has the same class and the same content: `1` is neither `True` nor `1.0`, and a subclass
  that comes back as its parent has lost what it was. What has attributes is compared by them too, whatever its `__eq__` says.
- A default that nobody said is not validated by pydantic (`fee: float = 0`): it is kept as what its field makes of it, where that
  comes back as itself.
- JSON has no `Infinity` and no `NaN`, so no number is one.
- What differs is named by its field, as in `items.0.kg`, and its numbers are shown. Texts are not: they may be a card.
"""

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import Any, NoReturn, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from saga.core.connector import Model
from saga.errors import NotReadBack
from saga.words import name_of, one_line, words_of

_Difference = tuple[tuple[str, ...], str]
"""Where two values differ, from the outside to the inside, and what it was and is."""
_MISSING = object()
_PLAIN = frozenset({str, int, bool, float, type(None), bytes, Decimal, UUID, date, datetime, timedelta})
"""Classes whose `==` is all that there is to say."""
_NUMBERS = (int, float, Decimal, type(None))
"""Bool is among them."""
_CONTAINED = ("maxlen", "default_factory")
"""What a container of the standard library does beside holding its parts."""


KEPT = {"kept": True}
"""The context of pydantic in which a journal is read."""
_Kept = TypeVar("_Kept", bound=Model)


def read_kept(model: type[_Kept], text: str) -> _Kept:
    """What a journal holds. A validator that asks `is_kept(info.context)` may let pass what an earlier release has taken, so that
    a rule that came later does not stop an order on its way. Raises what the model raises."""
    if issubclass(model, BaseModel):
        return model.model_validate_json(text, context=KEPT)
    return model.model_validate_json(text)


def is_kept(context: object) -> bool:
    """Whether a journal is being read; `context` is that of pydantic's `ValidationInfo`."""
    return context is KEPT


def written(value: Model, what: str, model: type[Model] | None = None, *, is_sent: bool = False) -> str:
    """The JSON text of `value`, from which `model` (by default its own class) reads it back. `what` it is stands in the error, and
    `is_sent` keeps the computed fields.

    Raises `NotReadBack`. Whatever else the user's model raises while it is compared is one too.
    """
    model = model or type(value)
    try:
        text = _text_of(value, is_sent)
        back = model.model_validate_json(text)
        difference = _difference(value, back)
        if difference is not None:
            text = _text_of(back, is_sent)
            if _difference(back, model.model_validate_json(text)) is None:
                difference = _difference(value, back, may_default=True)
    except Exception as error:  # the user's model: its serializers, validators and `__eq__`
        raise NotReadBack(what, *_cause_of(error)) from error
    if difference is not None:
        raise NotReadBack(what, ".".join(difference[0]), difference[1])
    return text


def _text_of(value: Model, is_sent: bool) -> str:
    text: object
    if isinstance(value, BaseModel):
        text = value.model_dump_json(by_alias=True, round_trip=not is_sent, warnings=False)
    else:
        text = value.model_dump_json()
    if type(text) is not str:
        raise TypeError(f"its JSON is {name_of(text)}, and no text")
    if "Infinity" in text or "NaN" in text:
        json.loads(text, parse_constant=_refuse_number)
    return text


def _refuse_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _cause_of(error: Exception) -> tuple[str, str]:
    """The field that the model named first, and what it said."""
    where, said = "", words_of(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where, said = ".".join(map(str, first["loc"])), one_line(first["msg"])
    return where, f"it does not come back from JSON: {said}"


def _difference(one: Any, other: Any, *, may_default: bool = False) -> _Difference | None:
    """The first place where `other`, which was read back, is not `one`; with `may_default`, beyond defaults that nobody said."""
    cls = type(one)
    if cls is not type(other):
        return (), f"it is {_named(one)}, and reads back as {_named(other)}"
    if issubclass(cls, BaseModel):
        unsaid = _read_as_defaults(one, other) if may_default else frozenset()
        return _of_parts(_parts(one, unsaid), _parts(other, unsaid), may_default=may_default)
    if issubclass(cls, Mapping):
        return _of_mapping(one, other, may_default=may_default) or _of_attributes(one, other, _CONTAINED)
    if issubclass(cls, Sequence) and not issubclass(cls, str | bytes):
        if len(one) != len(other):
            return (), f"it has {len(one)} parts, and reads back with {len(other)}"
        found = _of_parts(dict(enumerate(one)), dict(enumerate(other)), may_default=may_default)
        return found or _of_attributes(one, other, _CONTAINED)
    if issubclass(cls, AbstractSet):
        is_same = {(type(it), it) for it in one} == {(type(it), it) for it in other}
        return None if is_same else ((), "its members read back as others")
    if is_dataclass(cls):
        return _of_attributes(one, other, [it.name for it in fields(cls)])
    return _of_scalar(one, other)


def _read_as_defaults(one: BaseModel, other: BaseModel) -> AbstractSet[str]:
    """The fields of which nobody said anything, that hold the declared default, and that came back as what it means."""
    fields_ = type(one).model_fields
    return {
        name
        for name in fields_.keys() - one.model_fields_set
        if type(part := one.__dict__.get(name)) is type(default := fields_[name].default)
        and part == default
        and _means(part, other.__dict__.get(name))
    }


def _means(default: object, back: object) -> bool:
    """Whether `back` is a default that nobody validated, of the type that its field has: `0` is `0.0`, `"red"` is `Colour.RED`, `[]` is `()`."""
    if isinstance(default, _NUMBERS):
        return isinstance(back, _NUMBERS) and default == back
    if isinstance(default, Enum) or isinstance(back, Enum):
        return getattr(default, "value", default) == getattr(back, "value", back)
    if isinstance(default, str):
        return str(back).removesuffix("/") == default.removesuffix("/")
    is_empty = isinstance(default, list | tuple | set | frozenset | dict) and not default
    return is_empty and isinstance(back, list | tuple | set | frozenset | dict) and not back


def _parts(model: BaseModel, unsaid: AbstractSet[str] = frozenset()) -> dict[str, Any]:
    """What a model holds: its fields, what else it was given, and its private attributes."""
    own = {name: model.__dict__.get(name) for name in type(model).model_fields if name not in unsaid}
    return own | (model.__pydantic_extra__ or {}) | (model.__pydantic_private__ or {})


def _of_parts(one: Mapping[Any, Any], other: Mapping[Any, Any], *, may_default: bool = False) -> _Difference | None:
    for key, part in one.items():
        back = other.get(key, _MISSING)
        if part is back or (type(part) in _PLAIN and type(part) is type(back) and part == back):
            continue
        if back is _MISSING:
            return (str(key),), f"it is {_named(part)}, and does not read back"
        if found := _difference(part, back, may_default=may_default):
            return (str(key), *found[0]), found[1]
    more = next((str(key) for key in other if key not in one), None)
    return None if more is None else ((more,), "it comes to be when it is read back")


def _of_mapping(one: Mapping[Any, Any], other: Mapping[Any, Any], *, may_default: bool) -> _Difference | None:
    found = _of_parts(one, other, may_default=may_default)
    if found is None and {(type(key), key) for key in one} != {(type(key), key) for key in other}:
        return (), "its keys read back as others"
    return found


def _of_attributes(one: Any, other: Any, names: Sequence[str]) -> _Difference | None:
    """Of what carries more than its `__eq__` may look at. What a class only remembers (`cached_property`) is no part of it."""
    return _of_parts(_held(one, names), _held(other, names))


def _held(value: Any, names: Sequence[str]) -> dict[str, Any]:
    held = {name: getattr(value, name) for name in names if hasattr(value, name)}
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict):
        held |= {name: it for name, it in attributes.items() if not _is_remembered(type(value), name)}
    return held


def _is_remembered(cls: type, name: str) -> bool:
    return any(isinstance(vars(it).get(name), cached_property) for it in cls.__mro__)


def _of_scalar(one: Any, other: Any) -> _Difference | None:
    if one is other:
        return None
    if one == other or (getattr(one, "__dict__", None) and not _has_equality(type(one))):
        return _of_attributes(one, other, ())
    if isinstance(one, _NUMBERS):
        return (), f"it is {str(one)[:40]}, and reads back as {str(other)[:40]}"
    return (), f"it reads back as another {name_of(one)}"


def _has_equality(cls: type) -> bool:
    """Whether one of its classes says when two are equal."""
    return any("__eq__" in vars(it) for it in cls.__mro__[:-1])


def _named(value: object) -> str:
    if isinstance(value, _NUMBERS):
        return f"{str(value)[:40]} ({name_of(value)})"
    return f"a value of {name_of(value)}"
