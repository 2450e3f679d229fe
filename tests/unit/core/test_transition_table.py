"""`STATUS_AFTER`, exhaustively: what stands in it is taken, what is missing is refused and changes nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from saga.core import transitions as t
from saga.core.fold import Halt, SagaState, evolve, replay
from saga.core.outcomes import OutcomeCode, Payload
from saga.core.states import STATUS_AFTER, Effect, HaltReason, NodePhase, SagaStatus
from saga.errors import IllegalTransition
from tests.unit.core.shop import abc
from tests.unit.core.story import START_AT, Story

SAMPLES: dict[str, t.Transition] = {
    it.kind: it
    for it in (
        t.SagaAccepted(START_AT, "s-1", "shop", 1, "f" * 64, "test", "shop", "order-1", 1, Payload("{}")),
        t.AttemptStarted(START_AT, "a:a", 1, "w1", START_AT),
        t.AttemptEnded(START_AT, "a:a", 1, OutcomeCode.SUCCEEDED, NodePhase.DONE, Effect.APPLIED),
        t.StepBroke(START_AT, "a:a", "KeyError"),
        t.EvidenceKept(START_AT, "a:a", 1, OutcomeCode.SUCCEEDED),
        t.CancelRequested(START_AT, "clerk", "reason"),
        t.CancelRefused(START_AT),
        t.RollbackRequested(START_AT, "cancelled"),
        t.PlanFrozen(START_AT, ()),
        t.SagaHalted(START_AT, HaltReason.DEFECT, "a:a", "detail"),
        t.SagaResumed(START_AT),
        t.SagaCompleted(START_AT),
        t.SagaCompensated(START_AT),
    )
}
PAIRS = [(status, kind) for status in SagaStatus for kind in t.KINDS]
MISSING = [pair for pair in PAIRS if pair not in STATUS_AFTER]
PRESENT = [pair for pair in PAIRS if pair in STATUS_AFTER]


def in_status(status: SagaStatus) -> SagaState:
    """A state of that status as the machine makes it."""
    stories = {
        SagaStatus.RUNNING: Story(abc()).start("a"),
        SagaStatus.COMPENSATING: Story(abc()).does("a").start("b").cancel(),
        SagaStatus.HALTED: Story(abc()).breaks("a"),
        SagaStatus.COMPLETED: Story(abc()).does("a", "b", "c"),
        SagaStatus.COMPENSATED: Story(abc()).cancel(),
    }
    state = stories[status].state
    assert state.status is status
    return state


def test_there_is_a_sample_of_every_kind() -> None:
    """A new transition cannot be left out of this file."""
    assert SAMPLES.keys() == t.KINDS.keys()


@pytest.mark.parametrize(("status", "kind"), MISSING, ids=str)
def test_a_missing_pair_is_refused_and_changes_nothing(status: SagaStatus, kind: str) -> None:
    """The missing key is the illegal transition; a refused one leaves the state as it was."""
    state = in_status(status)
    copy = replace(state, nodes=dict(state.nodes))
    with pytest.raises(IllegalTransition) as refused:
        evolve(state, SAMPLES[kind])
    assert state == copy
    assert (refused.value.saga_id, refused.value.status, refused.value.transition) == ("s-1", status, kind)
    assert f"no transition {kind} from {status}" in str(refused.value)


@pytest.mark.parametrize(("status", "kind"), PRESENT, ids=str)
def test_a_present_pair_leads_where_the_table_says(status: SagaStatus, kind: str) -> None:
    """`evolve` takes the status from the table; the state that went in stays as it was."""
    state = in_status(status)
    copy = replace(state, nodes=dict(state.nodes))
    assert evolve(state, SAMPLES[kind]).status is STATUS_AFTER[status, kind]
    assert state == copy


def test_ended_sagas_take_evidence_and_nothing_else() -> None:
    """At most one terminal transition: nothing leads out of the two ends."""
    for status in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED):
        assert [kind for of, kind in STATUS_AFTER if of is status] == ["evidence_kept"]


def test_resuming_goes_back_to_the_status_that_was_halted() -> None:
    """Halted in the middle of a rollback is compensating afterwards, never running."""
    story = Story(abc()).does("a").cancel()
    halted = evolve(story.state, SAMPLES["saga_halted"])
    assert halted.halt == Halt(HaltReason.DEFECT, START_AT, SagaStatus.COMPENSATING, "a:a", "detail")
    resumed = evolve(halted, SAMPLES["saga_resumed"])
    assert (resumed.status, resumed.halt) == (SagaStatus.COMPENSATING, None)


def test_a_halted_status_without_a_halt_cannot_be_resumed() -> None:
    """A state that no journal can make is refused like any other illegal transition."""
    with pytest.raises(IllegalTransition, match="no transition saga_resumed"):
        evolve(replace(in_status(SagaStatus.HALTED), halt=None), SAMPLES["saga_resumed"])


def test_a_journal_begins_with_accepted() -> None:
    """Anything else, or nothing, is no journal of a saga."""
    with pytest.raises(IllegalTransition, match="an empty journal"):
        replay([])
    with pytest.raises(IllegalTransition, match="cancel_refused"):
        replay([SAMPLES["cancel_refused"]])
    with pytest.raises(IllegalTransition, match="saga_accepted from running"):
        replay([SAMPLES["saga_accepted"], SAMPLES["saga_accepted"]])


def test_evolve_keeps_the_deadline_of_a_saga_that_has_none() -> None:
    """Resuming shifts a deadline by the time that was halted, and invents none."""
    halted = in_status(SagaStatus.HALTED)
    later = t.SagaResumed(START_AT + timedelta(hours=1))
    assert evolve(halted, later).deadline_at is None
    with_deadline = replace(halted, deadline_at=START_AT)
    assert evolve(with_deadline, later).deadline_at == START_AT + timedelta(hours=1)
