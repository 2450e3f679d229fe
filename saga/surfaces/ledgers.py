"""What the participants' own books say, read over HTTP, page by page (docs/participants.md, "Ledgers, for the audit").

Rules of this file
------------------
- It knows the columns of the four ledgers and nothing of sagas. A row becomes a `Movement`: so much of something went
  from one place to another, under a key, for an order. Stock goes between buckets, money between accounts (from the
  account that is debited to the one that is credited), a label from nowhere to bought, voided or dispatched.
- Nothing is guessed. A row without a column of the contract, a page that does not advance, a service that does not
  answer: `UsageError`, with the service and what to do. An audit of half a ledger would be an audit of nothing.
- A service that is not among the addresses is left out, and `Ledgers.has` says so: the audit names what it could not
  check.
- Memory grows with the ledgers: an order's movements lie anywhere in them, so they are kept by order and by key.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from sys import intern
from typing import Any

import requests
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from saga.errors import UsageError
from saga.surfaces.unanswered import why_unanswered

PAGE_ROWS = 5_000
TIMEOUT_S = 30.0
STOCK, SHIPPING, PAYMENT, TAX = "inventory", "shipping", "payment", "tax"
SERVICES = (STOCK, TAX, SHIPPING, PAYMENT)
WITH_BARRIER = (STOCK, SHIPPING, PAYMENT)
OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Movement:
    """One row of a ledger."""

    service: str
    row_id: int
    at: datetime
    operation: str
    key: str
    order_id: str
    unit: str
    """What moved: a SKU, a currency code, a shipment."""
    source: str
    target: str
    quantity: int
    warehouse: str = ""
    """Of stock: a line may be spread over several."""

    @property
    def identity(self) -> tuple[str, ...]:
        """What must be there at most once under one key. A second label has another number, and is still a second."""
        unit = "" if self.service == SHIPPING else self.unit
        return (self.service, unit, self.source, self.target, self.warehouse)

    def __str__(self) -> str:
        return f"{self.service} row {self.row_id} ({self.operation}, key {self.key or 'none'})"


@dataclass(frozen=True, slots=True)
class BarrierRow:
    """One key that a participant has seen, and what became of it."""

    service: str
    row_id: int
    at: datetime
    operation: str
    key: str
    order_id: str
    kind: str
    outcome: str


class _Row(BaseModel):
    """The columns that every row has."""

    model_config = ConfigDict(extra="ignore")

    id: int
    at: AwareDatetime
    operation: str
    key: str | None = None
    order_id: str | None = None


class _LedgerRow(_Row):
    """A row of a ledger; `moved` is its unit, source, target and quantity."""

    def moved(self) -> tuple[str, str, str, int]:
        raise NotImplementedError


class _StockRow(_LedgerRow):
    sku: str
    bucket_from: str
    bucket_to: str
    quantity: int
    warehouse: str = "main"

    def moved(self) -> tuple[str, str, str, int]:
        return self.sku, self.bucket_from, self.bucket_to, self.quantity


class _ShippingRow(_LedgerRow):
    shipment_id: str
    movement: str

    def moved(self) -> tuple[str, str, str, int]:
        return self.shipment_id, "", self.movement, 1


class _PaymentRow(_LedgerRow):
    debit: str
    credit: str
    amount: int
    currency: str

    def moved(self) -> tuple[str, str, str, int]:
        return self.currency, self.debit, self.credit, self.amount


class _TaxRow(_LedgerRow):
    amount: int
    currency: str

    def moved(self) -> tuple[str, str, str, int]:
        return self.currency, "", "quoted", self.amount


_COLUMNS: dict[str, type[_LedgerRow]] = {STOCK: _StockRow, SHIPPING: _ShippingRow, PAYMENT: _PaymentRow, TAX: _TaxRow}


class _Barrier(_Row):
    kind: str
    outcome: str


class StockItem(BaseModel):
    """One SKU as `GET /v1/stock` shows it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sku: str
    initial: int
    available: int
    reserved: int
    shipped: int


class _Stock(BaseModel):
    items: list[StockItem]


class _Page(BaseModel):
    rows: list[dict[str, Any]]
    next_after: int | None


class _FiredRule(BaseModel):
    model_config = ConfigDict(extra="ignore")

    fault: str
    fired: int = 0


class _Faults(BaseModel):
    model_config = ConfigDict(extra="ignore")

    rules: list[_FiredRule] = Field(default_factory=list)


@dataclass
class Ledgers:
    """Everything that was read, by order and by key."""

    services: frozenset[str] = frozenset()
    read_counts: dict[str, int] = field(default_factory=dict)
    by_order: dict[str, list[Movement]] = field(default_factory=dict)
    by_key: dict[str, list[Movement]] = field(default_factory=dict)
    barrier: dict[str, list[BarrierRow]] = field(default_factory=dict)
    stock: dict[str, StockItem] = field(default_factory=dict)
    unsteady_skus: frozenset[str] = frozenset()
    """SKUs that moved while the ledger was read; their sums cannot be compared."""
    folded_stock: dict[str, dict[str, int]] = field(default_factory=dict)
    """SKU → bucket → what the ledger's rows add up to, and `initial`: what came from outside."""
    fired: dict[str, int] = field(default_factory=dict)

    def has(self, service: str) -> bool:
        return service in self.services

    def knows(self, key: str) -> bool:
        """Whether a participant has heard that key, whatever came of it."""
        return key in self.by_key or key in self.barrier

    def has_done(self, key: str) -> bool:
        """Whether what was asked for under that key was done."""
        return key in self.by_key or any(row.outcome == "applied" for row in self.barrier.get(key, ()))

    def names(self, order_id: str) -> bool:
        """Whether a participant has a row of that order."""
        rows = (row for kept in self.barrier.values() for row in kept)
        return bool(self.by_order.get(order_id)) or any(row.order_id == order_id for row in rows)

    def movements_of(self, service: str) -> Iterator[Movement]:
        """Every row of that service's ledger."""
        return (it for movements in self.by_key.values() for it in movements if it.service == service)

    def add(self, movement: Movement) -> None:
        self.by_order.setdefault(movement.order_id, []).append(movement)
        self.by_key.setdefault(movement.key, []).append(movement)
        if movement.service == STOCK:
            buckets = self.folded_stock.setdefault(movement.unit, {})
            for bucket, quantity in ((movement.source, -movement.quantity), (movement.target, movement.quantity)):
                buckets[bucket] = buckets.get(bucket, 0) + quantity


def read_ledgers(urls: Mapping[str, str]) -> Ledgers:
    """Read every ledger, barrier, stock and fault counter behind `urls` (service name → address).

    Raises `UsageError` when a service does not answer, or answers otherwise than docs/participants.md says.
    """
    ledgers = Ledgers(frozenset(urls))
    with requests.Session() as session:
        session.trust_env = False
        before = _stock(session, urls)
        for service, url in sorted(urls.items()):
            ledgers.read_counts[service] = 0
            for movement in _movements(session, service, url):
                ledgers.add(movement)
                ledgers.read_counts[service] += 1
            for row in _barrier_rows(session, service, url) if service in WITH_BARRIER else ():
                ledgers.barrier.setdefault(row.key, []).append(row)
            for rule in _fault_rules(session, service, url):
                ledgers.fired[rule.fault] = ledgers.fired.get(rule.fault, 0) + rule.fired
        ledgers.stock = _stock(session, urls)
        # A unit that was reserved and given back between the two looks at the stock left the same stock, and half of that
        # may be in the ledger that was read: what the ledger has got since then moved as well.
        last = max((it.row_id for it in ledgers.movements_of(STOCK)), default=0)
        later = _movements(session, STOCK, urls[STOCK], after=last) if STOCK in urls else ()
        moved = {sku for sku, item in ledgers.stock.items() if before.get(sku) != item} | {it.unit for it in later}
    ledgers.unsteady_skus = frozenset(moved)
    return ledgers


def read_movements(service: str, url: str) -> list[Movement]:
    """The ledger of one service alone, in its order. Raises `UsageError` as `read_ledgers` does."""
    with requests.Session() as session:
        session.trust_env = False
        return list(_movements(session, service, url))


def _stock(session: requests.Session, urls: Mapping[str, str]) -> dict[str, StockItem]:
    if STOCK not in urls:
        return {}
    answer = _get(session, STOCK, f"{urls[STOCK]}/v1/stock")
    try:
        return {item.sku: item for item in _Stock.model_validate(answer).items}
    except ValidationError as error:
        raise _broken(STOCK, "/v1/stock", error) from error


def _fault_rules(session: requests.Session, service: str, url: str) -> list[_FiredRule]:
    answer = _get(session, service, f"{url}/v1/faults")
    try:
        return _Faults.model_validate(answer).rules
    except ValidationError as error:
        raise _broken(service, "/v1/faults", error) from error


def _movements(session: requests.Session, service: str, url: str, *, after: int = 0) -> Iterator[Movement]:
    columns = _COLUMNS[service]
    for raw in _rows(session, service, f"{url}/v1/ledger", after=after):
        try:
            row = columns.model_validate(raw)
        except ValidationError as error:
            raise _broken(service, "/v1/ledger", error) from error
        unit, source, target, quantity = row.moved()
        yield Movement(
            intern(service),
            row.id,
            row.at,
            intern(row.operation),
            row.key or "",
            row.order_id or "",
            intern(unit),
            intern(source),
            intern(target),
            quantity,
            intern(row.warehouse) if isinstance(row, _StockRow) else "",
        )


def _barrier_rows(session: requests.Session, service: str, url: str) -> Iterator[BarrierRow]:
    for raw in _rows(session, service, f"{url}/v1/barrier"):
        try:
            row = _Barrier.model_validate(raw)
        except ValidationError as error:
            raise _broken(service, "/v1/barrier", error) from error
        yield BarrierRow(
            service,
            row.id,
            row.at,
            intern(row.operation),
            row.key or "",
            row.order_id or "",
            intern(row.kind),
            intern(row.outcome),
        )


def _rows(session: requests.Session, service: str, url: str, *, after: int = 0) -> Iterator[dict[str, Any]]:
    while True:
        answer = _get(session, service, f"{url}?after={after}&limit={PAGE_ROWS}")
        try:
            page = _Page.model_validate(answer)
        except ValidationError as error:
            raise _broken(service, url, error) from error
        yield from page.rows
        if page.next_after is None:
            return
        if page.next_after <= after:
            raise UsageError(f"{service}: {url} goes from {after} to {page.next_after}; pages must ascend")
        after = page.next_after


def _get(session: requests.Session, service: str, url: str) -> Any:
    try:
        response = session.get(url, timeout=TIMEOUT_S)
        response.raise_for_status()
        return response.json()
    except requests.RequestException as error:
        name = f"SAGA_{service.upper()}_URL"
        raise UsageError(
            f"{service}: cannot read its books: {why_unanswered(error)}. Start the service or mend {name}"
        ) from error


def _broken(service: str, where: str, error: ValidationError) -> UsageError:
    first = error.errors(include_url=False)[0]
    column = ".".join(map(str, first["loc"]))
    return UsageError(f"{service}: {where} answers otherwise than docs/participants.md says: {column}: {first['msg']}")
