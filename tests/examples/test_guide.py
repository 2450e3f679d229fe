"""docs/guide: each page's example runs as it stands and prints what the page shows."""

import inspect
import os
import re
import runpy
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.e2e.commands import ROOT

GUIDE = ROOT / "docs" / "guide"
INDEX = "README.md"
PAGES = sorted(page.name for page in GUIDE.glob("*.md") if page.name != INDEX)
POOLER = "pgbouncer.md"
EXAMPLE = re.compile(r"```python\n(?P<code>.*?)```\n\n```text\n(?P<shown>.*?)```", re.DOTALL)
SETTINGS = re.compile(r"```ini\n(?P<text>.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)#]+)(#[^)]*)?\)")


def text_of(page: str) -> str:
    return (GUIDE / page).read_text(encoding="utf-8")


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader would stand who has just made a folder and has set nothing."""
    for name in [name for name in os.environ if name.startswith("SAGA_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if page != POOLER])
def test_the_example_prints_what_the_page_shows(
    page: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every python block of the page is run as it stands, and its output is the text block behind it."""
    text = text_of(page)
    examples = list(EXAMPLE.finditer(text))
    assert len(examples) == text.count("```python") >= 1, "a python block, and a text block behind each"
    for number, example in enumerate(examples):
        script = own_folder / f"example_{number}.py"
        script.write_text(example["code"], encoding="utf-8")
        runpy.run_path(str(script), run_name="guide_example")
        assert capsys.readouterr().out == example["shown"]
