"""What comes out of a file of orders, and how its lines are read without trusting it.

A file is plain or gzip, told by its first bytes. One record is one line: a broken quote then spoils one line and not the
rest of the file. A line longer than `LINE_MAX` is dropped while it is read, so memory stays bounded. A file that cannot
be read to its end raises `UsageError`; what was read before has been handed out.
"""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from saga.errors import UsageError
from saga.fulfilment.models import Order

LINE_MAX = 4 * 2**20
GZIP_MAGIC = b"\x1f\x8b"
METERED_LINES = 64


@dataclass(frozen=True, slots=True)
class Refused:
    """Not an order, and why: the line, the field and the rule."""

    reference: str
    """The invoice or order id when it could be read, else `line <n>`."""
    reason: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something else than an order, by the layout's own marks: a cancellation or an adjustment."""

    reference: str
    kind: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A customer gives pieces back; of which orders is for `saga.fulfilment.cancellations` to say."""

    reference: str
    customer_id: str
    pieces: Mapping[str, int]
    """Quantity by SKU."""
    unreadable_count: int = 0
    """Lines that name no pieces: a price, a quantity or a code that breaks a rule."""


@dataclass(frozen=True, slots=True)
class Rounded:
    """The order of that id follows, and so many of its prices were rounded to the minor unit."""

    reference: str
    line_count: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """An order that stood in an earlier line already, to the letter: nothing more to hand over."""

    reference: str
    order_id: str


Found = Order | Refused | Skipped | Cancelled | Rounded | Repeated


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file, without its line end; `data` is cut and `is_whole` false when it is too long."""

    number: int
    data: bytes
    is_whole: bool = True


@dataclass(slots=True)
class Meter:
    """How much of a file has been read, in bytes as they lie on the disk: those of a gzip are the packed ones."""

    size: int = 0
    place: int = 0

    @property
    def share(self) -> float | None:
        """Between 0 and 1; None when that is not known."""
        return min(self.place / self.size, 1.0) if self.size else None


def lines_of(path: Path, meter: Meter | None = None) -> Iterator[Line]:
    """The lines of a plain or gzip file. Raises `UsageError` when it cannot be read to its end."""
    number = 0
    try:
        with path.open("rb") as raw, _unpacked(raw) as file:
            if meter is not None:
                meter.size, meter.place = path.stat().st_size, 0
            while first := file.readline(LINE_MAX):
                number += 1
                if meter is not None and number % METERED_LINES == 0:
                    meter.place = raw.tell()
                is_whole = first.endswith(b"\n") or len(first) < LINE_MAX
                yield Line(number, first.rstrip(b"\r\n"), is_whole)
                while not is_whole and (rest := file.readline(LINE_MAX)):
                    is_whole = rest.endswith(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        why = (getattr(error, "strerror", None) or str(error)).lower()
        after = f" after line {number}" if number else ""
        raise UsageError(f"{path}: cannot be read{after}: {why}") from error


def text_fault(data: bytes) -> str:
    """Why these bytes are no text; empty when they are."""
    try:
        place = data.decode().find("\x00")
    except UnicodeDecodeError as error:
        return f"byte {error.start} is not UTF-8"
    return f"byte {len(data.decode()[:place].encode())} is NUL" if place >= 0 else ""


def _unpacked(raw: BinaryIO) -> BinaryIO:
    is_gzip = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    raw.seek(0)
    return cast("BinaryIO", gzip.open(raw, "rb")) if is_gzip else raw
