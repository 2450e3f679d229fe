"""An order's changes as server-sent events: `id` is run and number in the journal, `event` the kind of change, `data` its JSON.

The protocol of one stream: `retry`, then every change behind `Last-Event-ID`, then each new one as it is appended, a comment
when nothing came for a while, and the end of the stream behind the event that ends the saga. A reader that comes back behind
that event gets 204, which tells a browser to stay away; evidence behind the end is no event and brings nobody back. A stream
ends after `Bounds.stream_s` as well, and when the process stops; its reader comes back and misses nothing, since the id of an
event of another run begins anew.
"""

import re
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

from fastapi import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from saga.clock import monotonic
from saga.surfaces.changes import Change, Narration
from saga.surfaces.following import Follower, Stream
from saga.surfaces.problems import FieldError, Refusal, broken

RETRY_MS = 2_000
EVENT_ID = re.compile(r"^[0-9]{1,9}-[0-9]{1,9}$")
EVENT_ID_MAX = 19
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""A proxy in between neither keeps nor gathers what passes."""


class EventId(NamedTuple):
    """What an event is found again by."""

    run: int
    seq: int


def last_event_id(request: Request) -> EventId | None:
    """The event behind which a stream begins; None without the header."""
    text = request.headers.get("last-event-id")
    if text is None:
        return None
    if not EVENT_ID.fullmatch(text):
        rule = "the id of an event of this stream: RUN-NUMBER"
        raise Refusal("invalid", broken(1), [FieldError(field="header.Last-Event-ID", rule=rule)])
    run, _, seq = text.partition("-")
    return EventId(int(run), int(seq))


class ChangeStream(StreamingResponse):
    """The changes in `seen`, then what follows. Gives the stream back however it ends: at its end, by a reader that is
    gone, or before the first byte."""

    media_type = "text/event-stream"

    def __init__(self, follower: Follower, stream: Stream, narration: Narration, seen: list[Change]) -> None:
        super().__init__(_events(follower, stream, narration, seen), headers=HEADERS)
        self._follower, self._stream = follower, stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._follower.close(self._stream)


async def _events(follower: Follower, stream: Stream, narration: Narration, seen: list[Change]) -> AsyncIterator[bytes]:
    bounds = follower.bounds
    ends_at = monotonic() + bounds.stream_s
    yield f"retry: {RETRY_MS}\n\n{_text(seen)}".encode()
    while not narration.is_ended and not follower.is_stopping and (left_s := ends_at - monotonic()) > 0:
        entries = await stream.next(min(bounds.heartbeat_s, left_s))
        yield _text(narration.take(entries)).encode() or b": nothing new\n\n"


def _text(changes: Iterable[Change]) -> str:
    return "".join(
        f"id: {change.run}-{change.seq}\nevent: {change.kind}\ndata: {change.model_dump_json(exclude_defaults=True)}\n\n"
        for change in changes
    )
