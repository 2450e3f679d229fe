"""What the participants' books say while a demonstration runs: captured money, pieces of stock, faults that fired.

Rules of this file
------------------
- One question per look, in turn: the payment ledger behind the row that was read last, the stock, each service's fault counts. So
  a look costs one request, and each figure is a second or two old.
- What does not answer in `ASK_S` is not known: the figure stays as it was, or a dash when it was never read.
- Money is told apart by how far the order's journal is: what was captured for orders that have completed is held against what they
  must pay; what was captured for orders whose journal was not read to its end is on its way, because a capture may be in the ledger
  before its outcome is in the journal.
- Nothing explains what was captured for an order that nobody handed over. One that is accepted at this moment may be captured before
  it is followed, so as long as others are on their way an unknown order is one that was unknown at the look before, too.
- Counts of a script that was replaced would be lost with it, so `keep` adds them up first.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import requests

from saga.surfaces.demo_following import Follower
from saga.surfaces.ledgers import PAYMENT, STOCK
from saga.surfaces.submit import session

ASK_S = 1.0
PAGE_ROWS = 2_000
MERCHANT = "merchant"


@dataclass(frozen=True, slots=True)
class Money:
    """What the payment ledger says was captured, by how far the orders are."""

    captured: int
    completed: int
    """Of it, for orders that have completed."""
    due: int
    """What those must pay, by their journals."""
    in_flight: int
    in_flight_count: int

    @property
    def unexplained(self) -> int:
        """What neither a completed order nor one in flight explains."""
        return abs(self.completed - self.due) + abs(self.captured - self.completed - self.in_flight)


@dataclass(frozen=True, slots=True)
class Stock:
    """Pieces over all SKUs, as the inventory shows them at one moment."""

    initial: int
    available: int
    reserved: int
    shipped: int

    @property
    def unexplained(self) -> int:
        return abs(self.initial - self.available - self.reserved - self.shipped)


@dataclass
class Books:
    """The figures as they were last read."""

    urls: Mapping[str, str]
    follower: Follower
    money: Money | None = None
    stock: Stock | None = None
    _replaced: Counter[str] = field(default_factory=Counter)
    _fired: dict[str, Counter[str]] = field(default_factory=dict)
    _captured: Counter[str] = field(default_factory=Counter)
    """By order."""
    _after: int = 0
    _unknown: frozenset[str] = frozenset()
    """Orders of the ledger that nobody had handed over when it was read last."""

    def __post_init__(self) -> None:
        questions: list[Callable[[], None]] = [self._read_money, self._read_stock]
        questions += [lambda name=name: self._read_faults(name) for name in sorted(self.urls)]  # type: ignore[misc]
        self._questions = cycle(questions)
        self._count = len(questions)
        self._session = session()

    @property
    def fired(self) -> Counter[str]:
        """Faults by kind, over all services."""
        return sum(self._fired.values(), Counter(self._replaced))

    def look(self) -> None:
        """Ask the next question."""
        next(self._questions)()

    def look_at_all(self) -> None:
        """Ask each once."""
        for _ in range(self._count):
            self.look()

    def keep(self, service: str) -> None:
        """Its script is about to be replaced: read what it fired, and keep that."""
        self._read_faults(service)
        self._replaced.update(self._fired.pop(service, Counter()))

    @property
    def kept(self) -> Counter[str]:
        """What scripts fired that were replaced."""
        return Counter(self._replaced)

    def _ask(self, service: str, path: str) -> Any:
        try:
            answer = self._session.get(f"{self.urls[service]}{path}", timeout=ASK_S)
            answer.raise_for_status()
            return answer.json()
        except (requests.RequestException, ValueError):
            return None

    def _read_money(self) -> None:
        page = self._ask(PAYMENT, f"/v1/ledger?after={self._after}&limit={PAGE_ROWS}")
        if page is None:
            return
        for row in page["rows"]:
            self._after = row["id"]
            sign = (row["credit"] == MERCHANT) - (row["debit"] == MERCHANT)
            if sign:
                self._captured[row["order_id"]] += sign * row["amount"]
        if page["next_after"] is None:
            self.money = self._weighed()

    def _weighed(self) -> Money:
        """The journals were read before the ledger, so whatever they say has completed was captured by now."""
        completed = due = in_flight = in_flight_count = 0
        by_order = self.follower.by_order
        for one in by_order.values():
            if one.is_completed:
                due += one.due
        for order_id, amount in self._captured.items():
            one_or_none = by_order.get(order_id)
            if one_or_none is None and (order_id in self._unknown or not self.follower.open):
                continue
            if one_or_none is None or one_or_none.ended_at is None:
                in_flight += amount
                in_flight_count += bool(amount)
            elif one_or_none.is_completed:
                completed += amount
        self._unknown = frozenset(self._captured.keys() - by_order.keys())
        return Money(sum(self._captured.values()), completed, due, in_flight, in_flight_count)

    def _read_stock(self) -> None:
        answer = self._ask(STOCK, "/v1/stock")
        if answer is not None and answer.get("next_after") is None:
            names = ("initial", "available", "reserved", "shipped")
            self.stock = Stock(*(sum(item[name] for item in answer["items"]) for name in names))

    def _read_faults(self, service: str) -> None:
        answer = self._ask(service, "/v1/faults")
        if answer is not None:
            fired: Counter[str] = Counter()
            for rule in answer["rules"]:
                fired[rule["fault"]] += rule["fired"]
            self._fired[service] = fired
