"""docs/guide: each page's example runs as it stands and prints what the page shows."""

import inspect
import os
import re
import runpy
from configparser import ConfigParser
from pathlib import Path

import pytest

from saga.core.machine import GRACE_S
from saga.runtime.celery import attach
from saga.runtime.driver import QUEUE_ALLOWANCE_S
from saga.runtime.work import Limits
from saga.settings import Settings
from saga.store.connecting import BORROW_TIMEOUT_S
from saga.store.postgres_workers import RENEWED_S
from saga.surfaces.embedded import limits_of
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


@pytest.mark.parametrize("page", [INDEX, *PAGES])
def test_every_link_of_the_guide_leads_somewhere(page: str) -> None:
    """A page links to files that exist, and the index to every page."""
    targets = [found["target"] for found in LINK.finditer(text_of(page))]
    assert [it for it in targets if not (GUIDE / it).exists()] == []
    if page == INDEX:
        assert sorted(targets) == PAGES


def test_every_argument_of_attach_has_a_row() -> None:
    """The table has the arguments of `attach` in their order, and no other."""
    table = text_of("attaching.md").partition("| argument |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert rows == list(inspect.signature(attach).parameters)


def test_the_defaults_of_attach_are_those_of_the_page() -> None:
    """`limits` and `pool_size` are said as they are."""
    text = text_of("attaching.md")
    assert f"`{Limits()}`" in text
    assert f"| `pool_size` | {inspect.signature(attach).parameters['pool_size'].default} |" in text


def test_the_deadline_of_an_attempt_is_that_of_the_pages() -> None:
    """Its parts, and what they come to for a step without `timeout_s`, with the limits that a worker has by default."""
    limits = limits_of(Settings())
    per_thread = limits.slots / limits.threads
    assert (limits.slots, limits.threads, per_thread) == (32, 8, 4)

    def of(timeout_s: float) -> str:
        return f"{QUEUE_ALLOWANCE_S + per_thread * timeout_s:g} s"

    allowance, usual = f"{QUEUE_ALLOWANCE_S:g} s and", of(30)
    deadlines, functions, context = (text_of(f"{it}.md") for it in ("deadlines", "function-steps", "step-context"))
    for text in (deadlines, functions, context):
        assert allowance in text
        assert usual in text
    assert f"`timeout_s=10` that hangs is given up {of(10)} after" in deadlines
    assert f"each {GRACE_S:g} s later" in deadlines
    assert f"{of(5)} above" in context
    assert "timeout_s=5.0" in context


def test_the_pooler_is_configured_for_what_the_store_does() -> None:
    """The page has a configuration that PgBouncer's format allows, in the mode and with the times that the store counts on;
    that the store is right in that mode is held by `tests/conformance/test_postgres_pooler.py`."""
    text = text_of(POOLER)
    found = SETTINGS.search(text)
    assert found is not None
    settings = ConfigParser()
    settings.read_string(found["text"])
    bouncer = settings["pgbouncer"]
    assert bouncer["pool_mode"] == "transaction"
    assert float(bouncer["query_wait_timeout"]) < BORROW_TIMEOUT_S
    assert f":{bouncer['listen_port']}/saga" in text
    assert (
        f"the lease not renewed for {RENEWED_S:.0f} s | its lease alone: {Settings.model_fields['lease_s'].default:.0f} s"
        in text
    )
    assert (ROOT / "tests" / "conformance" / "test_postgres_pooler.py").exists()
