"""An order in which a name stands twice is refused by the API: which of the two was meant nobody knows."""

import json

from tests.integration.api.serving import Shop, order_values, problem


def test_a_name_that_stands_twice_is_refused(small_shop: Shop) -> None:
    """422 with the field and the rule, and nothing is stored."""
    body = json.dumps(order_values()).replace('"quantity":', '"quantity": 1, "quantity":', 1)
    answer = small_shop.post_text(body, key="twice")
    found = problem(answer, 422, "invalid")
    assert found["errors"] == [{"field": "lines.0.quantity", "rule": "stands twice in its object; write it once"}]


def test_a_rule_is_said_in_words(small_shop: Shop) -> None:
    """No regular expression, and no word of the library that found it."""
    answer = small_shop.post_text(json.dumps(order_values(order_id="-1", lines=[])), key="words")
    rules = {it["field"]: it["rule"] for it in problem(answer, 422, "invalid")["errors"]}
    assert rules["order_id"] == "must not begin with '-', which a command line takes for an option"
    assert rules["lines"] == "an order has at least one line"
