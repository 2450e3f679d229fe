"""The rollback plan: reverse order of the definition, whatever the race; what blocks what; parallel compensation."""

from itertools import permutations

import pytest

from saga.core.definition import Kind, parallel, sequence
from saga.core.outcomes import OutcomeCode
from tests.unit.core.shop import TWO_TRIES, saga_of, step
from tests.unit.core.story import Story


@pytest.mark.parametrize("failing", ["a", "b", "c", "d"])
def test_rollback_from_every_step_undoes_what_stood_before_it(failing: str) -> None:
    """Failure at the n-th step undoes the n - 1 before it, last first, each exactly once, and starts none behind it."""
    names = ["a", "b", "c", "d"]
    story = Story(saga_of(*(step(name) for name in names)))
    before = names[: names.index(failing)]
    story.does(*before).start(failing).rejects(failing)
    assert story.plan == before[::-1]
    story.undoes(*before[::-1])
    assert story.status == "compensated"
    assert story.attempted() == [*before, failing, *(f"{name}:c" for name in reversed(before))]


@pytest.mark.parametrize("ended", list(permutations(["a", "b", "c"])))
def test_plan_order_is_independent_of_completion_order(ended: tuple[str, ...]) -> None:
    """The order in which branches really ended is a race and never enters the plan."""
    branches = parallel(step("a"), sequence(step("b"), parallel(step("x"), step("y"))), step("c"))
    story = Story(saga_of(branches, step("d"))).start("a", "b", "c")
    for name in ended:
        story.succeeds(name)
    story.start("y", "x").succeeds("y").succeeds("x").start("d").rejects("d")
    assert story.plan == ["c", "y", "x", "b", "a"]


def test_two_branches_that_finish_in_either_order_give_the_same_plan_and_state() -> None:
    """The join is a conclusion from the state, so it does not matter who reported last."""
    definition = saga_of(step("z"), parallel(step("a"), step("b")), step("c"))
    one = Story(definition).does("z").start("a", "b").succeeds("a", "b").start("c").rejects("c")
    other = Story(definition).does("z").start("a", "b").succeeds("b", "a").start("c").rejects("c")
    assert one.state == other.state
    assert one.plan == other.plan == ["b", "a", "z"]


def test_two_rejections_in_either_order_end_in_the_same_plan() -> None:
    """Whichever branch said no first, what is undone is the same."""
    definition = saga_of(step("z"), parallel(step("a"), step("b"), step("c")))
    plans = []
    for first, second in (("a", "b"), ("b", "a")):
        story = Story(definition).does("z").start("a", "b", "c").succeeds("c").rejects(first).rejects(second)
        plans.append(story.plan)
    assert plans == [["c", "z"], ["c", "z"]]


def test_steps_without_an_effect_are_left_out() -> None:
    """Readonly steps and steps whose effect is absent have nothing to undo."""
    story = Story(saga_of(step("q", Kind.READONLY), parallel(step("a"), step("b"), step("c"))))
    story.does("q").start("a", "b", "c").ends("a", OutcomeCode.NOT_SENT).succeeds("b").rejects("c")
    assert story.plan == ["b"]


def test_entries_run_one_at_a_time() -> None:
    """Parallel forward is not parallel backward unless the definition says so."""
    story = Story(saga_of(parallel(step("a"), step("b")), step("c"))).does("a", "b").start("c").rejects("c")
    assert story.may_start == ["b:c"]
    story.start("b:c")
    assert story.may_start == []


def test_parallel_compensation_runs_branches_together_and_series_in_order() -> None:
    """What was parallel forward is undone together; what came one after another is not."""
    definition = saga_of(
        step("z"),
        parallel(sequence(step("a"), step("b")), step("c")),
        step("d"),
        parallel_compensation=True,
    )
    story = Story(definition).does("z", "a", "b", "c").start("d").rejects("d")
    assert (story.plan, story.may_start) == (["c", "b", "a", "z"], ["c:c", "b:c"])
    story.start("c:c", "b:c").succeeds("b:c")
    assert story.may_start == ["a:c"]
    story.undoes("a")
    assert story.may_start == []
    story.succeeds("c:c")
    assert story.may_start == ["z:c"]
    assert story.undoes("z").status == "compensated"


def test_a_stuck_entry_blocks_only_what_it_had_asked_for_and_what_that_blocks() -> None:
    """`d` took the result of `c`, `c` that of `a`: both wait for `d`, an unrelated branch does not."""
    definition = saga_of(
        step("a"),
        step("b"),
        step("c", asks="a"),
        step("d", asks="c", compensation_retry=TWO_TRIES),
        step("e"),
    )
    story = Story(definition).does("a", "b", "c", "d").start("e").rejects("e")
    story.start("d:c").loses_answer("d:c").try_again("d:c", OutcomeCode.UNKNOWN)
    assert story.entries == {"d": "stuck", "c": "open", "b": "open", "a": "open"}
    assert story.may_start == ["b:c"]
    story.undoes("b")
    assert story.may_start == []
    story.try_again("d:c", OutcomeCode.SUCCEEDED)
    assert (story.status, story.may_start) == ("compensating", ["c:c"])
    assert story.undoes("c", "a").status == "compensated"


def test_the_saga_with_nothing_to_undo_is_compensated_at_once() -> None:
    """Failure at the first step undoes nothing, and the empty plan is written down all the same."""
    story = Story(saga_of(step("a"), step("b"))).start("a").rejects("a")
    assert story.last_kinds == ["attempt_ended", "rollback_requested", "plan_frozen", "saga_compensated"]
    assert (story.plan, story.status) == ([], "compensated")


def test_the_plan_is_frozen_once_and_not_touched_by_what_comes_later() -> None:
    """Evidence after the plan was frozen changes no entry."""
    story = Story(saga_of(step("a"), parallel(step("b"), step("c")))).does("a").start("b", "c").rejects("c").dies()
    plan = story.plan
    story.succeeds("b", epoch=1)
    assert story.last_kinds == ["evidence_kept"]
    assert (story.plan, story.count("plan_frozen")) == (plan, 1)
