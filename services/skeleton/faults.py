"""Faults on command: which request meets which, chosen from a script and repeatable (docs/participants.md).

Rules of this file
------------------
- The choice is a pure function of the seed, the number of the rule, the request's key and the number of times that this
  process has seen the key under that operation; threads and their order change nothing. `times` is the exception: it
  counts over all requests of the rule.
- The first rule that matches and fires is the one; a request meets at most one fault.
- A rule without `probability` fires on every request that it matches. `order_ids` match the `order_id` of the body; a body
  without one matches no such rule.
- What a fault does is done elsewhere (`services.skeleton.app`); here it is chosen and written into the log.
"""

import threading
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from services.skeleton.fields import Integral, Whole
from services.skeleton.service import Operation, Strict

FaultName = Literal[
    "latency",
    "refuse",
    "error_before",
    "error_after",
    "drop_response",
    "overloaded",
    "duplicate",
    "late",
    "reject",
]
LOG_ROWS_MAX = 100_000
"""Older rows are dropped from the log, not from the counts."""

Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class Rule(Strict):
    """One line of the script."""

    fault: FaultName
    operation: Annotated[str, Field(max_length=200)] = "*"
    probability: Annotated[float, Field(ge=0, le=1)] | None = None
    order_ids: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    times: Annotated[int, Field(ge=1), Integral] | None = None
    delay_s: Annotated[float, Field(ge=0, le=3600)] = 0.5
    code: Code | None = None


class Script(Strict):
    """What `PUT /v1/faults` takes."""

    seed: Whole = 0
    rules: Annotated[tuple[Rule, ...], Field(strict=False, max_length=1000)] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """What this request meets."""

    name: FaultName
    delay_s: float
    code: str | None


@dataclass(frozen=True, slots=True)
class _Armed:
    rule: Rule
    order_ids: frozenset[str] | None


class Faults:
    """The script in force, what it has seen and what fired. Thread-safe; lives as long as the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.replace(Script())

    def replace(self, script: Script) -> None:
        """Forget the script before, its counts, its log, and which keys were seen."""
        with self._lock:
            self._script = script
            self._armed = tuple(
                _Armed(rule, frozenset(rule.order_ids) if rule.order_ids is not None else None) for rule in script.rules
            )
            self._fired = [0] * len(script.rules)
            self._attempts: dict[tuple[str, str], int] = {}
            self._log: list[dict[str, Any]] = []
            self._logged_count = 0

    def choose(self, operation: str, key: str, order_id: str | None) -> Fault | None:
        """The fault of this request, if it meets one; counts the request as one more attempt of its key."""
        if not self._armed:
            return None
        with self._lock:
            attempt = self._attempts.get((operation, key), 0) + 1
            self._attempts[operation, key] = attempt
            for number, armed in enumerate(self._armed):
                if self._fires(number, armed, operation, key, attempt, order_id):
                    self._note(number, armed.rule, operation, key, attempt, order_id)
                    return Fault(armed.rule.fault, armed.rule.delay_s, armed.rule.code)
        return None

    def _fires(self, number: int, armed: _Armed, operation: str, key: str, attempt: int, order_id: str | None) -> bool:
        rule = armed.rule
        if rule.operation not in ("*", operation):
            return False
        if armed.order_ids is not None and order_id not in armed.order_ids:
            return False
        if rule.times is not None and self._fired[number] >= rule.times:
            return False
        return rule.probability is None or fraction(self._script.seed, number, key, attempt) < rule.probability

    def _note(self, number: int, rule: Rule, operation: str, key: str, attempt: int, order_id: str | None) -> None:
        self._fired[number] += 1
        self._logged_count += 1
        row = {"rule": number, "fault": rule.fault, "operation": operation, "key": key}
        self._log.append({"id": self._logged_count, **row, "attempt": attempt, "order_id": order_id})
        if len(self._log) > LOG_ROWS_MAX:
            del self._log[: LOG_ROWS_MAX // 2]

    def shown(self) -> dict[str, Any]:
        """The script with `fired` per rule."""
        with self._lock:
            document = self._script.model_dump(mode="json")
            for rule, count in zip(document["rules"], self._fired, strict=True):
                rule["fired"] = count
            return document

    def fired(self, after: int, limit: int) -> dict[str, Any]:
        """A page of the log: which request met which fault."""
        with self._lock:
            found = [row for row in self._log if row["id"] > after][: limit + 1]
        rows = found[:limit]
        return {"rows": rows, "next_after": rows[-1]["id"] if len(found) > limit else None}


def fraction(seed: int, number: int, key: str, attempt: int) -> float:
    """A number in [0, 1) that looks like chance and is none."""
    digest = blake2b(f"{seed}\x1f{number}\x1f{key}\x1f{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def refused_rules(script: Script, operations: tuple[Operation, ...]) -> list[dict[str, str]]:
    """What of the script this service cannot do, as `errors` of a problem: an unknown operation, a code without status."""
    codes = {operation.name: operation.rejections for operation in operations}
    undos = {f"{operation.name}/undo" for operation in operations if operation.undo is not None}
    errors = []
    for number, rule in enumerate(script.rules):
        if rule.operation != "*" and rule.operation not in codes and rule.operation not in undos:
            errors.append(
                {"field": f"rules.{number}.operation", "rule": f"one of {', '.join([*codes, *sorted(undos)])}"}
            )
        elif rule.fault == "reject" and (rule.operation == "*" or rule.code not in codes.get(rule.operation, {})):
            known = ", ".join(sorted(codes.get(rule.operation, {})))
            rule_text = f"one of {known}" if known else "reject wants an operation that rejects with codes of its own"
            errors.append({"field": f"rules.{number}.code", "rule": rule_text})
    return errors
