"""The shape of the code, held as a test: the checks of `tests/tidy.py` over every file of the checkout."""

from pathlib import Path

import pytest

from tests import tidy

ROOT = Path(__file__).parents[1]
TREES = ("saga", "services", "migrations", "tests", "benchmarks", "examples")


def _texts() -> dict[str, str]:
    paths = (path for tree in TREES for path in sorted((ROOT / tree).rglob("*.py")))
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def _report(findings: list[tidy.Finding]) -> str:
    return "\n".join(["", *map(str, sorted(findings))])


@pytest.mark.parametrize("check", tidy.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_every_file_keeps_the_shape(check: tidy.Check) -> None:
    """No file of the checkout breaks this rule of STYLE."""
    findings = [finding for path, text in _texts().items() for finding in check(path, text)]
    assert not findings, _report(findings)


def test_every_module_has_a_user() -> None:
    """No module of saga/ is dead: product code imports it, or it is an entry point."""
    findings = tidy.check_imported(_texts())
    assert not findings, _report(findings)


def test_nine_in_ten_functions_are_short() -> None:
    """The tail of function lengths stays where STYLE wants it."""
    assert tidy.function_lengths_p90(_texts()) <= tidy.MAX_FUNCTION_LINES_P90


def test_documents_claim_nothing_without_saying_it() -> None:
    """No document uses an adjective that stands for no fact."""
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    findings = [
        finding
        for path in documents
        for finding in tidy.check_prose(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert not findings, _report(findings)


def test_exceptions_name_code_that_exists() -> None:
    """An entry of an allow-list whose module or function is gone does not linger."""
    texts = _texts()
    stale: list[object] = [path for path in tidy.AMBIENT_ALLOWED if path not in texts]
    for path, function in tidy.BROAD_EXCEPT_ALLOWED:
        if f"def {function.split('.')[-1]}(" not in texts.get(path, ""):
            stale.append((path, function))
    assert not stale
