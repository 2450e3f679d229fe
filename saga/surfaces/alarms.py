"""Of how all sagas stand, what wants a person: `saga status --check`, for whatever wakes somebody.

Rules of this file: a function from `saga.surfaces.standing.Standing` and bounds to reasons; no store, no clock. What heals by
itself (a participant that is down) is no reason: it is tried again at the cap, and its own monitoring says that it is down.
"""

from pydantic import BaseModel, Field

from saga.surfaces.defaults import MAX_DUE_S, MAX_HALTED, MIN_WORKERS
from saga.surfaces.render import duration
from saga.surfaces.standing import Standing
from saga.surfaces.visible import Page, page


class Bounds(BaseModel):
    """What is still fine."""

    max_due_s: float = MAX_DUE_S
    max_halted: int = MAX_HALTED
    min_workers: int = MIN_WORKERS


class Alarm(BaseModel):
    """One thing that wants a person."""

    code: str = Field(description="halted, workers, untaken, due, unreadable or unavailable; stable")
    detail: str


class Checked(BaseModel):
    """The answer: fine, or why not; and the figures that were judged. Null: they could not be read."""

    ok: bool
    reasons: list[Alarm]
    live_count: int | None = None
    halted_count: int | None = Field(default=None, description="of those that wait for a person")
    due_count: int | None = None
    oldest_due_s: float | None = None
    worker_count: int | None = Field(default=None, description="of those whose lease holds")


def checked(now: Standing, bounds: Bounds) -> Checked:
    """Judge it."""
    waiting = [group for group in now.halted_groups if not group.heals_itself]
    halted, workers = sum(group.count for group in waiting), sum(worker.is_alive for worker in now.workers)
    reasons = []
    if halted > bounds.max_halted:
        which = ", ".join(f"{group.count:,} {group.reason}" for group in waiting)
        reasons.append(Alarm(code="halted", detail=f"{halted:,} halted for a person ({which})"))
    if workers < bounds.min_workers:
        waits = f", and {', '.join(now.moving)} {'waits' if len(now.moving) == 1 else 'wait'}"
        why = waits if now.moving and not workers else ""
        reasons.append(Alarm(code="workers", detail=f"{workers} of at least {bounds.min_workers} workers{why}"))
    elif now.unserved and bounds.min_workers:
        reasons.append(Alarm(code="workers", detail=f"no worker for tenant {', '.join(now.unserved)}"))
    if now.untaken:
        reasons.append(Alarm(code="untaken", detail=f"nobody takes {', '.join(now.untaken)}"))
    if now.oldest_due_s > bounds.max_due_s:
        detail = f"{now.due_count:,} due, the oldest for {duration(now.oldest_due_s)}"
        reasons.append(Alarm(code="due", detail=detail))
    if now.unreadable_count:
        detail = f"{now.unreadable_count:,} journals cannot be read: saga audit"
        reasons.append(Alarm(code="unreadable", detail=detail))
    return Checked(
        ok=not reasons,
        reasons=reasons,
        live_count=now.live_count,
        halted_count=halted,
        due_count=now.due_count,
        oldest_due_s=now.oldest_due_s,
        worker_count=workers,
    )


def unavailable(why: str) -> Checked:
    """The answer when nothing could be read."""
    return Checked(ok=False, reasons=[Alarm(code="unavailable", detail=why)])


def alarm_line(found: Checked) -> Page:
    """One line, for a mail or a pager."""
    if found.reasons:
        return page([f"ALARM   {'; '.join(one.detail for one in found.reasons)}"])
    facts = f"live {found.live_count:,}, due {found.due_count:,}, halted {found.halted_count:,}"
    return page([f"OK   {facts}, workers {found.worker_count}"])
