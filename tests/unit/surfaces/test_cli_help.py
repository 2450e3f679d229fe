"""The help of every command, read as a person would."""

import re

import pytest
from typer.testing import CliRunner

from saga.surfaces.cli.commands import app

COMMANDS = (
    "demo", "dev", "start", "api", "worker", "drain", "status", "services", "db upgrade", "db bind", "db current",
    "db grants", "db restored", "db reconcile", "db let-go", "db settle",
    "orders submit", "list", "show", "journal", "audit", "watch", "cancel", "mailbox", "fault", "ledger",
    "return", "orders rebuild",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command: str) -> None:
    """`--help` of each command says what it does and shows what to type."""
    done = CliRunner().invoke(app, [*command.split(), "--help"])
    assert done.exit_code == 0
    assert re.search(r"^ *Examples?$", done.output, re.MULTILINE), done.output
    assert f"saga {command}" in done.output


def test_every_command_is_in_the_list_above() -> None:
    """A new command without help would not go unseen."""
    plain = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    groups = {f"{group.name} {command.name or getattr(command.callback, '__name__', '')}"
              for group in app.registered_groups if group.typer_instance is not None
              for command in group.typer_instance.registered_commands}  # fmt: skip
    assert plain | groups == set(COMMANDS)
