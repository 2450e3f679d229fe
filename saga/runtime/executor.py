"""Making one attempt: deadline check → send or call → classify. A pipeline of named stages over one `Call`.

What it guarantees
------------------
- No transaction is open here, and nothing is retried here.
- The deadline is checked just before the first byte: an attempt that waited too long for its thread is `not_sent`. What
  remains is a process paused between that check and the send; `docs/guarantees.md` says what absorbs it.
- The bytes of the journal are sent as they are. Host, credentials and dates are added here, at send.
- Whatever a function step raises is classified: `Rejected`, `NotSent`, `Throttled`, `Unknown`, what `rejects` and
  `classify` name, and else a defect whose effect is unknown.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from saga.core.binding import is_model
from saga.core.connector import Connector, Operation, Undo
from saga.core.outcomes import Outcome, OutcomeCode, Payload
from saga.core.states import Direction
from saga.errors import NotSent, Rejected, StepError, Throttled, Unknown, UsageError
from saga.runtime import failpoints
from saga.runtime.classify import classify
from saga.runtime.http import Sender
from saga.runtime.prepare import arguments, context_of, place_of
from saga.runtime.work import Call


class Executor:
    """Performs calls; thread-safe, one per process, created after fork."""

    def __init__(self, url_of: Callable[[str], str], now: Callable[[], datetime], pool_size: int = 16) -> None:
        self._url_of = url_of
        self._now = now
        self._sender = Sender(pool_size)

    def perform(self, call: Call) -> Outcome:
        """The outcome of one attempt; never raises."""
        wall_s = call.step.wall_s_in(call.direction)
        if self._now() + timedelta(seconds=wall_s) > call.deadline_at:
            return Outcome(OutcomeCode.NOT_SENT, "waited too long for a thread")
        failpoints.reach(failpoints.BEFORE_SEND, saga_id=call.state.saga_id, node=call.node, epoch=call.epoch)
        operation = call.step.operation_in(call.direction)
        if operation is None or call.request is None:
            return _run_function(call)
        try:
            return self._send(call, operation, wall_s)
        except BaseException as error:  # an answer that no reader foresaw, or the user's model: the thread goes on
            return Outcome(OutcomeCode.DEFECT, f"{type(error).__name__}: {error}"[:500])

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


def _run_function(call: Call) -> Outcome:
    """Run a function step in this thread; its exceptions become outcomes."""
    step, is_action = call.step, call.direction is Direction.ACTION
    function: Any = step.action if is_action else step.compensation
    takes = step.takes if is_action else step.compensation_takes
    context = context_of(call.state, call.node, call.wire_key, call.epoch, call.deadline_at)
    try:
        result = function(*arguments(takes, call.state, context))
        if not is_action or step.result is None:
            return Outcome(OutcomeCode.SUCCEEDED)
        if not is_model(type(result)):
            return Outcome(
                OutcomeCode.DEFECT, f"{step.name} returned {result!r:.100} instead of {step.result.__name__}"
            )
        return Outcome(OutcomeCode.SUCCEEDED, result=Payload(result.model_dump_json()))
    except StepError as error:
        return _said(error)
    except Exception as error:  # the user's code
        return _raised(call, error)
    except BaseException as error:  # the user's code: neither `sys.exit` nor a cancelled task ends the worker's thread
        return Outcome(OutcomeCode.DEFECT, f"{type(error).__name__}: {error}"[:500] + place_of(error))


def _said(error: StepError) -> Outcome:
    match error:
        case Rejected():
            return Outcome(OutcomeCode.REJECTED, error.code)
        case Throttled():
            return Outcome(OutcomeCode.THROTTLED, str(error), retry_after_s=error.retry_after_s)
        case NotSent():
            return Outcome(OutcomeCode.NOT_SENT, str(error))
        case Unknown():
            return Outcome(OutcomeCode.UNKNOWN, str(error))
        case _:
            return Outcome(OutcomeCode.DEFECT, f"{type(error).__name__}: {error}")


def _raised(call: Call, error: Exception) -> Outcome:
    shown = f"{type(error).__name__}: {error}"[:500]
    if isinstance(error, call.step.rejects):
        return Outcome(OutcomeCode.REJECTED, shown)
    if call.step.classify is not None:
        try:
            mapped = call.step.classify(error)
        except BaseException as second:  # the user's classifier, like the step itself
            return Outcome(OutcomeCode.DEFECT, f"{shown}; and classify raised {type(second).__name__}: {second}"[:500])
        if mapped is not None:
            return mapped
    return Outcome(OutcomeCode.DEFECT, f"{shown}{place_of(error)}")
