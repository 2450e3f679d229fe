"""One CSV reader: every dialect gives the same records, and a quote that is not closed spoils one line."""

import csv
from io import StringIO
from pathlib import Path

import pytest

from saga.clock import monotonic
from saga.errors import UsageError
from saga.fulfilment.csv_text import (
    HOLDS_A_RECORD,
    RECORD_MAX,
    RECORD_TOO_LONG,
    UNCLOSED,
    Head,
    Record,
    head_of,
    records_of,
)
from saga.fulfilment.text_files import LINE_MAX, Meter

ROWS = [
    ["id", "sku", "note, or so", "price"],
    ["1", "A", 'two\nlines, "quoted"', "1"],
    ["2", "B", "", "2;5"],
    ["3", "C", "a\r\nb\tc", "3"],
]


def found(path: Path, *, has_notes: bool = False, meter: Meter | None = None) -> tuple[Head, list[Record]]:
    head = head_of(path)
    return head, list(records_of(path, head, has_notes=has_notes, meter=meter))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file.csv"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_every_dialect_gives_the_same_records(tmp_path: Path, separator: str, quoting: int, end: str) -> None:
    """The separator is told by the header, also where names are quoted and hold another one; cells hold what was written."""
    text = StringIO(newline="")
    csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end).writerows(ROWS)  # type: ignore[arg-type]
    head, records = found(written(tmp_path, "\ufeff" + text.getvalue()))
    assert (list(head.names), head.separator) == (ROWS[0], separator)
    assert [record.cells for record in records] == ROWS[1:]
    assert [(record.first, record.last) for record in records] == [(2, 3), (4, 4), (5, 6)]


@pytest.mark.parametrize("has_notes", [False, True])
def test_a_line_that_is_a_record_by_itself_is_not_swallowed(tmp_path: Path, has_notes: bool) -> None:
    """The quote of the first row was closed by the second with the right number of cells: one order was lost, and another had its
    price. Where customers write it may be a line of a note."""
    path = written(tmp_path, 'id,sku,price\n1,"X,2\n2,Y",3\n3,Z,1\n')
    _, records = found(path, has_notes=has_notes)
    assert [it.fault for it in records] == ["" if has_notes else HOLDS_A_RECORD, ""]
    assert [(it.first, it.last, it.cells[:1]) for it in records] == [(2, 3, ["1"] if has_notes else []), (4, 4, ["3"])]


def test_a_name_of_a_column_may_have_a_line_break(tmp_path: Path) -> None:
    """As spreadsheets write it; a first line that breaks the rules is a header as well as it goes, and no traceback."""
    head, records = found(written(tmp_path, 'id,"note,\nor so"\n1,2\n'))
    assert (head.names, head.number) == (("id", "note,\nor so"), 2)
    assert records == [Record(3, 3, ["1", "2"])]
    head, _ = found(written(tmp_path, 'id,"note\n1,2\n'))
    assert (head.names, head.number) == (("id", "note\n"), 1)


def test_what_excel_says_above_the_header(tmp_path: Path) -> None:
    """`sep=;` names the separator, and is no header."""
    head, records = found(written(tmp_path, "sep=;\r\na,b;c\r\n1,2;3\r\n"))
    assert (head.names, head.separator, head.number) == (("a,b", "c"), ";", 2)
    assert records == [Record(3, 3, ["1,2", "3"])]


def test_lines_without_content_are_no_records(tmp_path: Path) -> None:
    """Above the header, between records, at the end, and those of separators alone; each is counted."""
    meter = Meter()
    _, records = found(written(tmp_path, "\n\na,b\n\n1,2\n,\n,\t\n3,4\n \n"), meter=meter)
    assert [record.cells for record in records] == [["1", "2"], ["3", "4"]]
    assert (meter.lines.read, meter.lines.empty) == (9, 7)


@pytest.mark.parametrize(
    "behind",
    [
        ['2,"b""b"', "3,c"],
        ["2,b", "3,c"],
        ["2,b", "3,c", '4,"d'],
        ["2,b", '3,"c\nc"'],
    ],
    ids=["before a quoted cell", "before none", "before another", "before a cell of two lines"],
)
def test_a_quote_that_is_not_closed_spoils_one_line(tmp_path: Path, behind: list[str]) -> None:
    """Whatever comes behind it is read as if it had not been there."""
    head, records = found(written(tmp_path, "\n".join(["id,note", '1,"a', *behind])))
    assert records[0] == Record(2, 2, ["1"], UNCLOSED)
    _, others = found(written(tmp_path, "\n".join(["id,note", "1,a", *behind])))
    assert records[1:] == others[1:]
    assert len(head.names) == 2


def test_two_broken_quotes_are_not_one_cell(tmp_path: Path) -> None:
    """The second would close the first, and the order between them would be lost; where customers write notes all that follows is
    refused with it, for what stands there may be theirs."""
    text = 'id,note,more\n1,"a\n2,b,b\n3,"\n4,d,d\n'
    _, records = found(written(tmp_path, text))
    assert [(it.first, it.last, bool(it.fault)) for it in records] == [
        (2, 2, True),
        (3, 3, False),
        (4, 4, True),
        (5, 5, False),
    ]
    _, records = found(written(tmp_path, text), has_notes=True)
    assert records == [Record(2, 5, ["1"], "has 2 cells instead of 3", is_rest=True)]


@pytest.mark.parametrize(
    ("line", "cells", "fault"),
    [
        ('1,"a"b"', ["1"], "has a quote inside of a quoted cell that is not doubled"),
        ("1", ["1"], "has 1 cells instead of 2"),
        ("1,2,3", ["1"], "has 3 cells instead of 2"),
        ('"1,2', ["1"], UNCLOSED),
        ("1,a\rb", ["1"], "has a carriage return outside of quotes"),
        ("1," + "x" * 140_000, ["1"], "field larger than field limit (131072)"),
        ("1," + "x" * LINE_MAX, ["1"], "longer than a line may be"),
    ],
)
def test_a_broken_line(tmp_path: Path, line: str, cells: list[str], fault: str) -> None:
    """It says why, and what of it could be read; the lines around it are records."""
    _, records = found(written(tmp_path, f"id,note\n0,a\n{line}\n9,z\n"))
    assert records == [Record(2, 2, ["0", "a"]), Record(3, 3, cells, fault), Record(4, 4, ["9", "z"])]


@pytest.mark.parametrize(
    ("line", "is_rest"),
    [
        ('1,"a"b"', True),
        ('1,"a"b" and "c"', True),
        ('"1,2', True),
        ('1,"2",3', True),
        ('1,2",3', True),
        ('"1",a\rb', True),
        ("1," + "x" * LINE_MAX, True),
        ("1", False),
        ("1,2,3", False),
        ("1,a\rb", False),
        ("1," + "x" * 140_000, False),
    ],
)
def test_behind_a_broken_quote_nothing_is_certain_where_customers_write(
    tmp_path: Path, line: str, is_rest: bool
) -> None:
    """It is refused with all that follows; a line without any quote ends no note and begins none, so it is refused alone."""
    _, records = found(written(tmp_path, f"id,note\n0,a\n{line}\n8,y\n9,z\n"), has_notes=True)
    assert (records[0], records[1].is_rest, records[1].first) == (Record(2, 2, ["0", "a"]), is_rest, 3)
    assert bool(records[1].fault)
    assert records[2:] == ([] if is_rest else [Record(4, 4, ["8", "y"]), Record(5, 5, ["9", "z"])])


def test_a_broken_character_in_a_later_line_is_named(tmp_path: Path) -> None:
    """The whole record is refused, and says in which of its lines."""
    path = tmp_path / "file.csv"
    path.write_bytes(b'id,note\n1,"a\n\xff"\n2,b\n')
    _, records = found(path)
    assert records[0].fault.startswith("line 3 in it: byte 0 is not UTF-8")
    assert records[1].cells == ["2", "b"]


def test_a_record_that_does_not_end_is_bounded(tmp_path: Path) -> None:
    """By characters of a cell; then its first line is refused and the others are read by themselves. No byte is read
    many times, so a file of such lines is no longer work than another."""
    behind = ['1,"', *["2,bbbbbbbb"] * (RECORD_MAX // 8)]
    began = monotonic()
    _, records = found(written(tmp_path, "\n".join(["id,note", *behind * 3])))
    assert [record.first - 2 for record in records if record.fault] == [0, len(behind), 2 * len(behind)]
    assert len(records) == 3 * len(behind)
    assert monotonic() - began < 20  # about one alone


def test_a_file_of_open_quotes_is_read_in_time(tmp_path: Path) -> None:
    """Each of its lines ends a quoted cell and begins the next, so that none of them breaks the rules: each is refused, and none is
    read more often than a bound allows."""
    path = written(tmp_path, "id,note\n" + 'xxxxxxxxxx","\n' * 60_000 + "1,a\n")
    began, records = monotonic(), []
    for record in records_of(path, head_of(path), has_notes=False):
        records.append(record)
        assert monotonic() - began < 20  # about two alone
    assert [(it.first, it.last) for it in records] == [(number, number) for number in range(2, 60_003)]
    assert [it.first for it in records if not it.fault] == [60_002]


@pytest.mark.parametrize(
    ("cell", "count"),
    [("\n" * 2_000, 12), ("a" * 50_000 + "\n" + "b" * 50_000, 12), ("\n" + "1,a\n" * 40_000, 1)],
    ids=["many lines", "many cells", "one cell"],
)
def test_a_record_that_is_too_long(tmp_path: Path, cell: str, count: int) -> None:
    """Its first line is refused and what stands in it is read by itself; where customers write notes all that follows is refused
    with it."""
    cells = ",".join([f'"{cell}"'] * count)
    path = written(tmp_path, f"id,note\n0,{cells}\n9,z\n")
    _, records = found(path, has_notes=True)
    last = len(path.read_bytes().splitlines())
    assert [(it.first, it.last, it.cells, it.is_rest) for it in records] == [(2, last, ["0"], True)]
    assert records[0].fault == RECORD_TOO_LONG
    _, records = found(path)
    assert (records[0].first, records[0].last, records[0].fault) == (2, 2, UNCLOSED)
    assert 3 <= records[1].first <= 2_002
    assert records[-1].cells == ["9", "z"]


def test_a_header_that_is_no_text_is_named(tmp_path: Path) -> None:
    """By file and line; a file without content has no header."""
    path = tmp_path / "file.csv"
    path.write_bytes(b"\nid,\xff\n")
    with pytest.raises(UsageError, match=r"file.csv: line 2: byte 3 is not UTF-8"):
        head_of(path)
    assert head_of(written(tmp_path, "\n \n")) == Head(())
