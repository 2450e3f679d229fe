"""The three streams of a command: whatever they cannot carry, a person reads one line, and never a traceback.

Rules of this file
------------------
- Data that does not reach stdout is an error of its own kind (`OutputLost`), whoever wrote it: a full disk and a closed stdout
  are told with an exit code of their own, and a reader that has gone (`saga list | head`) is its right. typer would end with 1
  there, which means that a saga did not complete. A command that has said all ends with its own code also when nobody read it.
- A remark that does not reach stderr is lost, and changes nothing: the exit code still says how it was.
- A number of a stream that is closed is taken by a file that refuses the same, or else the journal would be opened under it,
  and what a library prints would go into the journal.
- What an encoding cannot carry is spelled: our own signs in letters, on pages and in remarks; anything else as \\uXXXX, which in
  JSON is the same text.
- Whoever writes, a library or a log too: what a person could not see, or what would move his cursor, is shown by its number
  (`saga.surfaces.visible`). Who paints or redraws on purpose asks for the stream `as_is`.
"""

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from saga.surfaces.visible import visible
from saga.words import escaped

LOSSES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})
"""What a write to stdout says that did not go through these streams: typer wraps the buffer of one that speaks ASCII alone."""
OUTPUT_LOST = 74
"""EX_IOERR of BSD's sysexits.h."""
SPELLED = {
    "✓": "ok", "✗": "!!", "…": "...", "→": "->", "▶": ">", "◀": "<", "▲": "^", "∥": "||", "│": "|", "·": "-", "─": "-", "—": "-",
    "\u2013": "-", "\u00d7": "x", "█": "#", "▇": "#", "░": ".", "≥": ">=", "≤": "<=", "≠": "!=", **dict.fromkeys("┌┐└┘├┤┬┴┼", "+"),
}  # fmt: skip
"""How a page says our signs where there are none."""
PAGE, DATA = "saga.page", "saga.data"
"""Names of the two ways to write what an encoding lacks, as `codecs` knows them."""


class OutputLost(Exception):
    """Data could not be written to stdout; `number` is the errno."""

    def __init__(self, number: int | None, why: str) -> None:
        super().__init__(number, why)
        self.number, self.why = number, why

    @classmethod
    def of(cls, error: OSError) -> "OutputLost":
        """What the system said."""
        return cls(
            error.errno, "it is closed" if error.errno == errno.EBADF else (error.strerror or str(error)).lower()
        )

    @property
    def exit_code(self) -> int:
        """0 when nobody wants to read on."""
        return 0 if self.number == errno.EPIPE else OUTPUT_LOST

    def __str__(self) -> str:
        return f"stdout cannot be written: {self.why}; what was asked for may be done"


class _Stream:
    """A text stream whose writes and flushes fail in our way; in all else it is the stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self.write_as_is(visible(text))
        return len(text)

    def write_as_is(self, text: str) -> None:
        if text == "":  # how typer asks what kind of stream this is; it takes no answer that is an exception
            return
        with self._failing():
            self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._failing():
            self._stream.flush()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        with suppress(OSError):
            yield


class _Stdout(_Stream):
    """Says that data was lost, and says it again to whoever writes on. A reader that has gone is said to him alone who writes on:
    a command that had said all it has to say ends as it would."""

    _lost: OutputLost | None = None

    def write_as_is(self, text: str) -> None:
        if self._lost is not None and text:
            raise self._lost
        super().write_as_is(text)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # What is still in the buffer goes nowhere, so that the interpreter has nothing to fail at when it ends.
            _take(self._stream.fileno(), os.O_WRONLY)
            self._lost = OutputLost.of(error)
            if error.errno != errno.EPIPE:
                raise self._lost from error


class _AsIs(_Stream):
    """The same stream for a text that paints or moves the cursor on purpose; the words in it were made visible before."""

    def write_as_is(self, text: str) -> None:
        cast("_Stream", self._stream).write_as_is(text)

    def write(self, text: str) -> int:
        self.write_as_is(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def as_is(stream: TextIO) -> TextIO:
    """The stream that takes every letter as it is."""
    return cast("TextIO", _AsIs(stream)) if isinstance(stream, _Stream) else stream


def prepare_streams() -> None:
    """Make the streams of this process obey the rules of this file; once, before anything is opened or printed."""
    if sys.stdin is None:
        sys.stdin = cast("TextIO", _refusing(0, os.O_WRONLY, "r"))
    if sys.stdout is None:
        sys.stdout = cast("TextIO", _refusing(1, os.O_RDONLY, "w"))
    if sys.stderr is None:
        sys.stderr = cast("TextIO", _refusing(2, os.O_WRONLY, "w"))
    for stream, way in ((sys.stdout, DATA), (sys.stderr, PAGE)):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=way)
    sys.stdout = cast("TextIO", _Stdout(sys.stdout))
    sys.stderr = cast("TextIO", _Stream(sys.stderr))


def _refusing(number: int, access: int, mode: str) -> io.TextIOWrapper:
    """A stream under this number of nothing at all: opened for reading it cannot be written, and the other way round."""
    _take(number, access)
    return cast("io.TextIOWrapper", open(number, mode, encoding="utf-8", closefd=False))


def _take(number: int, access: int) -> None:
    """The file of this number is /dev/null from now on, here and in the processes that are started."""
    opened = os.open(os.devnull, access)
    if opened == number:
        os.set_inheritable(number, True)
    else:
        os.dup2(opened, number)
        os.close(opened)


def shown_on_page(text: str, encoding: str | None) -> str:
    """The text of a page, with our signs spelled where this encoding has none."""
    if encoding is None:
        return text
    return text.encode(encoding, PAGE).decode(encoding)


def _as_data(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(escaped, error.object[error.start : error.end])), error.end


def _as_page(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(SPELLED.get(letter) or escaped(letter) for letter in lost), error.end


codecs.register_error(DATA, _as_data)
codecs.register_error(PAGE, _as_page)
