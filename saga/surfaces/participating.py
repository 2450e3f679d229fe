"""Asks one of the four services what it is told to do wrong, or tells it (docs/participants.md, "Faults on command").

Rules of this file: a service that does not answer is `StoreUnavailable`, one that refuses the script `UsageError` with the
field and the rule as the service says them. Whoever answers without faults on command is told apart from both.
"""

from collections.abc import Mapping
from typing import Any, Literal

import requests
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from saga.errors import StoreUnavailable, UsageError
from saga.surfaces.submit import session

ASK_S = 5.0
Method = Literal["GET", "PUT", "DELETE"]


class Rule(BaseModel):
    """One line of a service's script, and how often it fired."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    fault: str
    operation: str = "*"
    code: str | None = None
    order_ids: tuple[str, ...] | None = None
    times: int | None = None
    fired: int = 0


class _Script(BaseModel):
    model_config = ConfigDict(extra="ignore")

    rules: tuple[Rule, ...] = ()


class _Broken(BaseModel):
    field: str
    rule: str


class _Problem(BaseModel):
    model_config = ConfigDict(extra="ignore")

    detail: str = ""
    errors: list[_Broken] = Field(default_factory=list)

    def __str__(self) -> str:
        return "; ".join(f"{one.field.rpartition('.')[2]}: {one.rule}" for one in self.errors) or self.detail


def faults(service: str, url: str, method: Method = "GET", script: Mapping[str, Any] | None = None) -> tuple[Rule, ...]:
    """The rules in force at the service once it has done this: show them, take a script, or forget it."""
    try:
        with session() as asking:
            answer = asking.request(method, f"{url.rstrip('/')}/v1/faults", json=script, timeout=ASK_S)
    except requests.RequestException as error:
        setting = f"SAGA_{service.upper()}_URL"
        raise StoreUnavailable(f"{service} does not answer at {url}; start it, or mend {setting}") from error
    if answer.status_code == 422:
        raise UsageError(f"{service}: {_Problem.model_validate_json(answer.text)}")
    try:
        answer.raise_for_status()
        return _Script.model_validate_json(answer.text).rules
    except (requests.HTTPError, ValidationError) as error:
        raise UsageError(f"{service} at {url} takes no faults on command: HTTP {answer.status_code}") from error
