"""What a model can be seen to lose on its way through JSON, found when the saga is built.

A journal keeps values as JSON, and what cannot be read back from there would change between two steps. What only a value shows is
found when the value is there (`saga.runtime.readback`); what the class itself says is found here, with what to write instead.

Rules of this file: models are looked at by the attributes that pydantic gives them, so that the core stays without it; a class that
has none of them is left to the value. Every model that a field's annotation names is looked at, each once.
"""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from saga.errors import DefinitionError


def refuse_lossy(model: type[Any], what: str, *, is_sent: bool = False) -> None:
    """Raises `DefinitionError` for the first field that cannot come back. A request says its computed fields (`is_sent`), so its
    model must take them."""
    for owner in _models_in(model, set()):
        for name, field in owner.model_fields.items():
            if fault := _fault_of(owner, name, field, is_sent=is_sent):
                raise DefinitionError(f"{what}: {owner.__name__}.{name} {fault}")
        computed = [*owner.model_computed_fields] if is_sent else []
        if computed and (extra := owner.model_config.get("extra")) in ("forbid", "allow"):
            fault = f"is computed and sent, and {owner.__name__} would not read it back; drop extra={extra!r}, or make it a field"
            raise DefinitionError(f"{what}: {owner.__name__}.{computed[0]} {fault}")


def _fault_of(owner: Any, name: str, field: Any, *, is_sent: bool) -> str:
    if field.exclude is True:
        return "has exclude=True, so a journal does not have it and every step would get its default; drop exclude, or the field"
    if secret := _secret_in(field.annotation, set()):
        return (
            f"is a {secret.__name__}, whose JSON is '**********'. A journal is no place for a secret: pass a reference, such as "
            "the token of a card or the name of a key, as a str, and look the secret up where it is used"
        )
    kinds = {*_kinds_in(field.annotation, set()), *map(_kind_of, field.metadata)}
    if found := sorted(kinds & OF_THE_MOMENT):
        return (
            f"is a {found[0]}, which asks for the time or the disk whenever it is read, and a later step or a rollback reads it: write "
            "datetime, date or a path, and look where it matters"
        )
    if is_sent and "Json" in kinds:
        return "is a Json, which is sent as what it holds and read from a text of it; write the type of what it holds"
    written = field.serialization_alias or name
    if written not in _read_as(owner.model_config, name, field):
        return (
            f"is written as {written!r} and read as {_shown_alias(field.validation_alias)}; write alias=… for both, "
            "or validate_by_name=True in model_config"
        )
    return ""


OF_THE_MOMENT = frozenset({"FutureDate", "FutureDatetime", "PastDate", "PastDatetime", "PathType"})
"""Pydantic's kinds of fields that hold at one moment and not at another."""


def _kinds_in(hint: Any, seen: set[int]) -> Iterator[str]:
    """The names of pydantic's kinds that an annotation names."""
    if id(hint) in seen:
        return
    seen.add(id(hint))
    yield _kind_of(hint)
    for part in (*get_args(hint), *getattr(hint, "__metadata__", ())):
        yield from _kinds_in(part, seen)


def _kind_of(hint: Any) -> str:
    kind = hint if isinstance(hint, type) else type(hint)
    return kind.__name__ if kind.__module__.startswith("pydantic") else ""


def _read_as(config: Any, name: str, field: Any) -> set[str]:
    """The names under which a field is read."""
    alias = field.validation_alias
    if alias is None:
        return {name}
    choices = getattr(alias, "choices", [alias])
    names = {it for it in choices if isinstance(it, str)} if config.get("validate_by_alias") is not False else set()
    by_name = config.get("validate_by_name") or config.get("populate_by_name")
    return names | {name} if by_name or config.get("validate_by_alias") is False else names


def _shown_alias(alias: Any) -> str:
    return ", ".join(map(repr, getattr(alias, "choices", [alias])))


def _models_in(hint: Any, seen: set[int]) -> Iterator[Any]:
    """Every model that an annotation names, itself or through the fields of another."""
    if id(hint) in seen:
        return
    seen.add(id(hint))
    if isinstance(hint, type) and hasattr(hint, "model_fields") and hasattr(hint, "model_config"):
        yield hint
        for field in hint.model_fields.values():
            yield from _models_in(field.annotation, seen)
    for part in get_args(hint):
        yield from _models_in(part, seen)


def _secret_in(hint: Any, seen: set[int]) -> type[Any] | None:
    """The class that hides what it holds, if an annotation names one."""
    if id(hint) in seen:
        return None
    seen.add(id(hint))
    kind = get_origin(hint) or hint
    if isinstance(kind, type) and hasattr(kind, "get_secret_value"):
        return kind
    found = (_secret_in(part, seen) for part in get_args(hint))
    return next((it for it in found if it is not None), None)
