"""What comes out of a file of orders.

Beside the orders themselves everything says which lines of the file it stands for, so that each of them is accounted for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from saga.fulfilment.models import Order

Span = tuple[int, int]
"""The first and the last of lines that follow one another."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Not an order, and why: the line, the field and the rule."""

    reference: str
    """The invoice or order id when it could be read, else `line <n>`."""
    reason: str
    lines: tuple[Span, ...] = field(default=(), compare=False)
    """Of the file; none for what was refused by whoever was asked to take it."""

    @property
    def lines_shown(self) -> str:
        """As `3-7, 12`."""
        return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in self.lines)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something else than an order, by the layout's own marks: a cancellation or an adjustment."""

    reference: str
    kind: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A customer gives pieces back; of which orders is for `saga.fulfilment.cancellations` to say."""

    reference: str
    customer_id: str
    pieces: Mapping[str, int]
    """Quantity by SKU."""
    unreadable_count: int = 0
    """Lines that name no pieces: a price, a quantity or a code that breaks a rule."""


@dataclass(frozen=True, slots=True)
class Rounded:
    """The order of that id follows, and so many of its prices were rounded to the minor unit."""

    reference: str
    line_count: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """An order that stood in an earlier line already, to the letter: nothing more to hand over."""

    reference: str
    order_id: str


Found = Order | Refused | Skipped | Cancelled | Rounded | Repeated


def line_count(spans: tuple[Span, ...]) -> int:
    return sum(last - first + 1 for first, last in spans)
