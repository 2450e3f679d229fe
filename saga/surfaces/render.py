"""Sagas as text for a terminal: 80 to 100 columns, readable without colour, the words of the glossary.

Rules of this file: functions from the readings of `saga.surfaces.reading` to text; no store, no clock, no printing. What
is not known is a dash, never a zero.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from saga.core.states import Direction, NodePhase, SagaStatus
from saga.store.port import EffectRow
from saga.surfaces.reading import EntryReading, JournalReading, NodeReading, SagaReading, SagaSummary, WorkerReading

BAR_WIDTH = 27
SIMPLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:-]*")
DASH = "–"  # noqa: RUF001  the screens use the dash for what is not known


def columns(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset(), gap: str = "  ") -> list[str]:
    """Rows as lines with aligned columns; those in `right` are aligned to the right."""
    if not rows:
        return []
    widths = [max(len(one_line(row[place])) for row in rows) for place in range(len(rows[0]))]
    return [
        gap.join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(map(one_line, row), widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def one_line(text: str) -> str:
    """A text that somebody chose, such as an id, without what would break a line."""
    return text if text.isprintable() else "".join(it if it.isprintable() else f"\\x{ord(it):02x}" for it in text)


def typed(entity: str, saga_id: str) -> str:
    """What a person can type to name a saga: its entity when no shell takes it for something else."""
    return entity if SIMPLE.fullmatch(entity) else saga_id


def duration(seconds: float | None) -> str:
    """`141 ms`, `2.7 s`, `12 min`, `6 d 04 h`."""
    if seconds is None:
        return DASH
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    days, hours = divmod(int(seconds // 3600), 24)
    return f"{days} d {hours:02d} h" if days else f"{hours} h"


def clock_time(at: datetime | None) -> str:
    return at.strftime("%H:%M:%S.%f")[:-3] if at else DASH


def saga_list(rows: Sequence[SagaSummary]) -> str:
    """The list, newest first."""
    if not rows:
        return "no sagas"
    head = ("entity", "status", "reason", "definition", "accepted", "took", "saga")
    body = [
        (
            row.entity,
            row.status.value,
            row.halt_reason.value if row.halt_reason else DASH,
            f"{row.definition} v{row.version}" + (f" run {row.run}" if row.run > 1 else ""),
            row.accepted_at.strftime("%Y-%m-%d %H:%M:%S"),
            duration((row.ended_at - row.accepted_at).total_seconds()) if row.ended_at else DASH,
            row.saga_id,
        )
        for row in rows
    ]
    return "\n".join(columns([head, *body], right=frozenset({5})))


def saga_page(saga: SagaReading, effects: Sequence[EffectRow]) -> str:
    """What `saga show` prints: the head, the steps on a time line, what is left in the world."""
    parts = [_head(saga), _steps(saga), _effects(effects), _see_also(saga)]
    return "\n\n".join(part for part in parts if part)


def _head(saga: SagaReading) -> str:
    why = f"   {_why(saga)}" if _why(saga) else ""
    run = f" run {saga.run}" if saga.run > 1 else ""
    took = f" ({duration((saga.ended_at - saga.accepted_at).total_seconds())})" if saga.ended_at else ""
    lines = [
        f"{one_line(saga.entity)}   {saga.status.upper()}{why}   {saga.definition} v{saga.version}{run}",
        f"saga {saga.saga_id}   journal {saga.seq} entries, fold = state",
        f"accepted {clock_time(saga.accepted_at)}   ended {clock_time(saga.ended_at)}{took}",
    ]
    if saga.halt and not saga.halt.heals_itself:
        lines.append(f"It waits for a person ({saga.halt.reason}); nothing is moving and nothing is lost.")
    return "\n".join([*lines, *saga.warnings])


def _why(saga: SagaReading) -> str:
    if saga.halt:
        place = f" at {saga.halt.node.partition(':')[0]}" if saga.halt.node else ""
        return f"{saga.halt.reason}{place}: {saga.halt.detail}".rstrip(": ")
    if saga.cause:
        place = f"{saga.cause.step} " if saga.cause.step else ""
        return f"{place}{saga.cause.cause}: {saga.cause.detail}".rstrip(": ")
    return ""


def _steps(saga: SagaReading) -> str:
    undos = {node.step: node for node in saga.nodes if node.direction is Direction.COMPENSATION}
    places = {entry.step: place for place, entry in enumerate(saga.plan or (), start=1)}
    states = {entry.step: entry.state.value for entry in saga.plan or ()}
    ends = [at for node in saga.nodes for at in (node.started_at, node.ended_at) if at]
    scale = _Scale(saga.accepted_at, max([*ends, saga.ended_at or saga.accepted_at]))
    rows = [("", "step", "kind", scale.title, "took", "tries", "outcome", "undo")]
    actions = [node for node in saga.nodes if node.direction is Direction.ACTION]
    for number, node in enumerate(actions, start=1):
        undo = undos.get(node.step)
        undone = f"{_ordinal(places[node.step])}  {states[node.step]}" if node.step in places else DASH
        bar = scale.bar(node, undo)
        tries = str(node.attempts) if node.attempts else DASH
        rows.append(
            (str(number), node.step, node.kind or DASH, bar, duration(node.took_s), tries, _outcome(node), undone)
        )
    lines = columns(rows, right=frozenset({0, 4, 5}))
    lost = [f"   {node.step}: {node.detail}" for node in saga.nodes if node.detail and node.phase is not NodePhase.DONE]
    return "\n".join([*lines, *lost])


class _Scale:
    """Places instants on a line of `BAR_WIDTH` characters."""

    def __init__(self, begin: datetime, end: datetime) -> None:
        self._begin = begin
        self._span_s = max((end - begin).total_seconds(), 0.001)
        self.title = f"0 s{f'{self._span_s:.1f} s'.rjust(BAR_WIDTH - 3)}"

    def bar(self, action: NodeReading, undo: NodeReading | None) -> str:
        cells = [" "] * BAR_WIDTH
        for node, mark in ((action, "▇"), (undo, "░")):
            if node is not None and node.started_at:
                begin, end = self._place(node.started_at), self._place(node.ended_at or node.started_at)
                cells[begin : end + 1] = mark * (end + 1 - begin)
        return "".join(cells)

    def _place(self, at: datetime) -> int:
        share = (at - self._begin).total_seconds() / self._span_s
        return min(BAR_WIDTH - 1, max(0, int(share * BAR_WIDTH)))


def _outcome(node: NodeReading) -> str:
    if node.phase is NodePhase.WAITING:
        return "not started"
    if node.phase is NodePhase.DONE:
        return "succeeded" if node.outcome is None else node.outcome.value
    if node.outcome is None:
        return node.phase.value
    return node.outcome.value.upper() if node.phase is NodePhase.FAILED else f"{node.outcome} ({node.phase})"


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{number}{ending}"


def _effects(effects: Sequence[EffectRow]) -> str:
    if not effects:
        return ""
    done: dict[tuple[str, str], int] = defaultdict(int)
    undone: dict[tuple[str, str], int] = defaultdict(int)
    for effect in effects:
        book = done if effect.sign > 0 else undone
        book[effect.kind, effect.unit] += effect.quantity
    rows = [("effects", "done", "undone", "net")]
    for kind, unit in sorted({**done, **undone}):
        there, back = done[kind, unit], undone[kind, unit]
        rows.append((f"  {kind} {unit}", f"+{there}", f"-{back}" if back else "0", str(there - back)))
    return "\n".join(columns(rows, right=frozenset({1, 2, 3}), gap="   "))


def _see_also(saga: SagaReading) -> str:
    name = typed(saga.entity, saga.saga_id)
    return f"see also   saga journal {name} · saga show {name} -o json"


def journal_page(journal: JournalReading) -> str:
    """One line per transition; an entry is one decision, so its lines share a number."""
    rows = [("seq", "at", "transition", "node", "facts", "writer")]
    for entry in journal.entries:
        for place, transition in enumerate(entry.transitions):
            node = str(transition.facts.get("node") or transition.facts.get("step") or "")
            first = place == 0
            at = clock_time(transition.at)
            rows.append(
                (
                    str(entry.seq) if first else "",
                    at,
                    transition.kind,
                    node,
                    _facts(transition.facts),
                    _writer(entry, first),
                )
            )
    return "\n".join(columns(rows, right=frozenset({0})))


def _writer(entry: EntryReading, first: bool) -> str:
    return entry.writer[-12:] if first else ""


_SHOWN = ("code", "phase", "effect", "detail", "cause", "reason", "epoch", "lost", "entries", "entity", "run")


def _facts(facts: Mapping[str, object]) -> str:
    shown = []
    for name in _SHOWN:
        value = facts.get(name)
        if value in (None, "", False):
            continue
        if name == "entries" and isinstance(value, list):
            value = " → ".join(f"{entry['step']}" for entry in value)
        shown.append(f"{name}={value}")
    return " ".join(shown)[:70]


def status_page(
    counts: Mapping[SagaStatus, int],
    due: tuple[int, float],
    halted: Sequence[SagaSummary],
    workers: Sequence[WorkerReading],
) -> str:
    """The screen for three in the morning."""
    number = {status: counts.get(status, 0) for status in SagaStatus}
    live = number[SagaStatus.RUNNING] + number[SagaStatus.COMPENSATING]
    ended = number[SagaStatus.COMPLETED] + number[SagaStatus.COMPENSATED]
    lines = [
        f"live {live}   " + _numbers(number, SagaStatus.RUNNING, SagaStatus.COMPENSATING, SagaStatus.HALTED),
        f"ended {ended}   " + _numbers(number, SagaStatus.COMPLETED, SagaStatus.COMPENSATED),
        f"due now {due[0]}, oldest due {duration(due[1])}",
    ]
    lines += [_worker(worker) for worker in workers]
    if not any(worker.is_alive for worker in workers):
        lines.append("✗ no worker: type  saga worker  or  saga drain" if live else "no worker")
    by_reason: dict[str, list[str]] = defaultdict(list)
    for saga in halted:
        by_reason[saga.halt_reason.value if saga.halt_reason else DASH].append(one_line(saga.entity))
    for reason, entities in sorted(by_reason.items()):
        more = f" and {len(entities) - 5} more" if len(entities) > 5 else ""
        lines.append(f"✗ halted {len(entities)} {reason}: {', '.join(entities[:5])}{more} → saga show {entities[0]}")
    return "\n".join(lines)


def _worker(worker: WorkerReading) -> str:
    where = f"worker {worker.host} pid {worker.pid}"
    if not worker.is_alive:
        return f"✗ {where}, gone since {duration(worker.gone_s)}, not yet closed"
    return f"✓ {where}, queues {', '.join(worker.queues) or 'all'}"


def _numbers(number: Mapping[SagaStatus, int], *statuses: SagaStatus) -> str:
    return "   ".join(f"{status} {number[status]}" for status in statuses)
