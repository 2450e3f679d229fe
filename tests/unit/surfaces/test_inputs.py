"""Text that no journal can hold is found in the JSON of an input, wherever it stands."""

import tracemalloc

import pytest

from saga.errors import UsageError
from saga.surfaces.inputs import refuse_unstorable


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (r'{"sku": "a\u0000b"}', "input: sku: character 2 is U+0000, a NUL character"),
        (r'{"lines": [{"sku": "ok"}, {"sku": "\ud800"}]}', "input: lines.1.sku: character 1 is U+D800, half of a surr"),
        ('{"sku": "\udcff"}', "input: sku: character 1 is U+DCFF"),
        ('{"sku": \udcff', "input: the input: character 9 is U+DCFF"),
        (r'{"a": {"b\u0000": 1}}', r"input: a.b\x00: character 2 is U+0000"),
        (r'{"a": "\u0000", "b": "\u0000"}', "which no journal can hold; b: character 1 is"),
        (r'"\u0000"', "input: the input: character 1 is U+0000"),
    ],
)
def test_the_field_is_named(text: str, says: str) -> None:
    """Values at any depth, names of fields, and bytes of a command line that are no text; place, number and why."""
    with pytest.raises(UsageError) as raised:
        refuse_unstorable(text, "input")
    assert says in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("text", [r'{"sku": "\\u0000 \ud83d\ude00 é"}', "{", "", "[" * 100_000, "7", "nul\x00"])
def test_the_rest_is_left_to_the_parser(text: str) -> None:
    """A backslash before the letters u0000, a whole pair, and what is no JSON are not its affair."""
    refuse_unstorable(text, "input")


def test_a_long_name_above_many_words_costs_little() -> None:
    """The place of a word is made only for the words that are shown, and the first five are."""
    text = '{"' + "n" * 30_000 + '": [' + r'"\u0000",' * 110_000 + '""]}'
    assert len(text) <= 2**20
    tracemalloc.start()
    try:
        with pytest.raises(UsageError) as raised:
            refuse_unstorable(text, "input")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40e6
    assert str(raised.value).count("which no journal can hold") == 5
    assert len(str(raised.value)) < 2_000
