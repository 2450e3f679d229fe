"""docs/tutorial.md: a reader who types its commands sees what it shows."""

from pathlib import Path

import pytest

from tests.examples.tutorial import DEV, PAGE, blocks_of, masked, typed

SETUP = ["cd examples", "source ../.venv/bin/activate"]


@pytest.mark.timeout(480)
def test_the_screen_says_what_the_tutorial_shows(tmp_path: Path) -> None:
    """Every command of the page, in its order, against a real `saga dev`; ids, times, ports and measures apart."""
    blocks = blocks_of(PAGE.read_text())
    for block, printed in typed(blocks, tmp_path):
        assert masked(printed) == masked(block.shown), block.command


def test_every_command_of_the_page_is_known() -> None:
    """What the suite does not type is what puts `saga` on the path; a block in another form would not be typed at all."""
    text = PAGE.read_text()
    commands = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    blocks = blocks_of(text)
    assert len(blocks) == text.count("```console")
    assert [it for it in commands if not it.startswith("saga ")] == SETUP
    assert [it.command for it in blocks if it.command != SETUP[0]] == [it for it in commands if it not in SETUP]
    assert [it.command for it in blocks].count(DEV) == 1


def test_the_page_shows_what_it_tells() -> None:
    """A delivered order and its mail, a refusal at shipping that cost nothing, a hold that was freed, money refunded."""
    shown = {block.command: block.shown for block in blocks_of(PAGE.read_text())}
    assert "Your order SO-2001 is on its way" in shown["saga mailbox SO-2001"]
    assert "book_shipment rejected: undeliverable" in shown["saga show SO-2002"]
    assert "has no row of SO-2002" in shown["saga ledger payment SO-2002"]
    assert "holds → customer:SO-2003" in shown["saga ledger payment SO-2003"]
    assert "merchant → customer:SO-2001" in shown["saga ledger payment SO-2001"]
