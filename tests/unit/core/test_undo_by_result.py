"""A step whose compensation is no undo by key, when the answer of the action was lost.

`make_plan` chooses by what the compensation is, by what the participant makes of a repeat, and by the effect; the table
below is all of it. An entry `repeat` sends the action's bytes again until they are answered, and then compensates.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from saga.core.connector import Connector
from saga.core.definition import Saga, Step, parallel
from saga.core.outcomes import OutcomeCode
from saga.core.retry import RetryPolicy
from saga.core.states import Effect, EntryState, HaltReason, NodePhase
from saga.errors import DefinitionError
from tests.unit.core.shop import (
    TWO_TRIES,
    Done,
    Order,
    barrier,
    by_order,
    forgetful,
    provider,
    saga_of,
    step,
    undoing_by_result,
)
from tests.unit.core.story import Story, change

replaying = Connector("replaying", keys="replay", rejected={402: "declined"})


def by_result(name: str, at: Connector = barrier, **options: Any) -> Step:
    """A compensatable step whose compensation takes the result."""
    return step(name, at=at, compensation=undoing_by_result(name, at), **options)


def lost(undo: Step, effect: Effect) -> Story:
    """`y` turned the saga round while `x` was in flight, and `x` then ended with that effect."""
    story = Story(saga_of(step("a"), parallel(undo, step("y")))).does("a").start("x", "y").rejects("y")
    if effect is Effect.APPLIED:
        story.succeeds("x")
    else:
        story.ends("x", OutcomeCode.UNKNOWN if effect is Effect.UNKNOWN else OutcomeCode.NOT_SENT)
    return story


AT = {"serialise": barrier, "replay": replaying, "ignored": provider}
UNKNOWN_AT = {
    ("key", "serialise"): "compensate",
    ("result", "serialise"): "repeat",
    ("result", "replay"): "settle",
    ("result", "ignored"): "settle",
    ("order", "serialise"): "repeat",
    ("order", "replay"): "settle",
    ("order", "ignored"): "settle",
}
"""What becomes of an entry whose effect is unknown. An undo by key elsewhere does not exist: the next test but one."""
UNDOES: dict[str, Callable[[str, Connector], Step]] = {
    "key": lambda name, at: step(name, at=at),
    "result": by_result,
    "order": lambda name, at: by_order(name, at.keys),
}


@pytest.mark.parametrize("effect", list(Effect))
@pytest.mark.parametrize(("undo", "keys"), list(UNKNOWN_AT))
def test_the_mode_of_an_entry(undo: str, keys: str, effect: Effect) -> None:
    """Every undo at every participant after every effect: absent is left out, and unknown is never compensated blind."""
    mode = {Effect.APPLIED: "compensate", Effect.UNKNOWN: UNKNOWN_AT[undo, keys], Effect.ABSENT: None}[effect]
    x = lost(UNDOES[undo]("x", AT[keys]), effect)
    assert [(it.step, it.mode) for it in x.state.plan or ()] == [("x", mode)] * (mode is not None) + [
        ("a", "compensate")
    ]


def test_the_cases_are_all_that_can_be_built() -> None:
    """Each undo at each participant, but for the two that are refused when they are built."""
    refused = set(product(UNDOES, AT)) - UNKNOWN_AT.keys()
    assert refused == {("key", "replay"), ("key", "ignored")}
    for _, keys in refused:
        ask = AT[keys].post("/x", Order, Done)
        with pytest.raises(DefinitionError, match="an undo by key needs keys='serialise'"):
            AT[keys].undo("/x/undo", of=ask)


def test_a_function_that_was_paused_is_settled_before_it_is_undone() -> None:
    """Its worker was taken for dead and wakes up last. Undone blind it would be applied behind its own compensation; the
    repeat has its effect before that, under the same key, and what wakes up finds the key used."""
    story = Story(saga_of(by_order("x"), step("b"))).start("x").dies().cancel()
    assert (story.plan, story.may_start) == (["x (repeat)"], ["x"])
    story.start("x", worker="w2").succeeds("x").undoes("x").succeeds("x", epoch=1)
    assert (story.status, story.last_kinds) == ("compensated", ["evidence_kept"])
    assert story.attempted() == ["x", "x", "x:c"]


def test_a_repeat_has_the_whole_budget_of_a_compensation() -> None:
    """What the action had used up forward is no reason to call its entry stuck at the first answer that is lost again."""
    policy = RetryPolicy(max_attempts=5, max_elapsed_s=10_000.0, base_s=1.0, cap_s=8.0)
    x = by_result("x", on_unknown="compensate", retry=TWO_TRIES, compensation_retry=policy)
    story = Story(saga_of(step("a"), x, step("b"))).does("a").start("x").loses_answer("x")
    story.try_again("x", OutcomeCode.UNKNOWN)
    assert (story.plan, story.node("x").spent) == (["x (repeat)", "a"], False)
    story.try_again("x", OutcomeCode.UNKNOWN)
    assert (story.status, story.halted, story.entries["x"]) == ("compensating", None, EntryState.OPEN)


def test_the_action_is_repeated_and_then_undone_by_its_result() -> None:
    """The same bytes, the same key, a higher epoch; the compensation has its result and the effects net to zero."""
    story = lost(by_result("x"), Effect.UNKNOWN)
    assert (story.plan, story.may_start) == (["x (repeat)", "a"], ["x"])
    before = story.node("x")
    story.start("x").succeeds("x", effects=(change(),))
    after = story.node("x")
    assert (after.request, after.wire_key, after.epoch) == (before.request, before.wire_key, before.epoch + 1)
    assert (after.result is not None, story.entries["x"], story.may_start) == (True, "open", ["x:c"])
    assert story.undoes("x", effects=(change(sign=-1),)).undoes("a").status == "compensated"
    assert story.entries == {"x": "compensated", "a": "compensated"}


def test_a_repeat_that_is_rejected_proves_that_nothing_was_done() -> None:
    """Every copy hears the same answer, so the lost one was this "no"."""
    story = lost(by_result("x"), Effect.UNKNOWN).start("x").rejects("x")
    assert (story.node("x").effect, story.entries["x"], story.may_start) == (Effect.ABSENT, "null", ["a:c"])
    assert story.undoes("a").status == "compensated"
    assert "x:c" not in story.attempted()


def test_a_rejection_proves_nothing_where_rejections_are_forgotten() -> None:
    """The lost first copy may still be applied: a person finds out, and unrelated entries go on."""
    story = lost(by_result("x", forgetful), Effect.UNKNOWN).start("x").rejects("x")
    assert (story.halted, story.entries, story.may_start) == (
        HaltReason.UNRESOLVED_EFFECT, {"x": "stuck", "a": "open"}, ["a:c"],
    )  # fmt: skip


def test_a_repeat_is_tried_until_it_is_answered() -> None:
    """The budget of a compensation pages a person; it goes on at the cap, and leaves the halt by itself."""
    story = lost(by_result("x", compensation_retry=TWO_TRIES), Effect.UNKNOWN)
    story.try_again("x", OutcomeCode.UNKNOWN).try_again("x", OutcomeCode.NOT_SENT)
    assert (story.halted, story.entries["x"]) == (HaltReason.COMPENSATION_RETRYING, EntryState.STUCK)
    story.try_again("x", OutcomeCode.SUCCEEDED)
    assert (story.halted, story.entries["x"]) == (None, EntryState.OPEN)
    assert story.undoes("x", "a").status == "compensated"


@pytest.mark.parametrize(("code", "reason"), [(OutcomeCode.DEFECT, HaltReason.DEFECT), (OutcomeCode.PENDING, None)])
def test_other_ends_of_a_repeat(code: OutcomeCode, reason: HaltReason | None) -> None:
    """A defect is for a person; what is pending is waited for, and asked for again after its deadline."""
    story = lost(by_result("x", pending_s=50.0), Effect.UNKNOWN).start("x").ends("x", code)
    assert story.halted is reason
    if reason is None:
        assert story.passes(50).phase("x") is NodePhase.BACKOFF


def test_an_answer_that_nobody_listed_ends_a_repeat_at_the_third_time() -> None:
    """As forward: the participant's own word is for a person."""
    story = lost(by_result("x"), Effect.UNKNOWN)
    for _ in range(3):
        assert story.halted is None
        story.waits_for("x").start("x").answers("x", "HTTP 409 gone")
    assert (story.halted, story.entries["x"]) == (HaltReason.UNRESOLVED_EFFECT, EntryState.STUCK)


def test_answers_from_before_the_saga_turned_round_do_not_count_in_a_repeat() -> None:
    """It had been said twice when the order was cancelled; the repeat asks three times itself."""
    story = Story(saga_of(by_result("x"), step("b"))).start("x").answers("x", "HTTP 409 gone")
    story.waits_for("x").start("x").answers("x", "HTTP 409 gone").cancel()
    story.waits_for("x").start("x").answers("x", "HTTP 409 gone")
    assert (story.plan, story.halted, story.phase("x")) == (["x (repeat)"], None, NodePhase.BACKOFF)


def test_a_worker_that_dies_in_a_repeat_is_followed_by_another() -> None:
    """A death is an unknown outcome, tried again at once."""
    story = lost(by_result("x"), Effect.UNKNOWN).start("x").dies()
    assert story.may_start == ["x"]
    assert story.does("x").undoes("x", "a").status == "compensated"


def test_a_lost_answer_at_the_end_of_its_budget_is_repeated_too() -> None:
    """`on_unknown="compensate"` failed the node; the plan asks for its answer once more."""
    definition: Saga[Order] = saga_of(by_result("x", on_unknown="compensate", retry=TWO_TRIES), step("b"))
    story = Story(definition).start("x").loses_answer("x").try_again("x", OutcomeCode.UNKNOWN)
    assert (story.status, story.plan) == ("compensating", ["x (repeat)"])
    assert story.does("x").undoes("x").status == "compensated"


def test_results_are_what_the_steps_answer() -> None:
    """The stand-in's model, so that a payload of a story is one."""
    assert Done().model_dump_json() == '{"done":true}'
