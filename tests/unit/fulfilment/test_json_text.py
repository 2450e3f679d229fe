"""What JSON text says beyond its value is found wherever it stands, and text that is no JSON is left to its parser."""

import tracemalloc

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


MIB = 2**20
NAME = "n" * 30_000
WORST = {
    "a long name above many numbers": '{"d": 1, "d": 2, "' + NAME + '": [' + "1," * 490_000 + "1]}",
    "a long name above many objects": '{"' + NAME + '": [' + '{"d":1,"d":1},' * 70_000 + "{}]}",
    "a long name above many strings": '{"d": 1, "d": 2, "' + NAME + '": [' + '"a",' * 250_000 + '""]}',
    "many names in one object": '{"a": 1, "a": 2, ' + ",".join(f'"{it}":1' for it in range(95_000)) + "}",
    "one name many times": "{" + '"a":1,' * 170_000 + '"a":2}',
    "deep": '{"a":' * 900 + '{"' + NAME * 30 + '":1,"' + NAME[:9] + '":1,"' + NAME[:9] + '":1}' + "}" * 900,
}


@pytest.mark.parametrize("shape", WORST)
def test_the_worst_body_costs_little(shape: str) -> None:
    """What one request can cost is bounded by its length and not by the length of the places in it: a process that serves
    others reads it. Memory is what the parser itself needs, times a small number."""
    text = WORST[shape]
    assert len(text) <= MIB
    tracemalloc.start()
    try:
        places = doubled_names(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 1 <= len(places) <= 5
    assert max(map(len, places)) <= 200
    assert peak < 60e6
    began = monotonic()
    assert doubled_names(text) == places
    assert monotonic() - began < 10  # about one alone


def test_a_long_place_is_cut() -> None:
    """Both ends of it are shown: where it begins, and which name it is."""
    (place,) = doubled_names('{"' + "x" * 500 + '": {"quantity": 1, "quantity": 2}}')
    assert len(place) == 200
    assert place.startswith("xxx")
    assert place.endswith("x.quantity")
    assert "…" in place


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
