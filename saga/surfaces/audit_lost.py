"""What the audit may not ask of a journal that was restored: the part between its backup and the restore is at participants only.

Effects of that part have their intent in no journal. Those of an order that a journal knows are judged by the order's own sums
(I1, I2, I8); an order that no journal knows is a violation until somebody answers for it (`saga db settle`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from saga.store.port import Store
from saga.store.restoring import Restoration

CLOCK_SKEW = timedelta(seconds=1)
"""A participant's clock and the database's may differ by so much."""


@dataclass(frozen=True, slots=True)
class LostPart:
    """The parts that were lost, and the orders that somebody has answered for."""

    restorations: Sequence[Restoration] = ()
    settled: frozenset[str] = field(default_factory=frozenset)

    def has(self, at: datetime) -> bool:
        """Whether something that happened then may be in no journal."""
        return any(it.restored_to - CLOCK_SKEW <= at <= it.told_at + CLOCK_SKEW for it in self.restorations)


def lost_part(store: Store) -> LostPart:
    """As the store has it."""
    return LostPart(store.restorations(), frozenset(it.entity for it in store.settled()))
