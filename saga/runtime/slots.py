"""How many claims a process has in flight and how many more it may make: room for the driver, counted and not locked.

- While calls take longer than a commit, no more are claimed than there are threads, so that another process can have the
  rest; while they are fast, a few per thread are claimed ahead to keep the threads busy.
- An eighth of the slots, at least one of several, is for compensations alone.
- A call that outlives its deadline cannot be stopped: it keeps its slot, and no other attempt of its node begins here.
- A lone claim is one beside which nothing else may be in flight.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from saga.runtime.calls import reserved_of
from saga.runtime.work import Limits

FAST_CALL_S = 0.05
STUCK_S = 5.0
_PACE_WEIGHT = 0.1

Claim = tuple[str, str, int]
"""Saga id, node, epoch."""


@dataclass(frozen=True, slots=True)
class _Handed:
    at: datetime
    deadline_at: datetime


class Slots:
    """The claims in flight of one driver, from the decision to start until the outcome is there or the claim is given up."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._claims: dict[tuple[str, str], int] = {}
        """The epoch by (saga id, node); of a node there is one at most."""
        self._handed: dict[Claim, _Handed] = {}
        self._overdue: dict[Claim, datetime] = {}
        """Since when each was seen to be."""
        self._now = datetime.min.replace(tzinfo=UTC)
        self._pace_s = FAST_CALL_S * 2
        self._lone: Claim | None = None

    def __len__(self) -> int:
        return len(self._claims)

    def __contains__(self, node: tuple[str, str]) -> bool:
        """Whether an attempt of (saga id, node) still takes a slot, whatever the journal says of it by now."""
        return node in self._claims

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is in flight whose attempt is still open."""
        return len(self._claims) == len(self._overdue)

    @property
    def has_lone(self) -> bool:
        return self._lone is not None

    @property
    def is_fast(self) -> bool:
        """Whether calls take less than about a commit, of late; one that does not come back is not fast."""
        return self._pace_s <= FAST_CALL_S and not self._overdue

    @property
    def total(self) -> int:
        """How many claims may be in flight at the pace of the calls."""
        return self._limits.slots if self.is_fast else min(self._limits.slots, self._limits.threads)

    @property
    def forward(self) -> int:
        """What actions may use of them; the rest is for compensations."""
        return self.total - max(1, self.total // 8) if self.total > 1 else 1

    def room_for(self, held_count: int) -> int:
        """How many more sagas to take in. While calls are fast, enough that no slot waits for a journal to be loaded; while
        they are slow, no more than can be claimed, so that another process finds the rest."""
        room = min(self._limits.held, 2 * self.total if self.is_fast else self.forward)
        return max(0, room - held_count)

    def room_back(self, held_count: int) -> int:
        """How many sagas that are rolling back to take in, beyond what is taken of the others."""
        return max(0, min(self.total - len(self), self._limits.held - held_count))

    def claim(self, claim: Claim, *, alone: bool) -> None:
        saga_id, node, epoch = claim
        self._claims[saga_id, node] = epoch
        self._lone = claim if alone else self._lone

    def give_up(self, claim: Claim) -> None:
        """The claim was not written, or its call has ended."""
        saga_id, node, epoch = claim
        if self._claims.get((saga_id, node)) == epoch:
            del self._claims[saga_id, node]
        self._lone = None if self._lone == claim else self._lone

    def handed_out(self, claim: Claim, now: datetime, deadline_at: datetime) -> None:
        """Its call goes to a thread."""
        self._handed[claim] = _Handed(now, deadline_at)

    def ended(self, claim: Claim, now: datetime) -> bool:
        """Its call came back; how long that took sets the pace. False when it was given up before."""
        self.give_up(claim)
        self._overdue.pop(claim, None)
        handed = self._handed.pop(claim, None)
        if handed is not None:
            self._pace_s += _PACE_WEIGHT * (min(max((now - handed.at).total_seconds(), 0.0), 1.0) - self._pace_s)
        return handed is not None

    @property
    def in_threads(self) -> tuple[Claim, ...]:
        """What was handed out and has not come back."""
        return tuple(self._handed)

    @property
    def is_stuck(self) -> bool:
        """Whether every thread that runs actions has for a while been in a call past its deadline: none would begin here. A
        process that was paused finds many of them late at once, and that passes."""
        for_actions = self._limits.threads - reserved_of(self._limits.threads)
        long = timedelta(seconds=STUCK_S)
        return sum(self._now - since >= long for since in self._overdue.values()) >= for_actions

    def newly_overdue(self, now: datetime) -> list[Claim]:
        """Calls whose deadline has passed while they still take a thread; each is named once."""
        late = [claim for claim, it in self._handed.items() if it.deadline_at < now and claim not in self._overdue]
        self._overdue.update(dict.fromkeys(late, now))
        self._now = now
        self._lone = None if self._lone in self._overdue else self._lone
        return late
