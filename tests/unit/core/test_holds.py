"""A saga that is held, because its journal may lack what happened: nothing moves until a person lets it go."""

from collections.abc import Callable

import pytest

from saga.core.definition import Kind, parallel
from saga.core.outcomes import OutcomeCode
from saga.core.states import HELD, HaltReason, NodePhase
from tests.unit.core.shop import TWO_TRIES, abc, provider, saga_of, step, with_pivot
from tests.unit.core.story import Story


@pytest.mark.parametrize("why", sorted(HELD))
def test_nothing_moves_while_it_is_held(why: HaltReason) -> None:
    """No start, no deadline, no take-over, no rollback; nobody is due to look."""
    story = Story(abc(deadline_s=60)).does("a").start("b").holds(why)
    assert (story.status, story.halted, story.may_start, story.due) == ("halted", why, [], None)
    story.passes(1000).dies().cancel()
    assert (story.phase("b"), story.status, story.plan, story.due) == (NodePhase.OPEN, "halted", None, None)


def test_let_go_it_goes_on_where_it_stood() -> None:
    """The open attempt is ended by whoever looks next, and the deadline stood still."""
    story = Story(abc(deadline_s=60)).does("a").start("b").holds().passes(1000).let_go()
    assert (story.status, story.last_kinds) == ("running", ["saga_resumed"])
    story.dies().does("b", "c")
    assert story.status == "completed"


def test_a_cancel_of_a_held_saga_counts_when_it_is_let_go() -> None:
    """Written down, and obeyed as soon as something may move."""
    story = Story(abc()).does("a").holds().cancel()
    assert story.status == "halted"
    assert story.let_go().plan == ["a"]


def test_a_rollback_is_held_and_goes_on() -> None:
    """Compensations are sends as well."""
    story = Story(abc()).does("a", "b").start("c").rejects("c").holds()
    assert (story.status, story.may_start) == ("halted", [])
    story.let_go()
    assert (story.status, story.may_start) == ("compensating", ["b:c"])
    assert story.undoes("b", "a").status == "compensated"


def test_an_outcome_that_still_comes_is_kept() -> None:
    """It is a fact; what follows from it waits."""
    story = Story(abc()).start("a").holds().succeeds("a")
    assert (story.phase("a"), story.status, story.may_start) == (NodePhase.DONE, "halted", [])
    assert story.let_go().may_start == ["b"]


def test_a_saga_that_ended_is_not_held_and_one_that_is_not_held_is_not_let_go() -> None:
    """Both say nothing, and so does a second hold."""
    story = Story(saga_of(step("a"))).does("a").holds()
    assert (story.status, story.last_kinds) == ("completed", [])
    assert Story(abc()).does("a").let_go().last_kinds == []
    assert Story(abc()).does("a").holds().holds(HaltReason.JOURNAL_DAMAGED).halted is HaltReason.RESTORED


def poisoned() -> Story:
    """`a` died three times alone."""
    story = Story(abc())
    for _ in range(3):
        story.start("a", alone=True).dies()
    return story


HALTED: dict[HaltReason, Callable[[], Story]] = {
    HaltReason.DEFECT: lambda: Story(abc()).start("a").ends("a", OutcomeCode.DEFECT),
    HaltReason.UNRESOLVED_EFFECT: lambda: (
        Story(saga_of(step("x", at=provider), step("b"))).start("x").loses_answer("x")
    ),
    HaltReason.PIVOT_UNRESOLVED: lambda: Story(with_pivot(at=provider)).does("a").start("p").loses_answer("p"),
    HaltReason.POISON: poisoned,
    HaltReason.RETRIABLE_REJECTED: lambda: Story(with_pivot()).does("a", "p").start("r").rejects("r"),
}


@pytest.mark.parametrize("reason", list(HALTED))
def test_a_saga_that_waited_for_a_person_waits_again(reason: HaltReason) -> None:
    """Letting go answers for the journal and not for what was wrong before."""
    story = HALTED[reason]()
    assert story.halted is reason
    assert story.holds().let_go().halted is reason


def test_a_rollback_that_waited_for_a_person_waits_again() -> None:
    """A compensation that failed, and an entry that must be settled first."""
    failed = Story(abc()).does("a").start("b").rejects("b").start("a:c").ends("a:c", OutcomeCode.DEFECT)
    assert failed.holds().let_go().halted is HaltReason.DEFECT
    settle = Story(saga_of(parallel(step("x", at=provider), step("y")))).start("x", "y").rejects("y").loses_answer("x")
    assert settle.holds().let_go().halted is HaltReason.UNRESOLVED_EFFECT


def test_one_that_was_about_to_turn_round_turns_round() -> None:
    """An answer that turns the saga came while it was held."""
    story = Story(abc()).does("a").start("b").holds().rejects("b")
    assert (story.phase("b"), story.status) == (NodePhase.FAILED, "halted")
    assert story.let_go().plan == ["a"]


def test_a_halt_that_heals_itself_heals_again() -> None:
    """The next attempt says how things stand."""
    story = Story(saga_of(step("a", retry=TWO_TRIES))).start("a").loses_answer("a").try_again("a", OutcomeCode.UNKNOWN)
    assert (story.halted, story.holds().let_go().halted) == (HaltReason.PARTICIPANT_DOWN, None)
    assert story.try_again("a", OutcomeCode.SUCCEEDED).status == "completed"


def test_a_retriable_that_failed_of_a_defect_stays_one() -> None:
    """The reason is read from what the node came to, whatever its kind."""
    story = Story(saga_of(step("a"), step("r", Kind.RETRIABLE))).does("a").start("r").ends("r", OutcomeCode.DEFECT)
    assert story.holds().let_go().halted is HaltReason.DEFECT
