"""After the saga turned round: what outcomes of actions in flight mean, and that no action is sent any more."""

from datetime import timedelta

import pytest

from saga.core.definition import Kind, parallel
from saga.core.outcomes import OutcomeCode
from saga.core.states import Effect, NodePhase
from tests.unit.core.shop import saga_of, step
from tests.unit.core.story import Story


def turned() -> Story:
    """`a` done, `b` in flight, its sibling `c` rejected: the saga turned round and waits for `b`."""
    story = Story(saga_of(step("a"), parallel(step("b"), step("c")), step("p", Kind.PIVOT)))
    return story.does("a").start("b", "c").rejects("c")


def test_settling_waits_for_the_attempt_in_flight() -> None:
    """Freezing the plan would leave out the effect that is about to be known, so it waits; nothing may start."""
    story = turned()
    assert (story.status, story.plan, story.may_start) == ("compensating", None, [])
    assert story.due == story.now + timedelta(seconds=12)
    story.succeeds("b")
    assert story.plan == ["b", "a"]


@pytest.mark.parametrize(
    ("code", "phase", "effect", "plan"),
    [
        (OutcomeCode.SUCCEEDED, NodePhase.DONE, Effect.APPLIED, ["b", "a"]),
        (OutcomeCode.PENDING, NodePhase.CLOSED, Effect.UNKNOWN, ["b", "a"]),
        (OutcomeCode.REJECTED, NodePhase.FAILED, Effect.ABSENT, ["a"]),
        (OutcomeCode.NOT_SENT, NodePhase.CLOSED, Effect.ABSENT, ["a"]),
        (OutcomeCode.THROTTLED, NodePhase.CLOSED, Effect.ABSENT, ["a"]),
        (OutcomeCode.UNKNOWN, NodePhase.CLOSED, Effect.UNKNOWN, ["b", "a"]),
        (OutcomeCode.DEFECT, NodePhase.CLOSED, Effect.UNKNOWN, ["b", "a"]),
    ],
)
def test_every_outcome_settles_and_none_is_tried_again(
    code: OutcomeCode, phase: NodePhase, effect: Effect, plan: list[str]
) -> None:
    """An outcome in flight counts once, closes its node, and the plan has what it may have done."""
    story = turned().ends("b", code)
    assert (story.phase("b"), story.node("b").effect, story.node("b").next_at) == (phase, effect, None)
    assert (story.status, story.plan) == ("compensating", plan)


def test_an_attempt_without_outcome_ends_settling_by_its_deadline() -> None:
    """Settling is bounded: deadline and grace of the attempts in flight."""
    story = turned().passes(12)
    assert (story.phase("b"), story.plan) == (NodePhase.CLOSED, ["b", "a"])


def test_a_worker_that_died_ends_settling_at_once() -> None:
    """A death is an unknown outcome, and the node is not tried again."""
    story = turned().dies()
    assert (story.phase("b"), story.node("b").effect, story.plan) == (NodePhase.CLOSED, Effect.UNKNOWN, ["b", "a"])


@pytest.mark.parametrize(
    ("code", "effect", "plan"),
    [(OutcomeCode.UNKNOWN, Effect.UNKNOWN, ["b", "a"]), (OutcomeCode.NOT_SENT, Effect.ABSENT, ["a"])],
)
def test_a_node_in_backoff_closes_as_it_stands(code: OutcomeCode, effect: Effect, plan: list[str]) -> None:
    """A retry after the saga turned round is an effect that nobody undoes (RELIABILITY 32)."""
    story = Story(saga_of(step("a"), parallel(step("b"), step("c")))).does("a").start("b", "c").ends("b", code)
    story.rejects("c")
    assert (story.phase("b"), story.node("b").effect, story.plan) == (NodePhase.CLOSED, effect, plan)
    story.passes(1000)
    assert "b" not in story.may_start


def test_a_pending_node_closes_and_is_undone() -> None:
    """Pending counts as perhaps applied."""
    story = Story(saga_of(parallel(step("a"), step("b")))).start("a", "b").ends("a", OutcomeCode.PENDING).rejects("b")
    assert (story.phase("a"), story.plan) == (NodePhase.CLOSED, ["a"])


def test_a_step_that_never_started_is_not_in_the_plan() -> None:
    """Nothing to undo: neither started later nor compensated."""
    story = Story(saga_of(parallel(step("a"), step("b")), step("c"))).start("b").rejects("b")
    assert (story.status, story.plan, story.may_start) == ("compensated", [], [])
    assert story.attempted() == ["b"]


def test_two_rejections_give_the_cause_of_the_first_one_decided() -> None:
    """The saga turns round once; the second rejection only settles."""
    story = Story(saga_of(parallel(step("a"), step("b")))).start("a", "b").rejects("b", "late").rejects("a", "later")
    assert story.count("rollback_requested") == 1
    assert story.state.cause is not None
    assert story.state.cause.step == "b"
    assert story.status == "compensated"
