"""The outcome table, backward: what each outcome of a compensation means, and that money and stock net to zero."""

from datetime import timedelta

import pytest

from saga.core.definition import parallel
from saga.core.outcomes import OutcomeCode
from saga.core.states import EntryState, HaltReason, NodePhase
from tests.unit.core.shop import TWO_TRIES, provider, saga_of, step
from tests.unit.core.story import Story, change


def rolling_back() -> Story:
    """`a` and `b` are done, `c` was rejected; the undo of `b` comes first and has two tries."""
    story = Story(saga_of(step("a"), step("b", compensation_retry=TWO_TRIES), step("c"), deadline_s=5000.0))
    return story.does("a", "b").start("c").rejects("c")


def test_succeeded_ends_the_entry_and_the_last_one_the_saga() -> None:
    """Entries end in plan order, each once; the saga is compensated with the last."""
    story = rolling_back()
    assert (story.plan, story.may_start) == (["b", "a"], ["b:c"])
    story.undoes("b")
    assert (story.entries, story.may_start) == ({"b": "compensated", "a": "open"}, ["a:c"])
    story.undoes("a")
    assert (story.status, story.entries) == ("compensated", {"b": "compensated", "a": "compensated"})
    assert story.state.ended_at == story.now


def test_compensations_run_on_their_own_queue() -> None:
    """A backlog forward cannot hold up a rollback."""
    story = Story(saga_of(step("a", queue="stock"), step("b"))).does("a").start("b")
    story.rejects("b").start("a:c")
    assert story.definition.by_name["a"].queue_of(story.definition.node("a:c")[1]) == "stock.rollback"


def test_pending_holds_the_entries_behind_it_and_ends_at_its_deadline() -> None:
    """A compensation whose answer comes later is waited for; past its deadline it is asked again."""
    story = rolling_back().start("b:c")
    story.ends("b:c", OutcomeCode.PENDING, until_at=story.now + timedelta(seconds=30))
    assert (story.phase("b:c"), story.entries["b"], story.may_start) == (NodePhase.PENDING, "open", [])
    story.passes(30)
    assert (story.phase("b:c"), story.node("b:c").code) == (NodePhase.BACKOFF, OutcomeCode.UNKNOWN)


@pytest.mark.parametrize("code", [OutcomeCode.NOT_SENT, OutcomeCode.THROTTLED, OutcomeCode.UNKNOWN])
def test_indefinite_outcomes_are_tried_again(code: OutcomeCode) -> None:
    """An undo at a barrier is repeated under its key, and the entries behind it wait."""
    story = rolling_back().start("b:c").ends("b:c", code)
    assert (story.status, story.phase("b:c"), story.may_start) == ("compensating", NodePhase.BACKOFF, [])
    story.waits_for("b:c")
    assert story.may_start == ["b:c"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [(OutcomeCode.REJECTED, HaltReason.UNRESOLVED_EFFECT), (OutcomeCode.DEFECT, HaltReason.DEFECT)],
)
def test_a_definite_failure_halts_and_is_stuck(code: OutcomeCode, reason: HaltReason) -> None:
    """No second attempt, a person is named the step; entries that do not depend on it go on."""
    story = rolling_back().start("b:c").ends("b:c", code, "no such thing")
    assert (story.status, story.halted, story.phase("b:c")) == ("halted", reason, NodePhase.FAILED)
    assert story.state.halt is not None
    assert (story.state.halt.node, story.entries["b"], story.may_start) == ("b:c", "stuck", ["a:c"])
    story.undoes("a")
    assert (story.status, story.entries) == ("halted", {"b": "stuck", "a": "compensated"})
    assert story.due is None


def test_unknown_where_repeats_are_not_safe_halts() -> None:
    """A compensation function at a participant without keys is not called twice."""
    story = Story(saga_of(step("f", at=None), step("c"))).does("f").start("c").rejects("c").start("f:c")
    story.loses_answer("f:c")
    assert (story.status, story.halted, story.entries) == ("halted", HaltReason.UNRESOLVED_EFFECT, {"f": "stuck"})


def test_code_of_a_compensation_that_breaks_halts() -> None:
    """An exception before sending is a defect; the entry is stuck and nothing else is held up."""
    story = rolling_back().breaks("b:c")
    assert (story.status, story.halted, story.entries["b"]) == ("halted", HaltReason.DEFECT, "stuck")
    assert story.may_start == ["a:c"]
    assert story.breaks("a:c").halted is HaltReason.DEFECT
    assert (story.entries, story.may_start, story.count("saga_halted")) == ({"b": "stuck", "a": "stuck"}, [], 1)


def test_a_spent_budget_halts_keeps_trying_and_heals() -> None:
    """Compensations are never given up: the saga halts for the pager, goes on trying, and leaves halted by itself."""
    story = rolling_back().start("b:c").loses_answer("b:c").try_again("b:c", OutcomeCode.UNKNOWN)
    assert (story.status, story.halted, story.entries["b"]) == ("halted", HaltReason.COMPENSATION_RETRYING, "stuck")
    assert story.state.halt is not None
    assert story.state.halt.heals_itself
    assert story.may_start == ["a:c"]
    story.undoes("a").try_again("b:c", OutcomeCode.UNKNOWN)
    assert (story.halted, story.count("saga_halted")) == (HaltReason.COMPENSATION_RETRYING, 1)
    story.try_again("b:c", OutcomeCode.SUCCEEDED)
    assert story.last_kinds == ["attempt_ended", "saga_resumed", "saga_compensated"]
    assert (story.status, story.halted) == ("compensated", None)


def test_healing_resumes_compensating_and_not_running() -> None:
    """Halted remembers the status that it came from."""
    story = rolling_back().start("b:c").loses_answer("b:c").try_again("b:c", OutcomeCode.UNKNOWN)
    story.try_again("b:c", OutcomeCode.SUCCEEDED)
    assert (story.status, story.may_start) == ("compensating", ["a:c"])


def test_a_spent_entry_stays_stuck_whatever_its_next_attempt_comes_to() -> None:
    """A budget that is used up stays so: an attempt that costs nothing must not make the entry block again."""
    story = rolling_back().start("b:c").loses_answer("b:c").try_again("b:c", OutcomeCode.UNKNOWN)
    story.try_again("b:c", OutcomeCode.NOT_SENT)
    assert (story.node("b:c").spent, story.entries["b"], story.may_start) == (True, "stuck", ["a:c"])


def test_a_spent_entry_that_is_pending_stays_stuck() -> None:
    """An answer that comes later, a day perhaps, must not hold up the entries that went on beside it."""
    story = rolling_back().start("b:c").loses_answer("b:c").try_again("b:c", OutcomeCode.UNKNOWN)
    story.try_again("b:c", OutcomeCode.PENDING)
    assert (story.node("b:c").spent, story.entries["b"], story.may_start) == (True, "stuck", ["a:c"])


def test_another_stuck_entry_does_not_end_the_halt() -> None:
    """The halt names one node and ends with that node; a second one that is stuck halts again by itself."""
    definition = saga_of(
        step("a", compensation_retry=TWO_TRIES), step("b", compensation_retry=TWO_TRIES), parallel(step("c"), step("d"))
    )
    story = Story(definition).does("a", "b").start("c").rejects("c")
    for name in ("b:c", "a:c"):
        story.start(name).loses_answer(name).try_again(name, OutcomeCode.UNKNOWN)
    story.try_again("a:c", OutcomeCode.SUCCEEDED)
    assert (story.status, story.entries) == ("halted", {"b": "stuck", "a": "compensated"})
    story.try_again("b:c", OutcomeCode.SUCCEEDED)
    assert story.status == "compensated"


def test_a_reason_for_a_person_replaces_one_that_heals() -> None:
    """A defect beside a compensation that is being retried is not hidden by it."""
    story = rolling_back().start("b:c").loses_answer("b:c").try_again("b:c", OutcomeCode.UNKNOWN)
    since_at = story.state.halt.at if story.state.halt else None
    story.passes(1).start("a:c").ends("a:c", OutcomeCode.DEFECT)
    assert story.state.halt is not None
    assert (story.halted, story.state.halt.node, story.state.halt.at) == (HaltReason.DEFECT, "a:c", since_at)


def test_an_undo_that_reports_nothing_mirrors_its_action() -> None:
    """Participants that do not report effects are taken at their word: succeeded gives back what was taken."""
    story = Story(saga_of(step("a"), step("b"))).does("a", effects=(change(3),)).start("b").rejects("b").undoes("a")
    assert story.node("a:c").effects == (change(3, -1),)
    assert (story.status, story.state.net_effects()) == ("compensated", {})


def test_compensated_is_refused_while_effects_do_not_net_to_zero() -> None:
    """An undo that gave back less than was taken halts the saga in front of a person, with the difference."""
    story = Story(saga_of(step("a"), step("b"))).does("a", effects=(change(3), change(500, kind="hold", unit="EUR")))
    story.start("b").rejects("b").undoes("a", effects=(change(2, -1), change(500, -1, kind="hold", unit="EUR")))
    assert (story.status, story.halted, story.entries) == (
        "halted",
        HaltReason.UNRESOLVED_EFFECT,
        {"a": "compensated"},
    )
    assert story.state.halt is not None
    assert story.state.halt.detail == "effects do not net to zero: stock sku-1 +1"
    assert story.passes(100).last == ()


def test_an_unknown_action_whose_undo_reports_effects_nets_to_zero() -> None:
    """When the action's answer was lost, what it did is learned from what the undo gave back."""
    story = Story(saga_of(parallel(step("a"), step("b")))).start("a", "b").loses_answer("a").rejects("b")
    assert story.plan == ["a"]
    story.undoes("a", effects=(change(3, -1),))
    assert (story.status, story.state.net_effects()) == ("compensated", {})
    assert story.node("a:c").effects == (change(3), change(3, -1))


def test_unknown_elsewhere_is_settled_before_it_is_undone() -> None:
    """Without a barrier nobody may compensate what may not have happened: the entry waits for a person, others go on."""
    story = Story(saga_of(step("a"), parallel(step("x", at=provider), step("b")))).does("a").start("x", "b")
    story.rejects("b").loses_answer("x")
    assert (story.plan, story.entries) == (["x (settle)", "a"], {"x": "stuck", "a": "open"})
    assert (story.status, story.halted, story.may_start) == ("halted", HaltReason.UNRESOLVED_EFFECT, ["a:c"])
    assert story.state.halt is not None
    assert story.state.halt.node == "x:a"
    story.undoes("a")
    assert (story.status, story.entries) == ("halted", {"x": "stuck", "a": "compensated"})


def test_an_undo_that_finds_nothing_proves_an_unknown_action_absent() -> None:
    """The entry ends as null, not as compensated; one whose effect was known, or whose undo reports nothing, does not."""
    story = Story(saga_of(step("a"), step("b"))).start("a").succeeds("a", effects=(change(),)).start("b")
    story.cancel().loses_answer("b").start("b:c").succeeds("b:c", effects=())
    assert next((entry.step, entry.state) for entry in story.state.plan or ()) == ("b", EntryState.NULL)
    story.start("a:c").succeeds("a:c", effects=(change(sign=-1),))
    assert [entry.state for entry in story.state.plan or ()] == [EntryState.NULL, EntryState.COMPENSATED]
    silent = Story(saga_of(step("a"))).start("a").cancel().loses_answer("a").start("a:c").succeeds("a:c")
    assert [entry.state for entry in silent.state.plan or ()] == [EntryState.COMPENSATED]
