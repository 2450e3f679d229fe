"""One protection taken out of the code: what is changed, what it lets happen, and which tests must say so.

A mutant is data. Its old text stands exactly once in its file, so that nobody can be mistaken about what is changed, and a
change of the code that moves the text away is noticed: `fault_of` says which mutant is out of date.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Mutant:
    """`name` for people, `path` from the root of the checkout, `old` becomes `new`."""

    name: str
    path: str
    old: str
    new: str
    trace: str
    """What happens without the protection, in one line."""
    killed_by: tuple[str, ...]
    """Node ids of pytest. Each must fail; of a test with parameters that is named without them, one case."""

    def applied_to(self, text: str) -> str:
        return text.replace(self.old, self.new)


def fault_of(mutant: Mutant, root: Path = ROOT) -> str | None:
    """Why this mutant is out of date; None when it still applies, compiles, and its tests are still there."""
    file = root / mutant.path
    if not file.exists():
        return f"{mutant.name}: there is no {mutant.path}"
    text = file.read_text()
    if (count := text.count(mutant.old)) != 1:
        return f"{mutant.name}: its old text stands {count} times in {mutant.path} and must stand there once"
    try:
        compile(mutant.applied_to(text), mutant.path, "exec")
    except SyntaxError as error:
        return f"{mutant.name}: {mutant.path} does not compile: {error.msg} (line {error.lineno})"
    for node_id in mutant.killed_by:
        test_path, _, test = node_id.partition("::")
        test_file = root / test_path
        if not test_file.exists() or f"def {test.partition('[')[0]}(" not in test_file.read_text():
            return f"{mutant.name}: there is no test {node_id}"
    return None


@contextmanager
def applied(mutant: Mutant, root: Path) -> Iterator[None]:
    """The mutant in the checkout at `root` until the block ends. Never to be used on a checkout that somebody works in."""
    file = root / mutant.path
    before = file.read_text()
    _write(file, mutant.applied_to(before))
    try:
        yield
    finally:
        _write(file, before)


def _write(file: Path, text: str) -> None:
    # Byte code is told from its source by second and size, and a mutant may have both of the original.
    Path(cache_from_source(str(file))).unlink(missing_ok=True)
    file.write_text(text)
