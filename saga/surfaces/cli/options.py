"""What all commands share: the `-o` option, what is printed where, and which error is which exit code.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | a saga did not complete, its journal holds a transition that there is none of, or an audit found a violation |
| 2 | the command, a setting, a definition or the input breaks a rule; nothing was done. Or an audit read no ledger |
| 3 | no such saga, no saga of such a definition, or no journal |
| 4 | the database, the API or a service does not answer, or somebody else wrote first; the same command may be repeated |
| 74 | stdout cannot be written (`saga.surfaces.cli.streams`); what was asked for may be done |
| 130 | ctrl-C |

Data goes to stdout, all else to stderr. There is one line per error and no traceback.
"""

import json
import logging
import math
import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from saga.core.definition import Saga
from saga.errors import (
    BrokerRefuses,
    CodecError,
    ConcurrencyError,
    DataRefused,
    DefinitionError,
    DuplicateOrder,
    FingerprintChanged,
    IllegalTransition,
    KeyReused,
    NotReadBack,
    SagaError,
    SagaNotFound,
    StepError,
    StoreUnavailable,
    UsageError,
)
from saga.settings import Settings, read_settings, unknown_settings
from saga.surfaces import colour
from saga.surfaces.cli.streams import as_is, shown_on_page
from saga.surfaces.finding import find_definitions
from saga.surfaces.visible import Page, one_line, visible

FAILED, USAGE, NOT_FOUND, UNAVAILABLE = 1, 2, 3, 4


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print: table, json or jsonl.")]
AllTenantsOption = Annotated[
    bool, typer.Option("--all-tenants", help="Sagas of every tenant of SAGA_ENVIRONMENT, not of SAGA_TENANT alone.")
]
DefinitionsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[MODULE:SAGA]...", help="Definitions; else those of pyproject.toml, else fulfil_order."),
]
DefinitionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--definition", "-d", metavar="MODULE:SAGA", help="A definition to read the saga with; may be repeated."
    ),
]
MoreDefinitionsOption = Annotated[
    list[str] | None,
    typer.Option("--definition", "-d", metavar="MODULE:SAGA", help="The same as the argument; may be repeated."),
]


def finite(value: float | None) -> float | None:
    """What a number of seconds must be besides not negative; refuses `nan` and `inf` by the name of the option."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number of seconds")
    return value


TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", min=0, callback=finite, help="Wait at most so many seconds.")
]

CODES: dict[type[SagaError], int] = {
    UsageError: USAGE,
    DefinitionError: USAGE,
    FingerprintChanged: USAGE,
    CodecError: USAGE,
    DataRefused: USAGE,
    NotReadBack: USAGE,
    KeyReused: USAGE,
    DuplicateOrder: USAGE,
    SagaNotFound: NOT_FOUND,
    StoreUnavailable: UNAVAILABLE,
    BrokerRefuses: UNAVAILABLE,
    ConcurrencyError: UNAVAILABLE,
    IllegalTransition: FAILED,
    StepError: FAILED,
}


def code_of(error: SagaError) -> int:
    """The exit code of an error."""
    return next((code for kind, code in CODES.items() if isinstance(error, kind)), FAILED)


class _LogLine(logging.Formatter):
    """A message is one line, whatever id stands in it; the traceback beneath it is ours."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the name is logging's
        return one_line(super().formatMessage(record))


def settings_and_log() -> Settings:
    """The settings of this process, with its log on stderr; once for each command, because it names what is no setting."""
    settings = read_settings()
    for variable, nearest in unknown_settings().items():
        say(f"saga: {variable} is no setting" + (f"; did you mean {nearest}?" if nearest else " and is not read"))
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(_LogLine("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    logging.getLogger("kombu").setLevel(logging.ERROR)  # it warns that memory:// names no host
    logging.getLogger("saga").setLevel(settings.log_level.upper())
    return settings


def definitions_named(*names: list[str] | None) -> list[Saga[Any]]:
    """The definitions of the command line, of its argument and of -d, as seen from the working directory."""
    return find_definitions([name for some in names for name in some or []], Path.cwd())


def as_options(definitions: list[str] | None) -> str:
    """The definitions that were named with -d, as they are typed behind another command."""
    return "".join(f" -d {name}" for name in definitions or ())


def say(text: str) -> None:
    """A remark for the person at the terminal; never data."""
    print(_shown(text), file=sys.stderr, flush=True)


def put(text: str) -> None:
    """Data, in one write: whoever has gone before it is not written to twice (`saga.surfaces.cli.streams`)."""
    _write(visible(text))


def put_page(text: str) -> None:
    """Text for people. What somebody put into an id or a message must not move the cursor of whoever reads it."""
    page = shown_on_page(_shown(text), sys.stdout.encoding)
    _write(colour.painted(page) if colour.is_wanted() else page)


def _shown(text: str) -> str:
    return text if isinstance(text, Page) else one_line(text)


def _write(text: str) -> None:
    stream = as_is(sys.stdout)
    stream.write(f"{text}\n")
    stream.flush()


def plain(value: BaseModel | Mapping[str, Any]) -> Any:
    """A value as JSON knows it."""
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else dict(value)


def put_one(output: Output, value: BaseModel | Mapping[str, Any], table: str) -> None:
    """One thing: as text for people, or as one JSON object."""
    if output is Output.TABLE:
        put_page(table)
    else:
        put(json.dumps(plain(value), indent=2 if output is Output.JSON else None, ensure_ascii=False))


def put_many(output: Output, values: Iterable[BaseModel | Mapping[str, Any]], table: str) -> None:
    """Several things: as text, as one JSON array, or as one object a line."""
    if output is Output.TABLE:
        put_page(table)
    elif output is Output.JSON:
        put(json.dumps([plain(value) for value in values], indent=2, ensure_ascii=False))
    else:
        for value in values:
            put(json.dumps(plain(value), ensure_ascii=False))
