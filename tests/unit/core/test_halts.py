"""Participants that are down, deadlines, and how the two meet: halted stands still, heals, and shifts the deadline."""

from datetime import timedelta

import pytest

from saga.core.definition import Kind, Saga, parallel
from saga.core.outcomes import OutcomeCode
from saga.core.states import HaltReason
from tests.unit.core.shop import TWO_TRIES, Order, saga_of, step, with_pivot
from tests.unit.core.story import START_AT, Story


def down(**options: float) -> Story:
    """`a` is done, the participant of `b` is down, `c` stands beside it and waits."""
    definition = saga_of(step("a"), parallel(step("b", retry=TWO_TRIES), step("c")), **options)
    story = Story(definition).does("a").start("b").loses_answer("b")
    return story.try_again("b", OutcomeCode.UNKNOWN)


def test_participant_down_starts_no_other_node() -> None:
    """Halted means no new forward node; the one that is down is tried at the cap."""
    story = down()
    assert (story.status, story.halted, story.may_start) == ("halted", HaltReason.PARTICIPANT_DOWN, [])
    assert story.due == story.node("b").next_at
    story.waits_for("b")
    assert story.may_start == ["b"]


def test_outcomes_in_flight_are_kept_while_halted() -> None:
    """A sibling's answer counts, and starts nothing."""
    story = Story(saga_of(parallel(step("b", retry=TWO_TRIES), step("c")), step("d"))).start("c", "b")
    story.loses_answer("b").waits_for("b").start("b").loses_answer("b").succeeds("c")
    assert (story.status, story.phase("c"), story.may_start) == ("halted", "done", [])


def test_participant_down_heals_and_resumes_where_it_was() -> None:
    """The first success ends the halt, without a person."""
    story = down().try_again("b", OutcomeCode.SUCCEEDED)
    assert story.last_kinds == ["attempt_ended", "saga_resumed"]
    assert (story.status, story.halted, story.may_start) == ("running", None, ["c"])
    assert story.does("c").status == "completed"


def test_an_outcome_that_leaves_the_node_in_the_air_does_not_heal() -> None:
    """Throttled, pending and unknown say nothing about whether it works again."""
    story = down().try_again("b", OutcomeCode.THROTTLED)
    assert (story.status, story.count("saga_halted"), story.count("saga_resumed")) == ("halted", 1, 0)
    story.waits_for("b").start("b").ends("b", OutcomeCode.PENDING)
    assert story.status == "halted"
    story.passes(86_400)
    assert (story.status, story.phase("b")) == ("halted", "backoff")


def test_a_rejection_heals_and_turns_round() -> None:
    """The participant answers again, and its answer is no."""
    story = down().try_again("b", OutcomeCode.REJECTED)
    assert story.last_kinds == ["attempt_ended", "saga_resumed", "rollback_requested", "plan_frozen"]
    assert (story.status, story.plan) == ("compensating", ["b", "a"])


def test_a_sibling_that_is_rejected_turns_a_halted_saga_round() -> None:
    """A halt that heals itself does not stop a rollback."""
    story = Story(saga_of(step("a"), parallel(step("b", retry=TWO_TRIES), step("c")))).does("a").start("c", "b")
    story.loses_answer("b").waits_for("b").start("b").loses_answer("b").rejects("c")
    assert (story.status, story.halted, story.plan) == ("compensating", None, ["b", "a"])


def test_two_participants_down_are_one_halt_after_another() -> None:
    """The halt names one node; when that one heals the other halts the saga again if it is still down."""
    story = Story(saga_of(parallel(step("b", retry=TWO_TRIES), step("c", retry=TWO_TRIES)))).start("b", "c")
    story.loses_answer("b").loses_answer("c").passes(10).start("b", "c").loses_answer("b").loses_answer("c")
    assert (story.count("saga_halted"), story.state.halt and story.state.halt.node) == (1, "b:a")
    story.try_again("b", OutcomeCode.SUCCEEDED)
    assert story.status == "running"
    story.try_again("c", OutcomeCode.NOT_SENT)
    assert (story.status, story.state.halt and story.state.halt.node) == ("halted", "c:a")


def test_a_defect_replaces_participant_down_and_not_the_other_way_round() -> None:
    """What a person must see is not hidden by what heals, and once in front of a person it stays there."""
    definition = saga_of(parallel(step("b", retry=TWO_TRIES), step("c"), step("d")))
    story = Story(definition).start("b", "c", "d").loses_answer("b").waits_for("b").start("b")
    story.loses_answer("b").ends("c", OutcomeCode.DEFECT)
    assert (story.halted, story.count("saga_halted")) == (HaltReason.DEFECT, 2)
    story.ends("d", OutcomeCode.DEFECT)
    assert (story.halted, story.state.halt and story.state.halt.node) == (HaltReason.DEFECT, "c:a")
    assert story.may_start == []


def test_nothing_is_tried_again_while_a_person_is_waited_for() -> None:
    """A sibling in backoff stays there: halted in front of a person means no attempt of any action."""
    story = Story(saga_of(parallel(step("b"), step("c")))).start("b", "c").loses_answer("b")
    story.ends("c", OutcomeCode.DEFECT).passes(1000)
    assert (story.halted, story.phase("b"), story.may_start, story.due) == (HaltReason.DEFECT, "backoff", [], None)


def test_the_deadline_rolls_back_before_the_pivot() -> None:
    """A saga that is late is rolled back with cause deadline; due says when somebody must look."""
    story = Story(with_pivot_and_deadline()).does("a")
    assert story.passes(59.9).last == ()
    story.passes(0.1)
    assert (story.status, story.plan) == ("compensating", ["a"])
    assert story.state.cause is not None
    assert story.state.cause.cause == "deadline"


def test_the_deadline_settles_what_is_in_flight() -> None:
    """No action is sent any more; the one in flight counts."""
    story = Story(with_pivot_and_deadline()).passes(55).start("a").passes(5)
    assert (story.status, story.plan) == ("compensating", None)
    assert story.due == story.now + timedelta(seconds=7)
    assert story.succeeds("a").plan == ["a"]


def test_the_deadline_is_due() -> None:
    """A saga whose only node waits longer than the deadline is looked at by the deadline."""
    story = Story(with_pivot_and_deadline()).start("a").ends("a", OutcomeCode.PENDING)
    assert story.due == START_AT + timedelta(seconds=60)


def test_the_deadline_stands_still_at_the_pivot_and_behind_it() -> None:
    """Once the pivot was started the deadline has nothing to say."""
    story = Story(with_pivot_and_deadline()).does("a").start("p").passes(100)
    assert (story.status, story.count("rollback_requested")) == ("running", 0)
    story.waits_for("p").does("p").passes(100)
    assert story.status == "running"
    assert story.does("r").status == "completed"


@pytest.mark.parametrize("halted_s", [30.0, 10_000.0])
def test_the_deadline_stands_still_while_halted_and_is_shifted_when_it_heals(halted_s: float) -> None:
    """An hour of a participant's outage is not counted against its orders (RELIABILITY 47)."""
    story = down(deadline_s=300.0)
    halt_at = story.now
    story.passes(halted_s)
    assert (story.status, story.halted) == ("halted", HaltReason.PARTICIPANT_DOWN)
    story.try_again("b", OutcomeCode.SUCCEEDED)
    assert story.state.deadline_at == START_AT + timedelta(seconds=300) + (story.now - halt_at)
    assert story.status == "running"
    left = story.state.deadline_at - story.now
    story.passes(left.total_seconds())
    assert (story.status, story.plan) == ("compensating", ["b", "a"])


def test_a_saga_without_a_deadline_gets_none_by_healing() -> None:
    """Healing shifts what is there."""
    assert down().try_again("b", OutcomeCode.SUCCEEDED).state.deadline_at is None


def test_a_saga_in_front_of_a_person_is_not_due_once_nothing_is_in_flight() -> None:
    """The due index holds no saga that only a person can move, and every one with an attempt in flight."""
    story = Story(saga_of(parallel(step("a"), step("b")))).start("a", "b").ends("a", OutcomeCode.DEFECT)
    assert story.due == story.now + timedelta(seconds=12)
    story.succeeds("b")
    assert story.due is None


def test_work_that_is_ready_is_due_soon_and_backoff_when_it_ends() -> None:
    """A hint that got lost costs two seconds; a retry is due at its instant."""
    story = Story(saga_of(step("a"))).tell_nothing()
    assert story.due == story.now + timedelta(seconds=2)
    story.start("a").ends("a", OutcomeCode.UNKNOWN)
    assert story.due == story.node("a").next_at


def with_pivot_and_deadline() -> Saga[Order]:
    """`a`, the pivot `p`, retriable `r`; a minute until the pivot."""
    return saga_of(step("a"), step("p", Kind.PIVOT), step("r", Kind.RETRIABLE), deadline_s=60.0)


def test_a_pivot_that_was_not_started_leaves_the_saga_before_it() -> None:
    """Without a deadline no time that passes turns a saga round."""
    story = Story(with_pivot()).does("a").passes(1_000_000)
    assert (story.status, story.may_start) == ("running", ["p"])
