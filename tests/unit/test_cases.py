"""tests/cases/README.md is the list of what other people's bug reports found: each row leads to a test that is there."""

import re
from pathlib import Path

CASES = Path(__file__).parents[1] / "cases"
TEXT = (CASES / "README.md").read_text(encoding="utf-8")


def test_each_row_leads_to_its_tests() -> None:
    """Every file and every function that is named exists, and every file of the folder is named."""
    named: set[str] = set()
    for row in (line for line in TEXT.splitlines() if line.startswith("| ") and "::" in line):
        path = ""
        for file, test in re.findall(r"`([\w./]*)::(test_\w+)`", row):
            path = file or path
            assert f"def {test}(" in (CASES / path).read_text(encoding="utf-8"), (path, test)
            named.add(path)
    assert {it.name for it in CASES.glob("test_*.py")} <= named
