"""Twelve scenarios that any saga engine should pass, told of the pure machine; each is one test, in one order."""

from saga.core.definition import Kind, parallel
from saga.core.fold import replay
from saga.core.outcomes import OutcomeCode
from saga.core.states import HaltReason
from tests.unit.core.shop import TWO_TRIES, provider, saga_of, step, with_pivot
from tests.unit.core.story import Story, change


def four() -> Story:
    """`a`, `b`, `c`, `d`, one after another."""
    return Story(saga_of(*(step(name) for name in "abcd")))


def test_01_nothing_is_undone_on_success() -> None:
    """Each action once, no compensation, no plan."""
    story = four().does(*"abcd")
    assert (story.status, story.plan, story.attempted()) == ("completed", None, list("abcd"))


def test_02_failure_at_d_undoes_c_b_a_exactly_once() -> None:
    """Last first, each once."""
    story = four().does(*"abc").start("d").rejects("d").undoes(*"cba")
    assert (story.status, story.attempted()) == ("compensated", [*"abcd", "c:c", "b:c", "a:c"])


def test_03_failure_at_c_never_calls_d() -> None:
    """Nothing behind the failure starts."""
    story = four().does(*"ab").start("c").rejects("c").undoes(*"ba")
    assert (story.status, "d" in story.attempted()) == ("compensated", False)


def test_04_failure_at_a_undoes_nothing() -> None:
    """No compensation runs."""
    story = four().start("a").rejects("a")
    assert (story.status, story.attempted()) == ("compensated", ["a"])


def test_05_an_undo_is_retried_without_a_double_effect() -> None:
    """Every attempt of the undo goes under one key with one request, and its effect is counted once."""
    story = four().does("a", effects=(change(2),)).start("b").rejects("b")
    story.start("a:c").loses_answer("a:c")
    key, request = story.node("a:c").wire_key, story.node("a:c").request
    story.try_again("a:c", OutcomeCode.SUCCEEDED)
    assert (story.node("a:c").wire_key, story.node("a:c").request) == (key, request)
    assert (story.status, story.state.net_effects(), story.epoch("a:c")) == ("compensated", {}, 2)


def test_06_a_definitive_failure_of_an_undo_is_terminal_and_named() -> None:
    """The engine stops trying and the state says which node, why, and what the participant answered."""
    story = four().does("a").start("b").rejects("b").start("a:c").rejects("a:c", "already shipped")
    assert story.state.halt is not None
    halt = story.state.halt
    assert (halt.reason, halt.node, halt.detail) == (HaltReason.UNRESOLVED_EFFECT, "a:c", "already shipped")
    assert (story.may_start, story.due) == ([], None)


def test_07_killed_in_mid_undo_resumes_the_same_undo() -> None:
    """The plan is in the journal: another process reads it and goes on at the first open entry, under the same key."""
    story = four().does(*"abc").start("d").rejects("d").undoes("c").start("b:c", worker="w1")
    key = story.node("b:c").key
    story.dies("w1")
    story.state = replay(story.journal)
    assert (story.entries, story.may_start) == ({"c": "compensated", "b": "open", "a": "open"}, ["b:c"])
    story.undoes("b", "a")
    assert (story.status, story.node("b:c").key) == ("compensated", key)


def test_08_a_typed_error_survives() -> None:
    """The business code of a rejection reaches the cause, the node and whoever replays the journal."""
    story = four().does("a").start("b").rejects("b", "insufficient_funds")
    state = replay(story.journal)
    assert state.cause is not None
    assert (state.cause.cause, state.cause.step, state.cause.detail) == ("rejected", "b", "insufficient_funds")
    assert (state.node("b:a").code, state.node("b:a").detail) == (OutcomeCode.REJECTED, "insufficient_funds")


def test_09_the_operator_sees_completed_running_pending_and_failed_undo() -> None:
    """Each of the four is one look at the state: entries of the plan and phases of their nodes."""
    story = Story(saga_of(*(step(name, compensation_retry=TWO_TRIES) for name in "abcde")))
    story.does(*"abcd").start("e").rejects("e").undoes("d").start("c:c").rejects("c:c").start("b:c")
    assert story.entries == {"d": "compensated", "c": "stuck", "b": "open", "a": "open"}
    assert [story.phase(f"{name}:c").value for name in "dcba"] == ["done", "failed", "open", "waiting"]


def test_10_cancel_compensates() -> None:
    """A cancelled order is compensated with cause cancelled."""
    story = four().does(*"ab").cancel().undoes("b", "a")
    assert story.state.cause is not None
    assert (story.status, story.state.cause.cause) == ("compensated", "cancelled")


def test_11_the_pivot_stops_undo() -> None:
    """Behind it neither a cancel nor a rejection nor a defect undoes anything."""
    story = Story(with_pivot()).does("a", "p").cancel().start("r").rejects("r")
    assert (story.status, story.plan, story.attempted()) == ("halted", None, ["a", "p", "r"])
    broken = Story(with_pivot()).does("a", "p").breaks("r")
    assert (broken.status, broken.plan) == ("halted", None)


def test_12_unknown_is_settled_before_undo() -> None:
    """At a barrier the undo leaves a tombstone and may go at once; elsewhere nothing is undone on a guess."""
    story = Story(saga_of(parallel(step("a"), step("x", at=provider), step("q", Kind.READONLY)), step("p", Kind.PIVOT)))
    story.start("a", "x", "q").rejects("q").loses_answer("a").loses_answer("x")
    assert (story.plan, story.may_start) == (["x (settle)", "a"], ["a:c"])
    assert story.halted is HaltReason.UNRESOLVED_EFFECT
