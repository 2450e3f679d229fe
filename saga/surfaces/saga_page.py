"""The page of one saga, `saga show`: what happened to it, what is left in the world, what one can type now.

Rules of this file: functions from what `saga.surfaces.showing` read to text of at most `WIDTH` columns where the names of the
steps allow it; no store, no clock, no printing. A footnote `*` stands where a try was lost, since "succeeded" alone would hide
it. What is not known is a dash.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from shlex import quote
from textwrap import wrap

from saga.clock import seconds_between
from saga.core.outcomes import OutcomeCode, business_code
from saga.core.states import Direction, EntryState, NodePhase, SagaStatus
from saga.surfaces.attempts import AttemptReading, in_words, lost_tries
from saga.surfaces.effects import effects_table
from saga.surfaces.reading import NodeReading, PlanEntryReading, participant_of
from saga.surfaces.render import DASH, clock_time, columns, duration, ordinal, typed
from saga.surfaces.showing import Shown, levels
from saga.surfaces.visible import Page, one_line, page

WIDTH = 100
BAR_MIN, BAR_MAX = 12, 27
HEAD = ("", "step", "kind", "", "took", "tries", "outcome", "undo")
RIGHT = frozenset({4, 5})
BAR_COLUMN = 3


def saga_page(shown: Shown, *, with_attempts: bool = False, with_tenant: bool = False) -> Page:
    """The whole page; with whose saga it is, where it may be anybody's."""
    parts = [
        _head(shown, with_tenant=with_tenant),
        _steps(shown),
        effects_table(shown.effects, shown.saga.status),
        _around(shown),
    ]
    if with_attempts:
        parts.insert(2, _attempts(shown.attempts))
    return page((part for part in [*parts, _see_also(shown, with_tenant=with_tenant)] if part), between="\n\n")


def _head(shown: Shown, *, with_tenant: bool) -> Page:
    saga = shown.saga
    why = f"   {_why(shown)}" if _why(shown) else ""
    run = f" run {saga.run}" if saga.run > 1 else ""
    took = f" ({duration(seconds_between(saga.accepted_at, saga.ended_at))})" if saga.ended_at else ""
    trace = f"   trace {saga.traceparent.split('-')[1]}" if saga.traceparent and "-" in saga.traceparent else ""
    first = f"{one_line(saga.entity)}   {saga.status.upper()}{why}"
    of = f"{saga.definition} v{saga.version}{run}" + (f"   tenant {one_line(saga.tenant)}" if with_tenant else "")
    heads = [f"{first}   {of}"] if len(f"{first}   {of}") <= WIDTH else [first, of]
    lines = [
        *heads,
        f"saga {saga.saga_id}   journal {saga.seq} entries, {_agreement(shown)}{trace}",
        f"accepted {saga.accepted_at:%Y-%m-%d} {clock_time(saga.accepted_at)}   ended {clock_time(saga.ended_at)}{took}",
    ]
    lines += [f"✗ {fault}: saga audit" for fault in shown.faults]
    lines += [f"✗ {shown.lacks}"] if shown.lacks else []
    return page([*lines, *_waits(shown), *saga.warnings])


def _agreement(shown: Shown) -> str:
    if shown.is_moving:
        return "moving while it was read"
    return "fold ≠ state" if shown.faults or shown.lacks else "fold = state"


def _why(shown: Shown) -> str:
    halt, cause = shown.saga.halt, shown.saga.cause
    if halt:
        place = f" at {halt.node.partition(':')[0]}" if halt.node else ""
        return f"{halt.reason}{place}: {in_words(halt.detail)}".rstrip(": ")
    if cause:
        place = f"{cause.step} " if cause.step else ""
        return f"{place}{cause.cause}: {in_words(cause.detail)}".rstrip(": ")
    return ""


def _waits(shown: Shown) -> list[str]:
    """For whom a saga that has not ended waits, a line for each node, and who must do something."""
    saga, lines = shown.saga, []
    if saga.halt and not saga.halt.heals_itself:
        is_moving = any(node.phase is NodePhase.OPEN for node in saga.nodes)
        state = "what is in flight still ends" if is_moving else "nothing is moving and nothing is lost"
        lines.append(f"It waits for a person ({saga.halt.reason}); {state}.")
    elif saga.halt:
        lines.append(f"It is tried again by itself ({saga.halt.reason}); nobody has to do anything here.")
    if saga.halt and in_words(saga.halt.detail) != saga.halt.detail:
        lines += wrap(one_line(saga.halt.detail), WIDTH, initial_indent="   ", subsequent_indent="   ")
    going = (NodePhase.OPEN, NodePhase.BACKOFF, NodePhase.PENDING)
    lines += [f"   {_waiting(shown, node)}" for node in saga.nodes if node.phase in going]
    if saga.cause and saga.cause.reason:
        who = participant_of(shown.definition, saga.cause.step or "", Direction.ACTION) or "the step"
        lines += wrap(
            one_line(f"{who} says: {saga.cause.reason}"), WIDTH, initial_indent="   ", subsequent_indent="   "
        )
    if saga.cancel:
        what = "was refused, past the point of no return" if saga.cancel.is_refused else "was asked for"
        lines.append(f"   a cancel {what}: {one_line(saga.cancel.actor)}, {one_line(saga.cancel.reason)}")
    return lines


def _waiting(shown: Shown, node: NodeReading) -> str:
    name = node.step if node.direction is Direction.ACTION else f"undo {node.step}"
    participant = participant_of(shown.definition, node.step, node.direction)
    of = f" for {participant}" if participant else ""
    if node.phase is NodePhase.OPEN:
        return f"in flight   {name}{of}, try {node.attempts}, an answer is due by {clock_time(node.deadline_at)}"
    said = f"{node.outcome}: {in_words(node.detail)}" if node.detail else f"{node.outcome}"
    then = "the answer is due" if node.phase is NodePhase.PENDING else f"try {node.attempts + 1}"
    return f"waits   {name}{of}, {said}; {then} at {clock_time(node.next_at)}"


def _steps(shown: Shown) -> Page:
    saga = shown.saga
    by_node: dict[str, list[AttemptReading]] = {}
    for one in shown.attempts:
        by_node.setdefault(one.node, []).append(one)
    places = {entry.step: (place, entry) for place, entry in enumerate(saga.plan or (), start=1)}
    numbers = levels(shown.definition) if shown.definition else {}
    actions = [node for node in saga.nodes if node.direction is Direction.ACTION]
    body = [
        (
            _number(numbers, node),
            node.step,
            node.kind or DASH,
            "",
            duration(node.took_s),
            str(node.attempts) if node.attempts else DASH,
            _outcome(node, by_node.get(node.node, ())),
            _undo(places.get(node.step)),
        )
        for node in actions
    ]
    taken = max(map(len, columns([HEAD, *body], right=RIGHT)), default=0)
    scale = _Scale(shown, min(BAR_MAX, max(BAR_MIN, WIDTH - taken)))
    rows = [(*HEAD[:BAR_COLUMN], scale.title, *HEAD[BAR_COLUMN + 1 :])]
    for node, row in zip(actions, body, strict=True):
        bar = scale.bar(by_node.get(node.node, ()), by_node.get(f"{node.step}:{Direction.COMPENSATION}", ()))
        rows.append((*row[:BAR_COLUMN], bar, *row[BAR_COLUMN + 1 :]))
    return page([*columns(rows, right=RIGHT), *_footnotes(shown, by_node)])


def _number(numbers: Mapping[str, tuple[int, bool]], node: NodeReading) -> str:
    if node.step not in numbers:
        return DASH
    depth, is_parallel = numbers[node.step]
    return f"{depth:>2} {'∥' if is_parallel else ' '}".rstrip()


def _outcome(node: NodeReading, attempts: Sequence[AttemptReading]) -> str:
    if node.phase is NodePhase.WAITING:
        return "not started"
    star = " *" if len(attempts) > 1 else ""
    if node.phase is NodePhase.DONE:
        return f"{node.outcome or OutcomeCode.SUCCEEDED}{star}"
    if node.phase is NodePhase.OPEN:
        return f"in flight{star}"
    if node.outcome is None:
        return f"{node.phase}{star}"
    if node.phase is NodePhase.FAILED:
        return f"{node.outcome.upper()}{star}"
    return f"{node.outcome}{star}"


def _undo(entry: tuple[int, PlanEntryReading] | None) -> str:
    if entry is None:
        return DASH
    place, planned = entry
    if planned.state is EntryState.NULL:
        return f"{ordinal(place)} null (proved absent)"
    settle = " (settle first)" if planned.mode == "settle" and planned.state is EntryState.STUCK else ""
    return f"{ordinal(place)} {planned.state}{settle}"


def _footnotes(shown: Shown, by_node: Mapping[str, Sequence[AttemptReading]]) -> list[str]:
    """What `*` means, and what a step that did not succeed said, unless the head has said it."""
    lines = []
    for node in shown.saga.nodes:
        name = node.step if node.direction is Direction.ACTION else f"undo {node.step}"
        tries = lost_tries(by_node.get(node.node, ()))
        lines += [f"   * {name}   {line}" if place == 0 else f"     {'':{len(name)}}   {line}"
                  for place, line in enumerate(tries)]  # fmt: skip
        is_said = node.detail and _why(shown).endswith(in_words(business_code(node.detail)))
        if node.detail and not tries and not is_said and node.phase in (NodePhase.FAILED, NodePhase.CLOSED):
            lines.append(f"   {name}: {in_words(node.detail)}")
    return lines


class _Scale:
    """Places instants on a line: from the acceptance to the end, or to now when there is none."""

    def __init__(self, shown: Shown, width: int) -> None:
        self._begin, self._width, self._now = shown.saga.accepted_at, width, shown.at
        ends = [one.ended_at or shown.at for one in shown.attempts]
        end = max([*ends, shown.saga.ended_at or shown.saga.accepted_at])
        self._span_s = max((end - self._begin).total_seconds(), 0.001)
        self.title = f"0 s{duration(self._span_s).rjust(width - 3)}"

    def bar(self, actions: Sequence[AttemptReading], undos: Sequence[AttemptReading]) -> str:
        """Each attempt where it was; between two attempts nothing."""
        cells = [" "] * self._width
        for attempts, mark in ((actions, "▇"), (undos, "░")):
            for one in attempts:
                if one.started_at is not None:
                    begin, end = self._place(one.started_at), self._place(one.ended_at or self._now)
                    cells[begin : end + 1] = mark * (end + 1 - begin)
        return "".join(cells)

    def _place(self, at: datetime) -> int:
        share = (at - self._begin).total_seconds() / self._span_s
        return min(self._width - 1, max(0, int(share * self._width)))


def _attempts(attempts: Sequence[AttemptReading]) -> Page:
    """A row for each attempt, and the whole detail of those that failed beneath it."""
    rows = [("attempt of", "epoch", "worker", "started", "ended", "outcome", "wire key")]
    rows += [
        (
            one.node,
            DASH if one.epoch is None else str(one.epoch),
            one.worker[-8:] if one.worker else DASH,
            clock_time(one.started_at),
            clock_time(one.ended_at),
            _end(one),
            "the same" if one.is_same_key else one.wire_key or DASH,
        )
        for one in attempts
    ]
    first, *lines = columns(rows, right=frozenset({1}), gap=" ")
    said = [[f"      {one_line(one.detail)}"] if one.detail else [] for one in attempts]
    return page([first, *(text for line, more in zip(lines, said, strict=True) for text in (line, *more))])


def _end(one: AttemptReading) -> str:
    late = f", late {one.late_outcome}" if one.late_outcome else ""
    return ("in flight" if one.outcome is None else "lost" if one.is_lost else one.outcome.value) + late


def _around(shown: Shown) -> Page:
    lines = []
    if shown.view is not None or shown.told is not None:
        seen = f"   the order is shown as {shown.view}" if shown.view else ""
        subject = DASH if shown.told is None else f'"{one_line(shown.told.subject)}"' if shown.told.subject else DASH
        at = f"   {clock_time(shown.told.at)}" if shown.told else ""
        lines.append(f"told the customer   {subject}{at}{seen}")
        if shown.told:
            lines.append(f"{'':20}Message-ID {one_line(shown.told.message_id)}")
    for place, one in enumerate(shown.kin):
        name = one_line(one.entity)
        what = f"run {one.run}" if one.relation == "run" else f"{one.relation} {name}"
        lines.append(f"{'' if place else 'belongs to it':<20}{what}   {one.status}   saga {one.saga_id}")
    if shown.returns_before:
        lines.append(f"{'':20}{shown.returns_before} returns before those, not shown")
    return page(lines)


def _see_also(shown: Shown, *, with_tenant: bool) -> Page:
    saga = shown.saga
    name = typed(saga.entity, saga.saga_id)
    everybody = " --all-tenants" if with_tenant else ""
    as_tenant = f"SAGA_TENANT={quote(one_line(saga.tenant))} " if with_tenant else ""
    show = f"saga show {name}{everybody}{shown.options}"
    named = [f"saga journal {name}{everybody}", f"{show} --attempts", f"{show} -o json"]
    if saga.status in (SagaStatus.RUNNING, SagaStatus.COMPENSATING):
        named[1:1] = [f"{as_tenant}saga watch {name}"]
    lines = [f"see also   {' · '.join(named)}"]
    if len(lines[0]) > WIDTH:
        lines = [f"see also   {' · '.join(named[:-1])}", f"{'':11}{named[-1]}"]
    if shown.can_cancel:
        lines.append(f'roll back  {as_tenant}saga cancel {name}{shown.options} --reason "…"')
    if saga.halt:
        lines.append(f"alike      saga list --status halted --reason {saga.halt.reason}{everybody}")
    if shown.moved_by:
        lines.append(f"go on      {shown.moved_by}")
    return page(lines)
