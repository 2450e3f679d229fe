"""A file of text is the same lines, however it is packed and encoded."""

import gzip
import tracemalloc
import zipfile
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from saga.errors import UsageError
from saga.fulfilment.text_files import LINE_MAX, Line, known_encoding, lines_of, text_fault, unmarked

TEXT = "Größe,€ 5\nzweite,Zeile\n"


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name, (2026, 11, 29, 0, 0, 0)), data, method)
    return packed.getvalue()


def read(tmp_path: Path, data: bytes, encoding: str | None = None) -> list[Line]:
    path = tmp_path / "orders"
    path.write_bytes(data)
    return list(lines_of(path, encoding=encoding))


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zip": lambda data: zipped(("orders.csv", data)),
    "stored zip": lambda data: zipped(("orders.csv", data), method=zipfile.ZIP_STORED),
    "zip of a Mac": lambda data: zipped(("a/", b""), ("a/orders.csv", data), ("__MACOSX/a/._orders.csv", b"\x00\x05")),
}
ENCODED = {
    "UTF-8": (TEXT.encode(), None),
    "UTF-8 with its mark": (BOM_UTF8 + TEXT.encode(), None),
    "UTF-8 said": (BOM_UTF8 + TEXT.encode(), "UTF8"),
    "UTF-16 LE": (BOM_UTF16_LE + TEXT.encode("utf-16-le"), None),
    "UTF-16 BE": (BOM_UTF16_BE + TEXT.encode("utf-16-be"), None),
    "UTF-16 said": (BOM_UTF16_BE + TEXT.encode("utf-16-be"), "utf-16"),
    "UTF-16 without its mark": (TEXT.encode("utf-16-be"), "utf-16-be"),
    "Latin-9 said": (TEXT.encode("iso-8859-15"), "ISO8859-15"),
    "Windows said": (TEXT.encode("cp1252"), "cp1252"),
    "CR": (TEXT.replace("\n", "\r").encode(), None),
    "CR in UTF-16": (BOM_UTF16_LE + TEXT.replace("\n", "\r").encode("utf-16-le"), None),
}


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("encoded", ENCODED)
def test_the_same_lines(tmp_path: Path, packed: str, encoded: str) -> None:
    """Packed and encoded in any way they come out as UTF-8."""
    data, said = ENCODED[encoded]
    lines = read(tmp_path, PACKED[packed](data), said)
    assert [(line.number, line.data.decode()) for line in lines] == [(1, "Größe,€ 5\n"), (2, "zweite,Zeile\n")]


def test_the_last_line_needs_no_end(tmp_path: Path) -> None:
    """And CRLF is kept as it is: a quoted cell may hold it."""
    assert [line.data for line in read(tmp_path, b"a\r\nb\rc\n\nd")] == [b"a\r\n", b"b\rc\n", b"\n", b"d"]


@pytest.mark.parametrize(
    ("data", "said", "why"),
    [
        (b"caf\xe9\n", None, "byte 3 is not UTF-8; a file in another encoding is read with --encoding"),
        (b"caf\x81\n", "windows-1252", "character 4 is none in the encoding of the file"),
        (BOM_UTF16_LE + b"a\x00\x00\xd8b\x00\n\x00", None, "character 2 is none in the encoding of the file"),
        (BOM_UTF16_BE + b"\x00a\x00", None, "character 2 is none in the encoding of the file"),
        (BOM_UTF16_BE + b"\xd8\x00", None, "character 1 is none in the encoding of the file"),
    ],
)
def test_a_broken_character_spoils_its_line(tmp_path: Path, data: bytes, said: str | None, why: str) -> None:
    """It is told by that line alone; those before and behind it are text."""
    told = [text_fault(line.data) for line in read(tmp_path, data, said)]
    assert told[-1].startswith(why)
    assert not any(told[:-1])


@pytest.mark.parametrize(
    ("data", "said", "says"),
    [
        (zipped(), None, "holds no file; pack one"),
        (zipped(("a.csv", b""), ("b.csv", b"")), None, "holds 2 files, 'a.csv', 'b.csv'; pack one"),
        (zipped(*[(f"{it}.csv", b"") for it in range(9)]), None, "holds 9 files, '0.csv', .*'4.csv' …; pack one"),
        (zipped(("[Content_Types].xml", b""), ("xl/workbook.xml", b"")), None, "is an Excel workbook; save"),
        (zipped(("a.csv", b"x" * 99), method=zipfile.ZIP_LZMA), None, "'a.csv' in it is packed by another method"),
        (zipped(("a.csv", b"x" * 99))[:60], None, "is no zip that can be read"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], None, "cannot be read"),
        (
            BOM_UTF8 + b"a",
            "latin-1",
            "begins with the byte order mark of utf-8, and --encoding says latin-1; leave it out",
        ),
        (BOM_UTF16_LE + b"a\x00", "utf-16-be", "begins with the byte order mark of utf-16-le"),
        (b"a\x00", "utf-16", "begins with no byte order mark; say --encoding utf-16-le or utf-16-be"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, data: bytes, said: str | None, says: str) -> None:
    """One line that names the file and what to do."""
    with pytest.raises(UsageError, match=says):
        read(tmp_path, data, said)


def test_an_encrypted_zip_is_named(tmp_path: Path) -> None:
    """The standard library writes none: the flag is set by hand in both places that have it."""
    data = bytearray(zipped(("a.csv", b"x")))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UsageError, match=r"'a.csv' in it is encrypted; unpack it first"):
        read(tmp_path, bytes(data))


def test_an_encoding_is_one_that_is_known() -> None:
    """A name that Python knows for something else than text is none either."""
    assert known_encoding(None) is None
    assert known_encoding("ISO-8859-1") == known_encoding("latin-1") == "iso8859-1"
    for name in ("", "latin-99", "hex", "rot13", "idna", "a\x00b"):
        with pytest.raises(UsageError, match="is not read; say one of utf-8, utf-16, "):
            known_encoding(name)


@pytest.mark.parametrize("packed", ["gzip", "zip"])
def test_a_small_file_that_unpacks_to_a_great_one(tmp_path: Path, packed: str) -> None:
    """It is read piece by piece; a line without an end is dropped while it is."""
    path = tmp_path / "orders"
    path.write_bytes(PACKED[packed](b"\x00" * (8 * LINE_MAX) + b"\nlast"))
    tracemalloc.start()
    try:
        lines = [(line.number, line.is_whole) for line in lines_of(path)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert lines == [(1, False), (2, True)]
    assert peak < 5 * LINE_MAX


@pytest.mark.parametrize("data", [b"{}", BOM_UTF8 + b"{}", BOM_UTF16_LE + b"{\x00}\x00", BOM_UTF16_BE + b"\x00{\x00}"])
def test_a_body_without_its_mark(data: bytes) -> None:
    """What comes over HTTP is read by its mark as a file is."""
    assert unmarked(data) == b"{}"


def test_half_a_character_in_a_body_is_no_text() -> None:
    """It is kept as something that no parser takes."""
    assert text_fault(unmarked(BOM_UTF16_LE + b"{\x00}"))
