"""A plugin of pytest for one run on a copy: writes down which `saga` was imported and how each test ended.

Exit codes alone do not say it: a fixture that fails ends with 1 as a failed test does, and a skipped test is no pass.
"""

import json
from collections import defaultdict
from pathlib import Path

import pytest

import saga


class Report:
    """Node ids by how they ended: `passed`, `failed` in the test itself, `broken` around it, `skipped`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ended: dict[str, list[str]] = defaultdict(list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            self._ended["skipped"].append(report.nodeid)
        elif report.when == "call":
            self._ended[report.outcome].append(report.nodeid)
        elif report.failed:
            self._ended["broken"].append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self._path.write_text(json.dumps({"saga": saga.__file__, **self._ended}))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutant-report", required=True, type=Path)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Report(config.getoption("--mutant-report")))
