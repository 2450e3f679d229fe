"""`saga drain`: everything that can be finished without a broker and without a person, and what this drain did."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import typer

from saga.clock import monotonic
from saga.core.states import SagaStatus
from saga.surfaces.cli.options import (
    FAILED,
    DefinitionsArgument,
    MoreDefinitionsOption,
    Output,
    OutputOption,
    definitions_named,
    finite,
    put_one,
    say,
    settings_and_log,
)
from saga.surfaces.cli.running import giving_up, until_stopped, why_broken
from saga.surfaces.draining import Left, left_of, stops_by
from saga.surfaces.embedded import Stack, embedded
from saga.surfaces.folders import refuse_unwritable_mailbox
from saga.surfaces.visible import Page, page

LONG_WAIT = timedelta(seconds=5)
STOPS = (SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.HALTED)


@dataclass(frozen=True, slots=True)
class Drained:
    """What one drain did, what it leaves, and the whole journal by status."""

    stops: Mapping[SagaStatus, int]
    left: Left
    counts: Mapping[SagaStatus, int]

    def to_json(self) -> dict[str, object]:
        return {
            "left": self.left.moving_count,
            "foreign": self.left.foreign_count,
            "waiting_for_a_person": self.left.waiting_count,
            **{status.value: self.counts.get(status, 0) for status in SagaStatus},
            "drained": {status.value: self.stops.get(status, 0) for status in STOPS},
            "left_by_reason": dict(self.left.reasons),
            "next_due_at": self.left.next_due_at.isoformat() if self.left.next_due_at else None,
        }

    def to_text(self) -> Page:
        ended = [f"{self.stops.get(status, 0)} {status}" for status in STOPS]
        total = sum(self.left.reasons.values())
        lines = [f"this drain   {'   '.join(ended)}", f"left         {total or 'nothing'}"]
        lines += [f"  {count:>5}  {reason}" for reason, count in self.left.reasons.items()]
        if self.left.next_due_at is not None:
            lines.append(f"         those that move wait, the first until {_instant(self.left.next_due_at)}")
        return page(lines)


def add_to(app: typer.Typer) -> None:
    app.command()(drain)


def drain(
    definitions: DefinitionsArgument = None,
    more: MoreDefinitionsOption = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0, callback=finite, help="Give up after so many seconds.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Finish everything that can be finished, with no broker, and exit. What waits for a person stays.

    What is in backoff, or waits for an answer, is waited for, unless --timeout ends it (exit code 1). Participants
    without an address are started here, as `saga dev` does. In JSON `drained` is what this drain did and `left_by_reason`
    what is left; the numbers by status beside them count the whole journal.

    \b
    Examples
      saga drain
      saga drain shop:place_order --timeout 60 -o json
    """
    with until_stopped() as stopped:
        settings, sagas = settings_and_log(), definitions_named(definitions, more)
        refuse_unwritable_mailbox(settings, sagas)
        gave_up = threading.Event()
        broken = giving_up(gave_up, stopped)
        with embedded(settings, sagas, port=None, with_broker=False, broken=broken) as stack:
            done = _drained(stack, stopped, timeout_s)
            why = why_broken(stack, gave_up)
    put_one(output, done.to_json(), done.to_text())
    if why is not None:
        say(why)
    if done.left.moving_count:
        say(f"saga: {done.left.moving_count} sagas have not ended; run  saga drain  again")
        raise typer.Exit(FAILED)


def _drained(stack: Stack, stopped: threading.Event, timeout_s: float | None) -> Drained:
    began, began_at = monotonic(), stack.store.now()
    seen: set[str] = set()
    writers: set[str] = set()
    told: datetime | None = None
    while True:
        asked = monotonic()
        left = left_of(stack.store, stack.definitions)
        seen |= left.moving_ids
        writers |= stack.writers()
        is_time_up = timeout_s is not None and monotonic() - began > timeout_s
        if not left.moving_count or stopped.is_set() or is_time_up or stack.services_ended() is not None:
            break
        told = _told(stack, left, told)
        # Five times as long as the look took, so that looking at many sagas does not hold up moving them.
        stopped.wait(max(0.2, 5 * (monotonic() - asked)))
    stops: Counter[SagaStatus] = stops_by(writers, stack.store, seen, began_at)
    return Drained(stops, left, stack.store.counts())


def _told(stack: Stack, left: Left, told: datetime | None) -> datetime | None:
    """Say what a long wait is for, once for each instant."""
    due = left.next_due_at
    if due is None or due == told or due - stack.store.clock() < LONG_WAIT:
        return told
    say(f"{left.moving_count} sagas wait, the first until {_instant(due)}; ctrl-C or --timeout ends the drain")
    return due


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
