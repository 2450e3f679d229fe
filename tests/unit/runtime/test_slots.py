"""The counting of claims: what hangs, what is alone, what is for compensations."""

from datetime import UTC, datetime, timedelta

from saga.runtime.calls import reserved_of
from saga.runtime.slots import STUCK_S, Slots
from saga.runtime.work import Limits

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=60)


def fast_slots(threads: int = 8) -> Slots:
    """After many calls that took no time."""
    slots = Slots(Limits(slots=32, threads=threads))
    for number in range(60):
        begin(slots, f"quick-{number}")
        slots.ended((f"quick-{number}", "a:a", 1), NOW)
    assert slots.is_fast
    return slots


def begin(slots: Slots, saga_id: str, *, alone: bool = False) -> None:
    slots.claim((saga_id, "a:a", 1), alone=alone)
    slots.handed_out((saga_id, "a:a", 1), NOW, NOW + timedelta(seconds=5))


def test_threads_that_hang_are_counted_however_fast_the_calls_were() -> None:
    """Seven of eight threads run actions; when all of them hang for a while, nothing would begin here."""
    slots = fast_slots()
    for number in range(7):
        begin(slots, f"hung-{number}")
    seen = []
    for waited_s in (0.0, STUCK_S):  # a process that was paused finds them all late at once
        slots.newly_overdue(LATER + timedelta(seconds=waited_s))
        seen.append(slots.is_stuck)
    slots.ended(("hung-0", "a:a", 1), LATER)
    assert [*seen, slots.is_stuck] == [False, True, False]


def test_a_call_that_does_not_come_back_is_not_fast() -> None:
    """Or claims would pile up in front of threads that are not there."""
    slots = fast_slots()
    before = slots.total
    begin(slots, "hung")
    assert slots.newly_overdue(LATER) == [("hung", "a:a", 1)]
    assert slots.newly_overdue(LATER) == [], "each is named once"
    assert (before, slots.total) == (32, 8)


def test_a_suspect_that_hangs_does_not_hold_up_the_process() -> None:
    """Past its deadline its attempt is ended, so it is no longer the only one that a death could be charged to."""
    slots = fast_slots()
    begin(slots, "suspect", alone=True)
    assert slots.has_lone
    slots.newly_overdue(LATER)
    assert not slots.has_lone


def test_a_call_that_hangs_leaves_the_process_quiet_enough_for_a_suspect() -> None:
    """It may hang for ever, and the suspect must not wait for that."""
    slots = fast_slots()
    begin(slots, "hung")
    assert not slots.is_quiet
    slots.newly_overdue(LATER)
    assert slots.is_quiet


def test_some_threads_are_for_compensations() -> None:
    """None where there is one thread: it does both, compensations first."""
    assert [reserved_of(threads) for threads in (1, 2, 8, 16, 32)] == [0, 1, 1, 2, 4]


def test_a_process_that_has_just_begun_is_not_stuck() -> None:
    """The rescuer may ask before the driver was told the time for the first time."""
    assert not Slots(Limits(slots=8, threads=8)).is_stuck
