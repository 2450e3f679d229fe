"""What is wrong with the JSON of an input beyond the rules of its model, found before anything is stored.

PostgreSQL stores neither a NUL character nor half of a surrogate pair; what one database refuses is refused for all, and
with the name of the field, which the database does not know. A name that stands twice in one object is refused, because a
parser takes the last in silence.
"""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from pydantic import ValidationError

from saga.core.connector import Model
from saga.core.definition import Saga
from saga.errors import DefinitionError, UsageError
from saga.fulfilment import json_text
from saga.fulfilment.json_text import DOUBLED, Path, doubled_names, walked
from saga.runtime import starting
from saga.words import place_of, words_of

SURROGATES = range(0xD800, 0xE000)
FAULTS_SHOWN = 5


def refuse_unstorable(text: str, what: str) -> None:
    """Raises `UsageError` naming the fields of the JSON in `text` that hold such a character. Text that is no JSON is left
    to whoever parses it."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text if any(ord(letter) in SURROGATES for letter in text) else None
    faults = (fault for path, word in _words(value) for fault in _faults(path, word))
    if shown := list(islice(faults, FAULTS_SHOWN)):
        raise UsageError(f"{what}: {'; '.join(shown)}")


def refuse_doubled(text: str, what: str) -> None:
    """Raises `UsageError` naming what stands twice in one object of the JSON in `text`."""
    if places := doubled_names(text):
        shown = (place if place.isprintable() else repr(place)[1:-1] for place in places)
        raise UsageError(f"{what}: {'; '.join(f'{place}: {DOUBLED}' for place in shown)}")


def read_by(model: type[Model], text: str, whose: str) -> Model:
    """The JSON in `text` as the user's model reads it. Raises `ValidationError` for a rule that it breaks, and `UsageError` when a
    validator of the model raises anything else: `whose` says which model it is."""
    try:
        return model.model_validate_json(text)
    except (ValidationError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the user's validators: `sys.exit`, too
        raise UsageError(f"{whose} raised {words_of(error)}{place_of(error)} for this input") from error


def input_of(saga: Saga[Any], text: str) -> Model:
    """The input of a saga; raises as `read_by` does."""
    return read_by(saga.input, text, f"saga {saga.name}: the model of its input")


def entity_of(saga: Saga[Any], wanted: Model) -> str:
    """What an input is about, as its definition says. Raises `UsageError` when the user's function fails, or gives no
    text that can be a key."""
    try:
        entity = starting.entity_of(saga, wanted)
    except DefinitionError as error:
        raise UsageError(str(error)) from error
    if not entity:
        raise UsageError(f"saga {saga.name}: entity gave an empty text; it must name the business object")
    if len(entity) > starting.ENTITY_LIMIT:
        limit = f"an index key has 1 to {starting.ENTITY_LIMIT}"
        raise UsageError(f"saga {saga.name}: entity gave a text of {len(entity)} characters; {limit}")
    return entity


def _words(value: Any) -> Iterator[tuple[Path, str]]:
    """Every text in a JSON value with its place; names of fields are texts too."""
    for path, it in walked(value):
        if isinstance(it, str):
            yield path, it
        elif isinstance(it, dict):
            yield from (([*path, name], name) for name in it)


def _faults(path: Path, word: str) -> Iterator[str]:
    for number, letter in enumerate(word, start=1):
        if letter == "\x00":
            why = "a NUL character"
        elif ord(letter) in SURROGATES:
            why = "half of a surrogate pair"
        else:
            continue
        shown = repr(json_text.place_of(path))[1:-1] or "the input"  # the place may hold such a character itself
        yield f"{shown}: character {number} is U+{ord(letter):04X}, {why}, which no journal can hold"
        return
