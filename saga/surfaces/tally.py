"""What became of a file of orders, as `saga orders submit` counts it and says it."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from saga.core.states import SagaStatus
from saga.fulfilment.intake import Refused, Repeated
from saga.fulfilment.text_files import LineCount
from saga.surfaces.returning import ReturnTally

NOT_COMPLETED_MAX = 10_000
"""Orders that did not complete of which more is kept than their count."""


@dataclass(frozen=True, slots=True)
class NotCompleted:
    """An order that ended or waits otherwise, and why."""

    order_id: str
    saga_id: str
    status: str
    reason: str
    """By which they are counted: step and code."""
    said: str = ""
    """What the participant that refused it said beside its code."""


@dataclass(slots=True)
class Tally:
    """What became of a file."""

    orders: int = 0
    """Different ones that were handed over."""
    submitted: int = 0
    already: int = 0
    not_handed_over: int = 0
    """Those that nobody took, because database or API went away."""
    rounded: int = 0
    refused: list[Refused] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    saga_ids: list[str] = field(default_factory=list)
    saga_of: dict[str, str] = field(default_factory=dict)
    """Order id → its saga."""
    ended: Counter[str] = field(default_factory=Counter)
    """By status, filled by `await_ends` (`saga.surfaces.awaiting`)."""
    not_completed: list[str] = field(default_factory=list)
    """Sagas that ended or wait otherwise, filled by `await_ends`."""
    unreadable: list[str] = field(default_factory=list)
    """Sagas whose journal this release cannot read, so that nobody can say how they end; filled by `await_ends`."""
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Of those that did not complete by status and reason, filled by `explain_ends`."""
    explained: list[NotCompleted] = field(default_factory=list)
    """The first `NOT_COMPLETED_MAX` of those, filled by `explain_ends`."""
    open_count: int = 0
    repeats: list[Repeated] = field(default_factory=list)
    """Counted in `already` or `refused` once it is known what became of their orders."""
    seconds: float = 0.0
    returns: ReturnTally | None = None
    """What became of the cancellations; None where they were skipped."""
    lines: LineCount | None = None
    """Where the lines of the file went; None when it was not read to its end."""

    def as_json(self, *, with_ends: bool) -> dict[str, Any]:
        ends = {status.value: self.ended[status.value] for status in SagaStatus} if with_ends else {}
        reasons = [
            {"status": status, "reason": why, "count": count} for (status, why), count in self.reasons.most_common()
        ]
        return {
            "orders": self.orders,
            "submitted": self.submitted,
            "already": self.already,
            "refused": len(self.refused),
            "skipped": dict(self.skipped),
            "rounded": self.rounded,
            **({"returns": self.returns.as_json()} if self.returns is not None else {}),
            **ends,
            **({"not_handed_over": self.not_handed_over} if self.not_handed_over else {}),
            **({"unreadable": self.unreadable} if self.unreadable else {}),
            **({"reasons": reasons, "not_completed": [asdict(it) for it in self.explained]} if with_ends else {}),
            **({"lines": asdict(self.lines)} if self.lines is not None else {}),
            "seconds": round(self.seconds, 3),
            "refusals": [_told(one) for one in self.refused],
        }


def _told(one: Refused) -> dict[str, str]:
    return {"reference": one.reference, "reason": one.reason, **({"lines": one.lines_shown} if one.lines else {})}
