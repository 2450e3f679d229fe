"""The shapes of sagas and journals, as pure functions of what was read."""

from datetime import UTC, datetime, timedelta

from saga.core import transitions as t
from saga.core.fold import SagaState, replay
from saga.core.outcomes import EffectChange, OutcomeCode, Payload, Request
from saga.core.states import Effect, HaltReason, NodePhase, SagaStatus
from saga.fulfilment.fulfil_order import fulfil_order
from saga.store.codec import encode
from saga.store.journal import JournalEntry
from saga.surfaces.reading import read_saga
from saga.surfaces.reading_journal import read_journal

AT = datetime(2026, 11, 21, 14, 2, 11, tzinfo=UTC)
SECRET = '{"name":"Zoë"}'
ACCEPTED = t.SagaAccepted(AT, "s1", "fulfil_order", 1, "f" * 64, "test", "shop", "SO-1", 1, Payload(SECRET))
STARTED = t.AttemptStarted(
    AT, "book_shipment:a", 1, "w1", AT + timedelta(seconds=30), key="k", wire_key="w",
    request=Request("POST", "/v1/shipments", Payload(SECRET)),
)  # fmt: skip
ENDED = t.AttemptEnded(
    AT + timedelta(seconds=2), "book_shipment:a", 1, OutcomeCode.SUCCEEDED, NodePhase.DONE, Effect.APPLIED,
    result=Payload(SECRET), effects=(EffectChange("label", "DHL", 1, 1, AT),),
)  # fmt: skip
STORY: tuple[t.Transition, ...] = (ACCEPTED, STARTED, ENDED)


def state(*more: t.Transition) -> SagaState:
    return replay((*STORY, *more))


def test_without_its_definition_a_saga_shows_what_the_journal_knows() -> None:
    """A process that does not have the definition lists touched nodes, without their kind; one that has it lists all."""
    known, unknown = read_saga(state(), 3, fulfil_order), read_saga(state(), 3, None)
    assert [node.node for node in unknown.nodes] == ["book_shipment:a"]
    assert unknown.nodes[0].kind is None
    assert [node.step for node in known.nodes] == [step.name for step in fulfil_order.order]
    shown = next(node for node in known.nodes if node.node == "book_shipment:a")
    assert (shown.kind, shown.took_s, shown.owner) == ("compensatable", 2.0, None)


def test_a_halt_and_a_cancel_are_told() -> None:
    """Reason, node and who asked are in the shape."""
    found = read_saga(
        state(
            t.CancelRequested(AT, "ann", "called"),
            t.SagaHalted(AT, HaltReason.PARTICIPANT_DOWN, "reserve_inventory:a", "503"),
        ),
        5,
        fulfil_order,
    )
    assert found.status is SagaStatus.HALTED
    assert found.halt is not None
    assert (found.halt.reason, found.halt.node, found.halt.heals_itself) == (
        HaltReason.PARTICIPANT_DOWN,
        "reserve_inventory:a",
        True,
    )
    assert found.cancel is not None
    assert (found.cancel.actor, found.cancel.is_refused) == ("ann", False)


def test_every_payload_of_a_journal_is_a_digest() -> None:
    """Input, request body and result show no letter of what they hold, and equal payloads have equal digests."""
    entries = [
        JournalEntry(seq, it.at, "w1", "engine", None, encode([it]), bytes(32)) for seq, it in enumerate(STORY, 1)
    ]
    journal = read_journal("s1", entries)
    text = journal.model_dump_json()
    assert "Zo" not in text
    facts = [entry.transitions[0].facts for entry in journal.entries]
    request = facts[1]["request"]
    assert isinstance(request, dict)
    assert request["path"] == "/v1/shipments"
    assert facts[0]["input"] == request["body"] == facts[2]["result"]
    assert facts[2]["effects"] == [
        {"kind": "label", "unit": "DHL", "quantity": 1, "sign": 1, "expires_at": AT.isoformat()}
    ]
