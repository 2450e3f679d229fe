"""A saga without a pivot: up to its first retriable step everything can be undone, from there on it goes forward only."""

from saga.core.definition import Kind, parallel
from saga.core.outcomes import OutcomeCode
from saga.core.states import HaltReason
from tests.unit.core.shop import TWO_TRIES, saga_of, step
from tests.unit.core.story import Story, change


def story_of(**options: float) -> Story:
    """`a` compensatable, `r` retriable, `q` readonly, and no pivot."""
    return Story(saga_of(step("a"), step("r", Kind.RETRIABLE), step("q", Kind.READONLY), **options))


def test_it_completes_without_a_pivot() -> None:
    """Compensatable steps, then retriable and readonly ones."""
    assert story_of().does("a", "r", "q").status == "completed"


def test_before_the_first_retriable_a_cancel_rolls_back() -> None:
    """Nothing has been done that cannot be undone."""
    assert story_of().does("a").cancel().undoes("a").status == "compensated"


def test_a_rejected_retriable_halts() -> None:
    """A retriable step must in the end succeed, with a pivot or without."""
    story = story_of().does("a").start("r").rejects("r")
    assert (story.status, story.halted, story.plan) == ("halted", HaltReason.RETRIABLE_REJECTED, None)


def test_a_cancel_after_a_retriable_has_no_effect() -> None:
    """Rolling back what stood before it would leave the retriable's effect in a saga that says compensated."""
    story = story_of().does("a").does("r", effects=(change(),)).cancel()
    assert (story.status, story.plan) == ("running", None)


def test_a_cancel_while_a_retriable_is_in_flight_waits_for_it() -> None:
    """As at a pivot: its outcome decides."""
    story = story_of().does("a").start("r").cancel()
    assert (story.status, story.state.cause) == ("running", None)


def test_the_deadline_has_nothing_to_say_after_a_retriable() -> None:
    """The deadline bounds the time in which the saga can turn round."""
    assert story_of(deadline_s=60.0).does("a", "r").passes(60).plan is None


def test_a_rejected_readonly_behind_a_retriable_halts() -> None:
    """As behind a pivot."""
    story = story_of().does("a", "r").start("q").rejects("q")
    assert (story.status, story.halted) == ("halted", HaltReason.RETRIABLE_REJECTED)


def test_a_rejected_readonly_beside_a_retriable_rolls_nothing_back() -> None:
    """The sibling's effect would stay in a saga that says compensated."""
    story = Story(saga_of(step("a"), parallel(step("r", Kind.RETRIABLE), step("q", Kind.READONLY)))).does("a")
    assert story.start("r", "q").succeeds("r").rejects("q").plan is None


def test_an_unknown_readonly_beside_a_retriable_rolls_nothing_back() -> None:
    """Neither does `on_unknown="compensate"` turn round what cannot be undone."""
    beside = step("q", Kind.READONLY, on_unknown="compensate", retry=TWO_TRIES)
    story = Story(saga_of(step("a"), parallel(step("r", Kind.RETRIABLE), beside))).does("a", "r").start("q")
    story.loses_answer("q").try_again("q", OutcomeCode.UNKNOWN)
    assert (story.status, story.halted, story.plan) == ("halted", HaltReason.PARTICIPANT_DOWN, None)
