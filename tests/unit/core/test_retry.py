"""Backoff: the same on every machine, within its bounds, spread; and a budget that cannot be nonsense."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.core.retry import ACTION_RETRY, COMPENSATION_RETRY, RetryPolicy

GOLDEN = [0.232304, 0.156552, 1.788493, 25.811679]


def test_jitter_is_the_same_on_every_machine() -> None:
    """The instants of a journal can be computed again: these numbers must never change."""
    assert [round(ACTION_RETRY.delay_s("s-1", "a:a", epoch), 6) for epoch in (1, 2, 3, 20)] == GOLDEN


@given(st.text(), st.text(), st.integers(min_value=1, max_value=10_000))
def test_the_delay_stays_within_the_capped_exponential(saga_id: str, node: str, epoch: int) -> None:
    """Full jitter: between nothing and min(cap, base * 2 ** (attempt - 1)), for any number of attempts."""
    policy = RetryPolicy(base_s=0.5, cap_s=60.0)
    assert 0.0 <= policy.delay_s(saga_id, node, epoch) <= min(60.0, 0.5 * 2.0 ** min(epoch - 1, 100))


def test_sagas_nodes_and_attempts_do_not_wait_in_step() -> None:
    """A herd that failed together comes back spread: the mean of full jitter is half the ceiling."""
    delays = [ACTION_RETRY.delay_s(f"s-{number}", "a:a", 20) for number in range(1000)]
    assert len(set(delays)) == 1000
    assert 27.0 < sum(delays) / 1000 < 33.0
    assert ACTION_RETRY.delay_s("s-1", "a:a", 20) != ACTION_RETRY.delay_s("s-1", "a:c", 20)


def test_the_budget_is_spent_by_attempts_or_by_time() -> None:
    """Whichever comes first, and exactly at its bound."""
    policy = RetryPolicy(max_attempts=3, max_elapsed_s=10.0)
    assert [policy.is_spent(attempts, 0.0) for attempts in (2, 3)] == [False, True]
    assert [policy.is_spent(0, elapsed_s) for elapsed_s in (9.9, 10.0)] == [False, True]


def test_compensations_wait_longer() -> None:
    """A compensation has its own budget, and a cap of five minutes (DESIGN section 5)."""
    assert (ACTION_RETRY.cap_s, COMPENSATION_RETRY.cap_s) == (60.0, 300.0)
    assert COMPENSATION_RETRY.max_attempts > ACTION_RETRY.max_attempts


@pytest.mark.parametrize(
    "wrong", [{"max_attempts": 0}, {"max_elapsed_s": 0.0}, {"base_s": 0.0}, {"base_s": 61.0}, {"cap_s": 0.1}]
)
def test_a_policy_that_cannot_be_kept_is_refused(wrong: dict[str, Any]) -> None:
    """No attempt, no time, no wait or a base above the cap: the message says what is needed."""
    with pytest.raises(ValueError, match=r"needs max_attempts >= 1, max_elapsed_s > 0 and 0 < base_s <= cap_s"):
        replace(ACTION_RETRY, **wrong)
