"""The invariants of an order business, each a pure function from journal and ledgers to what is wrong (DESIGN section 9).

Rules of this file
------------------
- The participants' ledgers are held against what the *order* asked for and against what the journal promised, never
  against the engine's own sums. Where the engine computed something (the rollback plan, the state) it is computed again.
- I1, I2 and I8 look at an order when it has ended: what it moved is taken from the ledgers by its order id, over all its
  runs. I3 (saga.surfaces.once) looks at every effect by its key. I4 and I5 (saga.surfaces.audit_rows) look at every journal. I6 looks at the mailbox, I7 at the oracle.
- An order in flight is judged by nothing that only holds at the end; the audit adds up what it holds.
- A violation names the order and the saga where there is one, and says what is held against what.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from saga.core.definition import Saga
from saga.core.fold import SagaState
from saga.core.states import Direction, SagaStatus
from saga.fulfilment.models import Order
from saga.fulfilment.money import shown
from saga.surfaces.audit_returns import BOUGHT as BOUGHT_BACK
from saga.surfaces.audit_returns import VOIDED as VOIDED_BACK
from saga.surfaces.audit_returns import ReturnRecord, refund_fault, refunds_fault, restock_faults
from saga.surfaces.audit_returns import label_faults as return_label_faults
from saga.surfaces.ledgers import (
    OUTSIDE,
    PAYMENT,
    SHIPPING,
    STOCK,
    TAX,
    WITH_BARRIER,
    Ledgers,
    Movement,
)

HOLDS, MERCHANT, CUSTOMER = "holds", "merchant", "customer:"
RESERVED, SHIPPED, AVAILABLE = "reserved", "shipped", "available"


class Invariant(StrEnum):
    MONEY = "I1"
    STOCK = "I2"
    ONCE = "I3"
    PLAN = "I4"
    JOURNAL = "I5"
    TOLD = "I6"
    ORACLE = "I7"
    LABELS = "I8"


class Ending(StrEnum):
    """Where an order stands for the audit."""

    COMPLETED = "completed"
    COMPENSATED = "compensated"
    IN_FLIGHT = "in flight"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Violation:
    """One invariant that does not hold, for whom, and what is held against what."""

    invariant: Invariant
    order_id: str
    saga_id: str
    detail: str
    money: tuple[str, int] = ("", 0)
    """Currency and minor units that nothing explains."""
    item_count: int = 0
    """Items of stock that nothing explains."""


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """What the journal of an order's latest run promises."""

    order_id: str
    saga_id: str
    run: int
    ending: Ending
    status: SagaStatus
    cause: str = ""
    """The business code that turned the order round, or `cancelled`, `deadline`."""
    order: Order | None = None
    tax: int = 0
    freight: int = 0
    tax_key: str = ""
    confirm_key: str = ""
    is_told_optional: bool = False
    """The confirmation was refused and recorded: the order is complete without it."""
    returns: tuple[ReturnRecord, ...] = ()
    """Its returns that ended, also those that were rolled back."""

    @property
    def came_back(self) -> tuple[ReturnRecord, ...]:
        """The returns that were refunded."""
        return tuple(one for one in self.returns if one.is_completed)

    @property
    def kept(self) -> dict[str, int]:
        """The pieces that the customer has: what was ordered less what came back."""
        left = dict(self.order.stock) if self.order is not None else {}
        for one in self.came_back:
            for sku, quantity in one.pieces.items():
                left[sku] = left.get(sku, 0) - quantity
        return left

    def fault(
        self, invariant: Invariant, detail: str, money: tuple[str, int] = ("", 0), item_count: int = 0
    ) -> Violation:
        return Violation(invariant, self.order_id, self.saga_id, f"{self.ending}, {detail}", money, item_count)


def sums_of(movements: Iterable[Movement], service: str) -> dict[tuple[str, str], int]:
    """(unit, place) → what the movements of a service leave there."""
    sums: dict[tuple[str, str], int] = {}
    for it in movements:
        if it.service == service:
            sums[it.unit, it.source] = sums.get((it.unit, it.source), 0) - it.quantity
            sums[it.unit, it.target] = sums.get((it.unit, it.target), 0) + it.quantity
    return sums


# I1


def money_faults(record: OrderRecord, ledgers: Ledgers) -> Iterator[Violation]:
    """Captured - refunded is the order's total when it completed and 0 when it was rolled back; nothing stays on hold."""
    movements = ledgers.by_order.get(record.order_id, [])
    for it in movements:
        if it.service == PAYMENT and (why := _posting_fault(it, record.order_id)):
            yield record.fault(Invariant.MONEY, f"{it} is no posting of this order: {why}")
    sums = sums_of(movements, PAYMENT)
    assert record.order is not None
    expected: dict[str, int] = {}
    if record.ending is Ending.COMPLETED:
        tax, why = _tax_of(record, ledgers)
        if why:
            yield record.fault(Invariant.MONEY, why)
        if why := refunds_fault(record.order, record.tax, record.kept, movements):
            yield record.fault(Invariant.MONEY, why)
        refunded = sum(one.refund for one in record.came_back)
        expected[record.order.currency] = record.order.goods + tax + record.freight - refunded
    for why in filter(None, (refund_fault(one, ledgers) for one in record.returns)):
        yield record.fault(Invariant.MONEY, why)
    for currency in sorted({unit for unit, _ in sums} | set(expected)):
        wanted, captured = expected.get(currency, 0), sums.get((currency, MERCHANT), 0)
        if captured != wanted:
            detail = f"captured - refunded is {shown(captured, currency)} and must be {shown(wanted, currency)}"
            yield record.fault(Invariant.MONEY, detail + _by(movements, PAYMENT), (currency, abs(captured - wanted)))
        if held := sums.get((currency, HOLDS), 0):
            detail = f"{shown(held, currency)} stay authorised, neither captured nor released"
            yield record.fault(Invariant.MONEY, detail + _by(movements, PAYMENT), (currency, abs(held)))


def _posting_fault(it: Movement, order_id: str) -> str:
    if it.quantity <= 0:
        return f"its amount is {it.quantity}"
    if not it.source or not it.target or it.source == it.target:
        return f"it goes from {it.source or 'nowhere'} to {it.target or 'nowhere'}"
    strangers = [end for end in (it.source, it.target) if end.startswith(CUSTOMER) and end != CUSTOMER + order_id]
    return f"it moves the money of {strangers[0]}" if strangers else ""


def _tax_of(record: OrderRecord, ledgers: Ledgers) -> tuple[int, str]:
    """The tax as the tax service's ledger has it, and what is wrong with that; from the journal without such a ledger."""
    if not ledgers.has(TAX):
        return record.tax, ""
    quoted = {it.quantity for it in ledgers.by_key.get(record.tax_key, ()) if it.service == TAX}
    if len(quoted) == 1:
        return quoted.pop(), ""
    what = " and ".join(map(str, sorted(quoted))) or "nothing"
    return record.tax, f"the tax ledger says {what} for key {record.tax_key}, and the journal {record.tax}"


def _by(movements: Sequence[Movement], service: str) -> str:
    """The rows that it comes from, at most the last three."""
    rows = [str(it) for it in movements if it.service == service][-3:]
    return f": {'; '.join(rows)}" if rows else ": no row of it in the ledger"


# I2


def order_stock_faults(record: OrderRecord, ledgers: Ledgers) -> Iterator[Violation]:
    """A rolled back order holds nothing; a completed one has shipped its lines, to the piece."""
    assert record.order is not None
    movements = ledgers.by_order.get(record.order_id, [])
    sums = sums_of(movements, STOCK)
    wanted = record.kept if record.ending is Ending.COMPLETED else {}
    for sku, left in wanted.items():
        if left < 0:
            detail = f"{-left} of {sku} came back more than were sold"
            yield record.fault(Invariant.STOCK, detail, item_count=-left)
    for one in record.returns:
        for why in restock_faults(one, ledgers):
            yield record.fault(Invariant.STOCK, why)
    for sku in sorted({unit for unit, _ in sums} | set(wanted)):
        reserved, shipped = sums.get((sku, RESERVED), 0), sums.get((sku, SHIPPED), 0)
        if reserved:
            detail = f"{reserved} of {sku} are still reserved"
            yield record.fault(Invariant.STOCK, detail + _by(movements, STOCK), item_count=abs(reserved))
        if shipped != wanted.get(sku, 0):
            detail = f"{shipped} of {sku} are shipped and {wanted.get(sku, 0)} must be"
            lost = abs(shipped - wanted.get(sku, 0))
            yield record.fault(Invariant.STOCK, detail + _by(movements, STOCK), item_count=lost)


def sku_faults(ledgers: Ledgers) -> Iterator[Violation]:
    """Per SKU: initial = available + reserved + shipped, as the service shows it and as its ledger adds up."""
    for sku in sorted(set(ledgers.stock) | set(ledgers.folded_stock)):
        if sku in ledgers.unsteady_skus:
            continue
        folded = ledgers.folded_stock.get(sku, {})
        book = {
            "initial": -folded.get(OUTSIDE, 0),
            **{bucket: folded.get(bucket, 0) for bucket in (AVAILABLE, RESERVED, SHIPPED)},
        }
        item = ledgers.stock.get(sku)
        shelf = item.model_dump(exclude={"sku"}) if item else dict.fromkeys(book, 0)
        gap = shelf["initial"] - shelf[AVAILABLE] - shelf[RESERVED] - shelf[SHIPPED]
        if gap:
            detail = f"SKU {sku}: initial is not available + reserved + shipped: {_figures(shelf)}"
            yield Violation(Invariant.STOCK, "", "", detail, item_count=abs(gap))
        if min(shelf.values()) < 0:
            yield Violation(Invariant.STOCK, "", "", f"SKU {sku}: less than nothing: {_figures(shelf)}")
        if shelf != book:
            lost = max(abs(shelf[name] - book[name]) for name in book)
            detail = f"SKU {sku}: the stock shows {_figures(shelf)}, and the ledger adds up to {_figures(book)}"
            yield Violation(Invariant.STOCK, "", "", detail, item_count=0 if gap else lost)


def _figures(buckets: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {quantity:,}" for name, quantity in buckets.items())


# I8


def label_faults(record: OrderRecord, ledgers: Ledgers) -> Iterator[Violation]:
    """A rolled back order has no label that was bought and not voided; a completed one has one parcel on its way."""
    labels = labels_of(ledgers.by_order.get(record.order_id, []))
    dispatched = [label for label, seen in labels.items() if "dispatched" in seen]
    for label, seen in labels.items():
        if "bought" not in seen:
            yield record.fault(Invariant.LABELS, f"label {label} was {' and '.join(sorted(seen))} and never bought")
        elif "voided" in seen and "dispatched" in seen:
            yield record.fault(Invariant.LABELS, f"label {label} was voided and dispatched")
        elif len(seen) == 1:
            yield record.fault(Invariant.LABELS, f"label {label} was bought and neither dispatched nor voided")
    for one in record.returns:
        for why in return_label_faults(one, ledgers.by_order.get(record.order_id, [])):
            yield record.fault(Invariant.LABELS, why)
    wanted = 1 if record.ending is Ending.COMPLETED else 0
    if len(dispatched) != wanted:
        yield record.fault(Invariant.LABELS, f"{len(dispatched)} labels are dispatched and {wanted} must be")


def labels_of(movements: Iterable[Movement]) -> dict[str, set[str]]:
    """Label → what was done with it."""
    labels: dict[str, set[str]] = {}
    for it in movements:
        if it.service == SHIPPING and it.target not in (BOUGHT_BACK, VOIDED_BACK):
            labels.setdefault(it.unit, set()).add(it.target)
    return labels


# I4, on the ledgers' side; the journal's side is saga.surfaces.rollbacks


def undo_faults(definition: Saga[Any], state: SagaState, ledgers: Ledgers) -> Iterator[str]:
    """Every entry of the plan of a rolled back saga has met its participant: the barrier keeps the undo's key."""
    for entry in state.plan or ():
        step = definition.by_name[entry.step]
        connector = step.connector_in(Direction.COMPENSATION)
        if connector is None or connector.name not in WITH_BARRIER or not ledgers.has(connector.name):
            continue
        key = state.node(f"{step.name}:{Direction.COMPENSATION}").wire_key
        rows = [row for row in ledgers.barrier.get(key, ()) if row.service == connector.name and row.kind == "undo"]
        if not rows:
            yield f"{step.name} was compensated says the journal, and {connector.name} never saw its undo (key {key})"


# I7


def oracle_fault(record: OrderRecord, legal: tuple[SagaStatus, str]) -> Violation | None:
    """The order must end where the order and the fault script say, for that cause; without a cause any will do."""
    status, cause = legal
    if record.status is status and cause in ("", record.cause):
        return None
    must = f"{status}{f' ({cause})' if cause else ''}"
    was = f"{record.status}{f' ({record.cause})' if record.cause else ''}"
    return record.fault(Invariant.ORACLE, f"it is {was}, and order and script say that it must be {must}")


# I6


def told_fault(record: OrderRecord, mails: Sequence[str]) -> str:
    """A completed order has exactly one confirmation, an order that was rolled back none."""
    if record.ending is Ending.COMPLETED:
        if len(mails) > 1:
            return f"{len(mails)} confirmation mails: {', '.join(mails)}"
        if not mails and not record.is_told_optional:
            return f"there is no confirmation mail {record.confirm_key}.eml"
        return "" if not mails or mails[0] == record.confirm_key else f"its mail {mails[0]} has not the step's key"
    if not mails or (record.ending is Ending.IN_FLIGHT and mails == [record.confirm_key]):
        return ""
    return f"but the customer was told that it is on its way (mail {mails[0]})"


# What the report adds up


def places(movements: Iterable[Movement], service: str, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Unit → place → what is there, units with nothing left out."""
    found: dict[str, dict[str, int]] = {}
    for (unit, place), left in sums_of(movements, service).items():
        if place in names and left:
            found.setdefault(unit, {})[place] = left
    return found


def money_balance(records: Iterable[OrderRecord], ledgers: Ledgers) -> dict[str, tuple[int, int]]:
    """Currency → what completed orders must have paid, and what the payment ledger says was captured in all."""
    wanted: dict[str, int] = {}
    for record in records:
        if record.ending is Ending.COMPLETED and record.order is not None:
            total = record.order.goods + _tax_of(record, ledgers)[0] + record.freight
            total -= sum(one.refund for one in record.came_back)
            wanted[record.order.currency] = wanted.get(record.order.currency, 0) + total
    captured: dict[str, int] = {}
    for movements in ledgers.by_order.values():
        for (unit, place), left in sums_of(movements, PAYMENT).items():
            if place == MERCHANT:
                captured[unit] = captured.get(unit, 0) + left
    return {unit: (wanted.get(unit, 0), captured.get(unit, 0)) for unit in sorted({*wanted, *captured})}


def stock_balance(ledgers: Ledgers) -> dict[str, int]:
    """Over all SKUs: initial, available, reserved, shipped, as the service shows them."""
    names = ("initial", AVAILABLE, RESERVED, SHIPPED)
    return {name: sum(getattr(item, name) for item in ledgers.stock.values()) for name in names}
