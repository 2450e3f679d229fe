"""The one place for colour: a page that is ready is painted, word by word, when a person reads it on a terminal.

Rules of this file: only a terminal is painted, and none when NO_COLOR is set or the terminal has no colours; `-o json` and
`-o jsonl` never pass here. Painting comes last and adds no letter, so no width and no meaning depends on it.
"""

import re
import sys

RESET = "\x1b[0m"
GREEN, YELLOW, RED = "\x1b[32m", "\x1b[33m", "\x1b[31m"
WORDS = (
    (GREEN, r"✓|\b(?i:completed)\b"),
    (YELLOW, r"\b(?i:compensated)\b"),
    (RED, r"✗|(?<!--status )\b(?i:halted)\b(?! 0\b)|\bREJECTED\b|\bDEFECT\b|\bUNEXPLAINED\b|\bNOT CHECKED\b"),
    (RED, r"(?<![\d,])[1-9][\d,]* violations?\b"),
)
"""A number of none is nothing to be alarmed by: `halted 0` and `0 violations` stay as they are."""
PATTERN = re.compile("|".join(f"({pattern})" for _, pattern in WORDS))
NONE = re.compile(r"(?<![\d,])0 (?:halted|completed|compensated)\b|\b(?:completed|compensated) 0\b")


def painted(page: str) -> str:
    """The page with its words of state in colour."""
    plain = [found.span() for found in NONE.finditer(page)]

    def paint(found: re.Match[str]) -> str:
        if any(begin <= found.start() < end for begin, end in plain):
            return found[0]
        colour = WORDS[(found.lastindex or 1) - 1][0]
        return f"{colour}{found[0]}{RESET}"

    return PATTERN.sub(paint, page)


def is_wanted() -> bool:
    """Whether standard output is a terminal that shows colours to somebody who wants them."""
    if not sys.stdout.isatty():
        return False
    from rich.console import Console  # not for those who read a pipe: it takes its time

    console = Console(file=sys.stdout)
    return console.color_system is not None and not console.no_color
