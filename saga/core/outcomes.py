"""What one attempt came to, what that leaves in the world, and the values that travel with it.

Unknown is not failed: a time-out after sending has its own code, and no later answer turns it back into "nothing
happened". `effect_after` is the whole rule; it folds one attempt into what was known before it:

- `succeeded` proves the effect: `applied`, for good.
- `not_sent` and `throttled` were answered before any work, so they change nothing.
- `rejected` changes nothing either: the participant did not do it. Whether that also settles an earlier attempt of unknown
  effect is another question: only a participant that serialises keys and remembers rejections answers every copy alike, and
  `saga.core.attempts` asks for that fact where it matters.
- `unknown`, `pending` and `defect` are `unknown`: a 2xx that does not parse was perhaps applied.
- A later `not_sent` or `rejected` never erases an earlier `unknown`: that attempt may still be on its way.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from saga.core.states import Effect

TOMBSTONED = "tombstoned"
"""A barrier participant's word that an undo of this key was there, before the action or after it: a rejection at every
connector that serialises keys. The saga rolls back, and its compensations are repeats."""


class OutcomeCode(StrEnum):
    SUCCEEDED = "succeeded"
    PENDING = "pending"
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    THROTTLED = "throttled"
    UNKNOWN = "unknown"
    DEFECT = "defect"


@dataclass(frozen=True, slots=True)
class Payload:
    """Text that may hold personal data, in the envelope that lets its key be forgotten later."""

    data: str
    codec: str = "json"
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, to the letter, on every attempt; host, credentials, signature and date are computed at send."""

    method: str
    path: str
    body: Payload


@dataclass(frozen=True, slots=True)
class EffectChange:
    """One movement in the world that an answer reported; `compensated` is refused unless they net to zero."""

    kind: str
    unit: str
    """What is counted: a currency code, a SKU, a carrier."""
    quantity: int
    sign: int
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The definite or indefinite end of one attempt."""

    code: OutcomeCode
    detail: str = ""
    """What a person reads: of a rejection its business code and the participant's reason (`refused_for`), else what was seen."""
    result: Payload | None = None
    effects: tuple[EffectChange, ...] | None = None
    """None when the participant does not report effects; then a compensation is taken to mirror its action."""
    retry_after_s: float | None = None
    until_at: datetime | None = None
    """Pending only: when the answer is due."""
    is_answer: bool = False
    """Unknown only: the participant answered something definite that its connector does not list."""


def refused_for(code: str, reason: str) -> str:
    """The detail of a rejection."""
    return f"{code}: {reason}" if reason else code


def business_code(detail: str) -> str:
    """The code in the detail of a rejection, by which they are counted."""
    return detail.partition(": ")[0]


def effect_after(before: Effect, code: OutcomeCode) -> Effect:
    """The effect of a node after one more attempt ended with `code`; the rules stand at the top of this file."""
    if before is Effect.APPLIED or code is OutcomeCode.SUCCEEDED:
        return Effect.APPLIED
    if code in (OutcomeCode.NOT_SENT, OutcomeCode.THROTTLED, OutcomeCode.REJECTED):
        return before
    return Effect.UNKNOWN
