"""Late successes that must not count although their node waits: nothing but evidence comes of them."""

import pytest

from saga.core.outcomes import OutcomeCode
from saga.core.states import NodePhase
from tests.unit.core.shop import abc
from tests.unit.core.story import Story


def test_a_late_success_of_an_attempt_that_was_taken_over_is_evidence() -> None:
    """The second attempt was lost as well and the node waits for a third; the answer of the first is that of nobody."""
    story = Story(abc()).start("a").loses_answer("a").try_again("a", OutcomeCode.UNKNOWN)
    before = story.state
    story.succeeds("a", epoch=1)
    assert (story.last_kinds, story.state) == (["evidence_kept"], before)
    assert (story.phase("a"), story.epoch("a")) == (NodePhase.BACKOFF, 2)


@pytest.mark.parametrize("code", [OutcomeCode.NOT_SENT, OutcomeCode.THROTTLED, OutcomeCode.DEFECT])
def test_a_success_after_another_outcome_of_its_attempt_is_evidence(code: OutcomeCode) -> None:
    """An attempt has one outcome: only one that was ended as unknown waits for another."""
    story = Story(abc()).start("a").ends("a", code)
    before = story.state
    story.succeeds("a")
    assert (story.last_kinds, story.state) == (["evidence_kept"], before)
