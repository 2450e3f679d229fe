"""Which orders a cancellation of a shop's file is about: it names a customer and stock codes, and no order.

Rules of this file
------------------
- A piece that comes back is one of the latest order of that customer that has a piece of that stock code left: shops take back
  what was bought last, and no piece comes back twice. A line may be spread over several orders.
- A customer without a number is nobody in particular; what cannot be matched to the last piece is counted, by lines.
- Orders count from where they stand in the file: a cancellation that stands before its order is not matched.

Kept is what a later cancellation can be about: `wanted` names the pairs of customer and stock code that occur in any.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from saga.fulfilment.intake import Cancelled
from saga.fulfilment.models import Order
from saga.fulfilment.online_retail import GUEST


@dataclass(frozen=True, slots=True)
class Match:
    """Pieces of one order that come back."""

    order_id: str
    pieces: Mapping[str, int]
    is_whole: bool
    """All that the order was for, so that it can be cancelled instead."""


@dataclass(slots=True)
class Sold:
    """What was bought and has not come back, as far as a cancellation may be about it."""

    wanted: Collection[tuple[str, str]] | None = None
    _left: dict[tuple[str, str], list[list[int]]] = field(default_factory=dict)
    _orders: list[tuple[str, int]] = field(default_factory=list)
    """Order id, and how many pieces it was for."""

    def add(self, order: Order) -> None:
        """An order of the file, in its order."""
        if order.customer_id == GUEST:
            return
        number = len(self._orders)
        is_kept = False
        for sku, quantity in order.stock.items():
            pair = order.customer_id, sku
            if self.wanted is None or pair in self.wanted:
                self._left.setdefault(pair, []).append([number, quantity])
                is_kept = True
        if is_kept:
            self._orders.append((order.order_id, order.item_count))

    def match(self, cancelled: Cancelled) -> tuple[list[Match], int]:
        """The orders that it is about, the earliest first, and how many of its lines name more than was bought and is left."""
        taken: dict[int, dict[str, int]] = {}
        short = 0
        for sku, quantity in cancelled.pieces.items():
            left = self._take(cancelled.customer_id, sku, quantity, taken)
            short += left > 0
        found = []
        for number, pieces in sorted(taken.items()):
            order_id, bought = self._orders[number]
            found.append(Match(order_id, pieces, sum(pieces.values()) == bought))
        return found, short + cancelled.unreadable_count

    def _take(self, customer_id: str, sku: str, quantity: int, taken: dict[int, dict[str, int]]) -> int:
        """Take so many pieces from the latest orders; how many there were not."""
        standing = self._left.get((customer_id, sku), [])
        while quantity and standing:
            number, left = standing[-1]
            pieces = min(quantity, left)
            taken.setdefault(number, {})[sku] = pieces
            quantity -= pieces
            standing[-1][1] -= pieces
            if not standing[-1][1]:
                standing.pop()
        return quantity
