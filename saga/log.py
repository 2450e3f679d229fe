"""One logger for the whole package: an event and `name=value` of allow-listed fields, no payloads and no personal data."""

import logging
from typing import Any

FIELDS = frozenset(
    [
        "saga_id",
        "entity",  # the id of an order: it stands in lists and addresses too, and is chosen to name nobody
        "node",
        "code",
        "error",
        "trouble",
        "took_s",
        "worker_id",
        "count",
        "queue",
        "task",
        "reason",
        "url",
        "service",
        "failpoint",
        "version",
    ]
)


class Logger:
    """A logger whose fields are an allow-list, because request bodies and answers hold personal data."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **facts: Any) -> None:
        self._write(logging.DEBUG, event, facts)

    def info(self, event: str, **facts: Any) -> None:
        self._write(logging.INFO, event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        self._write(logging.WARNING, event, facts)

    def error(self, event: str, **facts: Any) -> None:
        self._write(logging.ERROR, event, facts)

    def _write(self, level: int, event: str, facts: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            shown = " ".join(f"{name}={facts[name]}" for name in sorted(facts) if name in FIELDS)
            self._logger.log(level, "%s %s", event, shown)


logger = Logger("saga")
