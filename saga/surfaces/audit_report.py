"""What an audit found: figures for a program, and a page for a person that says how hard it looked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saga.fulfilment.money import shown
from saga.surfaces.invariants import MERCHANT, Invariant, Violation
from saga.surfaces.render import typed
from saga.surfaces.visible import Page, page
from saga.testing.oracle import looked_hard_enough

RULES = {
    Invariant.MONEY: ("money", "captured - refunded = total if completed, 0 if compensated"),
    Invariant.STOCK: ("stock", "initial = available + reserved + shipped, per SKU and order"),
    Invariant.ONCE: ("once", "one key per effect, every effect after its intent"),
    Invariant.PLAN: ("plan", "compensations = frozen plan, in its order"),
    Invariant.JOURNAL: ("journal", "no gap, one end; saga, effect, request, order rows = journal"),
    Invariant.TOLD: ("told", 'no "confirmed" to an order that did not complete'),
    Invariant.ORACLE: ("oracle", "every order ended where script and order say it must"),
    Invariant.LABELS: ("labels", "one dispatched if completed, each voided if compensated"),
}
SHOWN_WAITING = 20
SHOWN_VIOLATIONS = 100
SHOWN_COMMANDS = 2
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant: for how many subjects it holds, of how many; or why it could not be checked."""

    invariant: Invariant
    ok_count: int
    checked_count: int
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A saga that has not ended: halted, or on its way."""

    order_id: str
    saga_id: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What the audit read, checked and found. `exit_code` is what the command line ends with."""

    counts: Mapping[str, int]
    """Sagas by status."""
    read_counts: Mapping[str, int]
    """Rows read from each ledger, and journal entries."""
    checks: tuple[Check, ...]
    violations: tuple[Violation, ...]
    waiting: tuple[Waiting, ...]
    money: Mapping[str, tuple[int, int]]
    """Currency → what completed orders must have paid, what was captured over all orders."""
    stock: Mapping[str, int]
    in_flight_money: Mapping[str, Mapping[str, int]]
    """Currency → account → minor units that orders in flight hold."""
    in_flight_stock: Mapping[str, Mapping[str, int]]
    in_flight_label_count: int
    notes: tuple[str, ...]
    fired: Mapping[str, int]
    floors: Mapping[str, int]
    without_address: tuple[str, ...] = ()
    """Services whose ledger was not read, because nobody said where it is."""

    @property
    def unexplained_money(self) -> dict[str, int]:
        """Currency → minor units that violations of I1 and I3 name."""
        sums: dict[str, int] = {}
        for it in self.violations:
            currency, amount = it.money
            if amount:
                sums[currency] = sums.get(currency, 0) + amount
        return sums

    @property
    def unexplained_item_count(self) -> int:
        """Items that no order explains; a SKU whose sums differ counts only when no order of it was named."""
        by_order = sum(it.item_count for it in self.violations if it.order_id)
        return by_order or sum(it.item_count for it in self.violations)

    @property
    def too_few(self) -> dict[str, tuple[int, int]]:
        """What fired too rarely for the run to count: name → (fired, at least)."""
        return looked_hard_enough(self.fired, self.floors)

    @property
    def is_green(self) -> bool:
        return not self.violations and not self.too_few

    @property
    def ok(self) -> bool | None:
        """False: something is broken. None: nothing is, and a ledger was not read, so nobody knows. True: all ledgers
        were read, also when there was no order to hold against them."""
        if not self.is_green:
            return False
        return None if self.without_address else True

    @property
    def exit_code(self) -> int:
        """1 when something is broken, 2 when nothing is and a ledger was not read, else 0."""
        return {False: 1, None: 2, True: 0}[self.ok]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values; money is minor units by currency."""
        return {
            "sagas": sum(self.counts.values()),
            "counts": dict(self.counts),
            "read": dict(self.read_counts),
            "checks": [
                {
                    "invariant": it.invariant.value,
                    "name": RULES[it.invariant][0],
                    "ok": it.ok_count,
                    "checked": it.checked_count,
                    "skipped": it.skipped or None,
                }
                for it in self.checks
            ],
            "violations": [
                {
                    "invariant": it.invariant.value,
                    "order_id": it.order_id or None,
                    "saga_id": it.saga_id or None,
                    "detail": it.detail,
                }
                for it in self.violations
            ],
            "waiting": [
                {"order_id": it.order_id, "saga_id": it.saga_id, "status": it.status, "reason": it.reason or None}
                for it in self.waiting
            ],
            "unexplained": {"money": self.unexplained_money, "items": self.unexplained_item_count},
            "in_flight": {
                "money": {unit: dict(found) for unit, found in self.in_flight_money.items()},
                "items": _items(self.in_flight_stock),
                "labels": self.in_flight_label_count,
            },
            "money": {unit: {"due": due, "captured": captured} for unit, (due, captured) in self.money.items()},
            "stock": dict(self.stock),
            "notes": list(self.notes),
            "fired": dict(self.fired),
            "too_few": {name: {"fired": fired, "at_least": least} for name, (fired, least) in self.too_few.items()},
            "without_address": list(self.without_address),
            "ok": self.ok,
        }


def render(report: AuditReport) -> Page:
    """The report for a person, without colour and without a line break at its end."""
    lines = [_read_line(report), ""]
    for check in report.checks:
        lines += _check_lines(check, report)
        lines += _violation_lines([it for it in report.violations if it.invariant is check.invariant])
    lines += [f"  not judged  {note}" for note in report.notes]
    lines += _floor_lines(report)
    lines += _waiting_lines(report)
    return page([*lines, "", *_end_lines(report)])


def _read_line(report: AuditReport) -> str:
    read = ", ".join(f"{name} {count:,}" for name, count in report.read_counts.items())
    return f"audit   rows read: {read}"


def _check_lines(check: Check, report: AuditReport) -> list[str]:
    name, rule = RULES[check.invariant]
    start = f"  {check.invariant} {name:<9}{rule:<62}"
    if check.skipped:
        return [f"  {check.invariant} {name:<9}NOT CHECKED: {check.skipped}"]
    figures = {Invariant.MONEY: _money_figures, Invariant.STOCK: _stock_figures}.get(check.invariant)
    more = [f"{'':14}{line}" for line in ([figures(report)] if figures else []) if line]
    return [f"{start}{check.ok_count:>8,} / {check.checked_count:>8,}", *more]


def _money_figures(report: AuditReport) -> str:
    if report.unexplained_money:
        return f"{_amounts(report.unexplained_money)} UNEXPLAINED"
    rows = []
    for unit, (due, captured) in report.money.items():
        flying = report.in_flight_money.get(unit, {}).get(MERCHANT, 0)
        more = f" + {shown(flying, unit)} in flight" if flying else ""
        rows.append(f"captured {shown(captured, unit)} = due {shown(due, unit)}{more}")
    return ", ".join(rows)


def _stock_figures(report: AuditReport) -> str:
    initial, *parts = report.stock.items()
    return f"{initial[1]:,} = {' + '.join(f'{count:,} {name}' for name, count in parts)}"


def _violation_lines(violations: Sequence[Violation]) -> list[str]:
    lines = []
    for it in violations[:SHOWN_VIOLATIONS]:
        who = it.order_id or "-"
        saga = f"  (saga {it.saga_id})" if it.saga_id else ""
        lines.append(f"     ✗ {who}  {it.detail}{saga}")
    if (more := len(violations) - SHOWN_VIOLATIONS) > 0:
        lines.append(f"     ✗ and {more:,} more: saga audit -o json")
    names = list(dict.fromkeys(typed(it.order_id, it.saga_id) for it in violations if it.saga_id))
    if names:
        rest = f"   and {len(names) - SHOWN_COMMANDS:,} more" if len(names) > SHOWN_COMMANDS else ""
        commands = " · ".join(f"saga show {name} --attempts" for name in names[:SHOWN_COMMANDS])
        lines.append(f"       → {commands}{rest}")
    return lines


def _floor_lines(report: AuditReport) -> list[str]:
    if not report.floors:
        return []
    total = sum(report.fired.values())
    verdict = "yes" if not report.too_few else "NO"
    lines = [f"  looked hard enough   {total:,} faults, at least {sum(report.floors.values()):,} wanted   {verdict}"]
    lines += [f"     ✗ {name}: {fired:,} of at least {least:,}" for name, (fired, least) in report.too_few.items()]
    return lines


def _waiting_lines(report: AuditReport) -> list[str]:
    if not report.waiting:
        return []
    money = [
        f"{place} {shown(left, unit)}"
        for unit, found in report.in_flight_money.items()
        for place, left in found.items()
    ]
    items = [f"{place} {left:,} items" for place, left in _items(report.in_flight_stock).items()]
    labels = [f"{report.in_flight_label_count:,} labels"] if report.in_flight_label_count else []
    lines = [
        "",
        f"  in flight   {len(report.waiting):,} sagas: {', '.join([*money, *items, *labels]) or _nothing(report)}",
    ]
    halted_first = sorted(report.waiting, key=lambda it: (it.status != "halted", it.order_id))
    for it in halted_first[:SHOWN_WAITING]:
        reason = f" ({it.reason})" if it.reason else ""
        lines.append(f"     {it.order_id}  {it.status}{reason}  (saga {it.saga_id})")
    if (more := len(halted_first) - SHOWN_WAITING) > 0:
        lines.append(f"     and {more:,} more: saga list")
    return lines


def _nothing(report: AuditReport) -> str:
    is_blind = any(check.skipped for check in report.checks if check.invariant in (Invariant.MONEY, Invariant.STOCK))
    return "what they hold is not known, a ledger is missing" if is_blind else "nothing held"


def _is_skipped(report: AuditReport, invariant: Invariant) -> bool:
    return any(check.skipped for check in report.checks if check.invariant is invariant)


def _end_lines(report: AuditReport) -> list[str]:
    counts, total = report.counts, sum(report.counts.values())
    parts = [
        f"{count:,} {status}"
        for status, count in counts.items()
        if count or status in ("completed", "compensated", "halted")
    ]
    money = _amounts(report.unexplained_money) or (
        "money not checked" if _is_skipped(report, Invariant.MONEY) else "0.00"
    )
    items = f"{report.unexplained_item_count:,} items"
    if not report.unexplained_item_count and _is_skipped(report, Invariant.STOCK):
        items = "stock not checked"
    found = len(report.violations)
    blind = [check.invariant.value for check in report.checks if check.skipped]
    scope = f" where it was looked: {', '.join(blind)} NOT CHECKED" if blind else ""
    nothing = [] if total else ["The journal is empty: 0 orders, nothing was held against the ledgers."]
    return [
        *nothing,
        f"{' + '.join(parts)} = {total:,} accepted.   {found:,} violation{'' if found == 1 else 's'}{scope}.",
        f"Unexplained: {money}, {items}.",
    ]


def _amounts(sums: Mapping[str, int]) -> str:
    return ", ".join(shown(amount, unit) for unit, amount in sorted(sums.items()))


def _items(stock: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for found in stock.values():
        for place, left in found.items():
            sums[place] = sums.get(place, 0) + left
    return sums
