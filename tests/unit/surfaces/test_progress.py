"""How far a command is: each figure from what was reported, one line a second where nobody can redraw."""

import io

import pytest
from rich.console import Console

from saga.surfaces.progress import line, progress, roughly


@pytest.mark.parametrize(
    ("done", "total", "share", "took_s", "says"),
    [
        (250, 1000, 0.25, 5.0, "handed over 250 of 1,000   █████···············  25%   50/s   about 15 s left"),
        (250, None, 0.5, 60.0, "handed over 250   ██████████··········  50%   4/s   about 1 min 00 s left"),
        (1000, 1000, 1.0, 5.0, "handed over 1,000 of 1,000   ████████████████████ 100%   200/s   5.0 s"),
        (7, None, None, 2.0, "handed over 7   4/s   2.0 s"),
        (0, 811, 0.0, 3.0, "handed over 0 of 811   ····················   0%   0/s   3.0 s"),
        (1, 811, 0.0012, 3.0, "handed over 1 of 811   ····················   0%   0/s   3.0 s"),
    ],
)
def test_a_line_says_rate_and_time_left_where_they_are_known(
    done: int, total: int | None, share: float | None, took_s: float, says: str
) -> None:
    """The time left is what the rate makes of the rest; of a share of nothing nobody says it."""
    assert line("handed over", done, total, share, took_s) == says


def test_the_remark_stands_at_the_end() -> None:
    """It is what is cut first when the terminal is narrow."""
    assert line("ended", 1, 2, 0.5, 4.0, "refused 3").endswith("about 4.0 s left   refused 3")


@pytest.mark.parametrize(
    ("seconds", "says"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (61, "1 min 01 s"), (5025, "1 h 23 min")]
)
def test_a_duration_is_said_as_people_do(seconds: float, says: str) -> None:
    """Tenths below ten seconds, then seconds, minutes, hours."""
    assert roughly(seconds) == says


def test_elsewhere_than_on_a_terminal_it_is_a_line_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    """Of many reports at once only the last is printed, to stderr, without codes for a terminal."""
    with progress("ended", 3) as report:
        for done in (1, 2):
            report(done)
        report(3, is_last=True)
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n"), "\x1b" in said.err) == ("", 1, False)
    assert said.err.startswith("ended 3 of 3   ████████████████████ 100%")


def test_on_a_terminal_it_is_one_line_redrawn() -> None:
    """Each report goes back to the first column and clears what was longer; the line is as wide as the terminal at most."""
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=80, _environ={"TERM": "xterm"})
    with progress("ended", 3, console) as report:
        report(1, "x" * 200)
        report(3, is_last=True)
    first, second = terminal.getvalue().removesuffix("\n").removeprefix("\r").split("\r")
    assert first.startswith("ended 1 of 3   ███████·············  33%")
    assert len(first.removesuffix("\x1b[K")) == 79
    assert second.startswith("ended 3 of 3")
    assert "\n" not in first + second
