"""Orders out of a CSV file whose rows are order lines: which layout it is, which rows belong together, and that none is lost.

Rules of this file
------------------
- A layout is a table of columns. It is told by the header: names are compared without case and outer blanks, in any order; a column
  that nobody knows is not read. A needed column that is missing, or that stands twice, is named.
- The rows of an order are *not* always contiguous. So a first pass notes the last row of every order, and the second hands an order
  out when that row was read: memory holds one number per order and the rows of the orders that are open.
- Half an order is none: one row that is refused refuses its order. When a broken line does not say whose it is, the orders that it
  may be of are refused: those that are open there, and those of the rows around it.
- Where a record leaves it open what of the file is a customer's note (`Record.is_rest`), every order of the file is refused: one that
  stands above it may be out of a note too, or have rows below.
- Each line ends in an order, a refusal or what is skipped, or is empty: `Meter.lines`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from saga.errors import UsageError
from saga.fulfilment.csv_text import Head, Record, head_of, records_of
from saga.fulfilment.intake import Cancelled, Found, Refused, Repeated, Rounded, Skipped, Span, line_count
from saga.fulfilment.models import Order
from saga.fulfilment.money import is_known_currency
from saga.fulfilment.numbers_text import number_of, whole_number_of
from saga.fulfilment.text_files import Meter

REFERENCE_MAX = 255
SHOWN = 80
PAGE = "docs/order-files.md"
Values = Mapping[str, str]
"""The cells of a row by field."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a person says about a file because it does not say so itself."""

    encoding: str | None = None
    currency: str | None = None

    def __post_init__(self) -> None:
        if self.currency is not None and not is_known_currency(self.currency):
            raise UsageError(
                f"--currency {self.currency!r}: is no currency of ISO 4217; it is three capitals such as GBP"
            )


UNSAID = Reading()


@dataclass(frozen=True, slots=True)
class Column:
    """One column that is read: as headers call it, and what becomes of it."""

    field: str
    names: tuple[str, ...]
    becomes: str
    is_needed: bool = True


class Opened(Protocol):
    """What has been read of an order whose last row has not come yet."""

    def take(self, record: Record, values: Values | None) -> None:
        """One more row; None for its values when it is broken."""
        ...

    def closed(self, reference: str) -> Iterator[Found]:
        """What it is, after its last row; what stands before the last is about it."""
        ...


@dataclass(frozen=True, slots=True)
class Layout:
    """A kind of file. `begin` opens an order by its id."""

    name: str
    source: str
    columns: tuple[Column, ...]
    begin: Callable[[str, "Sheet"], Opened]
    has_notes: bool = True
    """Whether a column holds what customers write."""

    def places(self, names: Sequence[str]) -> dict[str, int]:
        """Where its columns stand in a header, by field."""
        return {
            column.field: names.index(found)
            for column in self.columns
            if (found := next((name for name in map(key_of, column.names) if name in names), None)) is not None
        }

    def missing(self, places: Mapping[str, int], reading: Reading) -> list[Column]:
        said = {"currency"} if reading.currency else set()
        return [it for it in self.columns if it.is_needed and it.field not in places and it.field not in said]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file and its layout."""

    path: Path
    reading: Reading
    head: Head
    layout: Layout
    places: Mapping[str, int]
    ids: tuple[int, ...]
    """The columns that may say the order: the first of them that does."""

    def named(self, name: str) -> str:
        """A field as the header calls it; one that it does not have by its own name."""
        return self.head.names[self.places[name]].strip() if name in self.places else name

    def number(self, values: Values, name: str) -> Decimal:
        """The number in a cell. `ValueError` names the column and the rule, here and below."""
        try:
            return number_of(values[name], self.head.mark)
        except ValueError as error:
            raise ValueError(f"{self.named(name)}: {error}") from error

    def number_above_0(self, values: Values, name: str) -> Decimal:
        if (found := self.number(values, name)) > 0:
            return found
        raise ValueError(f"{self.named(name)}: {values[name].strip()} is not above 0")

    def whole_above_0(self, values: Values, name: str) -> int:
        try:
            found = whole_number_of(values[name], self.head.mark)
        except ValueError as error:
            raise ValueError(f"{self.named(name)}: {error}") from error
        if found > 0:
            return found
        raise ValueError(f"{self.named(name)}: {values[name].strip()} is not above 0")

    def records(self, meter: Meter | None = None) -> Iterator[Record]:
        has_notes = self.layout.has_notes
        return records_of(self.path, self.head, has_notes=has_notes, meter=meter, encoding=self.reading.encoding)

    def reference(self, record: Record) -> str:
        """The order that a row belongs to, also when the rest of it cannot be read; empty when that cannot be said."""
        cells = record.cells
        if len(cells) > max(self.ids):
            for place in self.ids:
                if found := cells[place].strip():
                    return found if len(found) <= REFERENCE_MAX else ""
        return ""

    def values(self, record: Record) -> Values | None:
        return None if record.fault else {name: record.cells[place] for name, place in self.places.items()}


def key_of(name: str) -> str:
    """A name of a column as it is compared."""
    return " ".join(name.split()).casefold()


def sheet_of(path: Path, layouts: Sequence[Layout], reading: Reading) -> Sheet:
    """The layout that the header of a file names. Raises `UsageError` that says what is missing."""
    head = head_of(path, reading.encoding)
    names = [key_of(name) for name in head.names]
    found = [(layout, layout.places(names)) for layout in layouts]
    layout, places = min(found, key=lambda it: (len(it[0].missing(it[1], reading)), -len(it[1])))
    if missing := layout.missing(places, reading):
        raise UsageError(f"{path}: {_unknown(head, layout, places, missing)}")
    if doubled := [column for column, place in places.items() if names.count(names[place]) > 1]:
        raise UsageError(f"{path}: has the column {head.names[places[doubled[0]]]!r} twice; keep one of them")
    if reading.currency and "currency" in places:
        raise UsageError(f"{path}: says its currency in each row; leave --currency out")
    said = [
        names.index(name)
        for it in layout.columns
        if it.field == "order_id"
        for name in map(key_of, it.names)
        if name in names
    ]
    return Sheet(path, reading, head, layout, places, tuple(said))


def _unknown(head: Head, layout: Layout, places: Mapping[str, int], missing: Sequence[Column]) -> str:
    if len(places) > len(missing):
        needed = ", ".join(" or ".join(column.names) for column in missing)
        hint = "; the currency can be said with --currency" if "currency" in {it.field for it in missing} else ""
        return f"looks like {layout.name}, and has no column {needed}{hint} ({PAGE})"
    shown = head.separator.join(head.names)
    shown = repr(shown[:SHOWN]) + (" …" if len(shown) > SHOWN else "")
    return f"the first line must be the columns of a layout that is known ({PAGE}), or '{{' and an order; it is {shown}"


@dataclass(slots=True)
class _Open:
    """An order that is being read, and its lines."""

    order: Opened
    lines: list[Span] = field(default_factory=list)
    doubt: int = 0
    """The number of a broken line that may be of it."""

    def take(self, record: Record, values: Values | None) -> None:
        self.order.take(record, values)
        if self.lines and self.lines[-1][1] + 1 == record.first:
            self.lines[-1] = self.lines[-1][0], record.last
        else:
            self.lines.append((record.first, record.last))


def read_rows(sheet: Sheet, meter: Meter | None = None) -> Iterator[Found]:
    """The orders of a file, each where its last row stands, and what was refused or skipped, each with its reason.

    The file is read twice, so it must be a file and not a pipe. Raises `UsageError` when it cannot be read to its end, or changed
    between the passes.
    """
    meter = meter if meter is not None else Meter()
    lasts, doubts, unsure = _lasts(sheet)
    opened: dict[str, _Open] = {}
    for record in sheet.records(meter):
        reference = sheet.reference(record)
        if not reference:
            if record.fault:
                for one in opened.values():
                    one.doubt = one.doubt or record.first
            nobodys = _unsure(f"line {record.first}", unsure) if unsure else _nobodys(sheet, record)
            yield from _counted(iter([nobodys]), ((record.first, record.last),), meter)
            continue
        last = lasts.get(reference, 0)
        if record.first > last:
            raise UsageError(f"{sheet.path}: changed while it was read (line {record.first}); read it again")
        one = opened.get(reference) or opened.setdefault(reference, _Open(sheet.layout.begin(reference, sheet)))
        one.take(record, sheet.values(record))
        if record.first == last:
            del opened[reference]
            doubt = one.doubt or doubts.get(reference, 0)
            refused = _unsure(reference, unsure) if unsure else _doubtful(reference, doubt) if doubt else None
            found = one.order.closed(reference) if refused is None else iter([refused])
            yield from _counted(found, tuple(one.lines), meter)


def _lasts(sheet: Sheet) -> tuple[dict[str, int], dict[str, int], Record | None]:
    """The line of the last row of each order; of those that stand beside a broken line of nobody, that line; and the record behind
    which nothing is certain."""
    lasts: dict[str, int] = {}
    doubts: dict[str, int] = {}
    before, lost, unsure = "", 0, None
    for record in sheet.records():
        unsure = record if record.is_rest else None
        reference = sheet.reference(record)
        if reference:
            lasts[reference] = record.first
            if lost:
                doubts[reference] = lost
            before, lost = reference, 0
        elif record.fault:
            lost = record.first
            if before:
                doubts[before] = lost
    return lasts, doubts, unsure


def _nobodys(sheet: Sheet, record: Record) -> Refused:
    place = sheet.places["order_id"]
    is_empty = place < len(record.cells) and not record.cells[place].strip()
    rule = "is empty" if is_empty else f"is longer than {REFERENCE_MAX} characters"
    return Refused(
        f"line {record.first}", f"the line: {record.fault}" if record.fault else f"{sheet.named('order_id')}: {rule}"
    )


def _unsure(reference: str, record: Record) -> Refused:
    count = record.last - record.first
    why = f"line {record.first}: the line: {record.fault}, so that it and the {count} lines behind it may be a customer's note"
    return Refused(
        reference,
        f"{why}: no order of the file is taken; export it again with each quote in a quoted cell doubled, or mend that line",
    )


def _doubtful(reference: str, number: int) -> Refused:
    return Refused(
        reference, f"line {number}: the line: is broken where it would say whose it is, and may be of this order"
    )


def _counted(found: Iterator[Found], lines: tuple[Span, ...], meter: Meter) -> Iterator[Found]:
    for it in found:
        match it:
            case Order():
                meter.lines.in_orders += line_count(lines)
            case Refused():
                meter.lines.refused += line_count(lines)
            case Skipped() | Cancelled():
                meter.lines.skipped += line_count(lines)
            case Rounded() | Repeated():  # about the order that follows, or that was
                pass
        yield replace(it, lines=lines) if isinstance(it, Refused) else it
