"""What a journal looks like as JSON, entry by entry: one shape for the HTTP API and for `-o json`.

Rules of this file: those of `saga.surfaces.reading`; no payloads, only their length and digest. An entry that this release
cannot read stands as one fact, `unreadable`, with the reason.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from pydantic import BaseModel, JsonValue

from saga.core.outcomes import Payload
from saga.core.transitions import Transition
from saga.errors import CodecError
from saga.store.codec import decode
from saga.store.journal import JournalEntry


class TransitionReading(BaseModel):
    """One fact of the journal; payloads stand as `{codec, key_id, length, sha256}`."""

    kind: str
    at: datetime
    facts: dict[str, JsonValue]


class EntryReading(BaseModel):
    """One decision, as it was appended."""

    seq: int
    at: datetime
    writer: str
    actor: str
    reason: str | None
    prev_hash: str
    transitions: list[TransitionReading]


class JournalReading(BaseModel):
    """A whole journal, ascending."""

    saga_id: str
    entries: list[EntryReading]


def read_journal(saga_id: str, entries: Sequence[JournalEntry]) -> JournalReading:
    """The journal without payloads; an entry that this release cannot read stands as `unreadable`, with the reason."""
    return JournalReading(saga_id=saga_id, entries=[_entry(entry) for entry in entries])


def _entry(entry: JournalEntry) -> EntryReading:
    return EntryReading(
        seq=entry.seq,
        at=entry.at,
        writer=entry.writer,
        actor=entry.actor,
        reason=entry.reason,
        prev_hash=entry.prev_hash.hex(),
        transitions=_transitions(entry),
    )


def _transitions(entry: JournalEntry) -> list[TransitionReading]:
    try:
        return [_transition(it) for it in decode(entry.body)]
    except CodecError as error:
        facts: dict[str, JsonValue] = {"why": str(error), "body": _digest(Payload(entry.body, "journal"))}
        return [TransitionReading(kind="unreadable", at=entry.at, facts=facts)]


def _transition(it: Transition) -> TransitionReading:
    facts = {name: value for name, value in _facts(it) if name != "at"}
    return TransitionReading(kind=it.kind, at=it.at, facts=facts)


def _facts(value: Any) -> Iterator[tuple[str, JsonValue]]:
    return ((it.name, _fact(getattr(value, it.name))) for it in fields(value))


def _fact(value: object) -> JsonValue:
    match value:
        case Payload():
            return _digest(value)
        case datetime():
            return value.isoformat()
        case tuple():
            return [_fact(item) for item in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            if is_dataclass(value):
                return dict(_facts(value))
            raise TypeError(f"{type(value).__name__} has no place in the JSON of a journal")


def _digest(payload: Payload) -> JsonValue:
    data = payload.data.encode()
    return {
        "codec": payload.codec,
        "key_id": payload.key_id,
        "length": len(data),
        "sha256": sha256(data).hexdigest(),
    }
