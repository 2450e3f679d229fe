"""The demonstration: orders from a seed, faults from a script, everything embedded, and the audit of what came of it.

Rules of this file
------------------
- A seed gives the same orders and the same fault script on every machine, so the oracle knows each order's one legal end.
- A run has a home of its own, `<home>/demo-<seed>`, removed before it starts: nothing of an earlier run can colour the
  books, and they can be looked at afterwards.
- The services run in one process of their own, so that they answer from a second core.
- The audit comes when every order has ended; one that has not within `BOUND_S` is told, and the run fails.
"""

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from saga.clock import monotonic, sleep
from saga.core.states import SagaStatus
from saga.errors import StoreUnavailable
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Address, Order, OrderLine
from saga.runtime.engine import fold
from saga.settings import Settings, read_settings
from saga.store.port import SagaFilter, Store
from saga.surfaces.audit import AuditReport, Floor, audit
from saga.surfaces.embedded import Stack, embedded
from saga.surfaces.lookup import pages
from saga.surfaces.submit import CALL_S, DirectIntake, await_ends, hand_over, session
from saga.testing.oracle import FaultScript, legal_ends

BUSINESS_SHARE, TECHNICAL_SHARE = 0.2, 0.03
BOUND_S = 180.0
TICK_S = 0.25
STOCK_GROUP = 100
CATALOGUE = tuple((f"SKU-{number:03d}", 250 + 175 * (number % 17)) for number in range(1, 41))
_UNSET = dict.fromkeys(("database_url", "inventory_url", "tax_url", "shipping_url", "payment_url", "smtp_url"))
"""What the environment may name and a demonstration never uses."""
PLACES = (
    ("United Kingdom", "London", "EC1A 1BB"),
    ("Germany", "Berlin", "10115"),
    ("France", "Paris", "75001"),
    ("Netherlands", "Utrecht", "3511 AB"),
    ("Sweden", "Lund", "22100"),
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far the run is."""

    accepted: int
    counts: dict[SagaStatus, int]
    seconds: float


@dataclass(frozen=True, slots=True)
class Demonstrated:
    """What came of it; `is_right` decides the exit code."""

    orders: int
    seed: int
    counts: dict[SagaStatus, int]
    causes: dict[str, int]
    seconds: float
    report: AuditReport

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
            "seed": self.seed,
            "not_ended": self.orders - self.ended,
            "causes": self.causes,
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


def demonstrate(settings: Settings, count: int, seed: int, watch: Callable[[Snapshot, Store], None]) -> Demonstrated:
    """Run it; `watch` is told how far it is about four times a second. Raises `StoreUnavailable` when a part does not
    start."""
    home = settings.home / f"demo-{seed}"
    shutil.rmtree(home, ignore_errors=True)
    own = settings.model_copy(update={**_UNSET, "home": home, "broker_url": "memory://"})
    script = FaultScript(seed, business_share=BUSINESS_SHARE, technical_share=TECHNICAL_SHARE)
    orders = [script.prepare(order) for order in orders_of(count, seed)]
    with embedded(own, [fulfil_order], port=None) as stack:
        stock = script.stock_for(orders)
        provide(stack.urls["inventory"], stock, seed)
        tell_faults(stack.urls, script, [order.order_id for order in orders])
        began = monotonic()
        _run(stack, orders, began, watch)
        seconds = monotonic() - began
        causes = causes_of(stack.store)
        floor = Floor({"*": count // 10})
        ends = {order_id: (end.status, end.cause) for order_id, end in legal_ends(orders, script, stock).items()}
        mails = read_settings().mail_folder
        report = audit(stack.store, stack.definitions, stack.urls, mails, oracle=ends, floor=floor)
        counts = stack.store.counts()
    known = {status: counts.get(status, 0) for status in SagaStatus}
    return Demonstrated(count, seed, known, causes, seconds, report)


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


def tell_faults(urls: Mapping[str, str], script: FaultScript, order_ids: Sequence[str]) -> None:
    """Give each service its part of the script."""
    for service, url in urls.items():
        rules = script.rules(service, order_ids)
        answer = session().put(f"{url}/v1/faults", json={"seed": script.seed, "rules": rules}, timeout=CALL_S)
        if answer.status_code >= 300:
            raise StoreUnavailable(f"{service} answers {answer.status_code} to a fault script: {answer.text[:200]}")


def _run(stack: Stack, orders: list[Order], began: float, watch: Callable[[Snapshot, Store], None]) -> None:
    intake = DirectIntake(stack.store, stack.starter, fulfil_order, stack.publish)
    errors: list[StoreUnavailable] = []

    def submit() -> None:
        try:
            await_ends(intake, hand_over(orders, intake), bound_s=BOUND_S)
        except StoreUnavailable as error:
            errors.append(error)

    submitting = threading.Thread(target=submit, name="saga-demo-orders", daemon=True)
    submitting.start()
    while submitting.is_alive():
        sleep(TICK_S)
        counts = dict(stack.store.counts())
        watch(Snapshot(sum(counts.values()), counts, monotonic() - began), stack.store)
    if errors:
        raise errors[0]


def causes_of(store: Store) -> dict[str, int]:
    """Why orders were rolled back: business code → how many."""
    causes: Counter[str] = Counter()
    for row in pages(store, SagaFilter(statuses=(SagaStatus.COMPENSATED,))):
        state, _, _ = fold(store.load([row.saga_id])[row.saga_id])
        if state.cause is not None:
            causes[state.cause.detail or state.cause.cause] += 1
    return dict(sorted(causes.items()))
