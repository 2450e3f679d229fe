"""The pivot: before it everything can be undone, at it nothing is decided, after it the saga goes forward only."""

from collections.abc import Callable

import pytest

from saga.core.connector import Connector
from saga.core.definition import Kind
from saga.core.events import Woken
from saga.core.fold import evolve
from saga.core.machine import decide
from saga.core.outcomes import OutcomeCode
from saga.core.states import Effect, HaltReason, NodePhase
from saga.core.transitions import SagaResumed
from tests.unit.core.shop import TWO_TRIES, barrier, forgetful, provider, saga_of, step, with_pivot
from tests.unit.core.story import Story

remembering = Connector("remembering", keys="replay", remembers_rejections=True, rejected={402: "declined"})


def test_before_the_pivot_a_cancel_rolls_back() -> None:
    """Cancelled is compensated with cause cancelled, and who and why are in the journal."""
    story = Story(with_pivot()).does("a").cancel()
    assert story.last_kinds == ["cancel_requested", "rollback_requested", "plan_frozen"]
    assert story.state.cause is not None
    assert (story.state.cause.cause, story.state.cause.detail) == ("cancelled", "customer changed their mind")
    assert story.state.cancel is not None
    assert story.state.cancel.actor == "clerk"
    assert story.undoes("a").status == "compensated"


@pytest.mark.parametrize("code", [OutcomeCode.PENDING, OutcomeCode.UNKNOWN])
def test_at_the_pivot_a_cancel_is_pending(code: OutcomeCode) -> None:
    """Between the first attempt and a definite outcome a cancel is written down and nothing is compensated."""
    story = Story(with_pivot()).does("a").start("p").cancel()
    assert (story.last_kinds, story.status, story.plan) == (["cancel_requested"], "running", None)
    story.ends("p", code)
    assert (story.status, story.state.is_cancel_refused) == ("running", False)


def test_a_pending_cancel_is_refused_when_the_pivot_succeeds() -> None:
    """Forward only: the refusal is a transition of its own, and the saga completes."""
    story = Story(with_pivot()).does("a").start("p").cancel().succeeds("p")
    assert story.last_kinds == ["attempt_ended", "cancel_refused"]
    assert (story.status, story.state.is_cancel_refused, story.may_start) == ("running", True, ["r"])
    story.does("r")
    assert (story.status, story.count("cancel_refused")) == ("completed", 1)


def test_a_cancel_after_the_pivot_changes_nothing() -> None:
    """It is refused at the door: no transition, no trace in the state."""
    story = Story(with_pivot()).does("a", "p").cancel()
    assert (story.last, story.state.cancel) == ((), None)


def test_a_second_cancel_and_a_cancel_of_an_ended_saga_change_nothing() -> None:
    """A double click is one cancel."""
    story = Story(with_pivot()).does("a").start("p").cancel().cancel()
    assert story.last == ()
    story.succeeds("p").does("r").cancel()
    assert (story.last, story.status) == ((), "completed")
    turned = Story(with_pivot()).does("a").cancel().cancel()
    assert turned.last == ()
    assert turned.undoes("a").cancel().last == ()


def test_a_rejected_pivot_rolls_back() -> None:
    """Declined: everything before it is undone, the pivot itself is not in the plan."""
    story = Story(with_pivot()).does("a").start("p").rejects("p")
    assert (story.status, story.plan, story.node("p").effect) == ("compensating", ["a"], Effect.ABSENT)


def test_a_rejected_pivot_with_a_cancel_pending_rolls_back_once() -> None:
    """The rejection is the cause; the cancel got what it wanted."""
    story = Story(with_pivot()).does("a").start("p").cancel().rejects("p")
    assert story.state.cause is not None
    assert (story.state.cause.cause, story.count("rollback_requested")) == ("rejected", 1)


def test_a_pivot_that_was_not_sent_lets_the_pending_cancel_through() -> None:
    """Proved not sent, the pivot cannot have happened: cancelled."""
    story = Story(with_pivot()).does("a").start("p").cancel().ends("p", OutcomeCode.NOT_SENT)
    assert (story.status, story.plan, story.phase("p")) == ("compensating", ["a"], NodePhase.CLOSED)
    assert story.state.cause is not None
    assert story.state.cause.cause == "cancelled"


def test_a_pivot_not_sent_after_an_unknown_attempt_does_not_let_it_through() -> None:
    """The unknown attempt may still be on its way; a later not_sent proves nothing about it."""
    story = Story(with_pivot()).does("a").start("p").cancel().loses_answer("p").try_again("p", OutcomeCode.NOT_SENT)
    assert (story.status, story.plan, story.node("p").effect) == ("running", None, Effect.UNKNOWN)


def test_a_cancel_while_the_pivot_waits_unsent_rolls_back() -> None:
    """The pivot is in backoff and nothing ever left: there is nothing to wait for."""
    story = Story(with_pivot()).does("a").start("p").ends("p", OutcomeCode.THROTTLED).cancel()
    assert (story.status, story.plan) == ("compensating", ["a"])


def test_a_rejection_after_an_unknown_attempt_rolls_back_where_keys_serialise() -> None:
    """The late first attempt meets the remembered rejection, so the rejection is the answer to both."""
    story = Story(with_pivot()).does("a").start("p").loses_answer("p").try_again("p", OutcomeCode.REJECTED)
    assert (story.status, story.plan, story.node("p").effect) == ("compensating", ["a"], Effect.ABSENT)


@pytest.mark.parametrize("at", [barrier, remembering, provider])
def test_a_first_rejection_rolls_back(at: Connector) -> None:
    """A definite "no" to the only attempt that there was: whatever the participant remembers, no money was taken."""
    story = Story(with_pivot(at=at)).does("a").start("p").rejects("p")
    assert (story.status, story.halted, story.plan) == ("compensating", None, ["a"])


def test_an_unknown_pivot_elsewhere_is_unresolved() -> None:
    """Neither forward nor backward is right while nobody knows; nothing is compensated."""
    story = Story(with_pivot(at=provider)).does("a").start("p").loses_answer("p")
    assert (story.status, story.halted, story.plan) == ("halted", HaltReason.PIVOT_UNRESOLVED, None)
    story.cancel()
    assert (story.last_kinds, story.status, story.plan) == (["cancel_requested"], "halted", None)


def test_an_unknown_pivot_at_a_barrier_is_asked_until_it_answers() -> None:
    """The budget only pages: the saga keeps asking and goes on when the participant is back."""
    story = Story(with_pivot(retry=TWO_TRIES)).does("a").start("p").loses_answer("p")
    story.try_again("p", OutcomeCode.UNKNOWN)
    assert (story.status, story.halted) == ("halted", HaltReason.PARTICIPANT_DOWN)
    story.cancel()
    assert (story.status, story.plan) == ("halted", None)
    story.try_again("p", OutcomeCode.SUCCEEDED)
    assert story.last_kinds == ["attempt_ended", "saga_resumed", "cancel_refused"]
    assert (story.status, story.may_start) == ("running", ["r"])


def test_a_cancel_reaches_a_saga_whose_participant_is_down() -> None:
    """A halt that heals itself does not stop a rollback; before the pivot the customer need not wait."""
    story = Story(saga_of(step("a"), step("b", retry=TWO_TRIES), step("p", Kind.PIVOT))).does("a")
    story.start("b").loses_answer("b").try_again("b", OutcomeCode.UNKNOWN).cancel()
    assert (story.status, story.halted, story.plan) == ("compensating", None, ["b", "a"])


def test_a_cancel_of_a_saga_in_front_of_a_person_waits() -> None:
    """A halt for a person stands; the cancel is written down beside it."""
    story = Story(with_pivot()).does("a").breaks("p").cancel()
    assert (story.last_kinds, story.status, story.plan) == (["cancel_requested"], "halted", None)


@pytest.mark.parametrize(
    "told",
    [
        lambda: Story(with_pivot(at=provider)).does("a").start("p").loses_answer("p"),
        lambda: (
            Story(with_pivot(at=forgetful)).does("a").start("p").loses_answer("p").try_again("p", OutcomeCode.REJECTED)
        ),
        lambda: Story(with_pivot()).does("a", "p").start("r").rejects("r"),
        lambda: Story(saga_of(step("p", Kind.PIVOT), step("q", Kind.READONLY))).does("p").start("q").rejects("q"),
    ],
    ids=["unknown pivot", "pivot rejected after a lost answer", "rejected retriable", "rejected readonly"],
)
def test_resuming_does_not_turn_round_at_or_behind_the_pivot(told: Callable[[], Story]) -> None:
    """Not the halt alone keeps a saga from rolling back there: the state itself gives no cause."""
    story = told()
    resumed = evolve(story.state, SagaResumed(story.now))
    decision = decide(story.definition, resumed, Woken(story.now))
    assert (decision.transitions, decision.state.status) == ((), "running")


def test_a_rejection_after_an_unknown_attempt_elsewhere_is_unresolved() -> None:
    """Where rejections are forgotten the first request may still take the money, whatever the second one heard."""
    story = Story(saga_of(step("a"), step("p", Kind.PIVOT, at=forgetful))).does("a").start("p").loses_answer("p")
    assert story.try_again("p", OutcomeCode.REJECTED).halted is HaltReason.PIVOT_UNRESOLVED
