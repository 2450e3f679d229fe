"""What a newcomer's machine does: requirements/run.txt and the checkout into a new environment, from the index that
this machine reaches, by each installer.

They cost half a minute of one core each with pip, and need the network: they run when SAGA_TEST_REQUIRE names `index`.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from saga import __version__
from tests.installation.index import INSTALLERS, ROOT, install, prepare
from tests.services_available import MISSING

pytestmark = [
    pytest.mark.skipif(
        "index" not in os.environ.get("SAGA_TEST_REQUIRE", "").split(","),
        reason=f"{MISSING}index: installations from the network are not asked for (set SAGA_TEST_REQUIRE=index)",
    ),
    pytest.mark.timeout(900),
]


@pytest.mark.parametrize("installer", INSTALLERS)
def test_saga_runs_where_it_was_installed(installer: str, tmp_path: Path) -> None:
    """The lock, then the checkout without build isolation; `pip check` is content and `saga --version` answers."""
    variables = prepare(installer, tmp_path)
    build = tmp_path / "build.txt"
    text = (ROOT / "requirements/build.txt").read_text(encoding="utf-8")
    # Without the uv that this lock brings, so that pip installs all of it.
    build.write_text(re.sub(r"(?m)^uv==(.*\n)(?: .*\n)*", "", text), encoding="utf-8")
    done = install(tmp_path, variables, build, ROOT / "requirements/run.txt", ROOT)
    assert done.returncode == 0, done.stdout
    assert "pip tries" not in done.stdout
    command = [str(tmp_path / "venv/bin/saga"), "--version"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=True)
    assert __version__ in said.stdout
