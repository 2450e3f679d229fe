"""The commands of docs/tutorial.md, typed in their order; `python -m tests.examples.tutorial` writes down what they print.

A block of the document begins with a command after `$`; the rest of it is what the command put on stdout. `saga dev` is the
one that stays up. A block behind `<!-- until: TEXT -->` is typed again until its output holds the text, as a reader does who
was too quick.
"""

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.commands import ROOT, Place, stop
from tests.waiting import wait_until

PAGE = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"(?:<!-- until: (?P<until>.+) -->\n)?```console\n(?P<text>\$ .*?)\n?```", re.DOTALL)
DEV = "saga dev"
SETTLED_S = 60.0
CHANGING = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "SAGA"),
    (r"\b[a-z2-7]{32}\b", "KEY"),
    (r"\b[A-Z0-9]{13,}\b", "TRACKING"),
    (r"127\.0\.0\.1:\d+", "HOST"),
    (r"\w{3}, \d{1,2} \w{3} \d{4}|\d{4}-\d\d-\d\d", "DATE"),
    (r"\d\d:\d\d:\d\d(\.\d{3})?", "TIME"),
    (r"[\d,.]+ (ms|s|min|MB)\b", "MEASURED"),
    (r"(?m)^ +(\* \w+ +)?(try \d+:.*|… \d+ more)\n", ""),
    (r"(?<=throttled) \*", ""),
    (r"\d+(?= +throttled)|(?<=journal )[\d,]+|(?<=; try )\d+", "COUNT"),
    (r"[▇░]+", ""),
    (r"-{10,}", "RULE"),
    (r"[ \t]+", " "),
    (r" *\n", "\n"),
)
"""What another run prints otherwise, in the order in which it is masked."""


@dataclass(frozen=True)
class Block:
    """A command of the document, and what the document shows of its output."""

    command: str
    shown: str
    until: str = ""


def blocks_of(page: str) -> list[Block]:
    return [_block(found) for found in BLOCK.finditer(page)]


def _block(found: re.Match[str]) -> Block:
    command, _, shown = found["text"].removeprefix("$ ").partition("\n")
    return Block(command, shown, found["until"] or "")


def masked(text: str) -> str:
    for pattern, word in CHANGING:
        text = re.sub(pattern, word, text)
    return text.strip()


def typed(blocks: list[Block], folder: Path) -> Iterator[tuple[Block, str]]:
    """Each `saga` command with what it printed, in a home of its own in `folder`."""
    place = Place(ROOT / "examples", folder / "home")
    with ExitStack() as parts:
        for block in blocks:
            if block.command == DEV:
                parts.callback(stop, parts.enter_context(place.running(["dev"], "ready; ctrl-C stops")))
                printed = next(folder.glob("dev-*.log")).read_text()
            elif block.command.startswith("saga "):
                printed = _printed(place, block)
            else:
                continue
            yield block, printed.replace(str(place.home), ".saga").rstrip("\n")


def _printed(place: Place, block: Block) -> str:
    arguments = shlex.split(block.command)[1:]

    def out() -> str:
        done = place.run(*arguments)
        assert "Traceback" not in done.err, done.err
        return done.out if block.until in done.out else ""

    return wait_until(out, SETTLED_S, what=f"{block.command}: {block.until}")


def rewritten(page: str, folder: Path) -> str:
    """The page with what its commands print now."""
    printed = iter([out for _, out in typed(blocks_of(page), folder)])

    def written(found: re.Match[str]) -> str:
        block = _block(found)
        if not block.command.startswith("saga "):
            return found[0]
        before = found[0].partition("$ ")[0]
        return f"{before}$ {block.command}\n{next(printed)}\n```"

    return BLOCK.sub(written, page)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        PAGE.write_text(rewritten(PAGE.read_text(), Path(folder)))
