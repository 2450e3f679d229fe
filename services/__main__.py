"""`python -m services NAME|all`: one service, or the four in one process, until SIGTERM or SIGINT.

Prints one line `<name> <url>` per service when it accepts requests. Each has a database of its own: the one of
`SAGA_<NAME>_DATABASE_URL` when it is set, else `--database-url` (one service only), else a SQLite file in `--data`.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic_settings import BaseSettings, SettingsConfigDict

from services.skeleton.answers import Refused
from services.skeleton.database import Unavailable
from services.skeleton.migrating import SchemaTooNew
from services.skeleton.server import NAMES, RunningService, serve_in_thread

ENDINGS = {signal.SIGTERM, signal.SIGINT}
PARENT_CHECK_S = 1.0


class Environment(BaseSettings):
    """What is read from the environment: `SAGA_HOME` and the four `SAGA_<NAME>_DATABASE_URL`."""

    model_config = SettingsConfigDict(env_prefix="SAGA_", extra="ignore", env_ignore_empty=True, frozen=True)

    home: Path = Path(".saga")
    inventory_database_url: str | None = None
    tax_database_url: str | None = None
    shipping_database_url: str | None = None
    payment_database_url: str | None = None

    def database_url(self, name: str) -> str | None:
        url = getattr(self, f"{name}_database_url")
        assert url is None or isinstance(url, str)
        return url


def arguments_of(words: list[str]) -> argparse.Namespace:
    """The command line. Exits with 2 and a message when it cannot be obeyed."""
    parser = argparse.ArgumentParser("python -m services", description="The mock participants.")
    parser.add_argument("name", choices=[*NAMES, "all"])
    parser.add_argument("--host", default="127.0.0.1")
    ports = parser.add_mutually_exclusive_group()
    ports.add_argument("--port", type=int, help="of the one service; 0 takes a free one")
    ports.add_argument("--base-port", type=int, help=f"of the first; then in a row: {', '.join(NAMES)}")
    parser.add_argument("--data", type=Path, help="folder of the SQLite files; $SAGA_HOME/services without it")
    parser.add_argument("--database-url", help="of the one service")
    parser.add_argument("--faults", type=Path, help="a script as for PUT /v1/faults; each service takes its own rules")
    parser.add_argument("--say-settings", action="store_true", help="also a line for the shell that finds them by it")
    parser.add_argument("--end-with-parent", action="store_true", help="end when the starting process is gone")
    arguments = parser.parse_args(words)
    if arguments.name == "all" and (arguments.port or arguments.database_url):
        parser.error("all takes --base-port and --data, not --port and --database-url")
    return arguments


def main(words: list[str]) -> int:
    """Run until a signal comes."""
    arguments, environment = arguments_of(words), Environment()
    parent = os.getppid() if arguments.end_with_parent else None
    # Blocked before a thread exists, so that the signal waits for `_wait_for_end` and interrupts nobody.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    try:
        return _run(arguments, environment, parent)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(arguments: argparse.Namespace, environment: Environment, parent: int | None) -> int:
    names = NAMES if arguments.name == "all" else (arguments.name,)
    first = arguments.base_port if arguments.base_port is not None else (arguments.port or 0)
    urls: dict[str, str] = {}
    with ExitStack() as running:
        for number, name in enumerate(names):
            port = first + number if first else 0
            try:
                service = serve_in_thread(name, _url(name, arguments, environment), arguments.host, port)
            except OSError as error:
                print(f"{name}: cannot listen on {arguments.host}:{port}: {error}", file=sys.stderr)
                return 1
            except (SchemaTooNew, Unavailable) as error:
                print(f"{name}: {error}", file=sys.stderr)
                return 1
            running.callback(service.stop)
            if arguments.faults is not None:
                _set_faults(service, json.loads(arguments.faults.read_text(encoding="utf-8")))
            urls[name] = service.url
            print(f"{name} {service.url}", flush=True)
        if arguments.say_settings:
            print(f"to be found from another terminal, type there:\n{settings_line(urls)}", file=sys.stderr, flush=True)
        _wait_for_end(parent)
    return 0


def settings_line(urls: Mapping[str, str]) -> str:
    """What to type in a shell so that whoever is started from it finds these services (name to address)."""
    return "export " + " ".join(f"SAGA_{name.upper()}_URL={url}" for name, url in urls.items())


def _url(name: str, arguments: argparse.Namespace, environment: Environment) -> str:
    folder = arguments.data or environment.home / "services"
    return environment.database_url(name) or arguments.database_url or f"sqlite:///{quote(str(folder / name))}.db"


def _set_faults(service: RunningService, script: dict[str, Any]) -> None:
    """Of a script for all services, the rules that name an operation of this one, or every operation."""
    operations = {operation.name for operation in service.edge.service.operations}
    known = {"*", *operations, *(f"{name}/undo" for name in operations)}
    rules = [rule for rule in script["rules"] if rule.get("operation", "*") in known]
    try:
        service.edge.set_faults(json.dumps({**script, "rules": rules}).encode())
    except Refused as refused:
        raise SystemExit(f"--faults: {refused.answer.body}") from None


def _wait_for_end(parent: int | None) -> None:
    while signal.sigtimedwait(ENDINGS, PARENT_CHECK_S) is None:
        if parent is not None and os.getppid() != parent:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
