"""Values at the edge of what a database holds: one answer of a participant, and the books of every saga could not be read."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from saga.core.connector import Connector
from saga.core.outcomes import EffectChange, Outcome, OutcomeCode, Payload
from saga.core.states import Effect, NodePhase
from saga.core.transitions import AttemptEnded
from saga.errors import CodecError
from saga.runtime.classify import Answer, classify
from saga.runtime.functions import checked
from saga.store.codec import LARGEST, decode, encode

BANK = Connector("bank", keys="serialise", remembers_rejections=True, rejected={402: "declined"})
AT = datetime(2026, 11, 29, 20, tzinfo=UTC)


def reported(**said: Any) -> Outcome:
    row = {"kind": "hold", "unit": "GBP", "quantity": 1, "sign": 1, **said}
    return classify(Answer(200, {}, json.dumps({"effects": [row]}).encode()), BANK, None)


def journalled(outcome: Outcome) -> None:
    """What the outcome says is what is read back."""
    ended = AttemptEnded(AT, "a:a", 1, outcome.code, NodePhase.DONE, Effect.APPLIED, effects=outcome.effects or ())
    assert decode(encode([ended])) == (ended,)


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("9999-12-31T23:59:59.9999999-05:00", None),
        ("9999-12-31T23:59:59Z", None),
        ("9000-01-01T00:00:00+00:00", None),
        ("8999-12-31T23:59:59-05:00", None),
        ("9000-01-01T00:00:00+14:00", datetime(8999, 12, 31, 10, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2026-11-29T21:00:00+01:00", AT),
        (None, None),
        ("", None),
    ],
)
def test_what_expires_at_the_end_of_time_never_does(said: str | None, means: datetime | None) -> None:
    """In UTC, as a database counts."""
    outcome = reported(expires_at=said)
    assert (outcome.code, outcome.effects) == (
        OutcomeCode.SUCCEEDED,
        (EffectChange("hold", "GBP", 1, 1, means),),
    )
    journalled(outcome)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("expires_at", "0001-01-01T00:00:00+14:00", "an instant is of a year from 1970 to 8999"),
        ("expires_at", "1969-12-31T23:59:59Z", "an instant is of a year from 1970 to 8999"),
        ("expires_at", "1970-01-01T00:00:00+14:00", "an instant is of a year from 1970 to 8999"),
        ("expires_at", "2026-11-29T20:00:00", "an instant has no time zone"),
        ("expires_at", "9999-12-31T23:59:59", "an instant has no time zone"),
        ("expires_at", "tomorrow", "it is no instant"),
        ("expires_at", 1796000000, "it is no instant"),
        ("quantity", LARGEST, "a number is too large"),
        ("quantity", -LARGEST - 1, "a number is too large"),
        ("kind", "ho\0ld", "a text holds a NUL character"),
        ("unit", "GB\ud800", "a text holds half of a surrogate pair"),
    ],
)
def test_a_movement_that_no_database_holds_is_a_defect(field: str, value: object, rule: str) -> None:
    """It names the field and the rule, and the journal stays one that is read."""
    outcome = reported(**{field: value})
    assert outcome.code is OutcomeCode.DEFECT
    assert f"effects[0].{field}: {rule}" in outcome.detail
    assert checked(outcome) == outcome


@pytest.mark.parametrize(
    ("outcome", "fault"),
    [
        (
            Outcome(OutcomeCode.PENDING, until_at=datetime.max.replace(tzinfo=UTC)),
            "Outcome.until_at: an instant is of a year",
        ),
        (
            Outcome(OutcomeCode.PENDING, until_at=AT.replace(tzinfo=None)),
            "Outcome.until_at: an instant has no time zone",
        ),
        (Outcome(OutcomeCode.SUCCEEDED, result=Payload("\0")), "Payload.data: a text holds a NUL character"),
        (
            Outcome(OutcomeCode.SUCCEEDED, effects=(EffectChange("k", "u", LARGEST, 1),)),
            "EffectChange.quantity: a number",
        ),
        (
            Outcome(OutcomeCode.SUCCEEDED, effects=(EffectChange("k", "u", 1, 1, datetime.min.replace(tzinfo=UTC)),)),
            "EffectChange.expires_at: an instant is of a year",
        ),
    ],
)
def test_an_outcome_of_ones_own_is_held_to_the_same(outcome: Outcome, fault: str) -> None:
    """What a step's `classify` gives; a defect before it is journalled."""
    defect = checked(outcome)
    assert defect.code is OutcomeCode.DEFECT
    assert fault in defect.detail


@pytest.mark.parametrize("wait_s", [10**19, 10**5000, 1e300], ids=["10**19", "10**5000", "1e300"])
def test_a_wait_of_ages_is_one_that_json_can_write(wait_s: float) -> None:
    """The policy bounds it further, so no next attempt is beyond what a database holds."""
    outcome = checked(Outcome(OutcomeCode.THROTTLED, retry_after_s=wait_s))
    assert outcome.code is OutcomeCode.THROTTLED
    assert AT + timedelta(seconds=outcome.retry_after_s or 0) < datetime(2037, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "epoch"), [(datetime(9000, 1, 1, tzinfo=UTC), 1), (datetime(1969, 1, 1, tzinfo=UTC), 1), (AT, LARGEST)]
)
def test_nothing_is_written_that_is_not_read(at: datetime, epoch: int) -> None:
    """The years and numbers that a reader takes are those that a writer takes."""
    with pytest.raises(CodecError, match=r"AttemptEnded\.(at|epoch): "):
        encode([AttemptEnded(at, "a:a", epoch, OutcomeCode.SUCCEEDED, NodePhase.DONE, Effect.APPLIED)])
