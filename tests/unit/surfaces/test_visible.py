"""What is shown as it is and what by its number; and that no way to a person's terminal goes past it."""

import io
import json
import logging
import sys
import unicodedata

import pytest

from saga.surfaces.cli.options import Output, put, put_one, put_page, say, settings_and_log
from saga.surfaces.cli.streams import as_is, prepare_streams
from saga.surfaces.visible import JOINERS, UNSHOWN, Page, one_line, page, visible

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
    "می\u200cخواهم",  # noqa: RUF001  it is Persian
)


def test_every_letter_is_judged_by_its_category() -> None:
    """All of Unicode: what moves, breaks, turns or hides is not in the answer, and every other letter is what it was."""
    for number in range(sys.maxunicode + 1):
        letter = chr(number)
        is_shown = unicodedata.category(letter) not in UNSHOWN or letter in JOINERS
        assert (one_line(letter) == letter) is is_shown, hex(number)
        assert (visible(letter) == letter) is (is_shown or letter in "\n\t"), hex(number)


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


def prepared(monkeypatch: pytest.MonkeyPatch) -> tuple[io.BytesIO, io.BytesIO]:
    """The streams of a command from here on, as `saga` prepares them."""
    out, err = io.BytesIO(), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="utf-8"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(err, encoding="utf-8"))
    prepare_streams()
    return out, err


def test_each_way_to_print(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages, lines, data, remarks, logs with their tracebacks, and a library that prints by itself."""
    out, err = prepared(monkeypatch)
    put_page(HOSTILE)
    put_page(page([HOSTILE]))
    put_one(Output.TABLE, {}, HOSTILE)
    say(HOSTILE)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    settings_and_log()
    logging.getLogger("saga").warning("saga %s", HOSTILE)
    assert out.getvalue().decode() == f"{SHOWN}\n" * 3
    assert err.getvalue().decode().splitlines()[0] == SHOWN
    assert err.getvalue().decode().splitlines()[1].endswith(f"WARNING saga {SHOWN}")
    print(HOSTILE.replace("\n", ""))
    print(HOSTILE.replace("\n", ""), file=sys.stderr, flush=True)
    sys.stdout.flush()
    for text in (out, err):
        assert text.getvalue().decode().splitlines()[-1] == SHOWN.replace("\\u000a", "")


@pytest.mark.parametrize("output", [Output.JSON, Output.JSONL])
def test_data_says_what_it_said(monkeypatch: pytest.MonkeyPatch, output: Output) -> None:
    """JSON stays JSON of the same value, and shows nothing raw."""
    out, _ = prepared(monkeypatch)
    put_one(output, {"entity": HOSTILE, "names": NAMES}, "")
    text = out.getvalue().decode()
    assert json.loads(text) == {"entity": HOSTILE, "names": list(NAMES)}
    assert not [it for it in text if unicodedata.category(it) in UNSHOWN and it not in f"\n{JOINERS}"]


def test_who_paints_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A redrawn table and colours need the cursor: they take the stream as it is, and a lost output is said there too."""
    _, err = prepared(monkeypatch)
    as_is(sys.stderr).write("\x1b[K")
    sys.stderr.write("\x1b[K")
    put("x")
    sys.stderr.flush()
    assert err.getvalue() == b"\x1b[K\\u001b[K"
