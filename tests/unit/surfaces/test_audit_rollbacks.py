"""The rollback that is read again from the journal agrees with the machine, and with nothing that the machine would not do."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from saga.core import transitions as t
from saga.core.definition import Saga, parallel
from saga.core.outcomes import OutcomeCode
from saga.surfaces.rollbacks import plan_faults
from tests.property.definitions import SEARCH, TIMES, sagas
from tests.property.schedules import Run
from tests.unit.core.shop import Order, abc, by_order, saga_of, step
from tests.unit.core.story import Story


def faults(story: Story) -> list[str]:
    return list(plan_faults(story.definition, story.journal))


def rolled_back() -> Story:
    """`a` and `b` applied, `c` rejected, both undone."""
    return Story(abc()).does("a", "b").start("c").rejects("c", "out_of_stock").undoes("b", "a")


@settings(SEARCH, max_examples=150 * TIMES)
@given(sagas(), st.data())
def test_whatever_the_machine_does_is_right(definition: Saga[Order], data: st.DataObject) -> None:
    """Random definitions, random schedules of outcomes, deaths and cancels: no journal of the machine is called wrong."""
    run = Run(definition, data)
    for _ in range(data.draw(st.integers(0, 40))):
        run.happen()
    run.heal()
    assert faults(run.story) == []


def test_a_rollback_in_order_is_right() -> None:
    """The plan is the reverse of the definition over what was applied."""
    story = rolled_back()
    assert story.plan == ["b", "a"]
    assert faults(story) == []


def test_an_unknown_effect_belongs_to_the_plan() -> None:
    """A plan that leaves out an action whose answer was lost is wrong: its effect may be there."""
    story = Story(abc()).does("a").start("b").loses_answer("b").cancel().undoes("b", "a")
    assert (story.status, faults(story)) == ("compensated", [])
    story.journal = [
        replace(it, entries=it.entries[1:]) if isinstance(it, t.PlanFrozen) else it for it in story.journal
    ]
    assert faults(story) == [
        "the frozen plan is [a] and must be [b, a]",
        "b:c started and is not in the frozen plan [a]",
    ]


def test_a_rejected_step_does_not_belong_to_the_plan() -> None:
    """What was proved absent is not undone; a plan that holds it is wrong."""
    story = rolled_back()
    more = t.PlannedEntry("c", "compensate")
    story.journal = [
        replace(it, entries=(more, *it.entries)) if isinstance(it, t.PlanFrozen) else it for it in story.journal
    ]
    assert "the frozen plan is [c, b, a] and must be [b, a]" in faults(story)
    assert "ended compensated without c" in faults(story)


def test_a_stuck_entry_is_overtaken_only_by_strangers() -> None:
    """An entry may go before one that is stuck, and not before one that is merely late."""
    story = Story(abc()).does("a", "b").start("c").rejects("c")
    story.start("b:c").ends("b:c", OutcomeCode.DEFECT, "it broke").undoes("a")
    assert faults(story) == []
    story.journal = [it for it in story.journal if not (isinstance(it, t.AttemptEnded) and it.node == "b:c")]
    assert faults(story) == ["a:c started before b, which stand before it in the frozen plan"]


def test_what_a_stuck_step_had_asked_for_waits() -> None:
    """An entry whose result the stuck step's action took is held up by it; going ahead is told."""
    story = Story(saga_of(step("a"), step("b", asks="a"), step("c"))).does("a", "b").start("c").rejects("c")
    story.start("b:c").ends("b:c", OutcomeCode.DEFECT, "it broke")
    assert story.may_start == []
    started = next(it for it in story.journal if isinstance(it, t.AttemptStarted) and it.node == "b:c")
    story.journal.append(replace(started, node="a:c"))
    assert faults(story) == ["a:c started before b, which stand before it in the frozen plan"]


def test_branches_are_undone_together_only_where_the_definition_says_so() -> None:
    """With `parallel_compensation` parallel entries overlap; without it the very same journal is wrong."""
    tree = (parallel(step("a"), step("b")), step("c"))
    story = Story(saga_of(*tree, parallel_compensation=True)).does("a", "b").start("c").rejects("c")
    story.start("b:c", "a:c").succeeds("a:c", "b:c")
    assert (story.status, faults(story)) == ("compensated", [])
    alone = list(plan_faults(saga_of(*tree), story.journal))
    assert alone == ["a:c started before b, which stand before it in the frozen plan"]


def test_an_effect_that_must_be_settled_first() -> None:
    """A lost answer where a repeat has another effect is planned as `settle`, and nobody may plan to compensate it."""
    story = Story(saga_of(step("a"), step("x", at=None))).does("a").start("x").cancel()
    story.loses_answer("x")
    assert (story.plan, faults(story)) == (["x (settle)", "a"], [])
    frozen = t.PlanFrozen(story.now, (t.PlannedEntry("x", "compensate"), t.PlannedEntry("a", "compensate")))
    story.journal = [frozen if isinstance(it, t.PlanFrozen) else it for it in story.journal]
    assert faults(story) == ["the frozen plan is [x, a] and must be [settle x, a]"]


def test_an_effect_that_is_asked_for_again_first() -> None:
    """A function whose answer was lost is repeated before it is undone, though its compensation does not ask for a result:
    nothing would keep the lost attempt from being applied behind it."""
    story = Story(saga_of(by_order("x"), step("b"))).start("x").dies().cancel().does("x").undoes("x")
    assert (story.status, story.plan, faults(story)) == ("compensated", ["x (repeat)"], [])
    blind = t.PlanFrozen(story.now, (t.PlannedEntry("x", "compensate"),))
    story.journal = [blind if isinstance(it, t.PlanFrozen) else it for it in story.journal]
    assert faults(story)[0] == "the frozen plan is [x] and must be [repeat x]"


def test_a_compensation_before_there_is_a_plan() -> None:
    """The plan is written down before the first compensation runs."""
    story = rolled_back()
    at = next(index for index, it in enumerate(story.journal) if isinstance(it, t.PlanFrozen))
    plan = story.journal.pop(at)
    story.journal.insert(at + 1, plan)
    assert faults(story)[0] == "b:c started before the plan was frozen"


def test_an_action_after_the_rollback_was_requested() -> None:
    """From `rollback_requested` on no action starts, not even a repeat."""
    story = rolled_back()
    again = next(it for it in story.journal if isinstance(it, t.AttemptStarted) and it.node == "c:a")
    story.journal.append(replace(again, epoch=2))
    assert faults(story) == ["attempt 2 of c:a started after the rollback was requested"]


def test_compensated_without_a_plan() -> None:
    """A saga that ends compensated and never froze a plan is told."""
    story = rolled_back()
    story.journal = [it for it in story.journal if not isinstance(it, t.PlanFrozen)]
    assert faults(story)[-1] == "ended compensated without a plan"
