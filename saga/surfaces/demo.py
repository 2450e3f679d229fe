"""The demonstration: orders from a seed, faults from a script, everything embedded, and the audit of what came of it.

Rules of this file
------------------
- A seed gives the same orders and the same fault script on every machine, so the oracle knows each order's one legal end.
- A run has a home of its own, `<home>/demo-<seed>`, removed before it starts: nothing of an earlier run can colour the
  books, and they can be looked at afterwards.
- What a person does meanwhile (`saga.surfaces.demo_desk`) changes the end of no order but of those that are cancelled, and theirs
  is known as well. Orders that were not handed over, because the person wanted no more, are not judged.
- The audit comes when every order has ended; one that has not within `BOUND_S` is told, and the run fails.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from saga.clock import monotonic
from saga.core.states import SagaStatus
from saga.errors import StoreUnavailable
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Address, Order, OrderLine
from saga.runtime.engine import fold
from saga.settings import Settings, read_settings
from saga.store.port import SagaFilter, Store
from saga.surfaces.audit import AuditReport, Floor, audit
from saga.surfaces.awaiting import await_ends
from saga.surfaces.demo_stack import DemoStack, demo_stack
from saga.surfaces.lookup import pages
from saga.surfaces.reading import cause_of
from saga.surfaces.submit import CALL_S, DirectIntake, Receipt, hand_over, session
from saga.testing.oracle import FaultScript, legal_ends

BUSINESS_SHARE, TECHNICAL_SHARE = 0.2, 0.03
BOUND_S = 180.0
CANCELLED = "cancelled"
STOCK_GROUP = 100
CATALOGUE = tuple((f"SKU-{number:03d}", 250 + 175 * (number % 17)) for number in range(1, 41))
PLACES = (
    ("United Kingdom", "London", "EC1A 1BB"),
    ("Germany", "Berlin", "10115"),
    ("France", "Paris", "75001"),
    ("Netherlands", "Utrecht", "3511 AB"),
    ("Sweden", "Lund", "22100"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be shown."""

    orders: int
    seed: int
    rate: float | None = None
    """Orders a second; None: all at once."""


@dataclass(frozen=True, slots=True)
class Demonstrated:
    """What came of it; `is_right` decides the exit code."""

    asked: Asked
    orders: int
    """How many were handed over."""
    counts: dict[SagaStatus, int]
    causes: dict[str, int]
    seconds: float
    report: AuditReport
    by_you: tuple[str, ...] = ()

    @property
    def ended(self) -> int:
        return self.counts[SagaStatus.COMPLETED] + self.counts[SagaStatus.COMPENSATED]

    @property
    def is_right(self) -> bool:
        return self.report.is_green and self.ended == self.orders

    def to_json(self) -> dict[str, Any]:
        return {
            "orders": self.orders,
            "completed": self.counts[SagaStatus.COMPLETED],
            "compensated": self.counts[SagaStatus.COMPENSATED],
            "halted": self.counts[SagaStatus.HALTED],
            "seconds": round(self.seconds, 3),
            "violations": len(self.report.violations),
            "seed": self.asked.seed,
            "not_ended": self.orders - self.ended,
            "causes": self.causes,
            "by_you": list(self.by_you),
            "faults": dict(self.report.fired),
            "audit": self.report.to_json(),
        }


def orders_of(count: int, seed: int) -> list[Order]:
    """`count` orders; the same for the same seed, and the first n of more are the same as n."""
    return [_order(seed, number) for number in range(1, count + 1)]


def _order(seed: int, number: int) -> Order:
    chance = Random(f"{seed}:{number}")
    country, city, postcode = chance.choice(PLACES)
    bought = chance.sample(CATALOGUE, chance.randint(1, 4))
    return Order(
        order_id=f"D{seed}-{number:04d}",
        customer_id=f"C{chance.randint(1, 400):04d}",
        currency="GBP",
        country=country,
        address=Address(name=f"Customer {number}", street=f"{number} Market Street", city=city, postcode=postcode),
        lines=tuple(OrderLine(sku=sku, quantity=chance.randint(1, 5), unit_price=price) for sku, price in bought),
        payment_method="pm_card",
    )


class Screen(Protocol):
    """Whoever watches. `look` waits a quarter of a second by itself, so that a key is answered at once."""

    def begin(self, run: "Run") -> None: ...

    def look(self, run: "Run") -> None: ...

    def end(self, run: "Run") -> None: ...


@dataclass
class Run:
    """A demonstration that is under way."""

    stack: DemoStack
    asked: Asked
    script: FaultScript
    orders: Sequence[Order]
    began: float
    handed: list[Order] = field(default_factory=list)
    """Those that were handed over: all of them, unless a person wanted no more."""
    accepted: list[tuple[str, str]] = field(default_factory=list)
    """Saga id and order id, in the order of acceptance."""
    finishing: threading.Event = field(default_factory=threading.Event)
    """Set: no more orders are accepted."""
    cancelled: set[str] = field(default_factory=set)
    """Order ids that a person cancelled before their point of no return."""
    fired: Counter[str] = field(default_factory=Counter)
    """What fired beside what the services count now: faults of replaced scripts, kills."""
    by_you: list[str] = field(default_factory=list)
    """What a person did, and what came of it."""

    @property
    def seconds(self) -> float:
        return monotonic() - self.began

    def counts(self) -> dict[SagaStatus, int]:
        counts = self.stack.store.counts()
        return {status: counts.get(status, 0) for status in SagaStatus}

    def tell_faults(self, service: str, before: Sequence[Mapping[str, object]] = ()) -> None:
        """Give a service its part of the script, behind the rules of `before`."""
        order_ids = [order.order_id for order in self.orders]
        rules = [*before, *self.script.rules(service, order_ids)]
        url = f"{self.stack.urls[service]}/v1/faults"
        answer = session().put(url, json={"seed": self.script.seed, "rules": rules}, timeout=CALL_S)
        if answer.status_code >= 300:
            raise StoreUnavailable(f"{service} answers {answer.status_code} to a fault script: {answer.text[:200]}")


def demonstrate(settings: Settings, asked: Asked, screen: Screen) -> Demonstrated:
    """Run it. Raises `StoreUnavailable` when a part does not start, or ends."""
    script = FaultScript(asked.seed, business_share=BUSINESS_SHARE, technical_share=TECHNICAL_SHARE)
    orders = [script.prepare(order) for order in orders_of(asked.orders, asked.seed)]
    with demo_stack(settings, settings.home / f"demo-{asked.seed}") as stack:
        stock = script.stock_for(orders)
        provide(stack.urls["inventory"], stock, asked.seed)
        run = Run(stack, asked, script, orders, monotonic())
        for service in stack.urls:
            run.tell_faults(service)
        run.began = monotonic()
        screen.begin(run)
        _run(run, screen)
        seconds = run.seconds
        screen.end(run)
        return _audited(run, stock, seconds)


def _audited(run: Run, stock: Mapping[str, int], seconds: float) -> Demonstrated:
    """Hold everything against what must have come of the orders that were handed over."""
    legal, count = legal_ends(run.handed, run.script, stock), len(run.handed)
    ends = {order_id: (end.status, end.cause) for order_id, end in legal.items()}
    ends |= dict.fromkeys(run.cancelled, (SagaStatus.COMPENSATED, CANCELLED))
    stack, floor = run.stack, Floor({"*": count // 10}, run.fired)
    report = audit(stack.store, stack.definitions, stack.urls, read_settings().mail_folder, oracle=ends, floor=floor)
    causes = causes_of(stack.store)
    return Demonstrated(run.asked, count, run.counts(), causes, seconds, report, tuple(run.by_you))


def provide(inventory_url: str, stock: dict[str, int], seed: int) -> None:
    """Put `stock` into the inventory; a SKU of 0 is not put there, so it is out of stock."""
    items = [{"sku": sku, "quantity": quantity} for sku, quantity in stock.items() if quantity]
    for start in range(0, len(items), STOCK_GROUP):
        headers = {"Idempotency-Key": f"demo-{seed}-{start}"}
        answer = session().post(
            f"{inventory_url}/v1/stock",
            json={"items": items[start : start + STOCK_GROUP]},
            headers=headers,
            timeout=CALL_S,
        )
        if answer.status_code != 200:
            raise StoreUnavailable(f"inventory answers {answer.status_code} to a provision: {answer.text[:200]}")


@dataclass(frozen=True, slots=True)
class _Noting:
    """The intake, which notes what it took."""

    intake: DirectIntake
    accepted: list[tuple[str, str]]

    def submit(self, order: Order) -> Receipt:
        receipt = self.intake.submit(order)
        self.accepted.append((receipt.saga_id, order.order_id))
        return receipt


def _paced(run: Run) -> Iterator[Order]:
    """The orders, so many a second, until no more are accepted."""
    rate = run.asked.rate
    for number, order in enumerate(run.orders):
        if run.finishing.wait(0 if rate is None else max(0.0, number / rate - run.seconds)):
            return
        run.handed.append(order)
        yield order


def _run(run: Run, screen: Screen) -> None:
    stack = run.stack
    intake = DirectIntake(stack.store, stack.starter, fulfil_order, stack.publisher.publish)
    errors: list[StoreUnavailable] = []

    def submit() -> None:
        try:
            await_ends(intake, hand_over(_paced(run), _Noting(intake, run.accepted)), bound_s=BOUND_S)
        except StoreUnavailable as error:
            errors.append(error)

    submitting = threading.Thread(target=submit, name="saga-demo-orders", daemon=True)
    submitting.start()
    while submitting.is_alive():
        screen.look(run)
        stack.worker.check()
    if errors:
        raise errors[0]


def causes_of(store: Store) -> dict[str, int]:
    """Why orders were rolled back: business code → how many."""
    causes: Counter[str] = Counter()
    for row in pages(store, SagaFilter(statuses=(SagaStatus.COMPENSATED,))):
        state, _, _ = fold(store.load([row.saga_id])[row.saga_id])
        if state.cause is not None:
            causes[cause_of(state.cause)] += 1
    return dict(sorted(causes.items()))
