"""The outcome table, forward: what each outcome of an action means while the saga runs."""

from datetime import timedelta

import pytest

from saga.core.connector import Connector
from saga.core.definition import Kind, parallel, sequence
from saga.core.outcomes import OutcomeCode
from saga.core.retry import RetryPolicy
from saga.core.states import Effect, HaltReason, NodePhase
from tests.unit.core.shop import TWO_TRIES, abc, barrier, provider, saga_of, step, with_pivot
from tests.unit.core.story import Story, change


def test_succeeded_goes_on_and_the_last_one_completes() -> None:
    """A step that succeeded is done, makes the next one ready, and nothing is undone on success."""
    story = Story(abc())
    assert story.tell_nothing().may_start == ["a"]
    story.does("a")
    assert (story.phase("a"), story.node("a").effect, story.may_start) == (NodePhase.DONE, Effect.APPLIED, ["b"])
    story.does("b", "c")
    assert (story.status, story.plan, story.may_start) == ("completed", None, [])
    assert story.state.ended_at == story.now
    assert story.attempted() == ["a", "b", "c"]


def test_the_first_attempt_alone_carries_key_and_request() -> None:
    """Later attempts send the bytes of the first, so the journal holds them once and the node keeps them."""
    story = Story(abc()).start("a")
    first = story.node("a")
    story.ends("a", OutcomeCode.NOT_SENT).waits_for("a").start("a")
    assert story.last[0].key is None  # type: ignore[union-attr]  # an AttemptStarted
    again = story.node("a")
    assert (again.key, again.wire_key, again.request) == (first.key, first.wire_key, first.request)
    assert first.key == "shop:order-1:1:a:a:1"
    assert again.first_at == first.first_at


def test_a_join_waits_for_every_branch() -> None:
    """The step behind a parallel starts when the last branch ended, whichever that is."""
    story = Story(saga_of(parallel(step("a"), sequence(step("b"), step("c"))), step("d")))
    assert story.tell_nothing().may_start == ["a", "b"]
    story.does("b", "c")
    assert story.may_start == ["a"]
    story.does("a")
    assert story.may_start == ["d"]


def test_pending_stays_open_until_its_own_deadline() -> None:
    """Pending waits without attempts until the instant it named, then is unknown and, at a barrier, asked again."""
    story = Story(abc()).start("a")
    until_at = story.now + timedelta(seconds=500)
    story.ends("a", OutcomeCode.PENDING, until_at=until_at)
    assert (story.phase("a"), story.node("a").effect, story.due) == (NodePhase.PENDING, Effect.UNKNOWN, until_at)
    assert story.passes(499).last == ()
    story.passes(1)
    assert (story.phase("a"), story.node("a").code) == (NodePhase.BACKOFF, OutcomeCode.UNKNOWN)


def test_pending_without_an_instant_waits_as_long_as_the_step_says() -> None:
    """`pending_s` of the step bounds an answer that named no instant."""
    story = Story(saga_of(step("a", pending_s=60.0))).start("a").ends("a", OutcomeCode.PENDING)
    assert story.due == story.now + timedelta(seconds=60)


@pytest.mark.parametrize("kind", [Kind.COMPENSATABLE, Kind.READONLY])
def test_rejected_before_the_pivot_rolls_back(kind: Kind) -> None:
    """A business "no" of a step before the pivot turns the saga round in the same decision."""
    story = Story(saga_of(step("a"), step("b", kind), step("p", Kind.PIVOT)))
    story.does("a").start("b").rejects("b", "out_of_stock")
    assert story.last_kinds == ["attempt_ended", "rollback_requested", "plan_frozen"]
    assert story.state.cause is not None
    assert (story.state.cause.cause, story.state.cause.step, story.state.cause.detail) == (
        "rejected",
        "b",
        "out_of_stock",
    )
    assert (story.status, story.plan) == ("compensating", ["a"])


@pytest.mark.parametrize("at", [barrier, provider])
@pytest.mark.parametrize("before", [[], [OutcomeCode.NOT_SENT], [OutcomeCode.THROTTLED, OutcomeCode.NOT_SENT]])
def test_a_rejection_before_which_nothing_can_have_been_applied_is_absent(
    at: Connector, before: list[OutcomeCode]
) -> None:
    """Whatever the participant makes of keys: no attempt did anything, so there is nothing to undo and nothing to settle."""
    story = Story(saga_of(step("z"), step("a", at=at), step("b"))).does("z").start("a")
    for code in before:
        story.ends("a", code).passes(100).start("a")
    story.rejects("a")
    assert (story.node("a").effect, story.status, story.plan) == (Effect.ABSENT, "compensating", ["z"])


def test_a_definite_answer_that_nobody_listed_ends_in_front_of_a_person_the_third_time() -> None:
    """Asked again, since a gateway may have given it; the same again and again is the participant's own word."""
    story = Story(saga_of(step("a"), step("b"))).does("a").start("b").answers("b", "HTTP 409 voided")
    story.passes(100).start("b").answers("b", "HTTP 409 voided").passes(100).start("b")
    halts = [story.halted, story.answers("b", "HTTP 409 voided").halted]
    assert (halts, story.phase("b")) == ([None, HaltReason.UNRESOLVED_EFFECT], NodePhase.FAILED)


def test_another_answer_in_between_begins_the_count_again() -> None:
    """Only the same answer in a row is the participant's last word; a lost one says nothing either way."""
    story = Story(with_pivot()).does("a").start("p")
    for told in ("HTTP 409 voided", "HTTP 409 voided", "HTTP 409 other", "HTTP 409 voided", "HTTP 409 voided"):
        story.answers("p", told).passes(100).start("p")
    story.loses_answer("p").passes(100).start("p")
    for told in ("HTTP 409 voided", "HTTP 409 voided"):
        story.answers("p", told).passes(100).start("p")
    assert "saga_halted" not in story.last_kinds
    assert story.answers("p", "HTTP 409 voided").halted is HaltReason.PIVOT_UNRESOLVED


def test_rejected_after_the_pivot_halts() -> None:
    """After the pivot nothing is rolled back: a retriable that is rejected stands in front of a person."""
    story = Story(with_pivot()).does("a", "p").start("r").rejects("r")
    assert (story.status, story.halted, story.phase("r")) == ("halted", HaltReason.RETRIABLE_REJECTED, NodePhase.FAILED)
    assert (story.plan, story.may_start, story.due) == (None, [], None)


def test_a_rejected_readonly_after_the_pivot_halts() -> None:
    """A readonly step behind the pivot cannot roll back either."""
    story = Story(saga_of(step("p", Kind.PIVOT), step("q", Kind.READONLY))).does("p").start("q").rejects("q")
    assert (story.status, story.halted) == ("halted", HaltReason.RETRIABLE_REJECTED)


def test_a_recorded_rejection_completes_with_a_warning() -> None:
    """`on_rejected="record"`: the order completes, and what was rejected is told."""
    story = Story(saga_of(step("p", Kind.PIVOT), step("mail", Kind.RETRIABLE, on_rejected="record")))
    story.does("p").start("mail").rejects("mail", "no_such_mailbox")
    assert (story.status, story.phase("mail")) == ("completed", NodePhase.DONE)
    assert story.state.warnings == ("mail: no_such_mailbox",)


def test_not_sent_costs_time_and_no_attempt() -> None:
    """What never left is tried again beyond max_attempts, until the elapsed time is spent."""
    policy = RetryPolicy(max_attempts=1, max_elapsed_s=50.0, base_s=1.0, cap_s=1.0)
    story = Story(saga_of(step("a", retry=policy)))
    for _ in range(5):
        story.try_again("a", OutcomeCode.NOT_SENT)
    assert (story.status, story.node("a").tries, story.epoch("a")) == ("running", 0, 5)
    assert story.node("a").effect is Effect.ABSENT
    story.passes(50).try_again("a", OutcomeCode.NOT_SENT)
    assert (story.status, story.halted) == ("halted", HaltReason.PARTICIPANT_DOWN)


@pytest.mark.parametrize(("told_s", "waited_s"), [(5.0, 5.0), (3600.0, 8.0)])
def test_throttled_waits_as_told_and_no_longer_than_the_cap(told_s: float, waited_s: float) -> None:
    """The participant's Retry-After is kept, capped by the step's policy, and costs no attempt."""
    story = Story(saga_of(step("a", retry=TWO_TRIES))).start("a")
    story.ends("a", OutcomeCode.THROTTLED, retry_after_s=told_s)
    assert story.node("a").next_at == story.now + timedelta(seconds=waited_s)
    assert (story.phase("a"), story.node("a").tries, story.node("a").effect) == (NodePhase.BACKOFF, 0, Effect.ABSENT)


def test_throttled_without_a_time_backs_off() -> None:
    """Without Retry-After the step's own backoff holds."""
    story = Story(saga_of(step("a", retry=TWO_TRIES))).start("a").ends("a", OutcomeCode.THROTTLED)
    wait_s = TWO_TRIES.delay_s("s-1", "a:a", 1)
    assert story.node("a").next_at == story.now + timedelta(seconds=wait_s)


def test_unknown_at_a_barrier_is_asked_again() -> None:
    """Keys serialise, so the same bytes are sent again; the effect stays unknown until an answer."""
    story = Story(abc()).start("a").loses_answer("a")
    assert (story.phase("a"), story.node("a").effect, story.node("a").tries) == (NodePhase.BACKOFF, Effect.UNKNOWN, 1)
    assert story.may_start == []
    story.waits_for("a")
    assert story.may_start == ["a"]
    story.does("a")
    assert (story.phase("a"), story.node("a").effect) == (NodePhase.DONE, Effect.APPLIED)


def test_unknown_readonly_is_asked_again_anywhere() -> None:
    """A step without effect may run again whatever the participant does with keys."""
    story = Story(saga_of(step("q", Kind.READONLY, at=provider))).start("q").loses_answer("q")
    assert (story.status, story.phase("q")) == ("running", NodePhase.BACKOFF)


@pytest.mark.parametrize("kind", [Kind.COMPENSATABLE, Kind.RETRIABLE])
def test_unknown_elsewhere_halts(kind: Kind) -> None:
    """Where asking again may do it twice, a person settles it (until there are probes)."""
    story = Story(saga_of(step("a", kind, at=provider))).start("a").loses_answer("a")
    assert (story.status, story.halted, story.phase("a")) == ("halted", HaltReason.UNRESOLVED_EFFECT, NodePhase.FAILED)


def test_unknown_at_a_barrier_halts_when_the_step_says_so() -> None:
    """`on_unknown="halt"` holds also where a repeat would be safe."""
    story = Story(saga_of(step("a", on_unknown="halt"))).start("a").loses_answer("a")
    assert story.halted is HaltReason.UNRESOLVED_EFFECT


def test_unknown_turns_round_after_the_budget_when_the_step_says_so() -> None:
    """`on_unknown="compensate"`: asked again first, rolled back when the budget is spent, the unknown step undone too."""
    story = Story(saga_of(step("a"), step("b", on_unknown="compensate", retry=TWO_TRIES))).does("a")
    story.start("b").loses_answer("b")
    assert (story.status, story.phase("b")) == ("running", NodePhase.BACKOFF)
    story.try_again("b", OutcomeCode.UNKNOWN)
    assert (story.status, story.plan) == ("compensating", ["b", "a"])
    assert story.state.cause is not None
    assert (story.state.cause.cause, story.state.cause.step) == ("unknown", "b")


def test_not_sent_never_turns_round() -> None:
    """`on_unknown="compensate"` is about unknown: a participant that is down rolls no order back."""
    story = Story(saga_of(step("a"), step("b", on_unknown="compensate", retry=TWO_TRIES))).does("a")
    story.start("b").loses_answer("b").passes(200).try_again("b", OutcomeCode.NOT_SENT)
    assert (story.status, story.halted) == ("halted", HaltReason.PARTICIPANT_DOWN)


def test_unknown_function_step_in_flight_is_settled_first() -> None:
    """A function step that may not be repeated, its answer lost while the saga turned round: a person settles it."""
    story = Story(saga_of(step("a"), step("f", at=None))).does("a").start("f").cancel()
    story.loses_answer("f")
    assert (story.status, story.halted) == ("halted", HaltReason.UNRESOLVED_EFFECT)
    assert story.plan == ["f (settle)", "a"]


def test_a_readonly_after_the_pivot_that_stays_unknown_is_not_forgotten() -> None:
    """Behind the pivot `on_unknown="compensate"` cannot turn round: the saga halts as for any participant that is down."""
    late = step("q", Kind.READONLY, on_unknown="compensate", retry=TWO_TRIES)
    story = Story(saga_of(step("p", Kind.PIVOT), late)).does("p").start("q").loses_answer("q")
    story.try_again("q", OutcomeCode.UNKNOWN)
    assert (story.status, story.halted) == ("halted", HaltReason.PARTICIPANT_DOWN)


def test_the_budget_of_unknown_attempts_halts_and_goes_on_at_the_cap() -> None:
    """A participant that does not answer halts the saga, and the engine keeps trying by itself."""
    story = Story(saga_of(step("a", retry=TWO_TRIES), step("b"))).start("a").loses_answer("a")
    story.try_again("a", OutcomeCode.UNKNOWN)
    assert (story.status, story.halted, story.node("a").spent) == ("halted", HaltReason.PARTICIPANT_DOWN, True)
    story.waits_for("a")
    assert story.may_start == ["a"]


def test_defect_halts_and_its_effect_is_unknown() -> None:
    """A bug or a rotated credential never rolls an order back."""
    story = Story(abc()).does("a").start("b").ends("b", OutcomeCode.DEFECT, "401")
    assert (story.status, story.halted, story.phase("b")) == ("halted", HaltReason.DEFECT, NodePhase.FAILED)
    assert (story.node("b").effect, story.plan, story.may_start) == (Effect.UNKNOWN, None, [])


def test_code_that_breaks_before_sending_halts_without_an_effect() -> None:
    """The step's own code failed: nothing was sent, so the effect is absent, and a person reads the exception."""
    story = Story(abc()).does("a").breaks("b", "KeyError: 'sku'")
    assert (story.status, story.halted, story.phase("b")) == ("halted", HaltReason.DEFECT, NodePhase.FAILED)
    assert (story.node("b").effect, story.node("b").detail) == (Effect.ABSENT, "KeyError: 'sku'")
    assert story.state.halt is not None
    assert story.state.halt.node == "b:a"


def test_code_that_breaks_for_a_node_that_is_not_ready_changes_nothing() -> None:
    """A late report about a node that somebody else went on with is no news."""
    story = Story(abc()).does("a")
    assert story.breaks("a").last == ()
    assert story.breaks("c").last == ()


def test_no_outcome_by_the_deadline_is_unknown_after_the_grace() -> None:
    """The process may be alive and slow: its answer counts until deadline and grace have passed."""
    story = Story(abc()).start("a")
    assert story.due == story.now + timedelta(seconds=12)
    assert story.passes(11.9).last == ()
    story.passes(0.1)
    assert (story.phase("a"), story.node("a").code, story.node("a").suspect_count) == (
        NodePhase.BACKOFF,
        OutcomeCode.UNKNOWN,
        0,
    )


def test_reported_effects_are_kept_with_the_node() -> None:
    """What an answer reports is what rollback must give back."""
    story = Story(abc()).does("a", effects=(change(3),))
    assert story.state.net_effects() == {("stock", "sku-1"): 3}


def test_a_start_of_a_node_that_is_not_ready_changes_nothing() -> None:
    """Two processes that want the same node, or one that is early: the second gets no attempt."""
    story = Story(abc()).start("a")
    with pytest.raises(AssertionError, match="was not started"):
        story.start("a")
    with pytest.raises(AssertionError, match="was not started"):
        story.start("b")
    assert story.attempted() == ["a"]


def test_before_the_end_of_its_last_attempt_a_node_waits_no_more() -> None:
    """The clock was set back an hour: how much of the wait has passed is not known, and it must not be an hour longer. Set back by less
    than has passed, it waits for what it asked for, and no longer."""
    story = Story(abc()).start("a").ends("a", OutcomeCode.THROTTLED, retry_after_s=20)
    ended_at = story.now
    story.now = ended_at - timedelta(hours=1)
    assert (story.due, story.may_start) == (story.now, ["a"])
    for by_s in (-1, 1):  # another process may read the time a moment behind
        story.now = ended_at + timedelta(seconds=by_s)
        assert (story.due, story.may_start) == (ended_at + timedelta(seconds=20), [])
    story.passes(19)
    assert (story.due, story.may_start) == (story.now, ["a"])
