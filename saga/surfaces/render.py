"""Sagas as text for a terminal: 80 to 100 columns, readable without colour, the words of the glossary.

Rules of this file: functions from the readings of `saga.surfaces.reading` to text; no store, no clock, no printing. What
is not known is a dash, never a zero.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from saga.clock import seconds_between
from saga.surfaces.reading import SagaSummary
from saga.surfaces.reading_journal import EntryReading, JournalReading
from saga.surfaces.visible import Page, one_line, page

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


def saga_list(rows: Sequence[SagaSummary], *, with_tenant: bool = False) -> Page:
    """The list, newest first; with a column that says whose each is."""
    if not rows:
        return Page("no sagas")
    head = ("entity", "status", "reason", "definition", "accepted", "took", "saga")
    body = [
        (
            row.entity,
            row.status.value,
            row.halt_reason.value if row.halt_reason else DASH,
            f"{row.definition} v{row.version}" + (f" run {row.run}" if row.run > 1 else ""),
            row.accepted_at.strftime("%Y-%m-%d %H:%M:%S"),
            duration(seconds_between(row.accepted_at, row.ended_at)) if row.ended_at else DASH,
            row.saga_id,
        )
        for row in rows
    ]
    if not with_tenant:
        return page(columns([head, *body], right=frozenset({5})))
    whose = ["tenant", *(row.tenant for row in rows)]
    shown = [(tenant, *cells) for tenant, cells in zip(whose, [head, *body], strict=True)]
    return page(columns(shown, right=frozenset({6})))


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `11th`."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{number}{ending}"


def journal_page(journal: JournalReading) -> Page:
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
    return page(columns(rows, right=frozenset({0})))


def _writer(entry: EntryReading, first: bool) -> str:
    return entry.writer[-12:] if first else ""


_SHOWN = ("why", "code", "phase", "effect", "detail", "cause", "reason", "epoch", "lost", "entries", "entity", "run")


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
