"""The headers by which a request depends on what the caller has seen, or says how long he would wait: ETag, Prefer.

Rules of this file: functions of header values, nothing else. An entity tag is strong (RFC 9110): a saga and the number of its
last journal entry say every byte of what is shown of it. A preference that cannot be read is no error: RFC 7240 lets a server
pass over it, and `Preference-Applied` says when it was not.
"""

import re
from collections.abc import Sequence
from hashlib import sha256

ENTITY_TAG = re.compile(r'\s*(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')


def entity_tag(saga_id: str, seq: int, beside: str = "") -> str:
    """The tag of what is shown of a saga as of journal entry `seq`, and of what is shown `beside` it, as a text that changes
    with it."""
    return f'"{saga_id}-{seq}{"-" + sha256(beside.encode()).hexdigest()[:16] if beside else ""}"'


def names_tag(headers: Sequence[str], tag: str, *, weakly: bool) -> bool:
    """Whether `If-Match` (strong comparison) or `If-None-Match` (weak) names `tag`; a header that cannot be read names none."""
    text = ",".join(headers).strip()
    if text == "*":
        return True
    place = 0
    while found := ENTITY_TAG.match(text, place):
        if f'"{found["opaque"]}"' == tag and (weakly or not found["weak"]):
            return True
        place = found.end()
    return False


def wanted_wait_s(headers: Sequence[str], at_most_s: int) -> int | None:
    """Seconds of the first `wait` among the preferences, at most `at_most_s`; None without one that can be read."""
    for preference in ",".join(headers).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            number = value.strip().strip('"')
            return min(int(number[:9]), at_most_s) if number.isascii() and number.isdecimal() else None
    return None
