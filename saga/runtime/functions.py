"""Function steps: the user's code is called here, and whatever it does comes to an outcome that a journal can hold.

Rules of this file
------------------
- Nothing that a step raises, returns or makes of Python ends the thread that runs it, or another saga's attempt: an exception
  that nobody declared is a defect of that saga, its effect unknown. So is a result that is not what the step promises, that
  JSON cannot hold, or that is longer than `PAYLOAD_MAX`.
- `Rejected`, `NotSent`, `Throttled`, `Unknown` say how the attempt ended; `rejects` and `classify` map the exceptions of
  others. A rejection whose code is no text is a defect that says what to write: nobody knows what it was to mean. A waiting time
  that is none changes only how long is waited, since "throttled" is clear without it.
- A result is journalled when it reads back as what it was: the steps behind this one get it from the journal.
"""

import math
from dataclasses import replace
from typing import Any

from saga.core.binding import is_model
from saga.core.definition import Step
from saga.core.options import LONGEST_S
from saga.core.outcomes import Outcome, OutcomeCode, Payload
from saga.core.states import Direction
from saga.errors import NotReadBack, NotSent, Rejected, StepError, Throttled, Unknown
from saga.runtime.prepare import arguments, context_of
from saga.runtime.readback import written
from saga.runtime.work import Call
from saga.store.codec import PAYLOAD_MAX, fault_of
from saga.words import name_of, one_line, place_of, said_by, shown, words_of

NO_WAIT = "retry_after_s is {}: no wait, so the policy's is taken"


def run_function(call: Call) -> Outcome:
    """Run a function step in this thread; what it raises becomes an outcome. What comes back is not `checked` yet."""
    step, is_action = call.step, call.direction is Direction.ACTION
    function: Any = step.action if is_action else step.compensation
    takes = step.takes if is_action else step.compensation_takes
    context = context_of(call.state, call.node, call.wire_key, call.epoch, call.deadline_at)
    try:
        result = function(*arguments(takes, call.state, context))
        return _returned(step, result) if is_action and step.result is not None else _nothing(step, result)
    except BaseException as error:  # the user's code: neither `sys.exit` nor a cancelled task ends the worker's thread
        return _raised(step, error)


def checked(outcome: object, by: str = "the step") -> Outcome:
    """The outcome as a journal can hold it: a defect when it is none, or a field is not of its type."""
    if type(outcome) is not Outcome:
        return _defect(
            f"{by} gave {shown(outcome)}; it gives an Outcome, or None for an exception that it does not know"
        )
    if fault := fault_of(outcome):
        return _defect(f"{by} gave an Outcome whose {fault}")
    wait_s, detail = outcome.retry_after_s, outcome.detail
    if wait_s is not None and not 0 <= wait_s < math.inf:
        wait_s, detail = None, NO_WAIT.format(shown(wait_s))
    elif wait_s is not None:
        wait_s = min(
            wait_s, LONGEST_S
        )  # an int may have more digits than JSON takes; the policy bounds the wait further
    detail = one_line(detail)
    is_as_it_was = detail == outcome.detail and wait_s == outcome.retry_after_s
    return outcome if is_as_it_was else replace(outcome, detail=detail, retry_after_s=wait_s)


def _defect(detail: str) -> Outcome:
    return Outcome(OutcomeCode.DEFECT, detail)


def _returned(step: Step, result: Any) -> Outcome:
    model = step.result
    assert model is not None
    if not is_model(type(result)) or not issubclass(type(result), model):
        return _defect(f"{step.name} returned {shown(result)} instead of {model.__name__}")
    try:
        text = written(result, f"{step.name}: its result", model)
    except NotReadBack as error:
        return _defect(str(error))
    if len(text) > PAYLOAD_MAX:
        return _defect(
            f"{step.name}: its result is {len(text):,} characters; a journal takes {PAYLOAD_MAX:,}. Return where it is kept instead"
        )
    return Outcome(OutcomeCode.SUCCEEDED, result=Payload(text))


def _nothing(step: Step, result: object) -> Outcome:
    """The end of a function that promises nothing. What it returns instead may be work that nobody carried out: a coroutine,
    a generator, a `Call`, a future."""
    if result is not None:
        return _defect(
            f"{step.name} returned {shown(result)}, and its annotation promises None: whether its work was done is not known"
        )
    return Outcome(OutcomeCode.SUCCEEDED)


def _raised(step: Step, error: BaseException) -> Outcome:
    try:
        meant = _meant(step, error)
    except BaseException as second:  # the user's exception, `rejects` or classifier, like the step itself
        return _defect(
            f"{words_of(error)[:200]}; and what it means cannot be told: {words_of(second)}{place_of(second)}"
        )
    return meant or _defect(f"{words_of(error)}{place_of(error)}")


def _meant(step: Step, error: BaseException) -> Outcome | None:
    """What the step says of its attempt by this exception; None when it says nothing."""
    match error:
        case Rejected():
            return _rejected(error)
        case Throttled():
            return _throttled(error)
        case NotSent():
            return Outcome(OutcomeCode.NOT_SENT, said_by(error))
        case Unknown():
            return Outcome(OutcomeCode.UNKNOWN, said_by(error))
        case StepError():
            return None
        case Exception() if isinstance(error, step.rejects):
            return Outcome(OutcomeCode.REJECTED, words_of(error))
        case Exception() if step.classify is not None:
            mapped: object = step.classify(error)
            return None if mapped is None else checked(mapped, f"{words_of(error)[:200]}; classify")
    return None


def _rejected(error: Rejected) -> Outcome:
    code: object = getattr(error, "code", None)
    if type(code) is str:
        return Outcome(OutcomeCode.REJECTED, code)
    wrote = f"{name_of(error)} has the code {shown(code)}"
    return _defect(f'{wrote}, and a code is a text: write raise Rejected("out_of_stock"){place_of(error)}')


def _throttled(error: Throttled) -> Outcome:
    wait_s: Any = getattr(error, "retry_after_s", None)
    if wait_s is None or type(wait_s) in (int, float):
        return Outcome(OutcomeCode.THROTTLED, said_by(error), retry_after_s=wait_s)
    return Outcome(OutcomeCode.THROTTLED, NO_WAIT.format(shown(wait_s)))
