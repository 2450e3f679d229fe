"""What we know about talking to a participant, as data: connectors, operations, undos and calls.

A connector states *facts* about its participant; the machine and the executor read them and contain no special case for
anybody. The fact that carries the engine is `keys`:

- `serialise`: a barrier participant. Two requests with one idempotency key give one effect and one answer, whichever
  comes first, however late; and an undo that arrives before its action leaves a tombstone. An unknown outcome is
  settled by repeating the same bytes under the same key.
- `replay`: keeps answers by key for a while, but two at once may both work.
- `ignored`: does nothing with the key.

A fact is claimed until it has been measured against the participant. Everything here is a plain immutable value, and
type parameters are invariant on purpose: `compensatable(reserve_inventory, compensation=void)` is an error in the type
checker because no one result type fits both.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, Self, TypeVar, get_args

from saga.core.options import (
    A_DURATION,
    A_FLAG,
    A_WAIT,
    Rule,
    are_statuses,
    hold,
    is_count,
    is_header,
    one_of,
    perhaps,
)
from saga.errors import DefinitionError
from saga.words import one_line, shown

NAME = re.compile(r"[a-z][a-z0-9_]*")
PATH = re.compile(r"/(?!/)[^\s\\]*")
Keys = Literal["serialise", "replay", "ignored"]


class Model(Protocol):
    """A JSON model; every `pydantic.BaseModel` is one."""

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]: ...

    @classmethod
    def model_validate_json(cls, json_data: str, /) -> Self: ...

    def model_dump_json(self) -> str: ...


Req = TypeVar("Req", bound=Model)
Res = TypeVar("Res", bound=Model)


_RULES: dict[str, Rule] = {
    "name": (
        lambda name: isinstance(name, str) and NAME.fullmatch(name) is not None,
        "small letters from a to z, digits and '_', and a letter at the beginning; SAGA_<NAME>_URL is its address",
    ),
    "keys": one_of(*get_args(Keys)),
    "remembers_rejections": A_FLAG,
    "throttled": (are_statuses, "it is a tuple of statuses: write throttled=(429,)"),
    "status_alone": (are_statuses, "it is a tuple of statuses: write status_alone=(402,)"),
    "timeout_s": A_DURATION,
    "connect_timeout_s": A_DURATION,
    "late_window_s": A_WAIT,
    "probe_lag_s": A_WAIT,
    "key_max": (lambda length: is_count(length) and length >= 20, "it is a number of characters, 20 or more"),  # type: ignore[operator]
    "key_lifetime_s": perhaps(A_DURATION),
    "key_header": (is_header, "it is the name of an HTTP header"),
}


@dataclass(frozen=True)
class Connector:
    """Facts about one participant.

    `rejected` enumerates the business "no": status → code or codes that a problem body (a JSON object with a `code`) names.
    An answer of a listed status whose body names another code, or is none such, is not a rejection: a gateway on the way
    may have written it. For a participant that sends no such body `status_alone` lists those of these statuses that mean
    "no" whatever stands in the body. `throttled` lists the statuses that are given before any work.
    Durations are seconds. `timeout_s` bounds the whole call by the wall clock, connecting included.
    `late_window_s` is how long after its time-out a call may still be applied, and `probe_lag_s` how long until the participant's books
    have it: after a restore these say from when on books show what was not done. Declared, not used yet: `key_lifetime_s`.
    """

    name: str
    keys: Keys = "ignored"
    remembers_rejections: bool = False
    rejected: Mapping[int, str | tuple[str, ...]] = field(default_factory=dict)
    status_alone: tuple[int, ...] = ()
    throttled: tuple[int, ...] = (429, 503)
    timeout_s: float = 10.0
    connect_timeout_s: float = 3.0
    late_window_s: float = 60.0
    probe_lag_s: float = 0.0
    key_max: int = 32
    key_lifetime_s: float | None = None
    key_header: str = "Idempotency-Key"

    def __post_init__(self) -> None:
        hold(f"connector {one_line(str(self.name))}", self, _RULES)
        rejected: object = self.rejected
        if not isinstance(rejected, Mapping) or not all(isinstance(status, int) for status in rejected):
            msg = f"connector {self.name}: rejected={rejected!r}; it maps a status (a number) to its code or codes"
            raise DefinitionError(msg)
        for status, codes in self.rejected.items():
            named = (codes,) if isinstance(codes, str) else codes
            if not 400 <= status < 500 or not named or not all(named):
                msg = (
                    f"connector {self.name}: rejected={{{status}: {codes!r}}}: a business no is a status from 400 to 499 with the "
                    "codes that its problem body names"
                )
                raise DefinitionError(msg)
        if unlisted := [status for status in self.status_alone if status not in self.rejected]:
            msg = f"connector {self.name}: status_alone names {unlisted[0]}, which rejected does not list; add its code there"
            raise DefinitionError(msg)

    def post(self, path: str, request: type[Req], result: type[Res]) -> "Operation[Req, Res]":
        """An operation: POST of `request` to `path`, answered by `result`."""
        return Operation(self, "POST", path, request, result)

    def query(self, path: str, request: type[Req], result: type[Res]) -> "Operation[Req, Res]":
        """A POST without effect, for readonly steps: asking twice, or in vain, changes nothing at the participant."""
        return Operation(self, "POST", path, request, result, has_effect=False)

    def undo(self, path: str, *, of: "Operation[Any, Res]") -> "Undo[Res]":
        """The undo of an operation, by the key of the action alone; only a barrier participant offers one."""
        return Undo(self, path, of)

    def rejection_codes(self, status: int) -> tuple[str, ...]:
        """The business codes enumerated for `status`; empty when that status is no rejection."""
        codes = self.rejected.get(status, ())
        return (codes,) if isinstance(codes, str) else codes


def _hold_path(connector: Connector, path: object) -> None:
    """A path is put behind the address of the participant as it stands."""
    if not isinstance(path, str) or PATH.fullmatch(path) is None:
        msg = f'connector {connector.name}: path {shown(path)}; it begins with one / and has no blank, as in post("/charges", ...)'
        raise DefinitionError(msg)


@dataclass(frozen=True)
class Operation(Generic[Req, Res]):
    """One thing a participant can be asked; calling it with a request gives the `Call` that a step returns."""

    connector: Connector
    method: str
    path: str
    request: type[Req]
    result: type[Res]
    has_effect: bool = True

    def __post_init__(self) -> None:
        _hold_path(self.connector, self.path)

    def __call__(self, request: Req) -> "Call[Res]":
        return Call(self, request)

    def __hash__(self) -> int:
        return hash((self.connector.name, self.method, self.path))

    def __str__(self) -> str:
        return f"{self.connector.name}.{self.method} {self.path}"


@dataclass(frozen=True)
class Undo(Generic[Res]):
    """An undo that knows what it undoes: sent as `{"undoes": <wire key of the action>}` under a key of its own."""

    connector: Connector
    path: str
    of: Operation[Any, Res]

    def __post_init__(self) -> None:
        _hold_path(self.connector, self.path)
        if self.connector.name != self.of.connector.name:
            msg = f"undo {self.path} of {self.connector.name} cannot undo {self.of}: the same participant must do both"
            raise DefinitionError(msg)
        if self.connector.keys != "serialise":
            msg = (
                f"undo {self.path}: connector {self.connector.name} has keys={self.connector.keys!r}; an undo by key needs "
                "keys='serialise'. Write a compensation function that takes the action's result instead"
            )
            raise DefinitionError(msg)


@dataclass(frozen=True)
class Call(Generic[Res]):
    """What a step asks for: an operation and its request. Pure data; nothing has been sent."""

    operation: Operation[Any, Res]
    request: Model
