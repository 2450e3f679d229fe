"""The settings of a process, read from `SAGA_*` in the environment in this one place.

Rules of this file: one frozen `Settings`, made by `read_settings` and handed on as a value; nothing else reads the
environment. What is not set has the default of the embedded mode, which needs no server: SQLite under `home` and the
memory broker. An empty variable counts as not set. A value that breaks a rule is a `UsageError` that names the
variable and the rule. URLs may hold passwords and stay out of `repr`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from saga.errors import UsageError

PREFIX = "SAGA_"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")]
HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#]+[^\s?#]*$", max_length=2048)]


def _checked_url(url: str) -> str:
    """A URL whose parts can be read; the message does not repeat it, because it may hold a password."""
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ValueError("its port is not a number from 0 to 65535") from None
    return url


DatabaseUrl = Annotated[
    str,
    StringConstraints(pattern=r"^(postgres|postgresql|postgresql\+psycopg|sqlite|sqlite\+pysqlite|memory)://"),
    AfterValidator(_checked_url),
]
BrokerUrl = Annotated[
    str,
    StringConstraints(pattern=r"^(amqps?|pyamqp|redis|rediss|sqs|memory)://"),
    AfterValidator(_checked_url),
]
LogLevel = Literal["debug", "info", "warning", "error"]


class Settings(BaseSettings):
    """What an operator decides about one process; each field is the variable `SAGA_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: DatabaseUrl | None = Field(default=None, repr=False)
    broker_url: BrokerUrl = Field(default="memory://", repr=False)
    inventory_url: HttpUrl | None = Field(default=None, repr=False)
    tax_url: HttpUrl | None = Field(default=None, repr=False)
    shipping_url: HttpUrl | None = Field(default=None, repr=False)
    payment_url: HttpUrl | None = Field(default=None, repr=False)
    connector_urls: dict[str, HttpUrl] = Field(default_factory=dict, repr=False)
    """Addresses of connectors of one's own; filled in by `read_settings`."""
    home: Path = Path(".saga")
    """Where embedded mode keeps its files."""
    mailbox: Path | None = None
    """Where confirmation mails are put; under `home` when it is not set."""
    environment: Name = "development"
    """Part of every wire key, so that a staging system and a shop never share one."""
    tenant: Name = "default"
    driver: Literal["process", "task"] | None = None
    """None: what the way of starting implies (`saga worker` process, an attached Celery app task)."""
    threads: int = Field(default=8, ge=1, le=512)
    in_flight: int = Field(default=256, ge=1, le=100_000)
    log_level: LogLevel = "info"

    @property
    def store_url(self) -> str:
        """The journal's database: the one that is set, else a SQLite file under `home`."""
        return self.database_url or f"sqlite:///{self.home / 'saga.db'}"

    @property
    def mail_folder(self) -> Path:
        """The folder of confirmation mails."""
        return self.mailbox or self.home / "mailbox"

    @property
    def participant_urls(self) -> dict[str, str]:
        """Connector name to address without a slash at the end, for the participants whose address is set: any
        connector's is `SAGA_<NAME>_URL`, its name in capitals."""
        urls = {
            **self.connector_urls,
            "inventory": self.inventory_url,
            "tax": self.tax_url,
            "shipping": self.shipping_url,
            "payment": self.payment_url,
        }
        return {name: url.rstrip("/") for name, url in urls.items() if url}


def read_settings() -> Settings:
    """The settings as the environment has them now. Raises `UsageError` for a value that breaks a rule."""
    try:
        return Settings(connector_urls=_connector_urls(os.environ))
    except ValidationError as error:
        # Without the value: it may be a password.
        broken = [f"{_variable(one['loc'])}: {one['msg']}" for one in error.errors(include_input=False)]
        raise UsageError("; ".join(broken)) from None


def _variable(place: tuple[int | str, ...]) -> str:
    """The variable that a broken field came from."""
    name = f"{place[1]}_URL" if place[0] == "connector_urls" and len(place) > 1 else str(place[0])
    return f"{PREFIX}{name.upper()}"


def _connector_urls(environment: Mapping[str, str]) -> dict[str, str]:
    """Every `SAGA_<NAME>_URL` that is not a field of its own, by the connector's name in lower case."""
    own = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    found = {}
    for variable, url in environment.items():
        name = variable.removeprefix(PREFIX).removesuffix("_URL")
        if variable == f"{PREFIX}{name}_URL" and variable not in own and not name.startswith("TEST_") and url:
            found[name.lower()] = url
    return found
