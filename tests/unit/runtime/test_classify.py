"""Every row of the table "what an HTTP answer means", and nothing rounded."""

import json

import pytest
from pydantic import BaseModel

from saga.core.connector import Connector
from saga.core.outcomes import EffectChange, OutcomeCode
from saga.errors import DefinitionError
from saga.runtime.classify import Answer, classify

CONNECTOR = Connector(
    "payment", keys="serialise", remembers_rejections=True, rejected={402: "declined", 409: ("out_of_stock", "gone")}
)
IGNORANT = Connector("old", keys="ignored", rejected={409: "out_of_stock"})


class Receipt(BaseModel):
    number: str


def _answer(status: int, body: object = None, **headers: str) -> Answer:
    return Answer(status, headers, b"" if body is None else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (_answer(200, {"number": "1"}), OutcomeCode.SUCCEEDED),
        (_answer(201, {"number": "1"}), OutcomeCode.SUCCEEDED),
        (_answer(200, {"other": "1"}), OutcomeCode.DEFECT),
        (Answer(200, {}, b"<html>"), OutcomeCode.DEFECT),
        (Answer(200, {}, b"\xff\xfe"), OutcomeCode.DEFECT),
        (_answer(302, location="elsewhere"), OutcomeCode.DEFECT),
        (_answer(400, {"code": "declined"}), OutcomeCode.DEFECT),
        (_answer(401), OutcomeCode.DEFECT),
        (_answer(403), OutcomeCode.DEFECT),
        (_answer(404), OutcomeCode.DEFECT),
        (_answer(422, {"code": "key_reused"}), OutcomeCode.DEFECT),
        (_answer(402, {"code": "declined"}), OutcomeCode.REJECTED),
        (_answer(402), OutcomeCode.UNKNOWN),
        (_answer(402, ["declined"]), OutcomeCode.UNKNOWN),
        (Answer(402, {}, b"<html>402 Payment Required</html>"), OutcomeCode.UNKNOWN),
        (Answer(402, {}, b"\xff\xfe{"), OutcomeCode.UNKNOWN),
        (_answer(402, {"code": "card_expired_soon"}), OutcomeCode.DEFECT),
        (_answer(409, {"code": "out_of_stock"}), OutcomeCode.REJECTED),
        (_answer(409, {"code": "gone"}), OutcomeCode.REJECTED),
        (_answer(409, {"code": "tombstoned"}), OutcomeCode.REJECTED),
        (_answer(409, {"code": "in_progress"}), OutcomeCode.UNKNOWN),
        (_answer(409), OutcomeCode.UNKNOWN),
        (_answer(409, ["out_of_stock"]), OutcomeCode.UNKNOWN),
        (_answer(408), OutcomeCode.UNKNOWN),
        (_answer(429), OutcomeCode.THROTTLED),
        (_answer(503, **{"retry-after": "3"}), OutcomeCode.THROTTLED),
        (_answer(503), OutcomeCode.UNKNOWN),
        (_answer(500), OutcomeCode.UNKNOWN),
        (_answer(502), OutcomeCode.UNKNOWN),
        (_answer(599), OutcomeCode.UNKNOWN),
        (_answer(503, **{"retry-after": "\u00b2"}), OutcomeCode.THROTTLED),
        (Answer(500, {}, b"[" * 100_000), OutcomeCode.UNKNOWN),
        (Answer(200, {}, b'{"effects":' + b"[" * 100_000), OutcomeCode.DEFECT),
    ],
)
def test_each_answer_has_its_outcome(answer: Answer, code: OutcomeCode) -> None:
    """The table at the top of `saga.runtime.classify`, row by row."""
    assert classify(answer, CONNECTOR, Receipt).code is code


def test_the_status_alone_means_no_only_where_the_connector_says_so() -> None:
    """A gateway's page is none of the participant's; one that sends no problem document is named by its connector."""
    long = json.dumps({"code": "declined", "detail": "x" * 1_000}).encode()
    assert classify(Answer(402, {}, long), CONNECTOR, None).detail == "declined: " + "x" * 300
    plain = Connector("plain", keys="serialise", rejected={402: "declined", 409: "gone"}, status_alone=(402,))
    outcome = classify(Answer(402, {}, b"<html>"), plain, Receipt)
    assert (outcome.code, outcome.detail) == (OutcomeCode.REJECTED, "declined")
    assert classify(Answer(409, {}, b"<html>"), plain, Receipt).code is OutcomeCode.UNKNOWN
    assert classify(_answer(402, {"code": "card_expired_soon"}), plain, Receipt).code is OutcomeCode.DEFECT
    with pytest.raises(DefinitionError, match="status_alone names 404"):
        Connector("plain", status_alone=(404,))


@pytest.mark.parametrize(
    ("answer", "is_definite"),
    [
        (_answer(409, {"code": "voided"}), True),
        (_answer(402), True),
        (Answer(402, {}, b"<html>"), True),
        (_answer(409), False),
        (_answer(409, {"code": "in_progress"}), False),
        (_answer(409, {"code": "voided"}, **{"retry-after": "1"}), False),
        (_answer(408), False),
        (_answer(500), False),
    ],
)
def test_a_definite_answer_that_nobody_listed_is_known_as_one(answer: Answer, is_definite: bool) -> None:
    """The machine stops asking when it stays the same; what only asks for patience never counts."""
    outcome = classify(answer, CONNECTOR, Receipt)
    assert (outcome.code, outcome.is_answer) == (OutcomeCode.UNKNOWN, is_definite)


def test_tombstone_is_a_rejection_only_where_keys_are_serialised() -> None:
    """Elsewhere the word means nothing, and a 409 is in progress."""
    assert classify(_answer(409, {"code": "tombstoned"}), IGNORANT, Receipt).code is OutcomeCode.UNKNOWN


def test_retry_after_is_taken_in_seconds_and_dates_are_left_to_the_backoff() -> None:
    """A date would bring the participant's clock into ours."""
    assert classify(_answer(429, **{"retry-after": "7"}), CONNECTOR, Receipt).retry_after_s == 7.0
    assert classify(_answer(429, **{"retry-after": "Wed, 21 Oct"}), CONNECTOR, Receipt).retry_after_s is None


def test_only_the_declared_result_is_kept_and_effects_are_read_beside_it() -> None:
    """The journal holds the result model's fields; effects are values of their own."""
    row = {"kind": "money", "unit": "GBP", "quantity": 820, "sign": 1, "expires_at": None}
    outcome = classify(_answer(200, {"number": "7", "card": "4111", "effects": [row]}), CONNECTOR, Receipt)
    assert outcome.result is not None
    assert outcome.result.data == '{"number":"7"}'
    assert outcome.effects == (EffectChange("money", "GBP", 820, 1),)


@pytest.mark.parametrize(
    "row",
    [
        {"kind": "money", "unit": "GBP", "quantity": 8.2, "sign": 1},
        {"kind": "money", "unit": "GBP", "quantity": 82, "sign": 2},
        {"kind": "money", "unit": "GBP", "sign": 1},
        {"kind": 1, "unit": "GBP", "quantity": 82, "sign": 1},
        "GBP 82",
    ],
)
def test_effects_that_do_not_parse_are_a_defect(row: object) -> None:
    """A participant that reports half an amount is not believed about the rest."""
    assert classify(_answer(200, {"number": "7", "effects": [row]}), CONNECTOR, Receipt).code is OutcomeCode.DEFECT


def test_an_undo_needs_no_model() -> None:
    """Its answer is read for effects only."""
    outcome = classify(_answer(200, {"undone": True, "effects": []}), CONNECTOR, None)
    assert outcome.code is OutcomeCode.SUCCEEDED
    assert outcome.result is None
    assert outcome.effects == ()
