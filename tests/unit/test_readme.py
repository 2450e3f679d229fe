"""The README's code is the code: each block that names its file stands in it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"<!-- from (\S+) -->\n```python\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(("path", "block"), BLOCKS, ids=[path for path, _ in BLOCKS])
def test_the_block_stands_in_its_file(path: str, block: str) -> None:
    """To the letter, so that a reader types what runs."""
    assert block in (ROOT / path).read_text()


def test_both_definitions_are_shown() -> None:
    """The product's and one of a user's own."""
    assert [path for path, _ in BLOCKS] == ["saga/fulfilment/fulfil_order.py", "examples/shop.py"]
