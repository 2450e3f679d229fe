"""Breaks that only one line of the audit can tell: nothing else about the order is wrong."""

from tests.integration.audit.conftest import COMPLETED, World
from tests.integration.audit.falsifying import Body, places_of, rewrite

DONE = COMPLETED[0]


def test_a_second_mail_behind_the_right_one(world: World) -> None:
    """I6: the first mail has the step's key and is right; the second one is one too many."""
    text = f"Subject: Your order {DONE} is on its way\n\nagain\n"
    (world.mailbox / "~second.eml").write_text(text, encoding="ascii")
    [fault] = world.audit().violations
    assert (fault.invariant.value, fault.order_id) == ("I6", DONE)
    assert "2 confirmation mails" in fault.detail


def test_a_wire_key_that_is_made_per_attempt(world: World) -> None:
    """I3: the logical key is right and the one that was sent is not; the step is readonly, so no ledger knows either."""

    def change(bodies: list[Body]) -> None:
        at, index = places_of(bodies, "attempt_started", "validate_address:a")[0]
        bodies[at][index]["wire_key"] = "a" * 32

    rewrite(world.database, world.saga_id(DONE), change)
    [fault] = world.audit().violations
    assert (fault.invariant.value, fault.order_id) == ("I3", DONE)
    assert "its wire key is" in fault.detail
