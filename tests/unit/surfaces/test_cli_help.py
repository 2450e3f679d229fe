"""The help of every command, read as a person would."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import pytest
from typer.core import TyperGroup
from typer.testing import CliRunner

from saga.surfaces import cli
from saga.surfaces.cli.commands import COMMANDS as COMMANDS_AND_MODULES
from saga.surfaces.cli.commands import JOINED, added_by, app

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
    found = {name: added_by(module).commands[name] for name, (module, _) in COMMANDS_AND_MODULES.items()}
    plain = {name for name, command in found.items() if not isinstance(command, TyperGroup)}
    groups = {
        f"{name} {part}"
        for name, command in found.items()
        if isinstance(command, TyperGroup)
        for part in command.commands
    }
    assert plain | groups == set(COMMANDS)


def test_the_list_of_names_is_what_the_modules_add() -> None:
    """No module adds a command that `saga --help` does not list, and each is listed at its module."""
    added = {name: module for module, _ in COMMANDS_AND_MODULES.values() for name in added_by(module).commands}
    assert added == {name: module for name, (module, _) in COMMANDS_AND_MODULES.items()}
    assert {
        module
        for _, module, _ in iter_modules(cli.__path__, "saga.surfaces.cli.")
        if "add_to" in dir(import_module(module))
    } == (set(added.values()) | {one for more in JOINED.values() for one in more})


@pytest.mark.parametrize("name", COMMANDS_AND_MODULES)
def test_a_purpose_fits_into_its_line(name: str) -> None:
    """At 80 columns nothing of it is cut off, which would be shown as `...`."""
    shown = CliRunner().invoke(app, ["--help"], terminal_width=80).output
    assert re.search(rf"^  {name} +{re.escape(COMMANDS_AND_MODULES[name][1])}$", shown, re.MULTILINE), shown


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_nothing_of_weight_is_imported_before_a_command_is_asked_for(arguments: list[str]) -> None:
    """Whatever the machine, the cost of the start is typer's."""
    code = (
        "import sys; from saga.surfaces.cli import main\ntry: main()\nfinally: sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    roots = {name.partition(".")[0] for name in done.stderr.split()}
    assert "typer" in roots
    assert not roots & {
        "pydantic",
        "sqlalchemy",
        "alembic",
        "celery",
        "kombu",
        "fastapi",
        "babel",
        "requests",
        "psycopg",
    }


def test_a_tab_offers_the_names_without_their_modules() -> None:
    """The shell's completion lists every command with its purpose, and imports none."""
    code = (
        "import sys; from saga.surfaces.cli import main\ntry: main()\nfinally: sys.stderr.write(' '.join(sys.modules))"
    )
    asked = {"_SAGA_COMPLETE": "complete_bash", "COMP_WORDS": "saga ", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **asked}
    )
    assert done.stdout.split() == list(COMMANDS_AND_MODULES)
    assert "saga.surfaces.cli.looking" not in done.stderr.split()


def test_a_tab_behind_a_command_offers_its_options() -> None:
    """Whoever goes on with a command is completed by the command itself."""
    asked = {"_SAGA_COMPLETE": "complete_bash", "COMP_WORDS": "saga list --li", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "saga"], capture_output=True, text=True, check=False, env={**os.environ, **asked}
    )
    assert done.stdout.split() == ["--limit"]


def test_a_misspelt_command_is_guessed_at() -> None:
    """The names are known without the modules."""
    done = CliRunner().invoke(app, ["liste"])
    assert done.exit_code == 2
    assert "Did you mean 'list'?" in done.output
