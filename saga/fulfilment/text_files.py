"""A file of text as lines of UTF-8, however it is packed and encoded.

Rules of this file
------------------
- Packed: gzip and zip are told by their first bytes. A zip holds one file; what macOS puts beside it is not counted.
- Encoded: a byte order mark says UTF-8 or UTF-16. Without one it is what the caller says, else UTF-8: Latin-1 is never guessed,
  because every file is Latin-1.
- Lines end with LF or CRLF, and with CR where the first of them do.
- What is no text spoils its line and no other: `text_fault` tells it.
- A line longer than `LINE_MAX` is dropped while it is read, so memory stays bounded, also by a small file that unpacks to a great
  one. A file that cannot be read to its end raises `UsageError`; what was read before has been handed out.
"""

import codecs
import gzip
import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipExtFile, ZipFile, ZipInfo

from saga.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LINE_MAX = 4 * 2**20
CHUNK = 2**16
GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
METERED_LINES = 64
NAMES_SHOWN = 5
ENCRYPTED = 1
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
ENCODINGS = {
    codecs.lookup(name).name: name
    for name in ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "iso-8859-15", "windows-1252")
}
"""What a person may say, by the name that Python has for it."""
BROKEN = "\udcff"
"""Stands for half a character at the end of a file. No surrogate is UTF-8, so its line is refused."""
SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
# zipfile, which looks for no harm in the numbers of a directory.
ZIP_FAULTS = (BadZipFile, NotImplementedError, RuntimeError, ValueError, IndexError, OverflowError, struct.error)
READ_FAULTS = (OSError, EOFError, zlib.error, BadZipFile)


class Line(NamedTuple):
    """One line of a file, with its line end; `data` is cut and `is_whole` false when it is too long."""

    number: int
    data: bytes
    is_whole: bool = True


@dataclass(slots=True)
class LineCount:
    """Where the lines of a file went: those that were read are the sum of the others once it was read to its end."""

    read: int = 0
    empty: int = 0
    """Without content, and the header."""
    in_orders: int = 0
    refused: int = 0
    skipped: int = 0


@dataclass(slots=True)
class Meter:
    """How much of a file has been read, in bytes as they lie on the disk: those of a gzip are the packed ones."""

    size: int = 0
    place: int = 0
    lines: LineCount = field(default_factory=LineCount)

    @property
    def share(self) -> float | None:
        """Between 0 and 1; None when that is not known."""
        return min(self.place / self.size, 1.0) if self.size else None


def known_encoding(name: str | None) -> str | None:
    """The name that Python has for an encoding; None for None. Raises `UsageError` for one that is not read."""
    try:
        found = None if name is None else codecs.lookup(name).name
    except (LookupError, ValueError):  # a NUL in the name
        found = ""
    if found is not None and found not in ENCODINGS:
        raise UsageError(f"--encoding {name!r}: is not read; say one of {', '.join(ENCODINGS.values())}")
    return found


def lines_of(path: Path, meter: Meter | None = None, encoding: str | None = None) -> Iterator[Line]:
    """The lines of a file, as UTF-8. Raises `UsageError` when it cannot be read to its end."""
    number = 0
    try:
        with path.open("rb") as raw, opened_text(raw, str(path), encoding) as file:
            if meter is not None:
                meter.size, meter.place = path.stat().st_size, 0
            while first := file.readline(LINE_MAX):
                number += 1
                if meter is not None:
                    meter.lines.read += 1
                    if number % METERED_LINES == 0:
                        meter.place = raw.tell()
                is_whole = first.endswith(b"\n") or len(first) < LINE_MAX
                yield Line(number, first, is_whole)
                while not is_whole and (rest := file.readline(LINE_MAX)):
                    is_whole = rest.endswith(b"\n")
    except READ_FAULTS as error:
        after = f" after line {number}" if number else ""
        raise UsageError(f"{path}: cannot be read{after}: {_why(error)}") from error


def text_of(raw: BinaryIO, name: str, limit: int) -> bytes:
    """A short text whole, as UTF-8, up to `limit` bytes of it; `raw` can be wound back. Raises `UsageError`, and `OSError` for
    what the disk says."""
    try:
        with opened_text(raw, name) as file:
            return file.read(limit)
    except (EOFError, zlib.error, BadZipFile, gzip.BadGzipFile) as error:
        raise UsageError(f"{name}: cannot be read: {_why(error)}") from error


def unmarked(data: bytes) -> bytes:
    """A whole text as UTF-8 without its byte order mark, which may be one of UTF-16."""
    mark = _mark_of(data)
    rest = data[len(mark) :]
    if MARKS.get(mark, "utf-8") == "utf-8":
        return rest
    change = _utf8_of(MARKS[mark])
    return change(rest) + change(b"")


def text_fault(data: bytes) -> str:
    """Why these bytes are no text; empty when they are."""
    try:
        place = data.decode().find("\x00")
    except UnicodeDecodeError as error:
        if SURROGATE.match(data, error.start):  # made by `_utf8_of`, or half of a pair
            return f"character {len(data[: error.start].decode()) + 1} is none in the encoding of the file"
        return f"byte {error.start} is not UTF-8; a file in another encoding is read with --encoding, as in --encoding latin-1"
    return f"byte {len(data.decode()[:place].encode())} is NUL" if place >= 0 else ""


@contextmanager
def opened_text(raw: BinaryIO, name: str, encoding: str | None = None) -> Iterator[BinaryIO]:
    """What is in a file, unpacked, as UTF-8 without a mark, its lines ended by LF or CRLF. `name` is for messages."""
    with _unpacked(raw, name) as file:
        mark = _mark_of(file.peek(len(codecs.BOM_UTF8)))
        file.read(len(mark))
        used = _encoding(name, MARKS.get(mark), encoding)
        yield cast("BinaryIO", _lines_ended(file if used == "utf-8" else _changed(file, _utf8_of(used))))


def _mark_of(begin: bytes) -> bytes:
    return next((mark for mark in MARKS if begin.startswith(mark)), b"")


def _lines_ended(file: io.BufferedReader) -> io.BufferedReader:
    """Lines that end with CR end with LF."""
    begin = file.peek(CHUNK)
    if b"\r" not in begin or b"\n" in begin:
        return file
    return _changed(file, lambda chunk: chunk.replace(b"\r", b"\n"))


def _encoding(name: str, marked: str | None, said: str | None) -> str:
    said = known_encoding(said)
    if said is None or said == marked or (said == "utf-16" and str(marked).startswith(said)):
        return marked or said or "utf-8"
    if marked is not None:
        msg = f"begins with the byte order mark of {marked}, and --encoding says {ENCODINGS[said]}; leave it out"
        raise UsageError(f"{name}: {msg}")
    if said == "utf-16":
        raise UsageError(f"{name}: begins with no byte order mark; say --encoding utf-16-le or utf-16-be")
    return said


class _InPieces(Protocol):
    def read1(self, size: int, /) -> bytes: ...


class _Changed(io.RawIOBase):
    """What comes out of a file, changed piece by piece: all that it gave before it breaks off. `change` is asked with nothing
    once, at the end."""

    def __init__(self, file: _InPieces, change: Callable[[bytes], bytes]) -> None:
        self._file, self._change = file, change
        self._rest = memoryview(b"")
        self._is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        room = memoryview(buffer)
        while not self._rest and not self._is_over:
            chunk = self._file.read1(CHUNK)
            self._is_over = not chunk
            self._rest = memoryview(self._change(chunk))
        count = min(len(room), len(self._rest))
        room[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _changed(file: _InPieces, change: Callable[[bytes], bytes]) -> io.BufferedReader:
    return io.BufferedReader(_Changed(file, change), CHUNK)


def _utf8_of(encoding: str) -> Callable[[bytes], bytes]:
    """Text of an encoding as UTF-8. What is none becomes half of a surrogate pair, in the way that UTF-8 would have it."""
    errors = "surrogatepass" if encoding.startswith("utf-16") else "surrogateescape"
    decoder = codecs.getincrementaldecoder(encoding)(errors)

    def change(chunk: bytes) -> bytes:
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError:  # half a character stands at the end
            text = BROKEN
        return text.encode("utf-8", "surrogatepass")

    return change


@contextmanager
def _unpacked(raw: BinaryIO, name: str) -> Iterator[io.BufferedReader]:
    begin = raw.read(4)
    raw.seek(0)
    if begin.startswith(GZIP_MAGIC):
        with gzip.open(raw, "rb") as file:
            yield _changed(file, bytes)
    elif begin.startswith(ZIP_MAGIC):
        with _only_file(raw, name) as file:
            yield _changed(file, bytes)
    else:
        yield raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw), CHUNK)


@contextmanager
def _only_file(raw: BinaryIO, name: str) -> Iterator[ZipExtFile]:
    try:
        archive = ZipFile(raw)
        file = cast("ZipExtFile", archive.open(_only_member(archive, name)))
    except ZIP_FAULTS as error:
        raise UsageError(f"{name}: is no zip that can be read: {_why(error)}") from error
    with archive, file:
        yield file


def _only_member(archive: ZipFile, name: str) -> ZipInfo:
    names = [it.filename for it in archive.infolist() if not it.is_dir() and not it.filename.startswith("__MACOSX/")]
    if "[Content_Types].xml" in names:
        raise UsageError(f"{name}: is an Excel workbook; save the sheet as CSV UTF-8")
    if len(names) != 1:
        shown = ", ".join(map(repr, names[:NAMES_SHOWN])) + (" …" if len(names) > NAMES_SHOWN else "")
        what = f"holds {len(names)} files, {shown}" if names else "holds no file"
        raise UsageError(f"{name}: {what}; pack one file of orders")
    member = archive.getinfo(names[0])
    if member.flag_bits & ENCRYPTED:
        raise UsageError(f"{name}: {names[0]!r} in it is encrypted; unpack it first")
    if member.compress_type not in (
        ZIP_STORED,
        ZIP_DEFLATED,
    ):  # those of the others take as much memory as a file asks for
        raise UsageError(f"{name}: {names[0]!r} in it is packed by another method than deflate; unpack it first")
    return member


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
