"""Mocks behave as the connectors' facts say, for participants that do not exist yet."""

import json
from pathlib import Path
from typing import Annotated

import pytest
import requests
from pydantic import BaseModel, Field, StringConstraints, field_validator

from saga.barrier import problem_text
from saga.core.connector import Connector
from saga.errors import UsageError
from saga.surfaces.mocks import Mock, Reply, serve_mock
from saga.surfaces.samples import sample

ACT, UNDO = "/charges", "/charges/undo"


class Ask(BaseModel):
    card: str
    amount: int = 5


class Line(BaseModel):
    sku: Annotated[str, StringConstraints(min_length=3, max_length=4)]
    quantity: Annotated[int, Field(ge=2)]


class Answer(BaseModel):
    charge_id: str
    amount: int
    is_final: bool
    lines: Annotated[list[Line], Field(min_length=1)]
    note: str | None = None


class Picky(BaseModel):
    code: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}\d{9}$")]


def mock(folder: Path, **facts: object) -> Mock:
    given = {"keys": "serialise", "remembers_rejections": True, **facts}
    bank = Connector("bank", rejected={402: "declined"}, **given)  # type: ignore[arg-type]
    charge = bank.post(ACT, Ask, Answer)
    made = Mock(bank, folder / "bank.jsonl", {ACT: charge})
    if bank.keys == "serialise":
        made.undos[UNDO] = bank.undo(UNDO, of=charge)
    made.open()
    return made


def ask(participant: Mock, key: str, card: str = "4242", path: str = ACT) -> Reply:
    return participant.answer(path, key, json.dumps({"card": card, "amount": 7}).encode())


def undo(participant: Mock, key: str, undoes: str) -> Reply:
    return participant.answer(UNDO, key, json.dumps({"undoes": undoes}).encode())


def outcomes(participant: Mock) -> list[str]:
    return [row["outcome"] for row in participant.ledger]


def test_an_answer_is_a_sample_that_the_model_takes(tmp_path: Path) -> None:
    """Fields of the request are echoed, bounds are kept, and the result model accepts it."""
    reply = ask(mock(tmp_path), "k1")
    assert reply.status == 200
    answer = Answer.model_validate(reply.body)
    assert answer.amount == 7
    assert answer.lines[0].quantity == 2


def test_one_key_is_one_effect(tmp_path: Path) -> None:
    """The kept answer is replayed; other bytes under the key are refused."""
    bank = mock(tmp_path)
    first, again, other = ask(bank, "k1"), ask(bank, "k1"), ask(bank, "k1", card="5555")
    assert (again.body, again.is_replayed, other.status) == (first.body, True, 422)
    assert outcomes(bank) == ["applied"]


def test_an_undo_before_its_action_leaves_a_tombstone(tmp_path: Path) -> None:
    """The late action is answered 409 tombstoned and does nothing."""
    bank = mock(tmp_path)
    assert undo(bank, "u1", "k1").body["undone"] is False
    assert ask(bank, "k1").body["code"] == "tombstoned"
    assert outcomes(bank) == ["tombstone"]


def test_an_action_is_undone_once(tmp_path: Path) -> None:
    """The same undo again replays; of an undo under another key it is undone already; the action is closed, also when the books are opened again."""
    bank = mock(tmp_path)
    ask(bank, "k1")
    assert undo(bank, "u1", "k1").body["undone"] is True
    assert undo(bank, "u1", "k1").is_replayed
    assert undo(bank, "u2", "k1").body["undone"] is True
    assert outcomes(bank) == ["applied", "undone", "null"]
    assert [ask(one, "k1").body["code"] for one in (bank, mock(tmp_path))] == ["tombstoned", "tombstoned"]


def test_a_text_with_a_code_is_a_rejection_and_is_remembered(tmp_path: Path) -> None:
    """`declined` anywhere in the request is the connector's 402, kept under its key where rejections are remembered."""
    bank = mock(tmp_path)
    first, again = ask(bank, "k1", card="pm_declined"), ask(bank, "k1", card="pm_declined")
    assert (first.status, first.body["code"], again.status, again.is_replayed) == (402, "declined", 402, True)
    forgetful = mock(tmp_path / "other", remembers_rejections=False)
    ask(forgetful, "k1", card="declined")
    assert outcomes(forgetful) == []


def test_keys_that_are_ignored_work_every_time(tmp_path: Path) -> None:
    """Two requests with one key are two effects, as the fact says."""
    bank = mock(tmp_path, keys="ignored")
    assert ask(bank, "k1").body["charge_id"] != ask(bank, "k1").body["charge_id"]
    assert outcomes(bank) == ["applied", "applied"]


def test_the_books_outlive_the_process(tmp_path: Path) -> None:
    """A mock that is opened again replays what it answered, and knows its tombstones."""
    bank = mock(tmp_path)
    first = ask(bank, "k1")
    undo(bank, "u2", "k2")
    after = mock(tmp_path)
    assert (ask(after, "k1").body, ask(after, "k1").is_replayed) == (first.body, True)
    assert ask(after, "k2").body["code"] == "tombstoned"


def test_a_model_that_raises_is_told_at_start() -> None:
    """A validator of the user's ends no command with a traceback, whatever it raises."""

    class Ending(BaseModel):
        code: str

        @field_validator("code")
        @classmethod
        def _looked_up(cls, code: str) -> str:
            raise SystemExit(code)

    with pytest.raises(UsageError, match=r"no sample of Ending can be made .* Ending raised SystemExit: "):
        sample(Ending, {}, 1)


def test_what_cannot_be_sampled_is_told_at_start() -> None:
    """A pattern that no rule can meet names the model and the field."""
    with pytest.raises(UsageError, match=r"no sample of Picky(.|\n)*code"):
        sample(Picky, {}, 1)


@pytest.mark.parametrize(("path", "key", "body", "status"), [
    (ACT, "", b"{}", 400), (ACT, "k", b"{", 422), (ACT, "k", b"[]", 422), ("/nowhere", "k", b"{}", 404), (UNDO, "k", b"{}", 422),
])  # fmt: skip
def test_bad_requests(tmp_path: Path, path: str, key: str, body: bytes, status: int) -> None:
    """Nothing is written for a request that breaks a rule."""
    bank = mock(tmp_path)
    assert bank.answer(path, key, body).status == status
    assert outcomes(bank) == []


@pytest.mark.parametrize(
    ("path", "key", "body", "code"),
    [(ACT, "k", b'{"card": "declined"}', "declined"), (ACT, "", b"{}", "missing_key"), ("/x", "k", b"{}", "not_found")],
)
def test_a_problem_is_that_of_a_service(tmp_path: Path, path: str, key: str, body: bytes, code: str) -> None:
    """Type and fields are those of the barrier that the services answer with, so that a client written against the one
    reads the other."""
    told = mock(tmp_path).answer(path, key, body)
    assert told.body["code"] == code
    assert json.dumps(told.body) == problem_text(told.status, code, str(told.body["detail"]))


def test_it_answers_over_http(tmp_path: Path) -> None:
    """Key header, replay header, problem type, ledger and health, over a real socket."""
    served = serve_mock(mock(tmp_path))
    try:
        headers = {"Idempotency-Key": "k1"}
        first = requests.post(served.url + ACT, json={"card": "1"}, headers=headers, timeout=5)
        again = requests.post(served.url + ACT, json={"card": "1"}, headers=headers, timeout=5)
        problem = requests.post(
            served.url + ACT, json={"card": "declined"}, headers={"Idempotency-Key": "k2"}, timeout=5
        )
        ledger = requests.get(served.url + "/v1/ledger", timeout=5).json()["rows"]
        assert requests.get(served.url + "/healthz", timeout=5).status_code == 200
    finally:
        served.stop()
    assert (first.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert (problem.status_code, problem.headers["Content-Type"]) == (402, "application/problem+json")
    assert [row["outcome"] for row in ledger] == ["applied", "rejected"]
