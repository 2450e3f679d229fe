"""What JSON text says beyond its value is found wherever it stands, and text that is no JSON is left to its parser."""

import pytest

from saga.clock import monotonic
from saga.fulfilment.json_text import doubled_names, spreads_over_lines


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('{"a": 1, "b": {"a": 1}}', []),
        ('{"a": 1, "a": 1}', ["a"]),
        ('{"a": 1, "b": 2, "a": 3, "b": 4}', ["a", "b"]),
        ('{"lines": [{"q": 1}, {"q": 1, "q": 2}]}', ["lines.1.q"]),
        (r'{"quantity": 1, "\u0071uantity": 2}', ["quantity"]),
        ('[{"a": 1, "a": 1}]', ["0.a"]),
        ('{"a": 1, "a": 1', []),
        ("[" * 100_000, []),
    ],
)
def test_names_that_stand_twice(text: str, places: list[str]) -> None:
    """At any depth, also where one is written with escapes; the same name in two objects is no fault."""
    assert doubled_names(text) == places


def test_many_names_are_read_once() -> None:
    """The time grows with the text and not with its square: a body is read before anything is known of its sender."""
    text = "{" + ", ".join(f'"n{number}": 1' for number in range(60_000)) + ', "n0": 2}'
    began = monotonic()
    assert doubled_names(text) == ["n0"]
    assert monotonic() - began < 5


@pytest.mark.parametrize(
    ("text", "is_spread"),
    [
        (b'{\n "a": 1\n}', True),
        (b'\xef\xbb\xbf{"a": 1,\n"b": 2}\n{"a": 1}', True),
        (b'{"a": 1}\n{"b": 2}', False),
        (b'{\n "a": ', False),
        (b"{\nnot json}", False),
    ],
)
def test_an_object_over_several_lines(text: bytes, is_spread: bool) -> None:
    """The first object decides; half of one is whatever it is."""
    assert spreads_over_lines(text) is is_spread
