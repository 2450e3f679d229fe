"""The part of the port that looks over all sagas at once, and that must stay quick when millions have ended.

The protocol it must keep: what lives is read by its due instant, what is new by its instant of acceptance, so nothing here
reads every saga, but for `counts` without `since`. A search for few among many goes back to a `horizon` and says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from saga.core.states import HaltReason, SagaStatus

if TYPE_CHECKING:  # the port is made of this part
    from saga.store.port import SagaRow


@dataclass(frozen=True, slots=True)
class LiveCount:
    """Sagas that somebody must look at by some instant, of one status and halt reason."""

    status: SagaStatus
    halt_reason: HaltReason | None
    count: int
    due_at: datetime
    """The earliest of those instants."""


class Overview(Protocol):
    """What a store tells of all its sagas."""

    def counts(self, since: datetime | None = None, until: datetime | None = None) -> Mapping[SagaStatus, int]:
        """Number of sagas by status; of those accepted from `since` on and before `until`, where they are given. Without
        `since` it reads every saga."""
        ...

    def horizon(self, count: int) -> datetime | None:
        """The instant from which on `count` sagas were accepted; None when there are fewer. Reads so many entries of an
        index, so a look that must not read every saga goes back to there and no further."""
        ...

    def live_counts(self) -> list[LiveCount]:
        """The sagas that have a due instant, by status and halt reason. Reads them alone, however many have ended; a saga
        that waits for a person has none and is not among them."""
        ...

    def live_rows(self, limit: int) -> list["SagaRow"]:
        """Of the sagas that have a due instant, up to `limit`, the first accepted first. Reads those alone."""
        ...
