"""The effect of a node: one attempt folded into what was known before it, as a whole table."""

import pytest

from saga.core.outcomes import OutcomeCode, effect_after
from saga.core.states import Effect

ABSENT, UNKNOWN, APPLIED = Effect.ABSENT, Effect.UNKNOWN, Effect.APPLIED
# code -> what (absent, unknown, applied) before it become
TABLE = {
    OutcomeCode.SUCCEEDED: (APPLIED, APPLIED, APPLIED),
    OutcomeCode.PENDING: (UNKNOWN, UNKNOWN, APPLIED),
    OutcomeCode.REJECTED: (ABSENT, UNKNOWN, APPLIED),
    OutcomeCode.NOT_SENT: (ABSENT, UNKNOWN, APPLIED),
    OutcomeCode.THROTTLED: (ABSENT, UNKNOWN, APPLIED),
    OutcomeCode.UNKNOWN: (UNKNOWN, UNKNOWN, APPLIED),
    OutcomeCode.DEFECT: (UNKNOWN, UNKNOWN, APPLIED),
}


@pytest.mark.parametrize("code", list(OutcomeCode))
def test_effect_after_one_more_attempt(code: OutcomeCode) -> None:
    """Success proves it, no work and a "no" leave it, doubt makes it unknown, and nothing later erases an unknown."""
    assert tuple(effect_after(it, code) for it in (ABSENT, UNKNOWN, APPLIED)) == TABLE[code]
