"""The tax of returns: however an order comes back, what was paid goes back once, and at no moment more."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from saga.core.fold import NodeState, SagaState
from saga.core.outcomes import Payload
from saga.core.states import SagaStatus
from saga.fulfilment import models as m
from saga.fulfilment.models import QUANTITY_MAX, LineTax, Order, OrderLine, TaxQuote
from saga.fulfilment.returns import MoreThanLeft, ReturnOrder, WorthNothing, return_of, what_is_left
from saga.fulfilment.tax_back import tax_due
from tests.property.definitions import SEARCH

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOME = m.Address(name="A", street="B", city="Montréal", postcode="H2X 1Y4", region="QC")


def completed(lines: list[OrderLine], quote: TaxQuote) -> SagaState:
    """An order of these lines that completed and paid this tax."""
    order = Order(
        order_id="SO-1",
        customer_id="C7",
        currency="CAD",
        country="Canada",
        address=HOME,
        lines=tuple(lines),
        payment_method="pm_card",
    )
    results = {
        "calculate_tax:a": quote.model_dump_json(),
        "capture_payment:a": '{"capture_id":"c1","amount":1,"currency":"CAD"}',
        "book_shipment:a": '{"shipment_id":"s1","tracking":"t","carrier":"DHL"}',
    }
    nodes = {name: NodeState(result=Payload(text)) for name, text in results.items()}
    text = Payload(order.model_dump_json())
    return SagaState(
        "s", "fulfil_order", 1, "f", "e", "t", "SO-1", 1, text, NOON, status=SagaStatus.COMPLETED, nodes=nodes
    )


def quoted(lines: list[OrderLine], taxes: list[int], *, by_line: bool) -> TaxQuote:
    shown = tuple(LineTax(sku=line.sku, tax_amount=tax) for line, tax in zip(lines, taxes, strict=True))
    return TaxQuote(tax_amount=sum(taxes), currency="CAD", lines=shown if by_line else ())


@dataclass
class Back:
    """An order and its returns; those of `gone` were rolled back."""

    order: SagaState
    counted: list[ReturnOrder] = field(default_factory=list)

    @property
    def refunded(self) -> int:
        return sum(one.total for one in self.counted)

    def give_back(self, pieces: dict[str, int] | None = None) -> ReturnOrder:
        wanted = return_of(self.order, "R", pieces or {}, reason="broken", returned=self.counted)
        self.counted.append(wanted)
        return wanted


LINES = st.lists(
    st.tuples(st.sampled_from(["mug", "tin", "book"]), st.integers(1, 9), st.integers(0, 40)), min_size=1, max_size=5
)


@SEARCH
@given(LINES, st.booleans(), st.data())
def test_all_that_comes_back_is_goods_and_tax_to_the_penny(
    drawn: list[tuple[str, int, int]], by_line: bool, data: st.DataObject
) -> None:
    """Random prices, taxes, splits and returns that are rolled back, also after later ones were promised their share: no sum on
    the way exceeds goods and tax, no tax is negative, and the end is goods and tax."""
    lines = [OrderLine(sku=sku, quantity=quantity, unit_price=price) for sku, quantity, price in drawn]
    # A line that cost something is there, or there is nothing to refund; gifts carry no tax.
    lines.append(OrderLine(sku="lamp", quantity=data.draw(st.integers(1, 9)), unit_price=3))
    taxes = [data.draw(st.integers(0, line.amount)) if line.amount else 0 for line in lines]
    back = Back(completed(lines, quoted(lines, taxes, by_line=by_line)))
    paid = sum(line.amount for line in lines) + sum(taxes)
    for _ in range(data.draw(st.integers(0, 12))):
        if back.counted and data.draw(st.integers(0, 2)) == 0:
            back.counted.pop(data.draw(st.integers(0, len(back.counted) - 1)))
        else:
            sku = data.draw(st.sampled_from([line.sku for line in lines]))
            try:
                assert back.give_back({sku: data.draw(st.integers(1, 4))}).tax >= 0
            except (MoreThanLeft, WorthNothing):
                continue
        assert back.refunded <= paid
    left = what_is_left(Order.model_validate_json(back.order.input.data), back.counted)
    if any(one.unit_price for one in left):
        back.give_back()
        assert back.refunded == paid


def test_twenty_returns_of_one_piece_refund_the_tax_once() -> None:
    """Twenty pieces of 3 pence with 12 pence of tax: each by itself would be rounded up, and 80 be refunded for 72."""
    lines = [OrderLine(sku="mug", quantity=20, unit_price=3)]
    for by_line in (True, False):
        back = Back(completed(lines, quoted(lines, [12], by_line=by_line)))
        for _ in range(20):
            back.give_back({"mug": 1})
        assert back.refunded == 72


def test_each_line_gets_its_own_tax_back() -> None:
    """A book that is taxed at nothing has none to give back, and the mug has all of it; of a quote that names other lines only
    the sum is taken."""
    lines = [OrderLine(sku="mug", quantity=1, unit_price=100), OrderLine(sku="book", quantity=1, unit_price=100)]
    quote = quoted(lines, [20, 0], by_line=True)
    back = Back(completed(lines, quote))
    assert [back.give_back({sku: 1}).tax for sku in ("book", "mug")] == [0, 20]
    for lies in (quote.model_copy(update={"lines": quote.lines[::-1]}), quote.model_copy(update={"tax_amount": 21})):
        back = Back(completed(lines, lies))
        assert [back.give_back({sku: 1}).tax for sku in ("book", "mug")] == [(lies.tax_amount + 1) // 2, 10]


def test_pieces_that_were_never_sold_carry_no_tax() -> None:
    """A return that somebody started by hand may name more than was sold and stand under a number of the order: its pieces
    beyond that count for nothing, so no more tax is due than was paid, with the tax of each line and without."""
    lines = [OrderLine(sku=sku, quantity=2, unit_price=100) for sku in ("mug", "tin")]
    order = Order.model_validate_json(completed(lines, quoted(lines, [30, 10], by_line=True)).input.data)
    too_many = [OrderLine(sku="mug", quantity=9, unit_price=100)]
    assert tax_due(order, quoted(lines, [30, 10], by_line=True), too_many) == 30
    assert tax_due(order, quoted(lines, [30, 10], by_line=False), too_many) == 40


def test_a_return_that_is_rolled_back_late_leaves_the_sum_right() -> None:
    """The second return was promised its share while the first counted; the first is rolled back, and comes again."""
    lines = [OrderLine(sku="mug", quantity=5, unit_price=3)]
    back = Back(completed(lines, quoted(lines, [2], by_line=True)))
    assert [back.give_back({"mug": 1}).tax for _ in range(4)] == [0, 1, 0, 1]
    del back.counted[0], back.counted[1]
    assert back.give_back({"mug": 1}).tax == 0
    back.give_back()
    assert back.refunded == 17


def test_more_pieces_than_a_line_may_hold_come_back() -> None:
    """Two lines of one SKU and price, together more than one line may have: all of it, and a part of it, in several lines."""
    lines = [OrderLine(sku="nail", quantity=QUANTITY_MAX, unit_price=2)] * 2
    back = Back(completed(lines, quoted(lines, [400_000, 400_000], by_line=True)))
    first = back.give_back({"nail": QUANTITY_MAX + 5})
    assert [line.quantity for line in first.lines] == [QUANTITY_MAX, 5]
    assert [line.quantity for line in back.give_back().lines] == [QUANTITY_MAX - 5]
    assert back.refunded == 4 * QUANTITY_MAX + 800_000
