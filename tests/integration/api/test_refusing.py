"""Bad input is refused at the door with field and rule, and leaves nothing behind."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saga.store.memory import MemoryStore
from tests.integration.api.serving import Shop, opened, order_values, problem

LINE = {"sku": "85123A", "quantity": 1, "unit_price": 255}


def one_line(**changes: Any) -> str:
    return json.dumps(order_values(lines=[LINE | changes]))


def with_name(text: str) -> str:
    """An order whose street is the JSON text `text`."""
    return json.dumps(order_values()).replace('"1 High Street"', text)


BROKEN: dict[str, tuple[str, str]] = {
    "unknown field": (json.dumps(order_values(discount=1)), "discount"),
    "NUL": (with_name('"a\\u0000b"'), "address.street"),
    "empty text": (with_name('""'), "address.street"),
    "line break": (with_name('"a\\nBcc: b"'), "address.street"),
    "number for text": (with_name("7"), "address.street"),
    "NaN": (one_line(quantity=float("nan")), "lines.0.quantity"),
    "infinity": (one_line(quantity=float("inf")), "lines.0.quantity"),
    "10^30": (one_line(quantity=10**30), "lines.0.quantity"),
    "zero": (one_line(quantity=0), "lines.0.quantity"),
    "negative price": (one_line(unit_price=-1), "lines.0.unit_price"),
    "fraction": (one_line(quantity=1.5), "lines.0.quantity"),
    "text for number": (one_line(quantity="1"), "lines.0.quantity"),
    "true for number": (one_line(quantity=True), "lines.0.quantity"),
    "no lines": (json.dumps(order_values(lines=[])), "lines"),
    "lines null": (json.dumps(order_values(lines=None)), "lines"),
    "too many lines": (json.dumps(order_values(lines=[LINE] * 10_001)), "lines"),
    "nothing": ("{}", "order_id"),
    "a list": ("[]", "body"),
    "null": ("null", "body"),
    "path in id": (json.dumps(order_values(order_id="..")), "order_id"),
    "currency": (json.dumps(order_values(currency="ZZZ")), "currency"),
    "nesting": (json.dumps(order_values(address=[[[[[]]]]])), "address"),
}
UNREADABLE: dict[str, str | bytes] = {
    "empty": "",
    "cut off": '{"order_id": "SO-1"',
    "surrogate": with_name('"\\ud800"'),
    "not UTF-8": b'{"order_id": "\xff"}',
    "deep": "[" * 100_000,
    "deep object": '{"a":' * 50_000,
    "two values": "{} {}",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_named(shop: Shop, case: str) -> None:
    """422 with the field; the value is not repeated and nothing is stored, on every database."""
    text, named = BROKEN[case]
    found = problem(shop.post_text(text), 422, "invalid")
    assert named in {error["field"] for error in found["errors"]}
    assert all(error["rule"] for error in found["errors"])
    assert "Bcc" not in json.dumps(found)
    assert shop.rows() == []
    assert shop.published == []


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_body_that_is_no_json_is_400(small_shop: Shop, case: str) -> None:
    """Text that is not JSON is told apart from JSON that breaks a rule."""
    found = problem(small_shop.post_text(UNREADABLE[case]), 400, "not_json")
    assert [error["field"] for error in found["errors"]] == ["body"]
    assert small_shop.rows() == []


def test_many_broken_rules_are_cut(small_shop: Shop) -> None:
    """A body of ten thousand unknown fields is answered with fifty, each with a name that can be shown."""
    fields = {f"{'x' * 200}\n\u202e{number}": 1 for number in range(3000)}
    found = problem(small_shop.post(order_values(**fields)), 422, "invalid")
    assert len(found["errors"]) == 50
    assert "3000 rules are broken" in found["detail"]
    assert all(len(error["field"]) < 130 and error["field"].isprintable() for error in found["errors"])


@pytest.mark.parametrize("key", ["", " ", "a b", "ä", "x" * 256, "a\tb"])
def test_a_malformed_key_is_400(small_shop: Shop, key: str) -> None:
    """A key is 1 to 255 visible ASCII characters."""
    headers = [(b"idempotency-key", key.encode()), (b"content-type", b"application/json")]
    answer = small_shop.client.post("/v1/orders", content=json.dumps(order_values()), headers=headers)
    problem(answer, 400, "key_malformed")
    assert small_shop.rows() == []


def test_a_missing_or_doubled_key_is_400(small_shop: Shop) -> None:
    """Without a key a repeat could not be told from a second order; two keys are no key."""
    problem(small_shop.client.post("/v1/orders", json=order_values()), 400, "key_missing")
    headers = [("idempotency-key", "a"), ("idempotency-key", "b")]
    problem(small_shop.client.post("/v1/orders", json=order_values(), headers=headers), 400, "key_malformed")
    assert small_shop.post(order_values(), key="x" * 255).status_code == 202


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Content-Encoding": "deflate"},
    ],
)
def test_another_content_type_is_415(small_shop: Shop, headers: dict[str, str]) -> None:
    """A form or a simple cross-site request is no order."""
    body = json.dumps(order_values()).encode()
    answer = small_shop.client.post("/v1/orders", content=body, headers={"Idempotency-Key": "k", **headers})
    problem(answer, 415, "not_offered_type")
    assert small_shop.rows() == []


def test_a_charset_is_no_other_type(small_shop: Shop) -> None:
    """Parameters of the content type are let through; JSON is UTF-8."""
    headers = {"Idempotency-Key": "k", "Content-Type": "Application/JSON; charset=utf-8"}
    answer = small_shop.client.post("/v1/orders", content=json.dumps(order_values()), headers=headers)
    assert answer.status_code == 202


TEXTS = st.text(max_size=30) | st.sampled_from(["\x00", "\u2028", "🚀", "9" * 400, "", "GBP"])
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**30, -(10**400), 2**63])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted(order_values())


@st.composite
def nearly_orders(draw: st.DrawFn) -> str:
    """An order with some fields replaced, taken away or added, as JSON text."""
    order = order_values(order_id=draw(st.sampled_from(["SO-1", "SO-2", "SO-3"])))
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=2)):
        order[name] = draw(VALUES)
    if draw(st.booleans()):
        order["lines"] = [LINE | {draw(st.sampled_from(["sku", "quantity", "unit_price", "x"])): draw(VALUES)}]
    if draw(st.booleans()):
        order["address"] = order_values()["address"] | {draw(st.sampled_from(["name", "street", "x"])): draw(VALUES)}
    return json.dumps(order, ensure_ascii=draw(st.booleans()))


BODIES = st.binary(max_size=200) | nearly_orders() | VALUES.map(json.dumps)
KEYS = st.sampled_from(["k1", "k2", "k3"]) | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(BODIES, KEYS), min_size=1, max_size=5))
def test_no_body_is_a_500_and_no_refusal_stores(requests: list[tuple[str | bytes, str]]) -> None:
    """Whatever is sent: 202 with one saga more or a replay with none, or a 4xx problem that stored nothing."""
    with opened(MemoryStore()) as shop:
        for body, key in requests:
            before = len(shop.rows())
            text = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
            answer = shop.post_text(text, key=key)
            is_new = answer.status_code == 202 and "idempotency-replayed" not in answer.headers
            assert len(shop.rows()) == before + is_new
            if answer.status_code != 202:
                assert answer.status_code in {400, 409, 422}
                problem(answer, answer.status_code, answer.json()["code"])
