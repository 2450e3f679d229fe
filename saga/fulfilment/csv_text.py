"""Text with separated values: one record after another, by RFC 4180 and what programs make of it.

Rules of this file
------------------
- The header says what separates: of comma, semicolon and tab that which cuts it into most cells. A line `sep=;` above it, which
  Excel writes and reads, says so too.
- A quoted cell may hold the separator, doubled quotes and line breaks. The standard library's reader says where a record ends.
- A quote that is not closed spoils one line. Its record breaks the rules in a later line, or is still open at the end of the file
  or beyond its bounds, or ends with another number of cells than the header because a quote of a later line closed it: then the
  line that it began in is refused, and reading goes on at the next one, so that no order loses lines in between. Where no column holds
  notes, one with a line in it that is a whole record by itself is refused with all its lines, and nobody can say whose it is: a quote
  of that line may have closed it, or a description may have a line like that.
- Where a column holds what customers write (`has_notes`), a line of a note is never read as an order. A writer that does not double
  quotes lets a note end its own cell, and a note may hold whole rows: so behind a record that breaks the rules and has a quote in it
  nothing is certain, and all that follows is refused with it (`Record.is_rest`). One without any quote is refused alone.
- What is read again is bounded too (`AGAIN_MAX`): a file can be made of lines each of which opens a quote that no later one closes.
  Beyond that a record is one line.
"""

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from saga.errors import UsageError
from saga.fulfilment.text_files import Line, Meter, lines_of, text_fault

SEPARATORS = ",;\t"
RECORD_MAX = 2**20
RECORD_LINES_MAX = 20_000
AGAIN_MAX = 16 * 2**20
BEGINNING_MAX = 4096
RECORD_TOO_LONG = (
    f"is of a record with more than {RECORD_MAX} bytes, {RECORD_LINES_MAX} lines, or 131072 characters in a cell"
)
HOLDS_A_RECORD = (
    "has a line in it that is a record by itself: a quote is not closed, or a text has a line break; export it without"
)
UNCLOSED = "opens a quote that is not closed; a quote inside of a quoted cell is doubled"
IN_WORDS = {
    "unexpected end": UNCLOSED,
    "'": "has a quote inside of a quoted cell that is not doubled",
    "new-line": "has a carriage return outside of quotes",
}
"""How the standard library's errors begin, for a person."""


class Record(NamedTuple):
    """One record: cells as many as the header has, or the `fault` that refuses it and the first cells, as far as they are surely
    those of the first columns."""

    first: int
    last: int
    """The numbers of its lines."""
    cells: list[str]
    fault: str = ""
    is_rest: bool = False
    """Whether it is all that the file has from there on, because a note may reach as far."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first record, which names the columns, and what separates."""

    names: tuple[str, ...]
    separator: str = ","
    number: int = 0
    """Of the line that it ends in; 0 when the file has no content."""

    @property
    def mark(self) -> str:
        """The decimal mark of the numbers under it (`saga.fulfilment.numbers_text`)."""
        return "," if self.separator == ";" else "."


def head_of(path: Path, encoding: str | None = None) -> Head:
    """Raises `UsageError` when the file cannot be read, or the first line with content is no text."""
    lines = lines_of(path, encoding=encoding)
    separator = ""
    for line in lines:
        if not line.data.strip():
            continue
        if fault := text_fault(line.data):
            raise UsageError(f"{path}: line {line.number}: {fault}")
        text = line.data.decode()
        said = text.strip().strip('"')
        if not separator and len(said) == len("sep=;") and said.startswith("sep="):
            separator = said[-1]
            continue
        separator = separator or max(SEPARATORS, key=lambda it: len(_beginning(text, it)))
        return _head(_Lines(chain([line], lines), separator), separator, text)
    return Head(())


def _head(source: "_Lines", separator: str, text: str) -> Head:
    """The names, which may have line breaks in them; of a first line that breaks the rules, as well as it goes."""
    try:
        names = next(csv.reader(source, delimiter=separator, strict=True))
        return Head(tuple(names), separator, source.taken[-1].number)
    except (csv.Error, _Endless):
        return Head(tuple(_beginning(text, separator)), separator, source.taken[0].number)


def records_of(
    path: Path, head: Head, *, has_notes: bool, meter: Meter | None = None, encoding: str | None = None
) -> Iterator[Record]:
    """The records under the header. Empty lines are none. Raises `UsageError` when the file cannot be read to its end."""
    lines = lines_of(path, meter, encoding)
    for line in lines:
        if meter is not None:
            meter.lines.empty += 1
        if line.number >= head.number:
            break
    yield from _records(lines, head, has_notes=has_notes, meter=meter)


def _records(lines: Iterable[Line], head: Head, *, has_notes: bool, meter: Meter | None) -> Iterator[Record]:
    source, width = _Lines(lines, head.separator), len(head.names)
    reader = csv.reader(source, delimiter=head.separator, strict=True)
    taken = source.taken
    while True:
        taken.clear()
        source.size, source.fault = 0, ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _Endless) as error:
            yield source.rest(str(error)) if has_notes and source.may_hold_a_note else source.first_alone(str(error))
            continue
        first, last = taken[0].number, taken[-1].number
        if not (cells and cells[0].strip()) and not any(map(str.strip, cells)):
            if meter is not None:
                meter.lines.empty += last - first + 1
        elif len(cells) == width and not has_notes and source.holds_a_record(width):
            yield Record(first, last, [], HOLDS_A_RECORD)
        elif len(cells) == width:
            yield Record(first, last, cells, source.fault)
        elif has_notes and source.may_hold_a_note:
            yield source.rest(f"has {len(cells)} cells instead of {width}")
        elif first == last:
            yield Record(first, last, cells[:1], source.fault or f"has {len(cells)} cells instead of {width}")
        else:
            yield source.first_alone(UNCLOSED)


class _Endless(Exception):
    """A line or a record that is longer than one may be."""


class _Lines:
    """What the standard reader reads from: the lines of a file, of which those that turn out to be no record come again."""

    def __init__(self, lines: Iterable[Line], separator: str) -> None:
        self._lines = iter(lines)
        self._again: deque[Line] = deque()
        self._again_count = 0
        """The bytes that were read again so far."""
        self._separator = separator
        self.taken: list[Line] = []
        """Of the record that is being read."""
        self.size = 0
        self.fault = ""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        self.size += len(line.data)
        if not line.is_whole:
            raise _Endless("longer than a line may be")
        if len(self.taken) > 1 and self._is_beyond():
            raise _Endless(RECORD_TOO_LONG)
        try:
            return line.data.decode()
        except UnicodeDecodeError:
            self.fault = text_fault(line.data)
            if len(self.taken) > 1:
                self.fault = f"line {line.number} in it: {self.fault}"
            return line.data.decode(errors="replace")

    def _is_beyond(self) -> bool:
        return len(self.taken) > RECORD_LINES_MAX or self.size > RECORD_MAX or self._again_count > AGAIN_MAX

    def holds_a_record(self, width: int) -> bool:
        """Whether a later line of the record has as many cells as the header by itself."""
        later = (line.data.decode(errors="replace") for line in self.taken[1:])
        return any(len(_beginning(text, self._separator)) == width for text in later)

    def first_alone(self, fault: str) -> Record:
        """The first of the lines that were taken as a refused record; the others are read again."""
        first, *others = self.taken
        self._again.extendleft(reversed(others))
        self._again_count += self.size if others else 0
        words = UNCLOSED if others else _in_words(fault)
        return Record(first.number, first.number, _ended(first, self._separator), text_fault(first.data) or words)

    @property
    def may_hold_a_note(self) -> bool:
        """Whether a quote stands in what was taken, or may stand in what is not kept of it."""
        return any(b'"' in line.data or not line.is_whole for line in self.taken)

    def rest(self, fault: str) -> Record:
        """What was taken and all that follows, as one refused record."""
        first, last = self.taken[0], self.taken[-1]
        for line in chain(self._again, self._lines):
            last = line
        self._again.clear()
        return Record(first.number, last.number, _ended(first, self._separator), _in_words(fault), is_rest=True)


def _in_words(fault: str) -> str:
    return next((it for begin, it in IN_WORDS.items() if fault.startswith(begin)), fault)


def _ended(line: Line, separator: str) -> list[str]:
    """The cells of a broken line that can be told: those that ended before it broke, and as much as can be said of the first."""
    text = line.data[:BEGINNING_MAX].decode(errors="replace")
    cells = _beginning(text, separator)[:-1]
    return cells or [text.partition(separator)[0].strip().strip('"')]


def _beginning(text: str, separator: str) -> list[str]:
    """The cells of a line, a broken one as well as it goes."""
    try:
        return next(csv.reader([text], delimiter=separator), [])
    except csv.Error:
        return []
