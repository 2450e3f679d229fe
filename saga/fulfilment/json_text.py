"""What JSON text says beyond its value: a name that stands twice in one object, an object that goes over several lines.

A parser takes the last of two equal names and says nothing; of an order it would then be chance which quantity is meant.
"""

import json
from collections import Counter
from typing import Any

DOUBLED_SHOWN = 5
DOUBLED = "stands twice in its object; write it once"


class _Object(dict[str, Any]):
    """An object, and which of its names stood more than once."""

    doubled: tuple[str, ...] = ()


def doubled_names(text: str | bytes) -> list[str]:
    """Where a name stands twice in one object, as `lines.0.quantity`; the first few. Text that is no JSON has none: whoever
    parses it says so."""
    found: list[_Object] = []

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = _Object(pairs)
        if len(value) < len(pairs):
            value.doubled = tuple(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
            found.append(value)
        return value

    try:
        value = json.loads(text, object_pairs_hook=made)
    except (ValueError, RecursionError):
        return []
    return _places(value)[:DOUBLED_SHOWN] if found else []


def _places(value: Any) -> list[str]:
    places: list[str] = []
    waiting = [("", value)]
    while waiting:
        place, it = waiting.pop()
        if isinstance(it, _Object):
            places += [_under(place, name) for name in it.doubled]
            waiting += [(_under(place, name), inner) for name, inner in reversed(it.items())]
        elif isinstance(it, list):
            waiting += [(_under(place, str(number)), inner) for number, inner in reversed(list(enumerate(it)))]
    return places


def _under(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def spreads_over_lines(beginning: bytes) -> bool:
    """Whether a text begins with a JSON object that ends in a later line than the first."""
    text = beginning.decode(errors="replace").lstrip("\ufeff \t\r\n")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return "\n" in text[:end]
