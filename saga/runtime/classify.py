"""What an HTTP answer means, by the facts of its connector: a pure function from answer to outcome.

| answer | outcome |
|---|---|
| 2xx that parses | succeeded |
| 2xx that does not parse, 3xx, any 4xx that is not below | defect: its effect is unknown |
| an enumerated status whose body names an enumerated code | rejected, with the reason that the body's `detail` gives |
| a status that `status_alone` lists, without any code in its body | rejected |
| another enumerated status without a code, or 409 with one that is not enumerated | unknown, a definite answer |
| 429; 503 with Retry-After, where the connector lists them | throttled |
| 408, 409 otherwise, every other 5xx | unknown |

Where the body decides (2xx, and a status that the connector enumerates) an answer that may be cut is unknown. A 5xx says
nothing about whether the work was done. A definite answer that nobody foresaw is asked again, since a gateway may have given
it; the machine stops asking when it stays the same. A 409 without a code, with the code `in_progress`, or with Retry-After is
not definite: the participant still works on the key.
"""

import codecs
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from saga.core.connector import Connector, Model
from saga.core.outcomes import TOMBSTONED, EffectChange, Outcome, OutcomeCode, Payload, refused_for
from saga.errors import NotReadBack
from saga.runtime.readback import written
from saga.store.codec import YEARS, fault_of_change
from saga.words import one_line

REASON_MAX = 300
"""Characters of a participant's reason that are kept."""
IN_PROGRESS = "in_progress"
CHARSET = re.compile(r""";\s*charset\s*=\s*"?([\w.:+-]+)""", re.IGNORECASE)
ONE_BYTE = re.compile(r"iso8859-\d\d?|cp125\d|koi8-[ru]|ascii")
"""What an answer may say of JSON that is none of Unicode's encodings, as Python calls it: each has a dozen spellings."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read to its end. `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    doubt: str = ""
    """Why the body may be a part of what was sent; empty when it is whole. The head is whole."""


def classify(answer: Answer, connector: Connector, result: type[Model] | None) -> Outcome:
    """The outcome of a call that was answered. `result` is None for an undo, whose answer has no model."""
    status = answer.status
    if answer.doubt and (200 <= status < 300 or connector.rejection_codes(status)):
        return Outcome(OutcomeCode.UNKNOWN, f"HTTP {status}: {answer.doubt}")
    if 200 <= status < 300:
        return _succeeded(answer, result)
    code = _said(answer, "code")
    if _is_rejected(status, code, connector):
        reason = "" if code == TOMBSTONED else one_line(_said(answer, "detail"))[:REASON_MAX]
        return Outcome(OutcomeCode.REJECTED, refused_for(code or connector.rejection_codes(status)[0], reason))
    if status in connector.throttled and (status == 429 or "retry-after" in answer.headers):
        return Outcome(OutcomeCode.THROTTLED, f"HTTP {status}", retry_after_s=_retry_after_s(answer))
    shown = f"HTTP {status} {code or ''}".strip()
    if status == 409:
        is_busy = code in ("", IN_PROGRESS) or "retry-after" in answer.headers
        return Outcome(OutcomeCode.UNKNOWN, shown, is_answer=not is_busy)
    if connector.rejection_codes(status) and not code:
        # Without the body, which may name a request: the machine counts answers that are the same.
        return Outcome(OutcomeCode.UNKNOWN, f"{shown} without the code that says no", is_answer=True)
    if status == 408 or status >= 500:
        return Outcome(OutcomeCode.UNKNOWN, shown)
    return Outcome(OutcomeCode.DEFECT, f"{shown}: {_shown(answer.body)}")


def text_of(body: bytes, headers: Mapping[str, str]) -> str:
    """JSON as text: in UTF-8, UTF-16 or UTF-32, with a byte order mark or without, whatever the answer says of itself; else in the character
    set of one byte that it names, as gateways of banks still do. Raises `ValueError` for what is neither."""
    try:
        return body.decode(json.detect_encoding(body))
    except UnicodeDecodeError:
        said = CHARSET.search(headers.get("content-type", ""))
        if said is None:
            raise
        name = _name_of_charset(said[1])
        if not ONE_BYTE.fullmatch(name):
            raise ValueError(f"a body in {said[1]!r:.40}, which is no character set that is read here") from None
        return body.decode(name)


def _name_of_charset(said: str) -> str:
    """What Python calls it; empty for what it does not know. Of the names of IANA some are known without their dash alone (Latin-9)."""
    for spelling in (said, said.replace("-", "")):
        with suppress(LookupError):
            return codecs.lookup(spelling).name
    return ""


def _is_rejected(status: int, code: str, connector: Connector) -> bool:
    if status == 409 and code == TOMBSTONED and connector.keys == "serialise":
        return True
    return code in connector.rejection_codes(status) or (not code and status in connector.status_alone)


def _said(answer: Answer, member: str) -> str:
    """A member of a problem document (RFC 9457) that is a text."""
    try:
        problem = json.loads(text_of(answer.body, answer.headers))
    except (ValueError, RecursionError):
        return ""
    text = problem.get(member, "") if isinstance(problem, dict) else ""
    return text if isinstance(text, str) else ""


def _retry_after_s(answer: Answer) -> float | None:
    """Seconds, or a date after that of the answer itself: the participant's clock is compared with no other. Anything else is left to
    the backoff. A date is in one of the three forms of RFC 9110, 5.6.7; that of asctime names no zone, and is in UTC."""
    text = answer.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until, said_at = (_in_utc(parsedate_to_datetime(it)) for it in (text, answer.headers.get("date", "")))
        return max(0.0, (until - said_at).total_seconds())
    except (ValueError, TypeError, OverflowError):  # no date
        return None


def _in_utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _succeeded(answer: Answer, result: type[Model] | None) -> Outcome:
    try:
        text = text_of(answer.body, answer.headers)
        effects = _effects(text)
        payload = None
        if result is not None:
            payload = Payload(written(result.model_validate_json(text), "its result", result))
    except NotReadBack as error:
        return Outcome(OutcomeCode.DEFECT, f"HTTP {answer.status}: {error}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:  # pydantic's ValidationError is a ValueError
        return Outcome(OutcomeCode.DEFECT, f"HTTP {answer.status} with a body that does not parse: {error!s:.300}")
    return Outcome(OutcomeCode.SUCCEEDED, result=payload, effects=effects)


def _effects(body: str) -> tuple[EffectChange, ...] | None:
    """The `effects` that the answer reports; None when it says nothing about them."""
    if '"effects"' not in body:
        return None
    answer = json.loads(body, parse_float=_number)
    rows = answer.get("effects") if isinstance(answer, dict) else None
    return None if rows is None else tuple(_effect(row, f"effects[{place}]") for place, row in enumerate(rows))


def _number(text: str) -> float:
    """`1250.0` is an integer in JSON, and as exact as one below 2**53."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _effect(row: dict[str, Any], where: str) -> EffectChange:
    """One movement, which a journal and a database can hold. Raises `ValueError` that names the field and its rule."""
    kind, unit, quantity, sign = row["kind"], row["unit"], row["quantity"], row["sign"]
    if not (isinstance(kind, str) and isinstance(unit, str) and type(quantity) is int and sign in (1, -1)):
        msg = f"{where}: {row!r:.100} is not kind, unit, whole quantity and sign of 1 or -1"
        raise ValueError(msg)
    change = EffectChange(kind, unit, quantity, int(sign), _expiry(row.get("expires_at"), where))
    if fault := fault_of_change(change):
        raise ValueError(f"{where}.{fault}")
    return change


def _expiry(text: Any, where: str) -> datetime | None:
    """When it ends by itself. People write a date at the end of time for what never does, and no database can hold one."""
    if not text:
        return None
    try:
        expires = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ValueError(f"{where}.expires_at: it is no instant, as in 2026-11-29T20:00:00Z") from None
    if expires.tzinfo is None:
        return expires  # refused as every instant without a zone is
    with suppress(OverflowError):  # before the first instant or behind the last: its own year tells which
        expires = expires.astimezone(UTC)
    return None if expires.year >= YEARS.stop else expires


def _shown(body: bytes) -> str:
    return body[:200].decode("utf-8", "backslashreplace")
