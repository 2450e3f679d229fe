"""docs/order-files.md has the tables by which files are read."""

import re
from pathlib import Path

import pytest

from saga.fulfilment.order_files import LAYOUTS
from saga.fulfilment.order_rows import PAGE, Layout
from saga.fulfilment.text_files import ENCODINGS

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")


def table_of(layout: Layout) -> str:
    """The table of a layout, as the page has it."""
    rows = [
        f"| {' or '.join(f'`{name}`' for name in column.names)} | {'yes' if column.is_needed else ''} | {column.becomes} |"
        for column in layout.columns
    ]
    return "\n".join(
        [
            f"### {layout.name}",
            "",
            f"{layout.source}.",
            "",
            "| column | needed | what it becomes |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


@pytest.mark.parametrize("layout", LAYOUTS, ids=[layout.name for layout in LAYOUTS])
def test_the_page_has_the_table_of_each_layout(layout: Layout) -> None:
    """To the letter: what a reader sees is what is done."""
    assert table_of(layout) in TEXT


def test_the_page_has_no_other_table() -> None:
    """A layout that is no more is no longer promised."""
    assert len(re.findall(r"^\| column \| needed", TEXT, re.MULTILINE)) == len(LAYOUTS)


def test_the_page_names_each_encoding() -> None:
    """All that `--encoding` takes."""
    assert ", ".join(f"`{name}`" for name in ENCODINGS.values()) in TEXT
