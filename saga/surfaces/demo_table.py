"""The demonstration's table as text: at most 100 columns, what matters most in the first 80, readable without colour.

Rules of this file: functions from a `Picture` to lines; no store, no clock, no printing. What was unread is a dash. A tick
stands beside a sum only when both sides were read and are equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from saga.core.states import SagaStatus
from saga.fulfilment.money import shown
from saga.surfaces.demo_books import Money, Stock
from saga.surfaces.demo_following import Happening
from saga.surfaces.render import DASH, clock_time
from saga.surfaces.visible import one_line

BAR_WIDTH = 20
HAPPENED_SHOWN, DONE_SHOWN = 4, 3
WIDTH = 100
CURRENCY = "GBP"
"""Of every order of a demonstration."""
FAULT_NAMES = {
    "drop_response": "answer lost",
    "error_before": "5xx before",
    "error_after": "5xx after",
    "late": "late",
    "duplicate": "doubled",
    "refuse": "cut off",
    "latency": "slow",
    "overloaded": "too busy",
    "reject": "said no",
}
CAUSE_NAMES = {"out_of_stock": "out of stock"}


@dataclass(frozen=True, slots=True)
class Keys:
    """What the keys would do now; None where there are no keys."""

    is_frozen: bool = False
    is_broker_off: bool = False
    is_payment_off: bool = False
    is_finishing: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that the table shows."""

    asked: int
    seed: int
    parts: str
    worker_pid: int
    seconds: float
    counts: Mapping[SagaStatus, int]
    causes: Mapping[str, int] = field(default_factory=dict)
    fired: Mapping[str, int] = field(default_factory=dict)
    kill_count: int = 0
    repeated_count: int = 0
    dropped_count: int = 0
    money: Money | None = None
    stock: Stock | None = None
    happened: Sequence[Happening] = ()
    done: Sequence[Happening] = ()
    keys: Keys | None = None
    has_ended: bool = False


def table(it: Picture) -> list[str]:
    """The lines, first to last."""
    return [
        f"saga demo   {it.asked} orders   seed {it.seed}   {_clock(it.seconds)}   {it.parts} {it.worker_pid}",
        "",
        *_counts(it),
        "",
        *_faults(it),
        *_books(it),
        "",
        *_happenings(it.happened, HAPPENED_SHOWN),
        *_done(it),
        *([""] if it.has_ended else _keys(it.keys)),
    ]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"


def _counts(it: Picture) -> list[str]:
    number = {status: it.counts.get(status, 0) for status in SagaStatus}
    accepted = sum(number.values())
    compensated = number[SagaStatus.COMPENSATED]
    ended = number[SagaStatus.COMPLETED] + compensated
    rate = ended / max(it.seconds, 0.1)
    under_way = f"running {number[SagaStatus.RUNNING]}   compensating {number[SagaStatus.COMPENSATING]}"
    causes = [f"{count} {CAUSE_NAMES.get(cause, cause)}" for cause, count in sorted(it.causes.items())]
    unread = compensated - sum(it.causes.values())
    causes += [f"{unread} unread"] if unread > 0 else []
    bars = {status: _bar(number[status], it.asked) for status in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED)}
    return [
        f"  accepted    {accepted:>5}  {_bar(ended, it.asked, '·')}  done {ended}   {rate:.0f}/s   {under_way}",
        f"  completed   {number[SagaStatus.COMPLETED]:>5}  {bars[SagaStatus.COMPLETED]}".rstrip(),
        *_wrapped(f"  compensated {compensated:>5}  {bars[SagaStatus.COMPENSATED]}  ", list(map(one_line, causes))),
        f"  halted      {number[SagaStatus.HALTED]:>5}",
    ]


def _bar(count: int, of: int, rest: str = " ") -> str:
    return ("█" * (BAR_WIDTH * count // max(of, 1))).ljust(BAR_WIDTH, rest)


def _faults(it: Picture) -> list[str]:
    parts = [f"{name} {it.fired[kind]}" for kind, name in FAULT_NAMES.items() if it.fired.get(kind)]
    parts += [f"kill -9 {it.kill_count}"] if it.kill_count else []
    parts += [f"hints dropped {it.dropped_count}"] if it.dropped_count else []
    lines = _wrapped("  faults fired   ", parts or [DASH])
    return [*lines, f"  mended by      a repeat under the same key {it.repeated_count}"]


def _wrapped(start: str, parts: Sequence[str]) -> list[str]:
    """The parts in lines of at most `WIDTH`, the further ones indented."""
    lines = [start]
    for part in parts:
        gap = "   " if len(lines[-1]) > len(start) else ""
        if len(lines[-1]) + len(gap) + len(part) > WIDTH:
            lines.append(" " * len(start))
            gap = ""
        lines[-1] += gap + part
    return [line.rstrip() for line in lines]


def _books(it: Picture) -> list[str]:
    return [f"  books          {_money(it.money)}", f"                 {_stock(it.stock)}"]


def _money(it: Money | None) -> str:
    if it is None:
        return f"captured {DASH}"
    verdict = f"✗ {_pounds(it.unexplained)} unexplained" if it.unexplained else "✓"
    flying = (
        f" + in flight {_pounds(it.in_flight)} ({counted(it.in_flight_count, 'order')})" if it.in_flight_count else ""
    )
    return f"captured {_pounds(it.captured)} = due {_pounds(it.due)} {verdict}{flying}"


def _stock(it: Stock | None) -> str:
    if it is None:
        return f"stock {DASH}"
    tick = "✓" if not it.unexplained else "✗"
    return (
        f"stock {it.initial:,} = available {it.available:,} + reserved {it.reserved:,} + shipped {it.shipped:,} {tick}"
    )


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _pounds(amount: int) -> str:
    return shown(amount, CURRENCY)


def _happenings(happened: Sequence[Happening], count: int) -> list[str]:
    last = sorted(happened, key=lambda it: it.at)[-count:]
    lines = [
        f"  {clock_time(it.at)[:-2]}  {one_line(it.who):<9} {it.step:<24} {one_line(it.what)}" for it in reversed(last)
    ]
    return lines + [""] * (count - len(lines))


def _done(it: Picture) -> list[str]:
    if it.keys is None:
        return []
    lines = [f"  {clock_time(one.at)[:-2]}  by you    {one_line(one.what)}" for one in list(it.done)[-DONE_SHOWN:]]
    return ["", *reversed(lines), *[""] * (DONE_SHOWN - len(lines))]


def _keys(it: Keys | None) -> list[str]:
    if it is None:
        return []
    parts = (
        "k kill worker",
        "z thaw" if it.is_frozen else "z freeze",
        "b broker on" if it.is_broker_off else "b broker off",
        "p payment on" if it.is_payment_off else "p payment off",
        "c cancel one",
        "q end now" if it.is_finishing else "q finish",
    )
    return ["", "  " + "  ".join(parts)]
