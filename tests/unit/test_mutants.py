"""The table of mutants is up to date, and the tool that tries them counts nothing but a named test that failed."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants import __main__ as tool
from tests.mutants.core import CORE
from tests.mutants.customers import CUSTOMERS
from tests.mutants.files import FILES
from tests.mutants.mutant import ROOT, Mutant, applied, fault_of
from tests.mutants.participants import PARTICIPANTS
from tests.mutants.runtime import RUNTIME
from tests.mutants.store import STORE
from tests.mutants.surfaces import SURFACES
from tests.mutants.table import MUTANTS
from tests.mutants.tenancy import TENANCY

COPY = Path("/copy")
SAGA = "/copy/saga/__init__.py"
MUTANT = Mutant("m", "saga/a.py", "x = 1\n", "x = 2\n", "x is 2", ("tests/t.py::test_x", "tests/t.py::test_y"))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda it: it.name)
def test_a_mutant_still_applies(mutant: Mutant) -> None:
    """Its old text stands once in its file, the file compiles with the new one, and its tests exist."""
    assert fault_of(mutant) is None
    assert mutant.old != mutant.new
    assert mutant.killed_by
    assert "\n" not in mutant.trace


def test_names_are_names() -> None:
    """Each is used once, so the command line can ask for it."""
    names = [it.name for it in MUTANTS]
    assert len(names) == len(set(names))


TABLES = {
    "the machine": CORE,
    "participants": PARTICIPANTS,
    "stores": STORE,
    "runtime": RUNTIME,
    "environments": TENANCY,
    "customers": CUSTOMERS,
    "files": FILES,
    "surfaces": SURFACES,
}
"""How the row of each table begins in docs/verification.md."""


def test_the_page_counts_what_the_tables_have() -> None:
    """A row of the page for each table, with its number of mutants, and no mutant without a row."""
    page = (ROOT / "docs" / "verification.md").read_text(encoding="utf-8")
    table = page.partition("| floor | mutants |")[2].partition("\n\n")[0]
    told = re.findall(r"^\| (.+) \| (\d+) \|", table, re.MULTILINE)
    counted = {name: next((int(it) for row, it in told if row.startswith(name)), None) for name in TABLES}
    assert counted == {name: len(rows) for name, rows in TABLES.items()}
    assert len(told) == len(TABLES)
    assert sum(map(len, TABLES.values())) == len(MUTANTS)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout to which `MUTANT` applies."""
    (tmp_path / "saga").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "saga" / "a.py").write_text("x = 1\n")
    (tmp_path / "tests" / "t.py").write_text("def test_x() -> None: ...\n\n\ndef test_y() -> None: ...\n")
    return tmp_path


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"path": "saga/b.py"}, "m: there is no saga/b.py"),
        ({"old": "y = 1"}, "m: its old text stands 0 times in saga/a.py"),
        ({"new": "x = ="}, "m: saga/a.py does not compile"),
        ({"killed_by": ("tests/t.py::test_z",)}, "m: there is no test tests/t.py::test_z"),
        ({"killed_by": ("tests/u.py::test_x",)}, "m: there is no test tests/u.py::test_x"),
    ],
    ids=["file", "text", "syntax", "test", "test file"],
)
def test_what_is_out_of_date_is_named(checkout: Path, change: dict[str, object], told: str) -> None:
    """With the mutant and what is missing."""
    assert fault_of(MUTANT, checkout) is None
    assert (fault_of(replace(MUTANT, **change), checkout) or "").startswith(told)  # type: ignore[arg-type]  # fields


def test_a_text_that_stands_twice_is_out_of_date(checkout: Path) -> None:
    """Nobody could tell which of the two was meant."""
    (checkout / "saga" / "a.py").write_text("x = 1\nx = 1\n")
    assert "stands 2 times" in (fault_of(MUTANT, checkout) or "")


def test_a_mutant_is_taken_out_again(checkout: Path) -> None:
    """Also when what ran with it broke off."""
    file = checkout / "saga" / "a.py"
    with pytest.raises(KeyboardInterrupt), applied(MUTANT, checkout):
        assert file.read_text() == "x = 2\n"
        raise KeyboardInterrupt
    assert file.read_text() == "x = 1\n"


BOTH = ["tests/t.py::test_x[1]", "tests/t.py::test_y"]


@pytest.mark.parametrize(
    ("ended", "why"),
    [
        (tool.Ended(1, SAGA, failed=BOTH), ""),
        (tool.Ended(1, SAGA, failed=BOTH[:1], passed=BOTH[1:]), "survived tests/t.py::test_y"),
        (tool.Ended(0, SAGA, passed=BOTH), "survived tests/t.py::test_x, tests/t.py::test_y"),
        (tool.Ended(1, SAGA, failed=["tests/t.py::test_xy", BOTH[1]]), "survived tests/t.py::test_x"),
        (tool.Ended(1, SAGA, failed=BOTH[:1], broken=BOTH[1:]), "survived tests/t.py::test_y; broken around the test"),
        (tool.Ended(2, ""), "pytest ended with 2, which is no verdict"),
        (tool.Ended(4, ""), "pytest ended with 4, which is no verdict"),
        (tool.Ended(-9, ""), "pytest ended with -9, which is no verdict"),
        (tool.Ended(1, "/elsewhere/saga/__init__.py", failed=BOTH), "the tests imported /elsewhere/saga/__init__.py"),
    ],
    ids=[
        "killed",
        "one survived",
        "both survived",
        "another failed",
        "fixture",
        "collection",
        "usage",
        "hung",
        "not the copy",
    ],
)
def test_only_a_named_test_that_failed_is_a_kill(ended: tool.Ended, why: str) -> None:
    """Neither an error of import, collection, usage or fixture nor a failure beside the named ones is one."""
    told = tool.why_it_lives(MUTANT, ended, COPY)
    assert told.startswith(why)
    assert bool(told) == bool(why)


def test_an_unknown_name_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and where the names stand."""
    with pytest.raises(SystemExit) as ended:
        tool.main(["no-such-mutant"])
    assert ended.value.code == 2
    assert "no mutant is called no-such-mutant" in capsys.readouterr().err


def test_one_mutant_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole way: a copy, its tests without the mutant, then with it; the checkout's own file is left as it is."""
    mutant = next(it for it in MUTANTS if it.name == "plan-in-reverse-order")
    assert tool.main([mutant.name, "--jobs", "1"]) == 0
    shown = capsys.readouterr().out
    assert "1 mutants, 1 killed, 0 survived" in shown
    assert fault_of(mutant) is None
