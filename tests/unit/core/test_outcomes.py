"""The effect of a node: one attempt folded into what was known before it, as a whole table."""

import pytest

from saga.core.outcomes import OutcomeCode, effect_after
from saga.core.states import Effect

ABSENT, UNKNOWN, APPLIED = Effect.ABSENT, Effect.UNKNOWN, Effect.APPLIED
FORGETS, REMEMBERS = False, True
# code -> (absent, unknown, applied) before it, where rejections are forgotten, then where they are remembered
TABLE = {
    OutcomeCode.SUCCEEDED: ((APPLIED, APPLIED, APPLIED), (APPLIED, APPLIED, APPLIED)),
    OutcomeCode.PENDING: ((UNKNOWN, UNKNOWN, APPLIED), (UNKNOWN, UNKNOWN, APPLIED)),
    OutcomeCode.REJECTED: ((UNKNOWN, UNKNOWN, APPLIED), (ABSENT, UNKNOWN, APPLIED)),
    OutcomeCode.NOT_SENT: ((ABSENT, UNKNOWN, APPLIED), (ABSENT, UNKNOWN, APPLIED)),
    OutcomeCode.THROTTLED: ((ABSENT, UNKNOWN, APPLIED), (ABSENT, UNKNOWN, APPLIED)),
    OutcomeCode.UNKNOWN: ((UNKNOWN, UNKNOWN, APPLIED), (UNKNOWN, UNKNOWN, APPLIED)),
    OutcomeCode.DEFECT: ((UNKNOWN, UNKNOWN, APPLIED), (UNKNOWN, UNKNOWN, APPLIED)),
}


@pytest.mark.parametrize("code", list(OutcomeCode))
@pytest.mark.parametrize("remembers", [FORGETS, REMEMBERS])
def test_effect_after_one_more_attempt(code: OutcomeCode, remembers: bool) -> None:
    """Success proves it, no work leaves it, doubt makes it unknown, and nothing later erases an unknown."""
    expected = TABLE[code][remembers]
    assert (
        tuple(effect_after(it, code, remembers_rejections=remembers) for it in (ABSENT, UNKNOWN, APPLIED)) == expected
    )
