"""A saga that is held, because its journal may lack what happened: nothing moves until a person lets it go."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from saga.core.connector import Connector
from saga.core.definition import Kind, Step, parallel
from saga.core.outcomes import OutcomeCode
from saga.core.states import HELD, Effect, EntryState, HaltReason, NodePhase
from saga.core.transitions import CancelRequested, RollbackRequested
from saga.surfaces.rollbacks import plan_faults
from tests.unit.core.shop import (
    TWO_TRIES,
    abc,
    barrier,
    forgetful,
    provider,
    saga_of,
    step,
    undoing_by_result,
    with_pivot,
)
from tests.unit.core.story import START_AT, Story, change


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
    """Written down, and obeyed as soon as something may move. `b` and `c` may have been sent and lost, so their keys are closed."""
    story = Story(abc()).does("a").holds().cancel()
    assert story.status == "halted"
    assert story.let_go().plan == ["c", "b", "a"]
    story.undoes("c", effects=()).undoes("b", effects=(change(sign=-1),)).undoes("a", effects=())
    assert (story.status, story.entries["c"], story.entries["b"]) == (
        "compensated",
        EntryState.NULL,
        EntryState.COMPENSATED,
    )


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


def beside_x(x: Step) -> Story:
    """`x` was not sent as far as the journal knows, beside a step that was rejected."""
    return Story(saga_of(step("a"), parallel(x, step("y")))).does("a").holds().let_go().start("y")


LOST_AT: dict[str, tuple[Callable[[], Step], str | None]] = {
    "undone by key": (lambda: step("x"), "compensate"),
    "undone by its result": (lambda: step("x", compensation=undoing_by_result("x", barrier)), "repeat"),
    "asks for a result": (lambda: step("x", compensation=undoing_by_result("x", barrier), asks="a"), "repeat"),
    "keys ignored": (lambda: step("x", at=provider), None),
}


@pytest.mark.parametrize("name", LOST_AT)
def test_what_a_journal_may_lack_enters_the_plan(name: str) -> None:
    """As one whose effect is unknown: by key it is undone blind, else it is sent again. Where keys are ignored whoever let it go
    has answered that it was not sent."""
    make, mode = LOST_AT[name]
    story = beside_x(make()).rejects("y")
    assert [(it.step, it.mode) for it in story.state.plan or ()] == [("x", mode)] * (mode is not None) + [
        ("a", "compensate")
    ]
    assert list(plan_faults(story.definition, story.journal)) == []
    if mode == "repeat":
        assert story.may_start == ["x"]
        assert story.does("x").undoes("x", "a").status == "compensated"


def test_what_asks_for_a_result_that_is_lost_is_settled() -> None:
    """Nobody can say what was sent; `b` itself may have been, and is undone by its key."""
    story = Story(saga_of(step("b"), step("x", compensation=undoing_by_result("x", barrier), asks="b")))
    story.holds().cancel().let_go()
    assert (story.plan, story.halted) == (["x (settle)", "b"], HaltReason.UNRESOLVED_EFFECT)
    assert list(plan_faults(story.definition, story.journal)) == []


def test_a_send_that_is_known_to_have_been_in_vain_may_not_be_the_last() -> None:
    """Throttled before the hold; the journal may lack the next attempt. Without a hold nothing was done."""

    def throttled() -> Story:
        return Story(abc()).does("a").start("b").ends("b", OutcomeCode.THROTTLED)

    assert throttled().cancel().plan == ["a"]
    assert throttled().holds().let_go().cancel().plan == ["c", "b", "a"]


def test_a_hold_in_a_rollback_adds_nothing_to_its_plan() -> None:
    """No action is sent after it turned round, so a backup of then lacks none. Of a damaged journal nobody knows what it lacks."""
    for why, plan in ((HaltReason.RESTORED, ["b", "a"]), (HaltReason.JOURNAL_DAMAGED, ["c", "b", "a"])):
        story = Story(abc()).does("a").start("b").cancel().holds(why).let_go().succeeds("b")
        assert (story.plan, list(plan_faults(story.definition, story.journal))) == (plan, [])
    frozen = Story(abc()).does("a").start("b").rejects("b")
    assert frozen.holds(HaltReason.JOURNAL_DAMAGED).let_go().plan == ["a"]


def test_a_halt_that_heals_forgets_nothing_of_the_hold() -> None:
    """The journal lacks what it lacked."""
    story = Story(saga_of(step("a", retry=TWO_TRIES), step("b"))).holds().let_go()
    story.start("a").loses_answer("a").try_again("a", OutcomeCode.UNKNOWN)
    assert story.halted is HaltReason.PARTICIPANT_DOWN
    assert story.try_again("a", OutcomeCode.SUCCEEDED).cancel().plan == ["b", "a"]


def test_what_a_no_proves_after_the_hold() -> None:
    """One under a key: that nothing was applied under it, and so nothing sent behind it. A readonly step answers anew each time, and a
    tombstone says only that there was a rollback."""

    def heard(first: Step, word: str) -> Story:
        return Story(saga_of(first, step("b"))).holds().let_go().start("a").rejects("a", word)

    for story, plan in (
        (heard(step("a"), "out_of_stock"), []),
        (heard(step("a"), "tombstoned"), ["b"]),
        (heard(step("a", Kind.READONLY), "suspected"), ["b"]),
    ):
        assert (story.plan, list(plan_faults(story.definition, story.journal))) == (plan, [])


@pytest.mark.parametrize(
    "books", [{}, {"is_past_return": True}, {"may_be_past_return": True}], ids=["no", "past", "maybe"]
)
def test_an_unknown_answer_does_not_turn_round_what_is_past_return(books: dict[str, bool]) -> None:
    """Three times the same answer that nobody foresaw, or a budget that was spent while it was held: for a person, though the step
    says compensate."""
    b = step("b", on_unknown="compensate")
    known = Story(saga_of(step("a"), b, step("p", Kind.PIVOT))).does("a").holds().let_go(**books)
    is_past = bool(books)
    for _ in range(3):
        known.passes(100).start("b").answers("b", "410")
    assert (known.state.cause is None, known.halted) == (is_past, HaltReason.UNRESOLVED_EFFECT if is_past else None)
    b = step("b", on_unknown="compensate", retry=TWO_TRIES)
    spent = Story(saga_of(step("a"), b, step("p", Kind.PIVOT))).does("a").start("b").loses_answer("b").passes(50)
    spent.start("b").holds().loses_answer("b").let_go(**books)
    assert (spent.state.cause is None) == is_past


def test_the_books_say_that_it_is_past_its_point_of_no_return() -> None:
    """Neither a cancel nor the deadline turns it round, though the journal has no attempt of the pivot; a "no" of the pivot does."""

    def known() -> Story:
        story = Story(saga_of(step("a"), step("p", Kind.PIVOT), deadline_s=60)).does("a").holds().cancel()
        return story.passes(1000).let_go(is_past_return=True)

    story = known()
    assert (story.status, story.last_kinds) == ("running", ["saga_resumed", "cancel_refused"])
    assert story.passes(1000).does("p").status == "completed"
    contradicted = known().start("p").rejects("p")
    assert (contradicted.halted, contradicted.state.cause) == (HaltReason.PIVOT_UNRESOLVED, None), (
        "books or answer are wrong"
    )
    assert contradicted.holds().let_go().halted is HaltReason.PIVOT_UNRESOLVED


def test_nobody_knows_whether_it_is_past_its_point_of_no_return() -> None:
    """A cancel and a spent budget wait for the pivot. Its "no" is the last word only where every copy hears it. The next let-go says anew
    what is known."""

    def unsure(at: Connector = barrier) -> Story:
        b = step("b", on_unknown="compensate", retry=TWO_TRIES)
        story = Story(saga_of(step("a"), b, step("p", Kind.PIVOT, at=at))).does("a").holds()
        return story.let_go(may_be_past_return=True)

    tired = unsure().start("b").loses_answer("b").try_again("b", OutcomeCode.UNKNOWN)
    assert (tired.state.cause, tired.halted) == (None, HaltReason.PARTICIPANT_DOWN)
    asked = unsure().does("b").cancel()
    assert asked.status == "running"
    assert asked.start("p").rejects("p").plan == ["b", "a"]
    assert unsure(forgetful).does("b").start("p").rejects("p").halted is HaltReason.PIVOT_UNRESOLVED
    assert unsure().holds().cancel().let_go().plan == ["b", "a"]


def test_the_books_have_nothing_of_the_pivot() -> None:
    """It was on its way; now it is sent again, or with a cancel the saga rolls back."""

    def known() -> Story:
        return Story(with_pivot()).does("a").start("p").holds()

    story = known().let_go(absent=("p:a",))
    assert (story.may_start, story.node("p").effect, story.node("p").deadline_at) == (["p"], Effect.ABSENT, None)
    assert known().cancel().let_go(absent=("p:a",)).plan == ["a"]
    assert known().cancel().let_go().plan is None, "or it waits for what becomes of it"


UNDONE = RollbackRequested(START_AT, "undone", "a", "the books of its participant have the undo of it")


def test_the_books_have_an_undo() -> None:
    """Nobody undoes before the saga has turned round: so it has, whatever its journal says and waits for."""
    story = Story(with_pivot()).does("a").start("p").loses_answer("p").holds().let_go(cause=UNDONE, absent=("p:a",))
    cause = story.state.cause
    assert cause is not None
    assert (cause.cause, cause.step, story.plan) == ("undone", "a", ["a"])
    assert story.undoes("a").status == "compensated"
    turned = Story(abc()).does("a").start("b").rejects("b").holds().let_go(cause=UNDONE)
    assert turned.last_kinds == ["saga_resumed"], "it had turned round before"


def test_what_the_books_show_as_not_done_is_not_undone() -> None:
    """Neither what the journal has as sent, nor what it does not have at all."""
    story = Story(abc()).does("a").start("b").holds().let_go(absent=("b:a", "c:a")).cancel()
    assert story.plan == ["a"]


def test_what_somebody_knows_of_the_lost_part_is_written_anew() -> None:
    """A cancel, which then turns it round as ever; one that the journal has is not written twice."""
    asked = CancelRequested(START_AT, "anna", "called")
    story = Story(abc()).does("a").holds().let_go(cancel=asked)
    assert (story.state.cancel and story.state.cancel.actor, story.status) == ("anna", "compensating")
    twice = Story(abc()).does("a").holds().cancel().let_go(cancel=asked)
    assert twice.state.cancel is not None
    assert twice.state.cancel.actor == "clerk"


def test_the_deadline_stands_still_from_what_the_journal_knows_last() -> None:
    """What was lost took its time, and so did whoever restored: none of that turns the saga round."""
    story = Story(abc(deadline_s=60)).does("a").passes(50)
    known_until = story.now
    story.now += timedelta(seconds=1000)
    story.holds(since=known_until).passes(1000).let_go()
    assert (story.status, story.passes(5).status) == ("running", "running")
    assert story.passes(10).status == "compensating"


def test_a_halt_that_heals_itself_heals_again() -> None:
    """The next attempt says how things stand."""
    story = Story(saga_of(step("a", retry=TWO_TRIES))).start("a").loses_answer("a").try_again("a", OutcomeCode.UNKNOWN)
    assert (story.halted, story.holds().let_go().halted) == (HaltReason.PARTICIPANT_DOWN, None)
    assert story.try_again("a", OutcomeCode.SUCCEEDED).status == "completed"


def test_a_retriable_that_failed_of_a_defect_stays_one() -> None:
    """The reason is read from what the node came to, whatever its kind."""
    story = Story(saga_of(step("a"), step("r", Kind.RETRIABLE))).does("a").start("r").ends("r", OutcomeCode.DEFECT)
    assert story.holds().let_go().halted is HaltReason.DEFECT


def declined_after_a_lost_answer() -> Story:
    """A pivot whose participant serialises keys and forgets its rejections: the first request may still take the money."""
    story = Story(with_pivot(at=forgetful)).does("a").start("p").loses_answer("p")
    return story.try_again("p", OutcomeCode.REJECTED, "declined")


def no_of_a_retriable_without_pivot() -> Story:
    """At its first try, so nothing was done; it must succeed all the same."""
    return Story(saga_of(step("a"), step("r", Kind.RETRIABLE))).does("a").start("r").rejects("r")


def defect_of_b() -> Story:
    """`a` is done; nobody knows what `b` did."""
    return Story(abc()).does("a").start("b").ends("b", OutcomeCode.DEFECT, "it broke")


def two_branches(first: str, second: str) -> Story:
    """One branch broke and waits for a person; the other heard a plain "no"."""
    story = Story(saga_of(step("z"), parallel(step("x"), step("y")))).does("z").start("x", "y")
    for name in (first, second):
        if name == "x":
            story.ends("x", OutcomeCode.DEFECT, "it broke")
        else:
            story.rejects("y")
    return story


def a_defect_then_a_lost_answer() -> Story:
    """`x` was started first and failed last: the halt names `y`."""
    story = Story(saga_of(parallel(step("x", at=provider), step("y")))).start("x", "y")
    return story.ends("y", OutcomeCode.DEFECT, "it broke").loses_answer("x")


def no_beside_a_retriable_in_flight() -> Story:
    """`q` said no while `r` might have been applied; then it turned out that `r` was not sent."""
    story = Story(saga_of(step("a"), parallel(step("q", Kind.READONLY), step("r", Kind.RETRIABLE)))).does("a")
    return story.start("q", "r").rejects("q").ends("r", OutcomeCode.NOT_SENT)


def to_be_settled() -> Story:
    """The plan holds an entry that a person must find out about."""
    story = Story(saga_of(parallel(step("x", at=provider), step("y")))).start("x", "y").rejects("y")
    return story.ends("x", OutcomeCode.DEFECT, "it broke")


STANDS: dict[str, tuple[Callable[[], Story], HaltReason]] = {
    "a pivot that may have charged": (declined_after_a_lost_answer, HaltReason.PIVOT_UNRESOLVED),
    "a retriable that must succeed": (no_of_a_retriable_without_pivot, HaltReason.RETRIABLE_REJECTED),
    "a defect and a cancel": (lambda: defect_of_b().cancel(), HaltReason.DEFECT),
    "a defect, then a no": (lambda: two_branches("x", "y"), HaltReason.DEFECT),
    "a defect, then a lost answer": (a_defect_then_a_lost_answer, HaltReason.DEFECT),
    "a no beside a retriable": (no_beside_a_retriable_in_flight, HaltReason.RETRIABLE_REJECTED),
    "an entry to be settled": (to_be_settled, HaltReason.UNRESOLVED_EFFECT),
}


@pytest.mark.parametrize("what", list(STANDS))
def test_what_waited_for_a_person_is_not_rolled_back_by_letting_it_go(what: str) -> None:
    """To the very halt that it was in: reason, node and words. Neither a cancel nor a sibling's "no" turns it round."""
    build, reason = STANDS[what]
    story = build()
    before = story.state
    assert story.halted is reason
    story.holds().let_go()
    assert story.last_kinds == ["saga_resumed", "saga_halted"]
    assert (story.state.halt, story.state.plan, story.state.cause) == (before.halt, before.plan, before.cause)


def held_in_two_branches() -> Story:
    """Held while `x` and `y` were in flight: one heard "no", the other broke, the customer called."""
    story = Story(saga_of(step("z"), parallel(step("x"), step("y")))).does("z").start("x", "y").holds()
    return story.rejects("y").cancel().ends("x", OutcomeCode.DEFECT, "it broke")


def held_at_the_pivot() -> Story:
    """Held while a pivot was asked again after a lost answer, at a participant that forgets its rejections."""
    story = Story(with_pivot(at=forgetful)).does("a").start("p").loses_answer("p").waits_for("p").start("p")
    return story.holds().rejects("p")


def held_at_a_retriable() -> Story:
    """Held while a retriable of a saga without a pivot was in flight; it was rejected at its first try."""
    return Story(saga_of(step("a"), step("r", Kind.RETRIABLE))).does("a").start("r").holds().rejects("r")


CAME: dict[str, tuple[Callable[[], Story], HaltReason]] = {
    "a branch": (held_in_two_branches, HaltReason.DEFECT),
    "a pivot": (held_at_the_pivot, HaltReason.PIVOT_UNRESOLVED),
    "a retriable": (held_at_a_retriable, HaltReason.RETRIABLE_REJECTED),
}


@pytest.mark.parametrize("what", list(CAME))
def test_what_came_to_wait_for_a_person_while_it_was_held_does_not_turn_round(what: str) -> None:
    """The answers came in between: what a person must settle stands before a "no" of another branch and before a cancel."""
    build, reason = CAME[what]
    story = build().let_go()
    assert (story.status, story.halted, story.plan) == ("halted", reason, None)


def test_a_lost_answer_whose_step_says_compensate_turns_it_round() -> None:
    """Its budget was spent while the saga was held: nobody waits for a person."""
    definition = saga_of(step("a"), step("b", on_unknown="compensate", retry=TWO_TRIES))
    story = Story(definition).does("a").start("b").loses_answer("b").waits_for("b").start("b").holds().loses_answer("b")
    assert (story.status, story.phase("b")) == ("halted", NodePhase.FAILED)
    assert story.let_go().plan == ["b", "a"]


def test_a_readonly_step_whose_budget_is_spent_turns_it_round_and_one_that_answers_oddly_does_not() -> None:
    """As without the hold: `on_unknown="compensate"` is for a step that nobody answers."""
    definition = saga_of(step("a"), step("q", Kind.READONLY, on_unknown="compensate", retry=TWO_TRIES))
    silent = (
        Story(definition).does("a").start("q").loses_answer("q").waits_for("q").start("q").holds().loses_answer("q")
    )
    assert silent.let_go().plan == ["a"]
    odd = Story(saga_of(step("a"), step("q", Kind.READONLY, on_unknown="compensate"))).does("a")
    for _ in range(2):
        odd.start("q").answers("q", "HTTP 409 gone").waits_for("q")
    odd.start("q").holds().answers("q", "HTTP 409 gone").let_go()
    assert (odd.halted, odd.plan) == (HaltReason.UNRESOLVED_EFFECT, None)


def test_a_lost_answer_that_came_while_it_was_held_is_what_everybody_waited_for() -> None:
    """The pivot took the money after all: forward, with nobody waiting for a person."""
    story = Story(with_pivot(at=provider)).does("a").start("p").loses_answer("p").holds().succeeds("p").let_go()
    assert (story.status, story.may_start) == ("running", ["r"])


def test_a_defect_that_came_while_a_participant_was_down_is_told() -> None:
    """The halt that healed itself is not what it waits for any more."""
    story = Story(saga_of(step("a", retry=TWO_TRIES))).start("a").loses_answer("a").try_again("a", OutcomeCode.UNKNOWN)
    story.waits_for("a").start("a").holds().ends("a", OutcomeCode.DEFECT, "it broke").let_go()
    assert story.halted is HaltReason.DEFECT


def test_what_failed_of_a_rollback_while_it_was_held_waits_for_a_person() -> None:
    """An undo, and an action that the plan repeats; a repeat that proved that nothing was done does not."""
    undo = Story(abc()).does("a").start("b").rejects("b").start("a:c").holds().rejects("a:c").let_go()
    assert undo.state.halt is not None
    assert (undo.halted, undo.state.halt.node) == (HaltReason.UNRESOLVED_EFFECT, "a:c")
    for at, status in ((forgetful, "halted"), (barrier, "compensated")):
        x = step("x", at=at, compensation=undoing_by_result("x", at))
        story = Story(saga_of(x)).start("x").loses_answer("x").cancel().start("x").holds().rejects("x").let_go()
        assert story.status == status
