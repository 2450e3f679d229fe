"""Backoff: the same on every machine, within its bounds, spread; and a budget that cannot be nonsense."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.core.retry import ACTION_RETRY, COMPENSATION_RETRY, RetryPolicy
from saga.errors import DefinitionError

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
    ("wrong", "says"),
    [
        ({"max_attempts": 0}, "max_attempts=0; it is a whole number, 1 or more"),
        ({"max_attempts": True}, "max_attempts=True; it is a whole number, 1 or more"),
        ({"max_attempts": 2.5}, r"max_attempts=2\.5; it is a whole number, 1 or more"),
        ({"max_elapsed_s": 0.0}, r"max_elapsed_s=0\.0; it is a number of seconds above 0"),
        ({"max_elapsed_s": math.inf}, "max_elapsed_s=inf; it is a number of seconds above 0, and below ten years"),
        ({"max_elapsed_s": "60"}, "max_elapsed_s='60'; it is a number of seconds above 0"),
        ({"base_s": 0.0}, r"base_s=0\.0; it is a number of seconds above 0"),
        ({"base_s": math.nan}, "base_s=nan; it is a number of seconds above 0"),
        ({"cap_s": True}, "cap_s=True; it is a number of seconds above 0"),
        ({"base_s": 61.0}, r"base_s=61\.0 is above cap_s=60\.0"),
        ({"cap_s": 0.1}, r"base_s=0\.5 is above cap_s=0\.1"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused(wrong: dict[str, Any], says: str) -> None:
    """No attempt, no time, no wait, a base above the cap, no number: the message names the field and what may stand there."""
    with pytest.raises(DefinitionError, match=f"RetryPolicy: {says}"):
        replace(ACTION_RETRY, **wrong)
