"""The settings of a process, read from `SAGA_*` in the environment in this one place.

Rules of this file: one frozen `Settings`, made by `read_settings` and handed on as a value; nothing else reads the
environment. What is not set has the default of the embedded mode, which needs no server: SQLite under `home` and the
memory broker. An empty variable counts as not set. A value that breaks a rule is a `UsageError` that names the
variable and the rule, in words; the value is never repeated, because it may be a password. URLs stay out of `repr`.
A variable that is no setting is for `unknown_settings`.
"""

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from saga.addresses import BROKER, checked_address, checked_brokers, checked_hosts, checked_mail_server
from saga.errors import UsageError
from saga.scope import Scope

PREFIX = "SAGA_"

ADDRESS = "_URL"
SERVICES = ("INVENTORY", "TAX", "SHIPPING", "PAYMENT")
OF_TESTS = frozenset(
    f"{PREFIX}{name}"
    for name in (
        "TEST_DATABASE_URL",
        "TEST_AMQP_URL",
        "TEST_REDIS_URL",
        "TEST_REQUIRE",
        "HYPOTHESIS",
        "SIMULATION_SEEDS",
        "SIMULATION_FIRST",
    )
)
READ_ELSEWHERE = {f"{PREFIX}FAILPOINTS", *OF_TESTS, *(f"{PREFIX}{name}_DATABASE{ADDRESS}" for name in SERVICES)}
"""`saga.runtime.failpoints` and the services read these."""
NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}"
ALL_TENANTS = "*"
SECRETS = ("database_url", "broker_url", "smtp_url")
FILE = "_FILE"
"""Behind the name of a setting with a password: the file that holds it, as containers are given secrets."""
_MAIL_ADDRESS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*"
SENDER = re.compile(rf'{_MAIL_ADDRESS}|[^<>()\[\]@",;:\\]{{1,100}} <{_MAIL_ADDRESS}>')
LEASE_S = 5.0
"""The lease of a worker, unless `SAGA_LEASE_S` says another length."""
NEAR, NEAR_ADDRESS = 0.6, 0.8
"""How alike a name and a setting must be (difflib's ratio). Any name may be that of a connector, so for an address more."""


def _fits(form: str, rule: str) -> AfterValidator:
    """A text of that form; the rule is said in words, because a regular expression says nothing to most people."""
    wanted = re.compile(form)

    def checked(text: str) -> str:
        if not wanted.fullmatch(text):
            raise ValueError(rule)
        return text

    return AfterValidator(checked)


def _checked_sender(sender: str) -> str:
    """It becomes the header From, so it is one line."""
    if not sender.isprintable() or not SENDER.fullmatch(sender):
        raise ValueError("a sender is name@example.org or Some Name <name@example.org>, in one line")
    return sender


def _checked_networks(proxies: str) -> str:
    """Addresses and networks; a name would be asked for at another moment than a connection comes."""
    try:
        for one in proxies.split(","):
            ip_network(one.strip())
    except ValueError:
        raise ValueError(
            "addresses or networks of proxies with commas between them, as in 10.0.0.0/8,192.0.2.7,::1; no names, and a network "
            "ends where its own bits do"
        ) from None
    return proxies


Name = Annotated[
    str,
    _fits(
        NAME,
        "a name has 1 to 64 letters, digits, '.', '_' and '-', and begins with a letter, a digit or '_'",
    ),
]
Tenants = Annotated[
    str,
    _fits(
        rf"\{ALL_TENANTS}|{NAME}(,{NAME})*",
        "names of tenants with commas between them and no spaces, or * for every tenant of the environment",
    ),
]
HttpUrl = Annotated[str, AfterValidator(checked_address)]
DatabaseUrl = Annotated[
    str,
    _fits(
        r"(?s:(postgres|postgresql|postgresql\+psycopg|memory)://.*|sqlite(\+pysqlite)?:///(?!:memory:$).+)",
        "a database is postgresql://user@host/database, sqlite:///path/to/file or memory://",
    ),
    AfterValidator(checked_hosts),
]
BrokerUrl = Annotated[
    str,
    _fits(
        rf"(?s:{BROKER}[^;]*(;{BROKER}[^;]*)*)",
        "a broker begins with amqp://, amqps://, redis://, rediss://, redis+socket://, sentinel://, sqs:// or memory://; several have ';' between them",
    ),
    AfterValidator(checked_brokers),
]
SmtpUrl = Annotated[str, AfterValidator(checked_mail_server)]
Sender = Annotated[str, AfterValidator(_checked_sender)]
TrustedProxies = Annotated[str, AfterValidator(_checked_networks)]
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
    smtp_url: SmtpUrl | None = Field(default=None, repr=False)
    """The server that takes confirmation mails; None: they are put into the mailbox."""
    mail_from: Sender | None = None
    """Whom confirmation mails are from."""
    environment: Name = "development"
    """Part of every wire key, so that a staging system and a shop never share one."""
    tenant: Name = "default"
    """Whose sagas this process starts and shows."""
    tenants: Tenants | None = None
    """Whose sagas a worker runs: names with commas between them, or `*`; None: those of `tenant`."""
    driver: Literal["process", "task"] | None = None
    """None: what the way of starting implies (`saga worker` process, an attached Celery app task)."""
    threads: int = Field(default=8, ge=1, le=512)
    in_flight: int = Field(default=256, ge=1, le=100_000)
    own_cores: bool = True
    """Keep an embedded stack of the product's own definitions on two processor cores, engine and services apart."""
    log_level: LogLevel = "info"
    trusted_proxies: TrustedProxies | None = None
    """The proxies whose `X-Forwarded-Prefix` the API believes; None: nobody's."""
    backlog_bound: int | None = Field(default=None, ge=1)
    """So many sagas on their way, and the API takes no new orders; None: it always does."""
    silence_s: int = Field(default=10, ge=2, le=3600)
    """A connection to the database from which no sign of life came for so long is given up."""
    statement_s: float = Field(default=10.0, ge=0.5, le=3600, allow_inf_nan=False)
    """How long one statement of the database may take."""
    lease_s: float = Field(default=LEASE_S, ge=1, le=300, allow_inf_nan=False)
    """How long a worker counts as alive without saying so; it says so five times as often."""
    grace_s: float = Field(default=30.0, ge=0, le=3600, allow_inf_nan=False)
    """How long a process that was told to stop waits for what is in flight."""
    durable_without_fsync: bool = False
    """The operator's word that commits are kept, or may be lost, although the server says `fsync = off`."""

    @property
    def store_url(self) -> str:
        """The journal's database: the one that is set, else a SQLite file under `home`."""
        return self.database_url or f"sqlite:///{quote(str(self.home / 'saga.db'))}"

    @property
    def scope(self) -> Scope:
        """Whose sagas this process starts and shows."""
        return Scope(self.environment, (self.tenant,))

    @property
    def worker_scope(self) -> Scope:
        """Whose sagas a worker of these settings runs."""
        if self.tenants is None:
            return self.scope
        return Scope(self.environment, None if self.tenants == ALL_TENANTS else tuple(self.tenants.split(",")))

    @property
    def mail_folder(self) -> Path:
        """The folder of confirmation mails."""
        return self.mailbox or self.home / "mailbox"

    @property
    def mail_setting(self) -> str:
        """The variable that names that folder."""
        return f"{PREFIX}MAILBOX" if self.mailbox else f"{PREFIX}HOME"

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


OWN = frozenset(f"{PREFIX}{name.upper()}" for name in Settings.model_fields if name != "connector_urls")


FOLDERS = frozenset({f"{PREFIX}HOME", f"{PREFIX}MAILBOX"})


def read_settings() -> Settings:
    """The settings as the environment has them now. Raises `UsageError` for a value that breaks a rule.

    Cheap while no variable of ours changes, so a step may ask anew for each order.
    """
    return _read(frozenset((name, value) for name, value in os.environ.items() if name.upper().startswith(PREFIX)))


@lru_cache(maxsize=1)
def _read(ours: frozenset[tuple[str, str]]) -> Settings:
    if os.environ.get(f"{PREFIX}CONNECTOR_URLS"):
        raise UsageError(
            f"{PREFIX}CONNECTOR_URLS: is no setting; the address of a connector is {PREFIX}<NAME>{ADDRESS}"
        )
    for name, value in ours:
        if (name.upper() in OWN or name.endswith(ADDRESS)) and not _is_text(value):
            what = "the name of the folder" if name.upper() in FOLDERS else "its value"
            raise UsageError(f"{name}: {what} must be UTF-8")
    try:
        settings = Settings(connector_urls=_connector_urls(os.environ), **_secrets(os.environ))
    except ValidationError as error:
        broken = [_broken(one["loc"], one["msg"]) for one in error.errors(include_input=False)]
        raise UsageError("; ".join(broken)) from None
    if settings.smtp_url is not None and settings.mail_from is None:
        raise UsageError(
            f"{PREFIX}MAIL_FROM: is needed beside {PREFIX}SMTP{ADDRESS}: no server takes a mail from nobody"
        )
    return settings


def _is_text(value: str) -> bool:
    """Python keeps a byte that is no UTF-8 as half of a surrogate pair, which no URL, database or message can hold."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _secrets(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the files hold that are named by `SAGA_DATABASE_URL_FILE` and its like, without blanks around it."""
    found = {}
    for name in SECRETS:
        variable = f"{PREFIX}{name.upper()}"
        path = environment.get(f"{variable}{FILE}")
        if not path:
            continue
        if environment.get(variable):
            raise UsageError(f"{variable}{FILE}: {variable} is set as well; set one of them")
        try:
            found[name] = Path(path).read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise UsageError(f"{variable}{FILE}: {path}: {why}") from error
        if (count := len(found[name].splitlines())) != 1:
            raise UsageError(f"{variable}{FILE}: {path} {f'holds {count} lines; keep one' if count else 'is empty'}")
    return found


def unknown_settings() -> dict[str, str | None]:
    """The variables `SAGA_*` that are set and that nobody reads, each with the setting that it may be a slip of.

    The address of a connector, which may have any name, is among them only when it is near a setting.
    """
    nearest = {variable: _nearest(variable) for variable in _others(os.environ)}
    return {variable: near for variable, near in nearest.items() if near or not variable.endswith(ADDRESS)}


def _others(environment: Mapping[str, str]) -> list[str]:
    """The variables with our prefix that are set and are neither a setting nor read by somebody else."""
    known = OWN | READ_ELSEWHERE | {f"{PREFIX}{name.upper()}{FILE}" for name in SECRETS}
    return [
        variable
        for variable, value in environment.items()
        if value and variable.startswith(PREFIX) and variable not in known
    ]


def _nearest(variable: str) -> str | None:
    """The setting that a variable is near; an address is compared with addresses, without what all of them share."""
    if variable.endswith(ADDRESS):
        addresses = [name for name in OWN if name.endswith(ADDRESS)]
        return _most_like(variable, addresses, ADDRESS, NEAR_ADDRESS)
    return _most_like(variable, OWN, "", NEAR)


def _most_like(variable: str, names: Iterable[str], ending: str, cutoff: float) -> str | None:
    cores = {name.removeprefix(PREFIX).removesuffix(ending): name for name in sorted(names)}
    near = get_close_matches(variable.removeprefix(PREFIX).removesuffix(ending), cores, 1, cutoff)
    return cores[near[0]] if near else None


def _broken(place: tuple[int | str, ...], rule: str) -> str:
    """One broken rule: the variable that it came from, and the rule as its validator says it."""
    name = f"{place[1]}{ADDRESS}" if place[0] == "connector_urls" and len(place) > 1 else str(place[0])
    variable = f"{PREFIX}{name.upper()}"
    nearest = None if variable in OWN else _nearest(variable)
    return f"{variable}: {rule.removeprefix('Value error, ')}" + (f"; did you mean {nearest}?" if nearest else "")


def _connector_urls(environment: Mapping[str, str]) -> dict[str, str]:
    """Every `SAGA_<NAME>_URL` that nobody else reads, by the connector's name in lower case."""
    return {
        variable.removeprefix(PREFIX).removesuffix(ADDRESS).lower(): environment[variable]
        for variable in _others(environment)
        if variable.endswith(ADDRESS)
    }
