"""A step that kills its worker: it runs alone from the second death, three lone deaths halt, bystanders never do."""

from saga.core.definition import Kind, parallel
from saga.core.outcomes import OutcomeCode
from saga.core.states import Effect, HaltReason, NodePhase
from tests.unit.core.shop import TWO_TRIES, abc, provider, saga_of, step
from tests.unit.core.story import Story


def test_a_death_is_unknown_and_tried_again_at_once() -> None:
    """Nobody saw an outcome; at a barrier the same bytes go out again without waiting."""
    story = Story(abc()).start("a", worker="w1").dies("w1")
    assert (story.phase("a"), story.node("a").code, story.node("a").effect) == (
        NodePhase.BACKOFF,
        OutcomeCode.UNKNOWN,
        Effect.UNKNOWN,
    )
    assert (story.may_start, story.alone) == (["a"], [])


def test_another_process_that_died_is_no_business_of_the_node() -> None:
    """Only the owner's death ends an attempt."""
    story = Story(abc()).start("a", worker="w1").dies("w2")
    assert (story.last, story.phase("a")) == ((), NodePhase.OPEN)


def test_a_suspect_runs_alone_from_the_second_death() -> None:
    """Two deaths make a node one that is run by itself, so that it kills nobody else."""
    story = Story(abc()).start("a").dies().start("a").dies()
    assert (story.node("a").suspect_count, story.node("a").lone_death_count) == (2, 0)
    assert (story.may_start, story.alone) == (["a"], ["a"])


def test_three_lone_deaths_halt() -> None:
    """Only deaths with nothing else open count, and the third halts the saga in front of a person."""
    story = Story(abc())
    for _ in range(2):
        story.start("a").dies()
    for _ in range(2):
        story.start("a", alone=True).dies()
        assert (story.status, story.alone) == ("running", ["a"])
    story.start("a", alone=True).dies()
    assert (story.status, story.halted, story.phase("a")) == ("halted", HaltReason.POISON, NodePhase.FAILED)
    assert (story.node("a").suspect_count, story.may_start) == (5, [])


def test_a_bystander_is_never_poison() -> None:
    """A node that merely stood beside the one that kills goes on, however often."""
    story = Story(abc())
    for _ in range(7):
        story.start("a").dies()
    assert (story.status, story.halted, story.node("a").lone_death_count) == ("running", None, 0)
    assert story.does("a").status == "running"


def test_a_lone_attempt_that_ends_is_no_death() -> None:
    """Run alone and answered: the suspicion costs nothing but the company."""
    story = Story(abc()).start("a").dies().start("a").dies().start("a", alone=True).succeeds("a")
    assert (story.status, story.node("a").lone_death_count, story.alone) == ("running", 0, [])


def test_a_slow_attempt_is_no_death() -> None:
    """An attempt past its deadline is unknown, and no suspicion falls on it."""
    story = Story(abc()).start("a", alone=True).passes(12)
    assert (story.node("a").suspect_count, story.node("a").lone_death_count) == (0, 0)


def test_one_death_takes_every_node_of_the_process() -> None:
    """Both branches were open in it: both are suspects, a third in another process is not."""
    story = Story(saga_of(parallel(step("a"), step("b"), step("c"))))
    story.start("a", "b", worker="w1").start("c", worker="w2").dies("w1")
    assert [story.node(name).suspect_count for name in "abc"] == [1, 1, 0]
    assert story.phase("c") is NodePhase.OPEN


def test_a_compensation_that_kills_its_worker_is_poison_too() -> None:
    """Backward as forward; the entry is stuck and does not hold up the others."""
    story = Story(saga_of(step("a"), step("b"), step("c"))).does("a", "b").start("c").rejects("c")
    for alone in (False, False, True, True, True):
        story.start("b:c", alone=alone).dies()
    assert (story.status, story.halted, story.entries["b"]) == ("halted", HaltReason.POISON, "stuck")
    assert story.may_start == ["a:c"]


def test_a_death_where_repeats_are_not_safe_halts_at_once() -> None:
    """The call may have been made: elsewhere than at a barrier a person settles it."""
    story = Story(saga_of(step("a", at=provider))).start("a").dies()
    assert (story.status, story.halted) == ("halted", HaltReason.UNRESOLVED_EFFECT)


def test_deaths_cost_attempts() -> None:
    """A budget of two is spent by two deaths: the participant counts as down, and the step is tried again at once."""
    story = Story(saga_of(step("a", Kind.COMPENSATABLE, retry=TWO_TRIES))).start("a").dies().start("a").dies()
    assert (story.status, story.halted, story.may_start) == ("halted", HaltReason.PARTICIPANT_DOWN, ["a"])


def test_a_death_while_settling_holds_up_no_rollback() -> None:
    """The action is not attempted again, so it kills nobody any more: it is undone like any other of unknown effect."""
    story = Story(abc()).does("a")
    for alone in (False, False, True, True):
        story.start("b", alone=alone).dies()
    story.start("b", alone=True).cancel().dies()
    assert (story.status, story.plan, story.phase("b")) == ("compensating", ["b", "a"], NodePhase.CLOSED)
    assert story.undoes("b", "a").status == "compensated"
