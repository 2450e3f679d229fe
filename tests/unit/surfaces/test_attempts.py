"""The attempts of a saga as its journal has them: what each came to, and whether a repeat was a repeat to the byte."""

from datetime import UTC, datetime, timedelta

from saga.core import transitions as t
from saga.core.outcomes import OutcomeCode, Payload, Request
from saga.core.states import Effect, NodePhase
from saga.surfaces.attempts import in_words, lost_tries, read_attempts
from saga.surfaces.reading import read_cause

BEGAN = datetime(2026, 11, 21, 12, tzinfo=UTC)
NODE = "book_shipment:a"
REQUEST = Request("POST", "/v1/shipments", Payload('{"order_id": "SO-1"}'))
CUT = "ConnectionError: ('Connection aborted.', RemoteDisconnected('Remote end closed connection'))"


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def started(epoch: int, second: float, **more: object) -> t.AttemptStarted:
    return t.AttemptStarted(at(second), NODE, epoch, f"worker-{epoch}", at(second + 10), **more)  # type: ignore[arg-type]


def ended(epoch: int, second: float, code: OutcomeCode, detail: str = "", *, lost: bool = False) -> t.AttemptEnded:
    is_done = code is OutcomeCode.SUCCEEDED
    phase = NodePhase.DONE if is_done else NodePhase.BACKOFF
    effect = Effect.APPLIED if is_done else Effect.UNKNOWN
    return t.AttemptEnded(at(second), NODE, epoch, code, phase, effect, detail, lost=lost)


FIRST = started(1, 0, key="fulfil_order:SO-1:1:book_shipment:a:1", wire_key="k1", request=REQUEST)


def test_a_repeat_is_the_same_bytes_under_the_same_key() -> None:
    """That is read from the journal: the second start holds neither key nor request, so those of the first were sent."""
    journal: list[t.Transition] = [FIRST, ended(1, 2, OutcomeCode.UNKNOWN, CUT)]
    journal += [started(2, 3), ended(2, 3.5, OutcomeCode.SUCCEEDED)]
    one, two = read_attempts(journal)
    assert (one.try_number, one.is_same_key, one.is_same_request, one.wire_key, one.took_s) == (1, None, None, "k1", 2)
    assert (two.try_number, two.is_same_key, two.is_same_request, two.wire_key) == (2, True, True, "k1")
    assert lost_tries([one, two]) == [
        "try 1: unknown after 2.0 s: the connection was closed without an answer",
        "try 2: same bytes, same key → succeeded after 500 ms",
    ]


def test_another_key_is_not_called_the_same() -> None:
    """A second start that brings a key or a request of its own says so: that is what a person looks for."""
    other = Request("POST", "/v1/shipments", Payload("{}"))
    found = read_attempts([FIRST, ended(1, 2, OutcomeCode.UNKNOWN), started(2, 3, wire_key="k2", request=other)])
    assert (found[1].is_same_key, found[1].is_same_request, found[1].wire_key) == (False, False, "k2")
    assert lost_tries(found)[1] == "try 2: in flight"


def test_what_sends_nothing_has_no_bytes() -> None:
    """A function step has a key and no request."""
    mail = started(1, 0, wire_key="k1")
    found = read_attempts([mail, ended(1, 1, OutcomeCode.UNKNOWN), started(2, 3), ended(2, 4, OutcomeCode.SUCCEEDED)])
    assert found[1].is_same_request is None
    assert lost_tries(found)[1] == "try 2: same key → succeeded after 1.0 s"


def test_a_lost_worker_a_late_answer_and_a_broken_step() -> None:
    """Each is told by what the journal has of it, and an evidence changes no outcome."""
    late = t.EvidenceKept(at(9), NODE, 1, OutcomeCode.SUCCEEDED)
    broke = t.StepBroke(at(5), "confirm_order:a", "ValueError: no price")
    one, two = read_attempts([FIRST, ended(1, 4, OutcomeCode.UNKNOWN, "gone", lost=True), broke, late])
    assert (one.is_lost, one.outcome, one.late_outcome) == (True, OutcomeCode.UNKNOWN, OutcomeCode.SUCCEEDED)
    assert (two.node, two.epoch, two.outcome, two.detail) == ("confirm_order:a", None, "defect", broke.detail)
    assert lost_tries([one, one])[0] == "try 1: unknown: the worker that made it is gone"


def test_many_tries_are_told_by_the_first_and_the_last() -> None:
    """Three lines and how many are left out; one try needs no line."""
    journal: list[t.Transition] = []
    for epoch in range(1, 8):
        journal += [
            FIRST if epoch == 1 else started(epoch, epoch),
            ended(epoch, epoch + 0.5, OutcomeCode.NOT_SENT, "x"),
        ]
    lines = lost_tries(read_attempts(journal))
    assert [line.partition(":")[0] for line in lines] == ["try 1", "try 2", "… 4 more", "try 7"]
    assert lost_tries(read_attempts(journal[:2])) == []


def test_details_in_words() -> None:
    """What a library says becomes what a person says; what nobody knows is cut, and moves no cursor."""
    assert in_words(CUT) == "the connection was closed without an answer"
    assert in_words("NewConnectionError: [Errno 111] Connection refused") == "connection refused"
    assert in_words("HTTP 503") == "HTTP 503"
    assert len(in_words("x" * 500)) == 60
    assert in_words("a\x1b[2Jb") == "a\\u001b[2Jb"


def test_a_tombstone_in_words() -> None:
    """A person reads that it was undone, in the saga's cause and at the step alike; any other cause keeps its detail."""
    caused = [read_cause(t.RollbackRequested(at(1), "rejected", "capture", it)) for it in ("tombstoned", "declined")]
    said = [it.detail for it in caused if it]
    assert said == ["this was undone before, nothing is done again (tombstoned)", "declined"]
    assert [in_words(it) for it in ("tombstoned", said[0])] == [said[0], said[0]]
