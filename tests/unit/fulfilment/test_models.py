"""An order is bounded, and whatever breaks a bound is refused with the field and the rule."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from saga.fulfilment import models as m
from saga.fulfilment.models import Order, OrderPrice, broken_rules


def order_values(**changes: Any) -> dict[str, Any]:
    """An order as JSON would hold it."""
    values: dict[str, Any] = {
        "order_id": "SO-1",
        "customer_id": "C7",
        "currency": "GBP",
        "country": "United Kingdom",
        "address": {"name": "Zoë Müller", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"},
        "lines": [
            {"sku": "85123A", "quantity": 6, "unit_price": 255},
            {"sku": "71053", "quantity": 2, "unit_price": 0},
        ],
        "payment_method": "pm_card",
    }
    return values | changes


def one_line(**changes: Any) -> dict[str, Any]:
    return order_values(lines=[{"sku": "85123A", "quantity": 1, "unit_price": 255} | changes])


def read(values: dict[str, Any]) -> Order:
    return Order.model_validate_json(json.dumps(values))


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as refused:
        read(values)
    return broken_rules(refused.value)


def test_an_order_survives_the_journal() -> None:
    """What is written into the journal reads back as the same order, and by a list as a framework hands it over too."""
    order = read(order_values(email="zoe@example.org"))
    assert Order.model_validate_json(order.model_dump_json()) == order
    assert Order.model_validate(order_values(email="zoe@example.org")) == order


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (order_values(order_id=""), "order_id: must be 1 to 64 characters long, as in SO-1001"),
        (order_values(order_id="a" * 65), "order_id: must be 1 to 64 characters long, as in SO-1001"),
        (order_values(order_id="-b"), "order_id: must not begin with '-', which a command line takes for an option"),
        (order_values(order_id=".."), "order_id: must not be '.' or '..', which mean a folder"),
        (order_values(order_id="SO-1\n"), "order_id: character 5 is U+000A, which nobody sees"),
        (order_values(order_id="SO-1\x00"), "order_id: character 5 is U+0000"),
        (order_values(order_id=7), "order_id: Input should be a valid string"),
        (order_values(customer_id=None), "customer_id: Input should be a valid string"),
        (order_values(country=""), "country: String should have at least 1 character"),
        (order_values(country="x" * 65), "country: String should have at most 64 characters"),
        (order_values(country="Fr\x00ance"), "country: character 3 is U+0000"),
        (order_values(country="Fr\u2028ance"), "country: character 3 is U+2028"),
        (order_values(currency="GBp"), "currency: must be a currency of ISO 4217, three capitals, as in GBP"),
        (order_values(currency="ZZZ"), "currency: ZZZ is not a currency of ISO 4217"),
        (order_values(currency=""), "currency: must be a currency of ISO 4217, three capitals, as in GBP"),
        (order_values(email="nobody"), "email: must be an address"),
        (order_values(email="a@b.c\r\nBcc: x@y.z"), "email: must be an address"),
        (order_values(email="=?utf-8?q?=0A?=@example.org"), "email: must not hold '=?', which begins an encoded word"),
        (order_values(email="=?utf-8?q?eve=40evil.org=2C_zoe?=@example.org"), "email: must not hold '=?'"),
        (
            order_values(address=order_values()["address"] | {"street": " \u3000 "}),
            "address.street: needs a character that",
        ),
        (order_values(payment_method="pm  card"), "payment_method: must not begin or end with a blank, nor"),
        (order_values(lines=[]), "lines: an order has at least one line"),
        (order_values(lines=None), "lines: Input should be a valid array"),
        (order_values(coupon="X"), "coupon: Extra inputs are not permitted"),
        (one_line(colour="red"), "lines.0.colour: Extra inputs are not permitted"),
        (one_line(quantity=0), "lines.0.quantity: Input should be greater than or equal to 1"),
        (one_line(quantity=-1), "lines.0.quantity: Input should be greater than or equal to 1"),
        (one_line(quantity=1_000_001), "lines.0.quantity: Input should be less than or equal to 1000000"),
        (one_line(quantity=10**30), "lines.0.quantity: Input should be less than or equal to 1000000"),
        (one_line(quantity=1.5), "lines.0.quantity: Input should be a valid integer"),
        (one_line(quantity="1"), "lines.0.quantity: Input should be a valid integer"),
        (one_line(quantity=True), "lines.0.quantity: Input should be a valid integer"),
        (one_line(quantity=float("nan")), "lines.0.quantity: Input should be"),
        (one_line(unit_price=float("inf")), "lines.0.unit_price: Input should be"),
        (one_line(unit_price=-1), "lines.0.unit_price: Input should be greater than or equal to 0"),
        (one_line(unit_price=10**9 + 1), "lines.0.unit_price: Input should be less than or equal to 1000000000"),
        (one_line(tax_class="luxury"), "lines.0.tax_class: Input should be 'standard', 'reduced', 'zero' or 'exempt'"),
        (order_values(payment_country=""), "payment_country: String should have at least 1 character"),
        (one_line(unit_price=10**9, quantity=1_001), "lines: the goods come to 1001000000000 minor units"),
    ],
)
def test_each_broken_bound_is_named(values: dict[str, Any], said: str) -> None:
    """Empty, NUL, NaN, 10^30, a fraction, a bool, an unknown field, a line break in a header: refused, field and rule named."""
    assert refusal(values).startswith(said)


@pytest.mark.parametrize("field", ["order_id", "country"])
def test_half_a_surrogate_pair_is_refused(field: str) -> None:
    """Python's JSON lets a lone surrogate through; it cannot be stored or sent, so an order may not hold one."""
    with pytest.raises(ValidationError):
        Order.model_validate(order_values(**{field: "a\ud800"}))
    with pytest.raises(ValidationError):
        read(order_values(**{field: "a\ud800"}))


def test_a_missing_field_is_named() -> None:
    """A field that is not there is an error of its own and not a default."""
    values = order_values()
    del values["address"]
    assert refusal(values) == "address: Field required"


def test_lines_are_bounded_and_many_errors_stay_short() -> None:
    """10,000 lines are an order and 10,001 are not; a person reads five errors and the number of the rest."""
    line = {"sku": "A", "quantity": 1, "unit_price": 1}
    assert read(order_values(lines=[line] * 10_000)).goods == 10_000
    assert refusal(order_values(lines=[line] * 10_001)).startswith("lines: Tuple should have at most 10000 items")
    assert refusal(order_values(lines=[{**line, "quantity": 0}] * 12)).endswith("; and 7 more")


def test_the_skus_of_an_order_are_bounded() -> None:
    """10,000 of 64 bytes are an order; in letters of four bytes a participant's answer would be more than one may be."""
    lines = [{"sku": f"{number:05}" + "x" * 59, "quantity": 1, "unit_price": 1} for number in range(10_000)]
    assert read(order_values(lines=lines)).goods == 10_000
    said = refusal(order_values(lines=[*lines[1:], {**lines[0], "sku": "ü" * 64}]))
    assert said == "lines: the SKUs come to 640064 bytes of UTF-8; an order has at most 640000"


def test_the_greatest_order_is_an_order() -> None:
    """Both ends of each bound are inside: the total of the greatest order fits 64 bits with room for its sums."""
    assert read(one_line(quantity=1_000, unit_price=10**9)).goods == 10**12
    assert read(one_line(quantity=10**6, unit_price=1)).goods == 10**6


def test_goods_may_be_given_away() -> None:
    """A free sample is an order; freight and tax alone are paid, or nothing is."""
    given = read(one_line(unit_price=0))
    tax, freight = m.TaxQuote(tax_amount=0, currency="GBP"), m.ShippingQuote(amount=0, currency="GBP", carrier="x")
    assert (given.goods, OrderPrice.of(given, tax, freight).total) == (0, 0)


def test_the_pieces_of_an_order_are_bounded() -> None:
    """10^9 pieces are an order, of one SKU or of many, and one more is refused: a participant that holds no more of a SKU would
    otherwise answer 422 to an order that was accepted."""
    line = {"sku": "A", "quantity": 10**6, "unit_price": 1}
    bound = [line] * 1_000
    assert read(order_values(lines=bound)).stock == {"A": 10**9}
    for sku in ("A", "B"):
        above = refusal(order_values(lines=[*bound, {**line, "sku": sku, "quantity": 1}]))
        assert above == "lines: the quantities come to 1000000001 pieces; an order is for at most 1000000000"


def test_an_order_that_says_no_more_keeps_its_bytes() -> None:
    """What nobody says of tax class and country of payment stands neither in the journal nor in the hash of the request."""
    text = read(order_values()).model_dump_json()
    assert "tax_class" not in text
    assert "payment_country" not in text
    said = read(one_line(tax_class="exempt") | {"payment_country": "France"})
    assert Order.model_validate_json(said.model_dump_json()) == said
    assert '"tax_class":"exempt"' in said.model_dump_json()


def test_a_sku_has_one_tax_class_in_an_order() -> None:
    """A piece that comes back does not say which line it was of; unsaid is `standard`, so the two agree."""
    one, two = ({"sku": "A", "quantity": 1, "unit_price": price} for price in (100, 200))
    assert read(order_values(lines=[one, {**two, "tax_class": "standard"}])).goods == 300
    said = refusal(order_values(lines=[one, {**two, "tax_class": "zero"}]))
    assert said == "lines: A has tax_class standard in one line and zero in another; a SKU has one"


def test_lines_of_one_sku_are_kept_and_added_up_for_the_stock() -> None:
    """The order shows what was ordered, line by line; the reservation asks once per SKU, sorted."""
    lines = [{"sku": sku, "quantity": quantity, "unit_price": 10} for sku, quantity in [("B", 2), ("A", 1), ("B", 3)]]
    order = read(order_values(lines=lines))
    assert [line.sku for line in order.lines] == ["B", "A", "B"]
    assert list(order.stock.items()) == [("A", 1), ("B", 5)]
    assert (order.item_count, order.goods) == (6, 60)


@given(
    st.lists(st.tuples(st.sampled_from("ABC"), st.integers(1, 10**6), st.integers(1, 10**4)), min_size=1, max_size=9)
)
def test_stock_and_goods_are_sums_over_the_lines(lines: list[tuple[str, int, int]]) -> None:
    """Whatever the lines are, nothing is lost between the order, its stock and its total."""
    shaped = [{"sku": sku, "quantity": quantity, "unit_price": price} for sku, quantity, price in lines]
    order = read(order_values(lines=shaped))
    assert sum(order.stock.values()) == order.item_count == sum(quantity for _, quantity, _ in lines)
    assert order.goods == sum(quantity * price for _, quantity, price in lines)


def test_an_order_cannot_be_changed() -> None:
    """A step that changed the order would make its retry another request."""
    with pytest.raises(ValidationError):
        read(order_values()).order_id = "SO-2"  # type: ignore[misc]


def test_the_price_is_goods_tax_and_freight() -> None:
    """The one total is the sum of the three, in the order's currency."""
    price = OrderPrice.of(
        read(order_values()),
        m.TaxQuote(tax_amount=306, currency="GBP"),
        m.ShippingQuote(amount=495, currency="GBP", carrier="DHL"),
    )
    assert price == OrderPrice(goods=1_530, tax=306, freight=495, total=2_331, currency="GBP")


def test_a_quote_in_another_currency_is_not_added_up() -> None:
    """Pounds and yen have no sum; the order stops in front of a person."""
    tax, freight = m.TaxQuote(tax_amount=1, currency="GBP"), m.ShippingQuote(amount=1, currency="JPY", carrier="DHL")
    with pytest.raises(ValueError, match="order in GBP, tax in GBP, freight in JPY"):
        OrderPrice.of(read(order_values()), tax, freight)


def test_an_answer_may_say_more_but_not_something_else() -> None:
    """A participant may add a field; a flag that is false, a fraction for money or a missing id does not parse."""
    assert m.Capture.model_validate_json('{"capture_id":"c","amount":1,"currency":"GBP","new":[1]}').amount == 1
    for bad in ('{"capture_id":"c","amount":1.5,"currency":"GBP"}', '{"amount":1,"currency":"GBP"}', "[]"):
        with pytest.raises(ValidationError):
            m.Capture.model_validate_json(bad)
    for bad in ('{"score":1,"passed":false}', '{"score":1,"passed":1}', '{"score":NaN,"passed":true}'):
        with pytest.raises(ValidationError):
            m.FraudScreen.model_validate_json(bad)
