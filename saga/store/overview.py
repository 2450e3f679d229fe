"""The part of the port that looks over all sagas at once, and that must stay quick when millions have ended.

The protocol it must keep: what lives is read by its due instant, what is halted by its reason, what is new by its instant of
acceptance, so nothing here reads every saga, but for `counts` without `since`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from saga.core.states import HaltReason, SagaStatus
from saga.scope import Scope

if TYPE_CHECKING:  # the port is made of this part
    from saga.store.port import SagaRow, WorkerRow


@dataclass(frozen=True, slots=True)
class LiveCount:
    """Sagas that somebody must look at by some instant, of one status and halt reason."""

    status: SagaStatus
    halt_reason: HaltReason | None
    count: int
    due_at: datetime
    """The earliest of those instants."""


@dataclass(frozen=True, slots=True)
class HaltedCount:
    """Halted sagas of one reason."""

    reason: HaltReason
    count: int
    due_at: datetime | None
    """When the first of them that heals itself is looked at next; None when all wait for a person."""


class Overview(Protocol):
    """What a store tells of all its sagas."""

    scope: Scope
    """Whose sagas it answers for. Everything that is read or swept is theirs alone, as if there were no others; an entry is
    appended to whatever saga it names, because whoever appends has read its journal. Instants and definitions are those of
    the whole database, and a worker is closed and found dead whosever sagas it runs."""

    def workers(self) -> "list[tuple[WorkerRow, datetime]]":
        """Open rows of the workers that may run a saga of the scope, with the end of their lease."""
        ...

    def counts(self, since: datetime | None = None, until: datetime | None = None) -> Mapping[SagaStatus, int]:
        """Number of sagas by status; of those accepted from `since` on and before `until`, where they are given. Without
        `since` it reads every saga."""
        ...

    def horizon(self, count: int) -> datetime | None:
        """The instant from which on `count` sagas were accepted; None when there are fewer. Reads so many entries of an
        index, so a look that must not read every saga goes back to there and no further; whosever sagas they are."""
        ...

    def live_counts(self) -> list[LiveCount]:
        """The sagas that have a due instant, by status and halt reason. Reads them alone, however many have ended; a saga
        that waits for a person has none and is not among them."""
        ...

    def live_rows(self, limit: int) -> list["SagaRow"]:
        """Of the sagas that have a due instant, up to `limit`, the first accepted first. Reads those alone."""
        ...

    def halted_counts(self) -> list[HaltedCount]:
        """All halted sagas by reason, whether they wait for a person or heal themselves. Reads them alone."""
        ...

    def halted_rows(self, reason: HaltReason, limit: int) -> list["SagaRow"]:
        """Of the sagas that are halted for this reason, up to `limit`, the first accepted first. Reads no more than those."""
        ...
