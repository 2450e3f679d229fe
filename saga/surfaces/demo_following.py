"""Follows every order of a demonstration through its journal, a few at each look, and tells what happened to it.

Rules of this file
------------------
- A journal is read once: each look asks for what came behind the entry that was read last, of as many orders as the look has
  time for, those first that waited longest. So a look costs the same however many orders there are, and what it says may be
  behind.
- What is known of an order that has ended is kept in one line: its end, what it was due to pay, and who wrote.
- Nothing is concluded that the journal does not say.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from saga.clock import monotonic, seconds_between
from saga.core import transitions as t
from saga.core.fold import SagaState, accepted, evolve
from saga.core.outcomes import OutcomeCode
from saga.core.states import ENDED, Direction, NodePhase
from saga.fulfilment.models import OrderPrice
from saga.store.codec import decode
from saga.store.port import Store
from saga.surfaces.reading import cause_of
from saga.surfaces.render import duration

LOOK_S = 0.04
"""How long a look may take, so that the screen leaves the cores to the workers."""
KEPT = 64
DIRECTIONS = {Direction.ACTION: "", Direction.COMPENSATION: "undo "}


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened: when, to whom, at which step, and what of it."""

    at: datetime
    who: str
    step: str
    what: str


@dataclass(slots=True)
class Followed:
    """One order, as far as its journal was read."""

    saga_id: str
    order_id: str
    seq: int = 0
    state: SagaState | None = None
    first_by: dict[str, datetime] = field(default_factory=dict)
    """Writer of entries → when it wrote its first."""
    read_at: float = 0.0
    ended_at: datetime | None = None
    is_completed: bool = False
    due: int = 0
    """What it must pay when it completes, in minor units; 0 before it is priced."""


class Follower:
    """What the journals say of the orders that were handed to it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: deque[Followed] = deque()
        self.by_order: dict[str, Followed] = {}
        self.happened: deque[Happening] = deque(maxlen=KEPT)
        self.causes: Counter[str] = Counter()
        self.repeated_count = 0
        """Calls whose answer was lost, and whose repeat under the same key succeeded."""

    def take(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Follow these, too: saga id and order id."""
        for saga_id, order_id in pairs:
            one = Followed(saga_id, order_id)
            self.by_order[order_id] = one
            self._open.append(one)

    @property
    def open(self) -> list[Followed]:
        """Those whose end was not read yet."""
        return list(self._open)

    def look(self, bound_s: float = LOOK_S) -> None:
        """Read on, for as long as `bound_s` lasts, each order at most once."""
        until = monotonic() + bound_s
        for _ in range(len(self._open)):
            one = self._open.popleft()
            self.read(one)
            if one.ended_at is None:
                self._open.append(one)
            if monotonic() >= until:
                return

    def read(self, one: Followed) -> None:
        """Read on in the journal of this one."""
        one.read_at = monotonic()
        for entry in self._store.tail(one.saga_id, one.seq):
            one.seq = entry.seq
            one.first_by.setdefault(entry.writer, entry.at)
            for fact in decode(entry.body):
                self._note(one, fact)
        state = one.state
        if state is not None and state.status in ENDED:
            one.ended_at, one.state, one.is_completed = state.ended_at, None, state.cause is None
            if state.cause is not None:
                self.causes[cause_of(state.cause)] += 1

    def _note(self, one: Followed, fact: t.Transition) -> None:
        if isinstance(fact, t.SagaAccepted):
            one.state = accepted(fact)
            return
        assert one.state is not None, "entry 1 is the acceptance"
        before, one.state = one.state, evolve(one.state, fact)
        if isinstance(fact, t.AttemptEnded):
            self._note_attempt(one, before, fact)
        elif isinstance(fact, t.PlanFrozen):
            self._tell(one, fact.at, *_turned(one.state, fact))
        elif isinstance(fact, t.SagaHalted):
            self._tell(
                one, fact.at, (fact.node or "").partition(":")[0], f"halted: {fact.reason} {fact.detail}".rstrip()
            )

    def _note_attempt(self, one: Followed, before: SagaState, fact: t.AttemptEnded) -> None:
        name, _, direction = fact.node.rpartition(":")
        step = DIRECTIONS[Direction(direction)] + name
        if fact.phase is NodePhase.BACKOFF:
            self._tell(one, fact.at, step, _again(fact))
        elif fact.code is OutcomeCode.SUCCEEDED and before.node(fact.node).code is OutcomeCode.UNKNOWN:
            self.repeated_count += 1
            self._tell(one, fact.at, step, f"try {fact.epoch}, same bytes, same key → succeeded")
        if name == "price_order" and fact.result is not None:
            one.due = OrderPrice.model_validate_json(fact.result.data).total

    def _tell(self, one: Followed, at: datetime, step: str, what: str) -> None:
        self.happened.append(Happening(at, one.order_id, step, what))


def _again(fact: t.AttemptEnded) -> str:
    if fact.lost:
        return "its worker died in this call → the same again, by another"
    wait = duration(seconds_between(fact.at, fact.next_at)) if fact.next_at else "time"
    # What a participant answered stands at the beginning of the detail; all else is what was seen instead of an answer.
    seen = " ".join(fact.detail.split()[:2]) if fact.detail.startswith("HTTP ") else "no answer"
    return f"{seen} → the same again in {wait}"


def _turned(state: SagaState, plan: t.PlanFrozen) -> tuple[str, str]:
    assert state.cause is not None
    undone = " → ".join(f"undo {entry.step}" for entry in plan.entries)
    return state.cause.step or "", f"{cause_of(state.cause)} → {undone or 'nothing to undo'}"
