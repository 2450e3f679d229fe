"""What somebody chose (an id, a name, a reason, an answer), as a person may read it: it moves no cursor, breaks no line, turns no
text round and hides nothing.

Rules of this file
------------------
- The one place that decides what is shown as it is. By Unicode category: a control (Cc), a line or paragraph separator (Zl, Zp),
  half of a surrogate pair (Cs) and a format character (Cf: the bidirectional controls, what has no width) are shown by their number;
  the two joiners, which emoji and several scripts are written with, stay. Accents, ideographs and emoji are none of these.
- The number is written as `saga.words.escaped` does, as JSON writes it, so data in JSON says the same before and after.
- A `Page` is text of several lines that came through here line by line. Any other text is one line, and a break in it is somebody
  else's: whoever forgets `page` sees `\\u000a` on his screen, and nobody's terminal is deceived.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from saga.words import escaped

UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
JOINERS = "\u200c\u200d"
"""Of Cf; ZWNJ and ZWJ."""
BREAKS = "\n\t"
UNUSUAL = re.compile(r"[^\n\t -~]")
UNUSUAL_IN_LINE = re.compile(r"[^ -~]")


class Page(str):
    """Lines of ours, in which everything is visible. What is put behind it with `+` is made visible too."""

    __slots__ = ()

    def __add__(self, text: str) -> "Page":
        return Page(f"{self!s}{text if isinstance(text, Page) else one_line(text)}")


def page(lines: Iterable[str], *, between: str = "\n") -> Page:
    """The lines beneath one another; a part that is a page already stays as it is."""
    return Page(between.join(str(it) if isinstance(it, Page) else one_line(it) for it in lines))


def visible(text: str) -> str:
    """The text with its line breaks and tabs; nothing else of it that is not seen."""
    return UNUSUAL.sub(lambda found: _shown(found[0]), text)


def one_line(text: str) -> str:
    """The same without what would break a line."""
    return UNUSUAL_IN_LINE.sub(lambda found: escaped(found[0]) if found[0] in BREAKS else _shown(found[0]), text)


@cache
def _shown(letter: str) -> str:
    return escaped(letter) if unicodedata.category(letter) in UNSHOWN and letter not in JOINERS else letter
