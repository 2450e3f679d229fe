"""A SQLite file that was overwritten under its write-ahead log, or is none: one line that says what to do."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from saga.errors import UsageError
from saga.store import schema
from saga.surfaces.cli.commands import app

COMMANDS = (
    ["list"],
    ["status"],
    ["audit", "--partial"],
    ["db", "restored", "--at", "2026-01-01T00:00:00Z", "--reason", "x"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda it: it[0])
@pytest.mark.parametrize("first", [0, 4096], ids=["no database", "malformed"])
def test_a_spoiled_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], first: int
) -> None:
    """With the files beside it, which a restore must not leave there."""
    file = tmp_path / "shop.db"
    schema.upgrade(f"sqlite:///{file}", "dev")
    for rest in tmp_path.glob("shop.db-*"):
        rest.unlink()
    file.write_bytes(file.read_bytes()[:first] + b"\x5a" * (file.stat().st_size - first))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SAGA_DATABASE_URL", f"sqlite:///{file}")
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, UsageError), done.output
    assert "restore it from a backup, and remove the files shop.db-wal and shop.db-shm" in str(done.exception)
