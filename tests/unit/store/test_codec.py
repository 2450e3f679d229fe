"""What is written into a journal is of its type and can be read again; what cannot is refused before it is written."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest

from saga.core import transitions as t
from saga.core.outcomes import EffectChange, Outcome, OutcomeCode, Payload, Request
from saga.core.states import Effect, NodePhase
from saga.errors import CodecError
from saga.store.codec import PAYLOAD_MAX, decode, encode, fault_of

AT = datetime(2026, 1, 1, tzinfo=UTC)
ENDED = t.AttemptEnded(AT, "a:a", 1, OutcomeCode.SUCCEEDED, NodePhase.DONE, Effect.APPLIED)
STARTED = t.AttemptStarted(AT, "a:a", 1, "w", AT)


class Word(StrEnum):
    NO = "no"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (replace(ENDED, detail=409), "AttemptEnded.detail is of type int; it is str"),  # type: ignore[arg-type]
        (replace(ENDED, detail={"a": 1}), "AttemptEnded.detail is of type dict; it is str"),  # type: ignore[arg-type]
        (replace(ENDED, epoch=True), "AttemptEnded.epoch is of type bool; it is int"),
        (replace(ENDED, epoch="1"), "AttemptEnded.epoch is of type str; it is int"),  # type: ignore[arg-type]
        (replace(ENDED, code="succeeded"), "AttemptEnded.code is of type str; it is OutcomeCode"),  # type: ignore[arg-type]
        (replace(ENDED, at="now"), "AttemptEnded.at is of type str; it is datetime"),  # type: ignore[arg-type]
        (replace(ENDED, at=AT.replace(tzinfo=None)), "has no time zone"),
        (replace(ENDED, next_at=5), "AttemptEnded.next_at is of type int; it is datetime or None"),  # type: ignore[arg-type]
        (replace(ENDED, result=Payload(5)), "Payload.data is of type int; it is str"),  # type: ignore[arg-type]
        (replace(ENDED, result="{}"), "AttemptEnded.result is of type str; it is Payload or None"),  # type: ignore[arg-type]
        (replace(ENDED, effects=("x",)), "str has no place in a journal"),  # type: ignore[arg-type]
        (replace(ENDED, effects=(EffectChange("k", "u", 1.5, 1),)), "EffectChange.quantity is of type float; it is int"),  # type: ignore[arg-type]
        (replace(STARTED, request=Request("POST", "/x", "{}")), "Request.body is of type str; it is Payload"),  # type: ignore[arg-type]
        (t.SagaCompleted(AT, (5,)), "a list of texts holds something else"),  # type: ignore[arg-type]
        (replace(ENDED, result=Payload("x" * (PAYLOAD_MAX + 1))), "a payload has 4,194,305 characters; a journal takes 4,194,304"),
        (replace(ENDED, detail="\ud800"), "holds half of a surrogate pair, which is no text"),
        (replace(ENDED, detail="a\x00"), "holds a NUL character"),
    ],
)  # fmt: skip
def test_what_is_not_of_its_type_is_refused_before_it_is_written(wrong: Any, says: str) -> None:
    """Once it stands in a journal nobody can read that journal again; the message names the field."""
    with pytest.raises(CodecError, match=says):
        encode([wrong])


def test_what_is_of_its_type_comes_back() -> None:
    """Text of every script, an enum where a text stands, the largest payload, an emoji as the pair that JSON makes of it."""
    told = replace(
        ENDED,
        detail="Zoë 😀",
        result=Payload("x" * PAYLOAD_MAX),
        effects=(EffectChange("k", "u", -1, 1, AT), EffectChange("k", "u", 2**63 - 1, -1)),
    )
    rolled = t.RollbackRequested(AT, Word.NO, "a", "\\u0000 and \\ud800 are letters here")
    assert decode(encode([told, STARTED, rolled])) == (told, STARTED, rolled)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"t": "step_broke", "node": "a:a"}, "StepBroke lacks detail"),
        ({"t": "step_broke", "at": AT.isoformat(), "node": "a:a", "detail": "", "x": 1}, "StepBroke has no field 'x'"),
        (
            {"t": "saga_halted", "at": AT.isoformat(), "reason": "bored"},
            r"SagaHalted.reason cannot be read \(ValueError\)",
        ),
        ({"t": "step_broke", "at": "9999-01-01T00:00:00+00:00", "node": "a:a", "detail": ""}, "not of this age"),
        ({"t": "attempt_ended", "at": AT.isoformat(), "node": "a:a", "epoch": 2**63}, "a number is too large"),
        ({"t": "attempt_ended", "at": AT.isoformat(), "result": "x"}, "Payload is a str and no object"),
        (
            {"t": "plan_frozen", "at": AT.isoformat(), "entries": 5},
            r"PlanFrozen.entries cannot be read \(TypeError\)",
        ),
        ("text", "it is no list of transitions"),
    ],
)
def test_what_cannot_be_read_is_named_without_its_value(row: Any, says: str) -> None:
    """A person learns which field it is; the value may be personal data."""
    with pytest.raises(CodecError, match=says) as error:
        decode(json.dumps([row]))
    assert "bored" not in str(error.value)


def test_every_mode_of_a_plan_comes_back() -> None:
    """What a rollback may be told to do can be read again: one that is written and not read stops its saga for good."""
    frozen = t.PlanFrozen(AT, tuple(t.PlannedEntry("a", mode) for mode in ("compensate", "repeat", "settle")))
    assert decode(encode([frozen])) == (frozen,)


def test_a_detail_of_another_type_is_read_as_its_json() -> None:
    """It is a text for people; a journal that holds one from before it was checked goes on."""
    [broke] = decode(json.dumps([{"t": "step_broke", "at": AT.isoformat(), "node": "a:a", "detail": {"a": 1}}]))
    assert broke == t.StepBroke(AT, "a:a", '{"a": 1}')


def test_a_fault_of_an_outcome_is_told_before_it_is_journalled() -> None:
    """Of its own fields and of what it carries; an int is as good as a float."""
    assert fault_of(Outcome(OutcomeCode.THROTTLED, retry_after_s=3)) == ""
    assert fault_of(Outcome(OutcomeCode.SUCCEEDED, result=Payload("{}"), effects=(EffectChange("k", "u", 1, 1),))) == ""
    strange: Any = 5
    assert fault_of(Outcome(OutcomeCode.REJECTED, strange)) == "Outcome.detail is of type int; it is str"
    assert fault_of(Outcome(OutcomeCode.SUCCEEDED, result=Payload(strange))) == "Payload.data is of type int; it is str"
    assert fault_of(Outcome(OutcomeCode.SUCCEEDED, effects=strange)) != ""
    assert fault_of(Outcome(OutcomeCode.SUCCEEDED, effects=(strange,))) == "int has no place in a journal"
