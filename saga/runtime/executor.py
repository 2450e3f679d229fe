"""Making one attempt: deadline check → send or call → classify. A pipeline of named stages over one `Call`.

What it guarantees
------------------
- No transaction is open here, and nothing is retried here.
- The deadline is checked just before the first byte: an attempt that waited too long for its thread is `not_sent`. What
  remains is a process paused between that check and the send; `docs/guarantees.md` says what absorbs it.
- The bytes of the journal are sent as they are. Host, credentials and dates are added here, at send.
- What a function step does is for `saga.runtime.functions`. Whatever comes of an attempt passes `checked` before anybody
  journals it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from saga.core.connector import Connector, Operation, Undo
from saga.core.outcomes import Outcome, OutcomeCode
from saga.core.states import Direction
from saga.errors import UsageError
from saga.runtime import failpoints
from saga.runtime.classify import classify
from saga.runtime.functions import checked, run_function
from saga.runtime.http import Sender
from saga.runtime.work import Call
from saga.words import place_of, words_of


class Executor:
    """Performs calls; thread-safe, one per process, created after fork."""

    def __init__(self, url_of: Callable[[str], str], now: Callable[[], datetime], pool_size: int = 16) -> None:
        self._url_of = url_of
        self._now = now
        self._sender = Sender(pool_size)

    def perform(self, call: Call) -> Outcome:
        """The outcome of one attempt, as a journal can hold it; never raises, whatever the user's code does."""
        try:
            return checked(self._attempt(call))
        except BaseException as error:  # an answer that no reader foresaw, or the user's model: the thread goes on
            return Outcome(OutcomeCode.DEFECT, f"{words_of(error)}{place_of(error)}")

    def _attempt(self, call: Call) -> Outcome:
        wall_s = call.step.wall_s_in(call.direction)
        if self._now() + timedelta(seconds=wall_s) > call.deadline_at:
            return Outcome(OutcomeCode.NOT_SENT, "waited too long for a thread")
        failpoints.reach(failpoints.BEFORE_SEND, saga_id=call.state.saga_id, node=call.node, epoch=call.epoch)
        operation = call.step.operation_in(call.direction)
        if operation is None or call.request is None:
            return run_function(call)
        return self._send(call, operation, wall_s)

    def _send(self, call: Call, operation: Operation[Any, Any], wall_s: float) -> Outcome:
        connector, request = operation.connector, call.request
        assert request is not None
        try:
            url = self._url_of(connector.name).rstrip("/") + request.path
        except UsageError as error:
            return Outcome(OutcomeCode.NOT_SENT, str(error))
        headers = _headers(call, connector)
        answer = self._sender.send(
            request.method,
            url,
            request.body.data,
            headers,
            connect_timeout_s=connector.connect_timeout_s,
            wall_s=wall_s,
        )
        if isinstance(answer, Outcome):
            return answer
        is_undo = call.direction is Direction.COMPENSATION and isinstance(call.step.compensation, Undo)
        return classify(answer, connector, None if is_undo else operation.result)

    def close(self) -> None:
        self._sender.close()


def _headers(call: Call, connector: Connector) -> dict[str, str]:
    headers = {"Content-Type": "application/json", connector.key_header: call.wire_key}
    if call.state.traceparent:
        headers["traceparent"] = call.state.traceparent
    return headers
