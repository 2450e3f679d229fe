"""A step whose undo needs the action's result, when the answer of the action was lost.

`make_plan` chooses by what the compensation asks for, by what the participant makes of a repeat, and by the effect; the table
below is all of it. An entry `repeat` sends the action's bytes again until they are answered, and then compensates.
"""

from typing import Any

import pytest

from saga.core.connector import Connector
from saga.core.definition import Kind, Saga, Step, parallel
from saga.core.outcomes import OutcomeCode
from saga.core.states import Effect, EntryState, HaltReason, NodePhase
from tests.unit.core.shop import TWO_TRIES, Done, Order, barrier, forgetful, provider, saga_of, step, undoing_by_result
from tests.unit.core.story import Story, change

replaying = Connector("replaying", keys="replay", rejected={402: "declined"})


def by_result(name: str, at: Connector = barrier, **options: Any) -> Step:
    """A compensatable step whose compensation takes the result."""
    return step(name, at=at, compensation=undoing_by_result(name, at), **options)


def by_order(name: str, at: Connector, **options: Any) -> Step:
    """A compensatable step whose compensation is a function that asks for the order alone, of an action without a result."""

    def act(order: Order) -> None:
        """Own work."""

    def undo(order: Order) -> None:
        """Own work."""

    if at.keys != "serialise":
        options = {"on_unknown": "halt", **options}
    return Step(name, Kind.COMPENSATABLE, act, compensation=undo, keys=at.keys, **options)


def lost(undo: Step, effect: Effect) -> Story:
    """`y` turned the saga round while `x` was in flight, and `x` then ended with that effect."""
    story = Story(saga_of(step("a"), parallel(undo, step("y")))).does("a").start("x", "y").rejects("y")
    if effect is Effect.APPLIED:
        story.succeeds("x")
    else:
        story.ends("x", OutcomeCode.UNKNOWN if effect is Effect.UNKNOWN else OutcomeCode.NOT_SENT)
    return story


MODES = {
    ("key", "serialise", Effect.UNKNOWN): "compensate",
    ("order", "serialise", Effect.UNKNOWN): "compensate",
    ("result", "serialise", Effect.UNKNOWN): "repeat",
    **{("result", keys, Effect.UNKNOWN): "settle" for keys in ("replay", "ignored")},
    **{("order", keys, Effect.UNKNOWN): "settle" for keys in ("replay", "ignored")},
    **{
        (undo, keys, Effect.APPLIED): "compensate"
        for undo in ("result", "order")
        for keys in ("serialise", "replay", "ignored")
    },
    ("key", "serialise", Effect.APPLIED): "compensate",
}
AT = {"serialise": barrier, "replay": replaying, "ignored": provider}


@pytest.mark.parametrize("effect", list(Effect))
@pytest.mark.parametrize("keys", list(AT))
@pytest.mark.parametrize("undo", ["key", "result", "order"])
def test_the_mode_of_an_entry(undo: str, keys: str, effect: Effect) -> None:
    """Every undo at every participant after every effect: absent is left out, and unknown is never compensated blind."""
    if undo == "key" and keys != "serialise":
        return  # an undo by key at another participant is refused when it is built
    at = AT[keys]
    made = {
        "key": lambda: step("x", at=at),
        "result": lambda: by_result("x", at),
        "order": lambda: by_order("x", at),
    }[undo]()
    story = lost(made, effect)
    wanted = MODES.get((undo, keys, effect))
    told = "x" if wanted == "compensate" else f"x ({wanted})"
    assert story.plan == ([] if wanted is None else [told]) + ["a"]


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
