"""What arrives late, twice or in another order: zombies, late answers, cancels between a call and its outcome."""

import pytest

from saga.core.definition import Kind, parallel
from saga.core.outcomes import OutcomeCode
from saga.core.states import Effect, HaltReason, NodePhase
from saga.core.transitions import EvidenceKept
from tests.unit.core.shop import TWO_TRIES, abc, provider, saga_of, step, with_pivot
from tests.unit.core.story import Story


@pytest.mark.parametrize("code", [OutcomeCode.SUCCEEDED, OutcomeCode.REJECTED])
def test_a_zombie_at_an_old_epoch_leaves_evidence_and_changes_nothing(code: OutcomeCode) -> None:
    """It must not close the attempt of the process that took over; its definite answer is kept for people."""
    story = Story(abc()).start("a", worker="w1").dies("w1").start("a", worker="w2")
    before = story.state
    story.ends("a", code, "late", epoch=1)
    assert story.last == (EvidenceKept(story.now, "a:a", 1, code, "late"),)
    assert story.state == before
    assert story.node("a").owner == "w2"


@pytest.mark.parametrize("code", [OutcomeCode.UNKNOWN, OutcomeCode.NOT_SENT, OutcomeCode.DEFECT, OutcomeCode.PENDING])
def test_an_indefinite_answer_at_an_old_epoch_leaves_nothing(code: OutcomeCode) -> None:
    """What proves nothing is not worth a row."""
    story = Story(abc()).start("a").dies().start("a").ends("a", code, epoch=1)
    assert story.last == ()


def test_the_same_outcome_twice_counts_once() -> None:
    """A message delivered twice: the second finds the node closed."""
    story = Story(abc()).start("a").succeeds("a")
    before = story.state
    story.succeeds("a")
    assert (story.last_kinds, story.state) == (["evidence_kept"], before)


def test_a_definite_answer_after_the_end_is_evidence() -> None:
    """Completed is the end, and stays the end; so is compensated."""
    story = Story(saga_of(step("a"))).start("a").dies().does("a")
    before = story.state
    assert before.status == "completed"
    story.rejects("a", "late", epoch=1)
    assert (story.last_kinds, story.state) == (["evidence_kept"], before)
    undone = Story(abc()).start("a").rejects("a").succeeds("a", epoch=1)
    assert (undone.last_kinds, undone.status) == (["evidence_kept"], "compensated")


def test_a_cancel_between_a_call_and_its_outcome_lets_the_outcome_count() -> None:
    """The call was made: its effect is known before the plan is frozen, and it is undone."""
    story = Story(abc()).does("a").start("b").cancel()
    assert (story.status, story.plan, story.may_start) == ("compensating", None, [])
    story.succeeds("b")
    assert (story.node("b").effect, story.plan) == (Effect.APPLIED, ["b", "a"])
    assert story.undoes("b", "a").status == "compensated"
    assert "c" not in story.attempted()


def test_an_outcome_between_a_call_and_its_cancel_gives_the_same_plan() -> None:
    """Whoever takes the sequence number first, the same things are undone."""
    first = Story(abc()).does("a").start("b").cancel().succeeds("b")
    second = Story(abc()).does("a").start("b").succeeds("b").cancel()
    assert first.plan == second.plan == ["b", "a"]
    assert first.state == second.state


def test_a_delayed_first_attempt_after_a_later_rejection_is_compensated() -> None:
    """The rejection of the second attempt does not prove that the first one, still on its way, does nothing."""
    story = Story(abc()).does("a").start("b").loses_answer("b").try_again("b", OutcomeCode.REJECTED)
    assert (story.node("b").effect, story.plan) == (Effect.UNKNOWN, ["b", "a"])
    story.succeeds("b", epoch=1)
    assert (story.last_kinds, story.plan) == (["evidence_kept"], ["b", "a"])
    assert story.undoes("b", "a").status == "compensated"


def test_a_delayed_first_attempt_elsewhere_is_settled_first() -> None:
    """Where rejections are forgotten a rejection says nothing of a first attempt that may still arrive: nobody may guess."""
    story = Story(saga_of(step("a"), parallel(step("x", at=provider), step("y")))).does("a").start("x")
    story.ends("x", OutcomeCode.NOT_SENT).passes(100).start("x", "y")
    story.rejects("y").loses_answer("x")
    assert (story.node("x").effect, story.plan) == (Effect.UNKNOWN, ["x (settle)", "a"])


def test_a_start_after_the_saga_turned_round_is_refused() -> None:
    """A process that prepared an attempt while the cancel was written gets no attempt."""
    story = Story(abc()).does("a").cancel()
    with pytest.raises(AssertionError, match="was not started"):
        story.start("b")
    assert story.attempted() == ["a"]


def test_the_last_branch_sees_the_other_whoever_decided_it() -> None:
    """A join is a conclusion from the state: the branch that decides last finds the others done."""
    story = Story(saga_of(parallel(step("a"), step("b")), step("p", Kind.PIVOT))).start("a", worker="w1")
    story.start("b", worker="w2").succeeds("b").succeeds("a")
    assert (story.may_start, story.phase("b")) == (["p"], NodePhase.DONE)


def test_a_pivot_whose_worker_died_and_whose_cancel_came_is_asked_again() -> None:
    """The pivot's answer decides; the zombie's answer is evidence."""
    story = Story(with_pivot()).does("a").start("p", worker="w1").cancel().dies("w1").start("p", worker="w2")
    story.succeeds("p", epoch=1)
    assert (story.last_kinds, story.status) == (["evidence_kept"], "running")
    assert story.succeeds("p").last_kinds == ["attempt_ended", "cancel_refused"]


def test_a_success_that_comes_after_its_deadline_counts_while_nobody_attempted_again() -> None:
    """In backoff after an unknown: nothing fences the answer, and it is what the backoff waits for."""
    story = Story(saga_of(step("a"), step("b"))).start("a").loses_answer("a").succeeds("a")
    assert (story.node("a").phase, story.node("a").effect, story.status) == (NodePhase.DONE, Effect.APPLIED, "running")
    assert story.may_start == ["b"]


def test_a_late_success_resumes_the_halt_that_waited_for_it() -> None:
    """An unresolved pivot whose answer comes after all was taken: forward only."""
    story = Story(saga_of(step("a"), step("p", Kind.PIVOT, at=provider), step("q", Kind.RETRIABLE))).does("a")
    story.start("p").loses_answer("p")
    assert story.halted is HaltReason.PIVOT_UNRESOLVED
    story.succeeds("p")
    assert (story.status, story.may_start) == ("running", ["q"])


def test_a_late_success_does_not_resume_another_steps_halt() -> None:
    """A defect beside it still waits for a person."""
    story = Story(saga_of(parallel(step("a"), step("b")))).start("a", "b").loses_answer("a")
    story.ends("b", OutcomeCode.DEFECT, "odd").succeeds("a")
    assert (story.node("a").phase, story.halted) == (NodePhase.DONE, HaltReason.DEFECT)


def test_a_late_success_is_evidence_once_the_plan_is_frozen() -> None:
    """The plan holds the step already, as one whose effect is unknown."""
    story = Story(saga_of(step("a"), step("b"))).start("a").loses_answer("a").cancel()
    before = story.state
    story.succeeds("a")
    assert story.state == before
    assert [it.kind for it in story.last] == ["evidence_kept"]


def test_a_late_success_does_not_resume_while_another_node_waits_for_a_person() -> None:
    """Two lost answers, one halt: it stands for both, and the first late success leaves it standing for the second."""
    story = Story(saga_of(parallel(step("x", at=provider), step("y", at=provider)))).start("x", "y")
    story.loses_answer("x").loses_answer("y").succeeds("x")
    assert (story.status, story.halted) == ("halted", HaltReason.UNRESOLVED_EFFECT)
    assert story.succeeds("y").status == "completed"


def test_an_undone_entry_does_not_resume_a_plan_that_waits_to_be_settled() -> None:
    """No node failed here, the answer was lost while a cancel settled: the last undo must leave the halt standing."""
    story = Story(saga_of(parallel(step("a"), step("x", at=provider)))).does("a").start("x").cancel().loses_answer("x")
    assert (story.plan, story.node("x").phase) == (["x (settle)", "a"], NodePhase.CLOSED)
    story.undoes("a")
    assert (story.status, story.halted) == ("halted", HaltReason.UNRESOLVED_EFFECT)
    assert story.entries == {"x": "stuck", "a": "compensated"}


def test_a_late_success_beside_a_business_no_turns_the_saga_round() -> None:
    """The "no" needs no person: once the lost answer is known, what it did is undone."""
    story = Story(saga_of(parallel(step("x", at=provider), step("b")))).start("x", "b").loses_answer("x").rejects("b")
    assert (story.status, story.due) == ("halted", None)
    story.succeeds("x")
    assert story.last_kinds == ["attempt_ended", "saga_resumed", "rollback_requested", "plan_frozen"]
    assert story.undoes("x").status == "compensated"


def test_a_late_success_beside_a_defect_or_a_no_behind_the_pivot_still_waits() -> None:
    """Those do need a person."""
    late = step("r", Kind.RETRIABLE)
    story = Story(saga_of(step("p", Kind.PIVOT), parallel(step("q", Kind.RETRIABLE, at=provider), late))).does("p")
    story.start("q", "r").loses_answer("q").rejects("r").succeeds("q")
    assert (story.status, story.halted) == ("halted", HaltReason.UNRESOLVED_EFFECT)


def test_a_late_success_beside_a_retriable_that_was_rejected_still_waits() -> None:
    """Without a pivot as well: it was rejected at its first try, nothing was done, and it must succeed all the same."""
    q = step("q", Kind.READONLY, on_unknown="halt")
    story = Story(saga_of(step("a"), parallel(q, step("r", Kind.RETRIABLE)))).does("a").start("q", "r")
    story.loses_answer("q").rejects("r").succeeds("q")
    assert (story.status, story.halted) == ("halted", HaltReason.UNRESOLVED_EFFECT)


def test_a_late_success_beside_a_lost_answer_that_turns_the_saga_resumes() -> None:
    """That step says `on_unknown="compensate"`, so it needs no person; once the other is known the saga turns round."""
    y = step("y", on_unknown="compensate", retry=TWO_TRIES)
    story = Story(saga_of(parallel(step("x", at=provider), y))).start("y").loses_answer("y").waits_for("y")
    story.start("x", "y").loses_answer("x").loses_answer("y")
    assert story.halted is HaltReason.UNRESOLVED_EFFECT
    assert story.succeeds("x").plan == ["y", "x"]
