"""`python -m services`: says where it listens, answers there, ends on SIGTERM."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import requests

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
