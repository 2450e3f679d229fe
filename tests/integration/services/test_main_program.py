"""`python -m services`: says where it listens, answers there, ends on SIGTERM."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import requests

from saga.surfaces.cli.running import SERVICES
from services.__main__ import settings_line
from services.skeleton.server import NAMES

ROOT = Path(__file__).parents[3]


def test_all_four_start_answer_and_stop(tmp_path: Path) -> None:
    """Four lines with a URL each, four healthy services, rules of the fault file only where they belong, exit 0."""
    script = tmp_path / "faults.json"
    rules = [{"fault": "overloaded", "operation": "POST /v1/captures"}, {"fault": "refuse", "probability": 0.0}]
    script.write_text(json.dumps({"seed": 1, "rules": rules}), encoding="utf-8")
    words = ["all", "--data", str(tmp_path / "data"), "--faults", str(script)]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_DATABASE_URL")}
    with subprocess.Popen(
        [sys.executable, "-m", "services", *words], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            urls = dict(process.stdout.readline().split() for _ in NAMES)
            assert tuple(urls) == NAMES
            for url in urls.values():
                assert requests.get(f"{url}/healthz", timeout=20).json() == {"status": "ok"}
            counts = {
                name: len(requests.get(f"{url}/v1/faults", timeout=20).json()["rules"]) for name, url in urls.items()
            }
            assert counts == {"inventory": 1, "tax": 1, "shipping": 1, "payment": 2}
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert sorted(path.name for path in (tmp_path / "data").glob("*.db")) == sorted(f"{name}.db" for name in NAMES)


def test_whoever_starts_them_is_told_how_to_find_them(tmp_path: Path) -> None:
    """`saga services` says what to type in another terminal, beside the lines that programs read."""
    words = [sys.executable, "-m", "saga", "services", "--port", "0"]
    environment = {**os.environ, "SAGA_HOME": str(tmp_path)}
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            urls = dict(process.stdout.readline().split() for _ in NAMES)
        finally:
            process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
        assert process.wait(20) == 0
    assert f"to be found from another terminal, type there:\n{settings_line(urls)}\n" in said


def test_the_page_has_the_line_of_the_default_ports() -> None:
    """docs/restore.md shows what `saga services` prints without --port."""
    urls = {name: f"http://127.0.0.1:{8101 + number}" for number, name in enumerate(NAMES)}
    assert set(SERVICES) == set(NAMES)
    assert f"```sh\n{settings_line(urls)}\n```" in (ROOT / "docs" / "restore.md").read_text(encoding="utf-8")
