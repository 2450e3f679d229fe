"""What is shown as it is and what by its number; and that no way to a person's terminal goes past it."""

import io
import json
import logging
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest
from pydantic import BaseModel

from saga import words
from saga.core.definition import Saga
from saga.errors import DefinitionError
from saga.surfaces.cli.options import Output, put_one, put_page, say, settings_and_log
from saga.surfaces.cli.streams import as_is, prepare_streams
from saga.surfaces.visible import Page, one_line, page, visible

UNSHOWN, JOINERS = {"Cc", "Cf", "Cs", "Zl", "Zp"}, "\u200c\u200d"
HOSTILE = "SO-1\nFORGED\x1b[2J\u202eDI\u2028\x85\x7f\ud800\U000e0041"
SHOWN = "SO-1\\u000aFORGED\\u001b[2J\\u202eDI\\u2028\\u0085\\u007f\\ud800\\udb40\\udc41"
NAMES = (
    "Zoë Müller",
    "山田 太郎",
    "Ω-straße №5",
    "👩\u200d👩\u200d👧 & co",
    "a\u00a0b",
    "محمد",
    "नमस्ते",
    "می\u200cخواهم",
)


def test_every_letter_is_judged_by_its_category() -> None:
    """All of Unicode: what moves, breaks, turns or hides is not in the answer, and every other letter is what it was."""
    for number in range(sys.maxunicode + 1):
        letter = chr(number)
        is_shown = unicodedata.category(letter) not in UNSHOWN or letter in JOINERS
        assert (one_line(letter) == letter) is is_shown, hex(number)
        assert (visible(letter) == letter) is (is_shown or letter in "\n\t"), hex(number)


def test_an_address_in_memory_tells_nobody_anything() -> None:
    """What is shown of a function that stands where a step must stand is its name."""
    assert words.shown(page) == "<function page>"
    assert words.shown(Output.JSON.value.upper) == "<built-in method upper of str object>"
    with pytest.raises(DefinitionError, match=r"^<function page> is no step; write what kind of step it is"):
        Saga("s", version=1, input=BaseModel, entity=str, steps=[page])  # type: ignore[list-item]


def test_whatever_is_escaped_is_escaped_alike() -> None:
    """In what is said of an exception as on a page: `\\u202e`, which reads as nothing else. It is the text that JSON has for it."""
    for number in range(sys.maxunicode + 1):
        letter = chr(number)
        said, seen = words.one_line(f"a{letter}b")[1:-1], one_line(letter)
        if said not in (letter, " ", "") and seen != letter:
            assert said == seen, hex(number)
        if said not in (letter, " ", ""):
            assert json.loads(f'"{said}"') == letter, hex(number)
    assert words.one_line("pay\u202ePA 2e") == "pay\\u202ePA 2e"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_a_name(name: str) -> None:
    """Accents, ideographs, scripts from right to left and emoji with their joiners are read as they were written."""
    assert one_line(name) == visible(name) == name


def test_a_page_has_the_line_breaks_of_whoever_made_it_and_no_others() -> None:
    """Parts that are pages keep theirs; what is put behind a page is one line; a page in other text is no page any more."""
    inner = page(["a", HOSTILE])
    assert page(["head", inner]) == f"head\na\n{SHOWN}"
    assert inner + "\nmore" == f"a\n{SHOWN}\\u000amore"
    assert isinstance(inner + inner, Page)
    assert not isinstance(f"{inner}", Page)


@contextmanager
def prepared() -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    """The streams of a command, as `saga` prepares them, and a log that nobody has set up yet."""
    out, err, root = io.BytesIO(), io.BytesIO(), logging.getLogger()
    handlers, root.handlers = root.handlers, []
    texts = [io.TextIOWrapper(it, encoding="utf-8") for it in (out, err)]
    with redirect_stdout(texts[0]), redirect_stderr(texts[1]):
        prepare_streams()
        try:
            yield out, err
        finally:
            root.handlers = handlers


def test_each_way_to_print() -> None:
    """Pages, lines, data, remarks, logs, and a library that prints by itself."""
    with prepared() as (out, err):
        put_page(HOSTILE)
        put_page(page([HOSTILE]))
        put_one(Output.TABLE, {}, HOSTILE)
        say(HOSTILE)
        settings_and_log()
        logging.getLogger("saga").warning("saga %s", HOSTILE)
        print(HOSTILE.replace("\n", ""), flush=True)
        print(HOSTILE.replace("\n", ""), file=sys.stderr, flush=True)
        said, told = out.getvalue().decode().splitlines(), err.getvalue().decode().splitlines()
    in_line = SHOWN.replace("\\u000a", "")
    assert said == [SHOWN, SHOWN, SHOWN, in_line]
    assert (told[0], told[-1]) == (SHOWN, in_line)
    assert told[-2].endswith(f"WARNING saga {SHOWN}")


@pytest.mark.parametrize("output", [Output.JSON, Output.JSONL])
def test_data_says_what_it_said(output: Output) -> None:
    """JSON stays JSON of the same value, and shows nothing raw."""
    with prepared() as (out, _):
        put_one(output, {"entity": HOSTILE, "names": NAMES}, "")
        text = out.getvalue().decode()
    assert json.loads(text) == {"entity": HOSTILE, "names": list(NAMES)}
    assert not [it for it in text if unicodedata.category(it) in UNSHOWN and it not in f"\n{JOINERS}"]


def test_who_paints_asks_for_it() -> None:
    """A redrawn table and colours need the cursor: they take the stream as it is."""
    with prepared() as (_, err):
        as_is(sys.stderr).write("\x1b[K")
        sys.stderr.write("\x1b[K")
        sys.stderr.flush()
        text = err.getvalue()
    assert text == b"\x1b[K\\u001b[K"
