"""Colour is laid over a page that is ready: words of state are painted, nothing else changes, and only for a terminal."""

import re

import pytest

from saga.surfaces import colour
from saga.surfaces.cli.options import Output, put_many, put_one

PAGE = """live 4   running 3   compensating 0   halted 1   oldest 6 d 04 h  SO-1
✓ worker host pid 7   ✗ halted 1 defect: SO-1
SO-2   COMPENSATED   pay rejected   REJECTED   completed-order
53 completed + 7 compensated + 0 halted = 60 accepted.   0 violations, 12 violations, halted 0"""


def test_painting_adds_colour_and_no_letter() -> None:
    """Without the colours the page is what it was, so no width and no word depends on them."""
    painted = colour.painted(PAGE)
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == PAGE
    for word, shade in (
        ("✓", colour.GREEN),
        ("✗", colour.RED),
        ("COMPENSATED", colour.YELLOW),
        ("compensated", colour.YELLOW),
        ("REJECTED", colour.RED),
        ("12 violations", colour.RED),
    ):
        assert f"{shade}{word}{colour.RESET}" in painted


def test_none_of_something_is_no_alarm() -> None:
    """A count of nothing stays plain, in either order of word and number."""
    for plain in ("0 violations", "halted 0", "0 halted", "0 compensated", "completed 0"):
        assert colour.painted(plain) == plain
    command = "saga list --status halted --reason defect"
    assert colour.painted(command) == command
    assert colour.painted("100 violations").startswith(colour.RED)
    assert colour.painted("halted 10").startswith(colour.RED)


def test_what_is_no_terminal_gets_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    """Captured output is a file: neither a page nor data is painted."""
    put_one(Output.TABLE, {}, PAGE)
    put_many(Output.JSONL, [{"status": "halted"}], "")
    assert "\x1b" not in capsys.readouterr().out
