"""The machine under random definitions and random schedules. `SAGA_HYPOTHESIS=deep` searches longer.

With every event `Story` checks that `decide` is pure, that the state is the fold of the journal, and that somebody is due
to look while the saga has not ended and waits for no person; `tests.property.invariants` judges the journal.
"""

from hypothesis import given
from hypothesis import strategies as st

from saga.core.definition import Saga
from saga.core.fold import replay
from tests.property.definitions import SEARCH, sagas
from tests.property.invariants import CHECKS
from tests.property.schedules import Run
from tests.unit.core.shop import Order
from tests.unit.core.story import Story


def check(run: Run) -> None:
    for invariant in CHECKS:
        invariant(run.story.definition, run.story.journal)


def standing(story: Story) -> dict[str, object]:
    """Where it stands. Since when it is halted is not part of that: with a hold in between, since it was let go."""
    state = story.state
    halted = state.halt and (state.halt.reason, state.halt.node, state.halt.detail)
    facts = (state.nodes, state.cause, state.cancel, story.due)
    return {"status": state.status, "halted": halted, "plan": story.plan, "entries": story.entries, "facts": facts}


@SEARCH
@given(sagas(), st.data())
def test_every_invariant_holds_whatever_happens_and_every_saga_ends(
    definition: Saga[Order], data: st.DataObject
) -> None:
    """Each invariant holds at every entry of the journal; when faults stop, the saga ends or stands before a person."""
    run = Run(definition, data)
    for _ in range(data.draw(st.integers(0, 40))):
        run.happen()
    run.heal()
    check(run)
    assert run.is_over


@SEARCH
@given(sagas(), st.data())
def test_a_hold_that_is_let_go_at_once_changes_nothing_whatever_stood_before(
    definition: Saga[Order], data: st.DataObject
) -> None:
    """In front of a person: the same halt, and what turns a saga round does not turn this one. Elsewhere it is as if nothing
    had been, but for a halt that heals itself: the next attempt says how things stand, and a deadline that was over before the
    halt counts."""
    run = Run(definition, data)
    for _ in range(data.draw(st.integers(0, 30))):
        run.happen()
    story = run.story.let_go().tell_nothing()
    halt, stood, may_start = story.state.halt, standing(story), story.may_start
    story.holds().let_go()
    if story.last_kinds[:2] == ["saga_resumed", "rollback_requested"]:
        assert halt is not None
        assert (halt.heals_itself, story.state.cause and story.state.cause.cause) == (True, "deadline")
    elif halt is not None and halt.heals_itself:
        assert (story.status, story.halted, story.plan) == (halt.resumes, None, stood["plan"])
        assert set(may_start) <= set(story.may_start)
    else:
        assert (standing(story), story.may_start) == (stood, may_start)


@SEARCH
@given(sagas(), st.data())
def test_without_faults_every_saga_completes(definition: Saga[Order], data: st.DataObject) -> None:
    """No fault, no cancel: completed, each action attempted once, in whatever order branches are started."""
    run = Run(definition, data)
    run.story.tell_nothing()
    run.heal()
    check(run)
    assert run.story.status == "completed"
    assert sorted(run.story.attempted()) == sorted(step.name for step in definition.order)


@SEARCH
@given(sagas(), st.data())
def test_every_prefix_of_a_journal_is_a_state_that_can_go_on(definition: Saga[Order], data: st.DataObject) -> None:
    """A process that reads the journal after any decision, after a crash say, finds a saga that goes on to an end."""
    run = Run(definition, data)
    for _ in range(data.draw(st.integers(1, 20))):
        run.happen()
    cut = data.draw(st.sampled_from(run.story.ends_of_decisions))
    run.story.journal = run.story.journal[:cut]
    run.story.state = replay(run.story.journal)
    run.story.tell_nothing()
    run.heal()
    check(run)
