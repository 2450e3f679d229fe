"""Who took over whose orders, as the journals say it."""

from datetime import UTC, datetime, timedelta

from saga.surfaces.demo_desk import Takeover
from saga.surfaces.demo_following import Followed

KILLED_AT = datetime(2026, 11, 21, 14, 0, 0, tzinfo=UTC)
DEAD, OTHER = "worker-a", "worker-b"
KILL = Takeover(101, frozenset({DEAD}), 202, KILLED_AT, is_after=50.0)
WORKERS = frozenset({DEAD, OTHER})


def _order(*, by: dict[str, float], ended: float | None = None, read_at: float = 60.0) -> Followed:
    """An order with the first entry of each writer, in seconds from the kill."""
    first_by = {who: KILLED_AT + timedelta(seconds=at) for who, at in by.items()}
    ended_at = None if ended is None else KILLED_AT + timedelta(seconds=ended)
    return Followed("saga", "SO-1", first_by=first_by, ended_at=ended_at, read_at=read_at)


def test_orders_that_were_open_are_counted_with_the_delays() -> None:
    """Its orders are those that it had written to and that had not ended; the delays are from the kill to another worker's
    first entry. What had ended before, and what it never touched, is not among them."""
    orders = [
        _order(by={DEAD: -2.0, OTHER: 5.5}),
        _order(by={DEAD: -1.0, OTHER: 7.25}, ended=9.0),
        _order(by={DEAD: -9.0}, ended=-3.0),
        _order(by={OTHER: 1.0}),
    ]
    assert KILL.look(orders, WORKERS) == "202 took over its 2 orders after 5.5 to 7.2 s"
    assert KILL.look(orders[:1], WORKERS) == "202 took over its 1 order after 5.5 s"


def test_nothing_is_said_before_the_last_one_was_taken_over() -> None:
    """An order that waits, and one whose journal was not read since the kill, hold the answer back; what somebody wrote who is
    no worker (a cancel) is no takeover."""
    taken = _order(by={DEAD: -2.0, OTHER: 5.5})
    assert KILL.look([taken, _order(by={DEAD: -1.0})], WORKERS) == ""
    assert KILL.look([taken, _order(by={DEAD: -1.0, "cli": 1.0})], WORKERS) == ""
    assert KILL.look([_order(by={DEAD: -2.0, OTHER: 5.5}, read_at=49.0)], WORKERS) == ""


def test_nothing_left_behind() -> None:
    """A worker that held no order leaves none to another."""
    assert KILL.look([_order(by={DEAD: -9.0}, ended=-3.0)], WORKERS) == "no order was left to 202"
