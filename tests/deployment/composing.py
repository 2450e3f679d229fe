"""`compose.yaml` as Docker Compose would read it, without containers: anchors merged, variables put in."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
COMPOSE, DOCKERFILE, IGNORED = ROOT / "compose.yaml", ROOT / "Dockerfile", ROOT / ".dockerignore"
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^${}]*))?\}")
DURATION = re.compile(r"(\d+)s")

Service = dict[str, Any]


def filled(text: str, given: Mapping[str, str]) -> str:
    """`${NAME:-default}` as Compose puts it in, the innermost first; a variable without default must be given."""
    while (found := VARIABLE.search(text)) is not None:
        value = given.get(found["name"]) or found["default"]
        assert value is not None, f"{found['name']} has no default and is not set"
        text = text[: found.start()] + value + text[found.end() :]
    return text


def _filled(value: Any, given: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(one, given) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, given) for one in value]
    return filled(value, given) if isinstance(value, str) else value


def services(given: Mapping[str, str] | None = None) -> dict[str, Service]:
    """Every service by its name, with `given` as the environment of Compose."""
    read = YAML(typ="safe").load(COMPOSE.read_text(encoding="utf-8"))
    found = _filled(read["services"], given or {})
    assert isinstance(found, dict)
    return found


def own() -> dict[str, Service]:
    """Those that run the image of this checkout."""
    return {name: service for name, service in services().items() if service["image"] == "ordersaga:local"}


def seconds(duration: str) -> float:
    found = DURATION.fullmatch(duration)
    assert found is not None, f"{duration} is not a number of seconds such as 45s"
    return float(found[1])
