"""SQLite only: eight processes on one file lose nothing and see no `database is locked` (RELIABILITY 23)."""

import subprocess
import sys
from pathlib import Path

import pytest

from saga.errors import UsageError
from saga.store.opening import open_store

ROOT = Path(__file__).parents[2]
PROCESSES, SAGAS, ENTRIES = 8, 40, 4


def test_eight_processes_write_one_file(store_sqlite_url: str) -> None:
    """Each accepts 40 sagas and appends 3 entries to each, one transaction per entry: all are there, gap-free."""
    command = [sys.executable, "-m", "tests.conformance.writing", store_sqlite_url, str(SAGAS), str(ENTRIES)]
    children = [
        subprocess.Popen([*command, str(number)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for number in range(PROCESSES)
    ]
    for child in children:
        _, told = child.communicate(timeout=60)
        assert child.returncode == 0, told
    store = open_store(store_sqlite_url)
    try:
        assert sum(store.counts().values()) == PROCESSES * SAGAS
        journals = store.load([f"p{number}-{index}" for number in range(PROCESSES) for index in range(SAGAS)])
        assert len(journals) == PROCESSES * SAGAS
        for journal in journals.values():
            assert [one.seq for one in journal] == list(range(1, ENTRIES + 1))
    finally:
        store.close()


def test_a_file_that_was_never_upgraded_is_refused(tmp_path: Path) -> None:
    """No file, or one without tables: a UsageError that says what to type, and no file appears."""
    url = f"sqlite:///{tmp_path / 'absent.db'}"
    with pytest.raises(UsageError, match="saga db upgrade"):
        open_store(url)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "absent.db").touch()
    store = open_store(url)
    with pytest.raises(UsageError, match="saga db upgrade"):
        store.counts()
    store.close()
