"""Waits until sagas have ended and says why some did not complete: `--wait` of `saga orders submit` and of `saga start`.

Rules of this file
------------------
- A saga is waited for as long as anything but a person can move it (`saga.surfaces.draining.is_over`).
- A journal that is damaged is moved by nobody: its saga is counted under `unreadable` and hinders no other (RELIABILITY 18).
  The row of a saga does not show it, so journals are read when nothing has ended for `STILL_S` seconds. One that a newer
  release wrote is moved by that release's workers, and its row says when it has ended.
- A database or an API that is away ends the wait.
"""

from collections.abc import Callable
from typing import Protocol

from saga.clock import monotonic, sleep
from saga.core.states import SagaStatus
from saga.surfaces.partly import UNREADABLE
from saga.surfaces.tally import NOT_COMPLETED_MAX, NotCompleted, Tally

POLL_S = 0.1
STILL_S = 2.0
HEAD = 16
"""Sagas that are asked about in one round."""


class Ends(Protocol):
    """Whoever knows where a saga stands. Both raise `CodecError` or `IllegalTransition` when they need a journal that cannot be
    read, and `StoreUnavailable`."""

    def status(self, saga_id: str) -> tuple[SagaStatus, bool]:
        """Where it stands, and whether only a person could still move it."""
        ...

    def why(self, saga_id: str) -> tuple[SagaStatus, str, str]:
        """Where it stands, why it did not complete, and what the participant that refused it said."""
        ...


def await_ends(
    ends: Ends,
    tally: Tally,
    *,
    bound_s: float | None = None,
    progress: Callable[[Tally], None] = lambda _tally: None,
) -> bool:
    """Wait until nobody but a person can move any of the sagas; False when `bound_s` seconds were not enough.

    Sagas end roughly in the order of their start, so a few at the head are asked about in turn: the reads are about as many as
    sagas, and one that takes long hides no more than the others do.
    """
    give_up_at = monotonic() + bound_s if bound_s is not None else None
    waiting = list(reversed(tally.saga_ids))
    tally.open_count = len(waiting)
    head: list[str] = []
    moved_at = monotonic()
    while waiting or head:
        head += [waiting.pop() for _ in range(min(HEAD - len(head), len(waiting)))]
        still = [saga_id for saga_id in head if not _has_ended(ends, tally, saga_id)]
        if len(still) == len(head) and monotonic() - moved_at >= STILL_S:
            still, moved_at = [saga_id for saga_id in head if _can_be_read(ends, tally, saga_id)], monotonic()
        progress(tally)
        if len(still) == len(head):
            if give_up_at is not None and monotonic() > give_up_at:
                _count_open(ends, tally, [*head, *waiting])
                return False
            sleep(POLL_S)
        else:
            moved_at = monotonic()
        head = still
    return True


def explain_ends(ends: Ends, tally: Tally) -> None:
    """Count why sagas did not complete, and keep of the first ones what was said."""
    order_of = {saga_id: order_id for order_id, saga_id in tally.saga_of.items()}
    for saga_id in tally.not_completed:
        try:
            status, why, said = ends.why(saga_id)
        except UNREADABLE:
            tally.unreadable.append(saga_id)
            continue
        tally.reasons[status.value, why] += 1
        if len(tally.explained) < NOT_COMPLETED_MAX:
            order_id = order_of.get(saga_id, saga_id)
            tally.explained.append(NotCompleted(order_id, saga_id, status.value, why, said))


def _has_ended(ends: Ends, tally: Tally, saga_id: str) -> bool:
    try:
        status, is_last = ends.status(saga_id)
    except UNREADABLE:
        _give_up(tally, saga_id)
        return True
    if is_last:
        tally.ended[status.value] += 1
        tally.open_count -= 1
        if status is not SagaStatus.COMPLETED:
            tally.not_completed.append(saga_id)
    return is_last


def _can_be_read(ends: Ends, tally: Tally, saga_id: str) -> bool:
    try:
        ends.why(saga_id)
    except UNREADABLE:
        _give_up(tally, saga_id)
        return False
    return True


def _give_up(tally: Tally, saga_id: str) -> None:
    tally.unreadable.append(saga_id)
    tally.open_count -= 1


def _count_open(ends: Ends, tally: Tally, saga_ids: list[str]) -> None:
    for saga_id in saga_ids:
        try:
            tally.ended[ends.status(saga_id)[0].value] += 1
        except UNREADABLE:
            _give_up(tally, saga_id)
