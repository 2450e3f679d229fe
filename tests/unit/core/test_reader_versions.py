"""Which release can read an entry of the journal: one that came before a word of it must leave the saga alone."""

from collections.abc import Callable

import pytest

from saga.core.definition import Step
from saga.core.states import HaltReason
from saga.core.transitions import min_reader_version
from tests.unit.core.shop import abc, barrier, provider, saga_of, step, undoing_by_result, with_pivot
from tests.unit.core.story import Story


def lost(x: Step) -> Story:
    """`x` is in the air when the saga turns round."""
    return Story(saga_of(x, step("b"))).start("x").cancel().loses_answer("x")


SECOND: dict[str, Callable[[], Story]] = {
    "a plan that repeats": lambda: lost(step("x", compensation=undoing_by_result("x", barrier))),
    "an answer that nobody listed": lambda: Story(abc()).start("a").answers("a", "HTTP 409 gone"),
    "a restored journal": lambda: Story(abc()).holds(HaltReason.RESTORED),
    "a damaged journal": lambda: Story(abc()).holds(HaltReason.JOURNAL_DAMAGED),
}
FIRST: dict[str, Callable[[], Story]] = {
    "a plan that compensates": lambda: lost(step("x")),
    "a plan that settles": lambda: lost(step("x", at=provider)),
    "a lost answer": lambda: Story(abc()).start("a").loses_answer("a"),
    "an answer that is listed": lambda: Story(abc()).does("a").start("b").rejects("b"),
    "a halt in front of a person": lambda: Story(with_pivot()).does("a", "p").start("r").rejects("r"),
}


@pytest.mark.parametrize("what", list(SECOND))
def test_an_older_release_leaves_alone_what_it_has_no_word_for(what: str) -> None:
    """It would take a repeat for an undo, count an answer anew, or send what is held."""
    assert min_reader_version(SECOND[what]().last) == 2


@pytest.mark.parametrize("what", list(FIRST))
def test_an_older_release_goes_on_with_the_rest(what: str) -> None:
    """A new release beside an old one takes no more away from it than it must."""
    assert min_reader_version(FIRST[what]().last) == 1
