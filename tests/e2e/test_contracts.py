"""schemathesis as a person would run it, against the order API and each service as they run: it finds nothing.

The tests `test_contract.py` beside the API and the services hold generated requests against the document from within; here the
tool itself says which requests it makes: methods that are not offered, headers that are missing, each bound of each field.
Left out is its check that all is taken that the schema allows: an order has rules that JSON Schema cannot say.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.settings import read_settings
from saga.surfaces.embedded import embedded

TIMES = 20 if os.environ.get("SAGA_HYPOTHESIS") == "deep" else 1
WHO = ("api", "inventory", "tax", "shipping", "payment")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Name to address of everything that `saga dev` runs."""
    settings = read_settings().model_copy(update={"home": tmp_path_factory.mktemp("contracts") / "home"})
    with embedded(settings, [fulfil_order, return_order], with_broker=False) as made:
        assert made.api_url is not None
        yield {**made.urls, "api": made.api_url}


@pytest.mark.parametrize("name", WHO)
def test_schemathesis_finds_nothing(stack: dict[str, str], name: str, tmp_path: Path) -> None:
    """Examples, every bound of the document, and generated requests; the same ones every time."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{stack[name]}/openapi.json",
        "--max-examples", str(3 * TIMES), "--seed", "5", "--phases", "examples,coverage,fuzzing",
        "--exclude-checks", "positive_data_acceptance", "--generation-database", "none", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300 * TIMES, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "generated" in done.stdout
    assert "No failures" in done.stdout or " passed" in done.stdout
