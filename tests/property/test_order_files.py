"""Whatever is in a file of orders, reading it ends in orders, refusals and one `UsageError` at most, and no line is lost."""

import csv
import gzip
import json
import zipfile
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saga.errors import UsageError
from saga.fulfilment.csv_text import head_of, records_of
from saga.fulfilment.intake import Refused, line_count
from saga.fulfilment.models import Order
from saga.fulfilment.order_files import read_orders
from saga.fulfilment.order_rows import Reading
from saga.fulfilment.text_files import ENCODINGS, Meter
from tests.unit.fulfilment.test_order_files import order_text
from tests.unit.fulfilment.test_shop_exports import (
    LAYOUTS,
    ONE_ROW,
    SHOPIFY,
    SHOPIFY_MORE,
    WOO,
    WOO_MORE,
    evil_line,
    text_of,
)

SHORT = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
RETAIL = (
    'Invoice;StockCode;Description;Quantity;Price;Customer ID;Country\n1;A;"a ""b""\nc";6;2,55;17850.0;France\n2;B;b;1;1;;France\n'
    "1;C;c;1;1.000,50;17850.0;France\nC3;A;a;-1;2,55;17850.0;France\nA4;B;b;1;-5;;\n\n5;B;b;0;1;;France\n"
)
VALID = [
    RETAIL,
    text_of(LAYOUTS["shopify"], SHOPIFY, SHOPIFY_MORE, SHOPIFY | {"Name": "2", "Cancelled at": "now"}),
    text_of(LAYOUTS["woo"], WOO, WOO_MORE, WOO | {"order_number": "3", "order_total": "1"}, delimiter="\t"),
    "\n".join([order_text("SO-1"), "", order_text("SO-2"), order_text("SO-1"), "{", order_text("SO-2", country="X")]),
]
cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
pieces = st.one_of(
    st.sampled_from(
        [
            "",
            '"',
            '""',
            "\n",
            "\r\n",
            "\r",
            ";",
            ",",
            "\t",
            "\x00",
            "\ufeff",
            "0",
            "-",
            "1.234",
            "{",
            "[",
            "'",
            "é",
            "C",
        ]
    ),
    st.text(max_size=4),
)


def packed(data: bytes, how: str) -> bytes:
    if how == "gzip":
        return gzip.compress(data, mtime=0)
    if how == "zip":
        into = BytesIO()
        with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("orders", data)
        return into.getvalue()
    return data


def read(path: Path, data: bytes, encoding: str | None = None) -> list[object]:
    """What is found in a file; every line that was read is accounted for, and each refusal says its own."""
    path.write_bytes(data)
    meter = Meter()
    found: list[object] = []
    told = ""
    try:
        found.extend(read_orders(path, meter, Reading(encoding)))
    except UsageError as error:
        told = str(error)
    if told:
        assert told.startswith(f"{path}: ")
        assert "\n" not in told
        return found
    lines = meter.lines
    assert lines.read == lines.empty + lines.in_orders + lines.refused + lines.skipped
    assert lines.refused == sum(line_count(it.lines) for it in found if isinstance(it, Refused))
    return found


@SHORT
@given(
    data=st.binary(max_size=300),
    begin=st.sampled_from([b"", b"{", b"\x1f\x8b\x08", b"PK\x03\x04", b"\xff\xfe", RETAIL[:70].encode()]),
)
def test_bytes_are_read_or_refused(tmp_path: Path, data: bytes, begin: bytes) -> None:
    """Any, also those that begin like a file that is known."""
    read(tmp_path / "orders", begin + data)


@SHORT
@given(
    text=st.sampled_from(VALID),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 9), pieces), max_size=6),
    encoding=st.sampled_from([None, *ENCODINGS]),
    how=st.sampled_from(["plain", "gzip", "zip"]),
    damage=st.none() | st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)),
)
def test_files_with_faults_lose_no_line(
    tmp_path: Path,
    text: str,
    edits: list[tuple[float, int, str]],
    encoding: str | None,
    how: str,
    damage: tuple[float, int] | None,
) -> None:
    """Pieces are cut out of a file and put into it, and a byte of it is changed as it lies on the disk."""
    for where, length, piece in edits:
        at = int(where * len(text))
        text = text[:at] + piece + text[at + length :]
    data = packed(text.encode(encoding or "utf-8", "replace"), how)
    if damage is not None:
        at = int(damage[0] * len(data))
        data = data[:at] + bytes([damage[1]]) + data[at + 1 :]
    read(tmp_path / "orders", data, encoding)


@SHORT
@given(
    rows=st.lists(st.lists(cells, min_size=3, max_size=3), max_size=8),
    separator=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from([None, "utf-8-sig", "utf-16"]),
    how=st.sampled_from(["plain", "gzip", "zip"]),
)
def test_what_python_writes_is_read_back(
    tmp_path: Path, rows: list[list[str]], separator: str, quoting: int, end: str, encoding: str | None, how: str
) -> None:
    """Rows in any dialect, with quotes, separators and line breaks in their cells, are the same rows."""
    if quoting == csv.QUOTE_MINIMAL:  # before Python 3.13 the writer leaves a lone CR without quotes
        rows = [[cell.replace("\r", " ") for cell in row] for row in rows]
    text = StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerows([["first", "se,co;nd", "third"], *rows])
    path = tmp_path / "rows"
    path.write_bytes(packed(text.getvalue().encode(encoding or "utf-8"), how))
    found = list(records_of(path, head_of(path), has_notes=True))
    assert [it.fault for it in found if it.fault] == []
    assert [it.cells for it in found] == [row for row in rows if any(map(str.strip, row))]


@SHORT
@given(broken=st.integers(0, 3), rest=st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=30))
def test_a_broken_line_spoils_no_order_but_its_own(tmp_path: Path, broken: int, rest: str) -> None:
    """A line with a quote that is not closed, anywhere, with anything behind it: the orders of the lines around it are there."""
    rows = [f'{number};A;"two ""words""";1;1;;France' for number in range(4)]
    rows.insert(broken, f'X;"{rest.replace(chr(34), chr(34) * 2)}')
    found = read(tmp_path / "orders", "\n".join([RETAIL.partition("\n")[0], *rows]).encode())
    assert [it.order_id for it in found if isinstance(it, Order)] == ["0", "1", "2", "3"]
    assert len(found) == 5


NOTES_LAST = [name for name in LAYOUTS["shopify"] if name != "Notes"] + ["Notes"]
EVIL_ROW, EVIL_LAST = evil_line(LAYOUTS["shopify"]), evil_line(NOTES_LAST)


def is_without_fault(text: str) -> bool:
    """Whether a strict reader takes a file, each record with as many cells as the header."""
    try:
        return len({len(row) for row in csv.reader(StringIO(text, newline=""), strict=True) if row}) == 1
    except csv.Error:
        return False


@SHORT
@given(
    note=st.lists(
        st.sampled_from(
            ['"', '""', "\n", "\n\n", ",", " ", f"\n{EVIL_ROW}\n", f"\n{EVIL_LAST}\n", EVIL_LAST, "\\", "a", "5"]
        )
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="~\r\0"), max_size=4),
        max_size=9,
    ).map("".join),
    is_last=st.booleans(),
    is_doubled=st.booleans(),
)
def test_a_line_of_a_note_is_no_order(tmp_path: Path, note: str, is_last: bool, is_doubled: bool) -> None:
    """Whatever a customer writes, whole rows too, and whether or not the shop doubles his quotes. One exception nobody can tell: a
    file that is without any fault as it stands."""
    header = NOTES_LAST if is_last else LAYOUTS["shopify"]
    rows = [ONE_ROW | {"Name": name, "Notes": "~~" if name == "2" else ""} for name in "123"]
    cell = '"' + (note.replace('"', '""') if is_doubled else note) + '"'
    text = text_of(header, *rows).replace("~~", cell)
    ids = [it.order_id for it in read(tmp_path / "orders", text.encode()) if isinstance(it, Order)]
    if is_doubled:
        assert ids == ["1", "2", "3"]
    elif not is_without_fault(text):
        assert "#EVIL" not in ids


@pytest.mark.parametrize("text", VALID)
def test_the_files_that_are_spoiled_above_are_whole(tmp_path: Path, text: str) -> None:
    """Each holds at least an order and something else, so that a fault can meet both."""
    found = read(tmp_path / "orders", text.encode())
    assert any(isinstance(it, Order) for it in found)
    assert not all(isinstance(it, Order) for it in found)
    assert json.dumps([str(it) for it in found])
