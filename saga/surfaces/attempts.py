"""Every attempt of a saga, one by one, as its journal has them: who made it, when, how it ended, under which key.

Rules of this file: functions of what was read, no store and no clock. An attempt is known by its node and epoch. What a
later attempt sends is not written down again, so "the same bytes under the same key" is read from the journal: there is no
second request and no second key in it. No payloads.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pydantic import BaseModel, Field

from saga.clock import seconds_between
from saga.core import transitions as t
from saga.core.outcomes import TOMBSTONED, OutcomeCode
from saga.core.states import Direction
from saga.surfaces.reading import UNDONE_BEFORE
from saga.surfaces.render import duration
from saga.surfaces.visible import one_line

BEGINNING = datetime.min.replace(tzinfo=UTC)
SHOWN_TRIES = 3
DETAIL_WIDTH = 60
IN_WORDS = (
    ("RemoteDisconnected", "the connection was closed without an answer"),
    ("ConnectionResetError", "the connection was reset"),
    ("ReadTimeout", "no answer in time"),
    ("Read timed out", "no answer in time"),
    ("ConnectTimeout", "no connection in time"),
    ("NameResolutionError", "its host name is not known"),
    ("Connection refused", "connection refused"),
    (TOMBSTONED, UNDONE_BEFORE),
)
"""What libraries and participants call it, and what a person does; the journal and `--attempts` keep the whole text."""


class AttemptReading(BaseModel):
    """One attempt of a node."""

    node: str
    step: str
    direction: Direction
    try_number: int = Field(description="counted per node from 1")
    epoch: int | None = Field(description="null when the step broke before it was started")
    worker: str | None = Field(description="the worker that claimed it")
    started_at: datetime | None
    ended_at: datetime | None
    took_s: float | None
    outcome: OutcomeCode | None = Field(description="null while it is open")
    detail: str
    is_lost: bool = Field(description="its process is gone and nobody saw an outcome")
    late_outcome: OutcomeCode | None = Field(description="a definite answer that came too late to count")
    wire_key: str | None = Field(description="the idempotency key that was sent")
    is_same_key: bool | None = Field(description="as the attempt before; null for the first")
    is_same_request: bool | None = Field(
        description="to the byte, as the attempt before; null for the first and where nothing is sent"
    )


def read_attempts(transitions: Iterable[t.Transition]) -> list[AttemptReading]:
    """The attempts in the order in which they were started."""
    found: dict[tuple[str, int], AttemptReading] = {}
    broken: list[AttemptReading] = []
    numbers: dict[str, int] = {}
    firsts: dict[str, t.AttemptStarted] = {}
    for it in transitions:
        match it:
            case t.AttemptStarted():
                numbers[it.node] = numbers.get(it.node, 0) + 1
                found[it.node, it.epoch] = _started(it, firsts.get(it.node), numbers[it.node])
                firsts.setdefault(it.node, it)
            case t.AttemptEnded() if (it.node, it.epoch) in found:
                found[it.node, it.epoch] = _ended(found[it.node, it.epoch], it)
            case t.EvidenceKept() if (it.node, it.epoch) in found:
                found[it.node, it.epoch] = found[it.node, it.epoch].model_copy(update={"late_outcome": it.code})
            case t.StepBroke():
                numbers[it.node] = numbers.get(it.node, 0) + 1
                broken.append(_broke(it, numbers[it.node]))
            case _:  # the rest is no attempt
                pass
    return sorted([*found.values(), *broken], key=lambda one: one.started_at or one.ended_at or BEGINNING)


def _started(it: t.AttemptStarted, first: t.AttemptStarted | None, number: int) -> AttemptReading:
    step, _, direction = it.node.rpartition(":")
    is_same_request = None
    if first is not None and (first.request is not None or it.request is not None):
        is_same_request = it.request in (None, first.request)
    return AttemptReading(
        node=it.node,
        step=step,
        direction=Direction(direction),
        try_number=number,
        epoch=it.epoch,
        worker=it.owner,
        started_at=it.at,
        ended_at=None,
        took_s=None,
        outcome=None,
        detail="",
        is_lost=False,
        late_outcome=None,
        wire_key=it.wire_key or (first.wire_key if first else None),
        is_same_key=None if first is None else it.wire_key in (None, first.wire_key),
        is_same_request=is_same_request,
    )


def _ended(started: AttemptReading, it: t.AttemptEnded) -> AttemptReading:
    took_s = seconds_between(started.started_at, it.at) if started.started_at else None
    ended = {"ended_at": it.at, "took_s": took_s, "outcome": it.code, "detail": it.detail, "is_lost": it.lost}
    return started.model_copy(update=ended)


def _broke(it: t.StepBroke, number: int) -> AttemptReading:
    step, _, direction = it.node.rpartition(":")
    return AttemptReading(
        node=it.node, step=step, direction=Direction(direction), try_number=number, epoch=None, worker=None,
        started_at=None, ended_at=it.at, took_s=None, outcome=OutcomeCode.DEFECT, detail=it.detail, is_lost=False,
        late_outcome=None, wire_key=None, is_same_key=None, is_same_request=None,
    )  # fmt: skip


def in_words(detail: str) -> str:
    """The detail of an outcome for a line on a screen."""
    words = next((words for name, words in IN_WORDS if name in detail), one_line(detail))
    return words if len(words) <= DETAIL_WIDTH else f"{words[: DETAIL_WIDTH - 1]}…"


def lost_tries(attempts: Sequence[AttemptReading]) -> list[str]:
    """What happened to a node that needed more than one try, a line for each: the first, and how the last differed."""
    if len(attempts) < 2:
        return []
    shown = list(attempts) if len(attempts) <= SHOWN_TRIES else [attempts[0], attempts[1], attempts[-1]]
    lines = [_try(one) for one in shown]
    if (more := len(attempts) - len(shown)) > 0:
        lines.insert(2, f"… {more} more")
    return lines


def _try(one: AttemptReading) -> str:
    same = [word for word, is_same in (("same bytes", one.is_same_request), ("same key", one.is_same_key)) if is_same]
    if one.outcome is OutcomeCode.NOT_SENT:
        same = []
    before = f"{', '.join(same)} → " if same else ""
    return f"try {one.try_number}: {before}{how_it_ended(one)}"


def how_it_ended(one: AttemptReading) -> str:
    """The outcome of an attempt in a few words."""
    if one.outcome is None:
        return "in flight"
    if one.is_lost:
        return f"{one.outcome}: the worker that made it is gone"
    after = f" after {duration(one.took_s)}" if one.took_s is not None else ""
    if one.outcome is OutcomeCode.SUCCEEDED:
        return f"{one.outcome}{after}"
    return f"{one.outcome}{after}" + (f": {in_words(one.detail)}" if one.detail else "")
