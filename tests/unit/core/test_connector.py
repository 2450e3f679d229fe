"""Connectors, operations, undos and calls: facts as values, and what is refused when they are made."""

import pytest

from saga.core.connector import Call, Connector
from saga.errors import DefinitionError
from tests.unit.core.shop import Done, Order, barrier, provider


@pytest.mark.parametrize("wrong", [{"key_max": 19}, {"timeout_s": 0.0}, {"connect_timeout_s": 0.0}])
def test_a_connector_without_room_or_time_is_refused(wrong: dict[str, int]) -> None:
    """A key below 100 bits or a time-out of nothing cannot work; the message says what is needed, with units."""
    with pytest.raises(
        DefinitionError, match=r"connector x: key_max >= 20 and positive time-outs .*characters, seconds"
    ):
        Connector("x", **wrong)  # type: ignore[arg-type]  # one fact at a time, by name


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


def test_an_undo_by_key_needs_a_barrier() -> None:
    """Where keys do not serialise, the compensation must be a function with the action's result; the error says so."""
    operation = provider.post("/v1/x", Order, Done)
    with pytest.raises(DefinitionError, match=r"keys='serialise'\. Write a compensation function"):
        provider.undo("/v1/x/undo", of=operation)
