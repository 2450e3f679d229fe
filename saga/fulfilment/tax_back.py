"""How much of an order's tax goes back with its pieces: what was paid, shared out in whole minor units, and never asked for again.

Rules of this file
------------------
- What counts is the tax that the order paid, as its journal holds the quote. A rate that changed since changes nothing.
- Tax is due for all pieces that are back, not for each return by itself: of a SKU at one price of which Q pieces were sold and
  T was paid, B pieces carry T * B / Q, rounded half up once. A return gets what is due with its pieces less what the returns
  before it were promised, so the roundings do not add up, and everything that comes back carries T.
- A quote without the tax of each line, or with lines that are not the order's, is shared out over the price of the goods.
"""

from collections.abc import Iterable

from saga.fulfilment import models as m
from saga.fulfilment.models import OrderLine

Group = tuple[str, int]
"""A SKU and its price for one piece: pieces of one group are told apart by nothing."""


def half_up(numerator: int, denominator: int) -> int:
    """The quotient of two integers that are not negative, rounded half up."""
    return (2 * numerator + denominator) // (2 * denominator)


def pieces_of(lines: Iterable[OrderLine]) -> dict[Group, int]:
    """The quantity of each group over all lines."""
    sums: dict[Group, int] = {}
    for line in lines:
        group = line.sku, line.unit_price
        sums[group] = sums.get(group, 0) + line.quantity
    return sums


def tax_due(bought: m.Order, paid: m.TaxQuote, back: Iterable[OrderLine]) -> int:
    """The tax that goes back in all, once these lines of the order are back; never more than was paid, also when more pieces
    are named than were sold, as a return may that was started by hand."""
    came = pieces_of(back)
    by_group = _tax_of_groups(bought, paid)
    if by_group is None:
        goods = sum(price * quantity for (_, price), quantity in came.items())
        # Of goods that were given away nothing is refunded, and no part of them is a share.
        return half_up(paid.tax_amount * min(goods, bought.goods), bought.goods) if bought.goods else 0
    sold = pieces_of(bought.lines)
    return sum(
        half_up(tax * min(came.get(group, 0), sold[group]), sold[group]) for group, tax in sorted(by_group.items())
    )


def _tax_of_groups(bought: m.Order, paid: m.TaxQuote) -> dict[Group, int] | None:
    """What each group paid; None when the quote does not say it of the order's own lines."""
    if [line.sku for line in paid.lines] != [line.sku for line in bought.lines]:
        return None
    if sum(line.tax_amount for line in paid.lines) != paid.tax_amount:
        return None
    sums: dict[Group, int] = {}
    for line, taxed in zip(bought.lines, paid.lines, strict=True):
        group = line.sku, line.unit_price
        sums[group] = sums.get(group, 0) + taxed.tax_amount
    return sums
