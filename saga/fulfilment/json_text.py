"""What JSON text says beyond its value: a name that stands twice in one object, an object that goes over several lines.

A parser takes the last of two equal names and says nothing; of an order it would then be chance which quantity is meant.
"""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

DOUBLED_SHOWN = 5
DOUBLED = "stands twice in its object; write it once"
PLACE_SHOWN = 200
Path = list[str | int]
"""The names and numbers that lead to a value."""


class _Doubled(dict[str, Any]):
    """An object in which a name stands more than once, and all its names."""

    __slots__ = ("names",)
    names: tuple[str, ...]


def doubled_names(text: str | bytes) -> list[str]:
    """Where a name stands twice in one object, as `lines.0.quantity`; the first few. Text that is no JSON has none: whoever
    parses it says so."""
    is_found = False

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal is_found
        value = dict(pairs)
        if len(value) == len(pairs):
            return value
        is_found, doubled = True, _Doubled(value)
        doubled.names = tuple(name for name, _ in pairs)
        return doubled

    try:
        value = json.loads(text, object_pairs_hook=made)
    except (ValueError, RecursionError):
        return []
    return list(islice(_places(value), DOUBLED_SHOWN)) if is_found else []


def _places(value: Any) -> Iterator[str]:
    for path, it in walked(value):
        if isinstance(it, _Doubled):
            for name, count in Counter(it.names).items():
                if count > 1:
                    yield place_of([*path, name])


def walked(value: Any) -> Iterator[tuple[Path, Any]]:
    """Every value in a JSON value, before what it holds. The path is the walker's own and leads elsewhere at the next step,
    so walking costs as much memory as the value is deep; `place_of` makes a text of it where one is to be shown."""
    path: Path = []
    yield path, value
    levels = [_inner(value)]
    while levels:
        if (found := next(levels[-1], None)) is None:
            levels.pop()
            if path:
                path.pop()
            continue
        name, it = found
        path.append(name)
        yield path, it
        if isinstance(it, dict | list):
            levels.append(_inner(it))
        else:
            path.pop()


def _inner(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return iter(value.items())
    return iter(enumerate(value)) if isinstance(value, list) else iter(())


def place_of(path: Path) -> str:
    """A path as `lines.0.quantity`, with both ends of a long one."""
    place = ".".join(map(str, path))
    half = PLACE_SHOWN // 2
    return place if len(place) <= PLACE_SHOWN else f"{place[:half]}…{place[1 - half :]}"


def spreads_over_lines(beginning: bytes) -> bool:
    """Whether a text begins with a JSON object that ends in a later line than the first."""
    text = beginning.decode(errors="replace").lstrip("\ufeff \t\r\n")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return "\n" in text[:end]
