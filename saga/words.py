"""Turns what other people's code raised or returned into words, whatever that object does: the only place that does so.

Rules of this file: nothing here raises. What comes out is one line, printable, and at most `LIMIT` characters long, so that a
journal, a log and a terminal can hold it. A class may lie about its name and a `__str__` or `__repr__` may raise anything, be
endless, or return text that no database takes: the name is read past the class, and the rest is called behind a guard.
"""

import re
from collections.abc import Callable
from typing import Any

LIMIT = 500
"""Characters of what is said of one exception."""
ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+(?=[ >])")
ENGINE = __file__.rpartition("words.py")[0]
_NAME = type.__dict__["__name__"]
_TRACE = BaseException.__dict__["__traceback__"]


def words_of(error: BaseException) -> str:
    """`ValueError: what it says`, of any exception."""
    text = said_by(error)
    return f"{name_of(error)}: {text}"[:LIMIT] if text else name_of(error)


def said_by(error: BaseException) -> str:
    """What the exception says, without its class."""
    return _guarded(error, str, "__str__")


def shown(value: object, limit: int = 100) -> str:
    """The `repr` of a value, without an address in memory."""
    return ADDRESS.sub("", _guarded(value, repr, "__repr__"))[:limit]


def name_of(value: object) -> str:
    """The name of a value's class."""
    return one_line(_NAME.__get__(type(value)))


def one_line(text: str) -> str:
    """The beginning of a text as one printable line: white space is one blank, and what is not printable is escaped."""
    line = " ".join(str.__str__(text)[: 4 * LIMIT].split())
    if not line.isprintable():
        line = "".join(it if it.isprintable() else escaped(it) for it in line)
    return line[:LIMIT]


def escaped(letter: str) -> str:
    """The number of a letter that is not shown, as JSON writes it: `\\u202e`, and a pair beyond the first 65,536 letters. The one way
    in which this program writes it, because it must not be read as another letter and data in JSON must stay what it is."""
    pair = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{pair[at : at + 2].hex()}" for at in range(0, len(pair), 2))


def place_of(error: BaseException) -> str:
    """Where in the user's code it was raised, ` (shop.py:61)`: the innermost frame outside of installed packages and of the
    engine. Empty when there is none."""
    trace, place = _TRACE.__get__(error), ""
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename.replace("\\", "/")
        if "/site-packages/" not in path and not path.startswith(ENGINE) and path.endswith(".py"):
            place = f" ({one_line(path.rpartition('/')[2])}:{trace.tb_lineno})"
        trace = trace.tb_next
    return place


def _guarded(value: Any, say: Callable[[Any], str], method: str) -> str:
    try:
        return one_line(say(value))
    except BaseException as error:  # the user's own method: it may raise anything, `SystemExit` too
        return f"(its {method} raised {name_of(error)})"
