"""Connectors, operations, undos and calls: facts as values, and what is refused when they are made."""

import math
from typing import Any

import pytest

from saga.core.connector import Call, Connector
from saga.errors import DefinitionError
from tests.unit.core.shop import Done, Order, barrier, provider


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"key_max": 19}, "key_max=19; it is a number of characters, 20 or more"),
        ({"key_max": True}, "key_max=True; it is a number of characters, 20 or more"),
        ({"timeout_s": 0.0}, r"timeout_s=0\.0; it is a number of seconds above 0"),
        ({"timeout_s": True}, "timeout_s=True; it is a number of seconds above 0"),
        ({"connect_timeout_s": None}, "connect_timeout_s=None; it is a number of seconds above 0"),
        ({"late_window_s": -1}, "late_window_s=-1; it is a number of seconds, 0 or more"),
        ({"probe_lag_s": math.nan}, "probe_lag_s=nan; it is a number of seconds, 0 or more"),
        ({"key_lifetime_s": 0}, "key_lifetime_s=0; it is a number of seconds above 0"),
        ({"throttled": 429}, r"throttled=429; it is a tuple of statuses: write throttled=\(429,\)"),
        ({"throttled": ("429",)}, r"throttled=\('429',\); it is a tuple of statuses"),
        ({"remembers_rejections": "yes"}, "remembers_rejections='yes'; it is True or False"),
        ({"key_header": "a b"}, "key_header='a b'; it is the name of an HTTP header"),
        ({"keys": []}, r"keys=\[\]; it is one of serialise, replay, ignored"),
    ],
)
def test_a_fact_that_nobody_can_mean_is_refused(wrong: dict[str, Any], says: str) -> None:
    """A key below 100 bits, a time-out of nothing or a status that is a text cannot work; the message says what may stand there."""
    with pytest.raises(DefinitionError, match=f"connector x: {says}"):
        Connector("x", **wrong)  # type: ignore[arg-type, unused-ignore]  # one fact at a time, by name


@pytest.mark.parametrize("name", [5, "", "my bank", "my-bank", "Bank", "1st", "straße", "bank\n"])
def test_a_connector_is_named_as_a_setting_can_be(name: Any) -> None:
    """`SAGA_<NAME>_URL` is read in small letters: an address for any other name is never found."""
    with pytest.raises(
        DefinitionError, match=r"name=.*; small letters from a to z, digits and '_', .* SAGA_<NAME>_URL"
    ):
        Connector(name)
    assert Connector("my_bank_2").name == "my_bank_2"


def test_calling_an_operation_sends_nothing() -> None:
    """A step returns a value: the operation and its request."""
    operation = barrier.post("/v1/reservations", Order, Done)
    request = Order(order_id="o-1")
    assert operation(request) == Call(operation, request)
    assert str(operation) == "barrier.POST /v1/reservations"


def test_operations_are_values() -> None:
    """Two made alike are one, in sets too, although a connector holds a dict."""
    one, other = barrier.post("/v1/x", Order, Done), barrier.post("/v1/x", Order, Done)
    assert one == other
    assert len({one, other, barrier.post("/v1/y", Order, Done)}) == 2


def test_rejection_codes_are_those_enumerated() -> None:
    """One code or several per status; a status that is not listed is no rejection."""
    connector = Connector("x", rejected={409: "out_of_stock", 402: ("declined", "expired_card")})
    assert connector.rejection_codes(409) == ("out_of_stock",)
    assert connector.rejection_codes(402) == ("declined", "expired_card")
    assert connector.rejection_codes(500) == ()


def test_an_undo_belongs_to_the_participant_of_its_action() -> None:
    """The message names both, so that the wrong connector is found."""
    operation = barrier.post("/v1/x", Order, Done)
    with pytest.raises(DefinitionError, match=r"undo /v1/x/undo of provider cannot undo barrier\.POST /v1/x: the same"):
        provider.undo("/v1/x/undo", of=operation)


@pytest.mark.parametrize("path", ["x", "http://bank/x", "//bank/x", "/a b", "", 7])
def test_a_path_begins_with_one_slash(path: Any) -> None:
    """It is put behind an address as it stands: `bank` and `x` would be another host."""
    asked = Connector("bank", keys="serialise")
    charge = asked.post("/charges", Order, Done)
    with pytest.raises(DefinitionError, match=r"connector bank: path .*; it begins with one /"):
        asked.post(path, Order, Done)
    with pytest.raises(DefinitionError, match="it begins with one /"):
        asked.undo(path, of=charge)


def test_an_undo_by_key_needs_a_barrier() -> None:
    """Where keys do not serialise, the compensation must be a function with the action's result; the error says so."""
    operation = provider.post("/v1/x", Order, Done)
    with pytest.raises(DefinitionError, match=r"keys='serialise'\. Write a compensation function"):
        provider.undo("/v1/x/undo", of=operation)
