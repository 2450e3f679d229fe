"""What comes with a request of the order API: body and Idempotency-Key, refused at the door with field and rule.

A body is judged by content type (415) and size (413) before it is parsed, and counted while it is read when it does not say
its length; one that is not whole after `Bounds.body_s` seconds is 408. Text that is no JSON is 400; JSON that breaks a rule of its
model is 422, and `errors` names each field and rule. So is a parameter that a list does not know: a filter that is misspelt
would show everything.
"""

import asyncio
import re
import zlib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from saga.fulfilment.json_text import DOUBLED, doubled_names
from saga.fulfilment.text_files import unmarked
from saga.surfaces.contract import BODY_MAX
from saga.surfaces.describing import KEY_HEADER
from saga.surfaces.problems import ERRORS_SHOWN, FieldError, Refusal, broken, field_errors, shown_name

KEY = re.compile(r"[!-~]{1,255}")
Wanted = TypeVar("Wanted", bound=BaseModel)
T = TypeVar("T")
HEARD_MAX = 4 * BODY_MAX
"""So much of a body that is too long is still taken off the line, and kept nowhere."""
UTF_8, UTF_16 = ("utf-8", "utf8", "us-ascii"), "utf-16"
ENCODINGS = ("", "identity", "gzip", "x-gzip")
OFFERED = (
    "send one header Content-Type: application/json, whose charset is utf-8 where it names one, or utf-16 of a body that begins with a byte "
    "order mark, and no Content-Encoding or gzip"
)
GZIP = 31
"""zlib's number for a window of any size with the head of gzip."""


async def read_body(request: Request) -> bytes:
    """The body, refused as soon as it is known to be too large. Starlette hands a body to a coroutine only."""
    encoding = ", ".join(request.headers.getlist("content-encoding")).strip().lower()
    charsets = _charsets_of_json(", ".join(request.headers.getlist("content-type")))
    if charsets is None or encoding not in ENCODINGS:
        raise Refusal("not_offered_type", OFFERED)
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > BODY_MAX:
        raise _too_large()
    bound_s: float = request.app.state.follower.bounds.body_s
    try:
        async with asyncio.timeout(bound_s):
            body = await _whole(request)
    except TimeoutError:
        raise Refusal("too_slow", f"the body was not whole after {bound_s:.0f} s; nothing was stored") from None
    except ClientDisconnect:  # nobody reads the answer
        raise Refusal("bad_request", "the connection ended before the body did; nothing was stored") from None

    body = _unpacked(body) if encoding.endswith("gzip") else body
    if UTF_16 in charsets and not body.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise Refusal("not_offered_type", OFFERED)
    return unmarked(body)


def _charsets_of_json(content_type: str) -> set[str] | None:
    """The character sets that a head names for JSON; None where it is of another type, or one of them is not read here."""
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    named = {
        value.strip(' "') for name, _, value in (it.partition("=") for it in parameters) if name.strip() == "charset"
    }
    return named if kind == "application/json" and named <= {*UTF_8, UTF_16} else None


def _unpacked(body: bytes) -> bytes:
    """A body that came packed, never longer than one that did not."""
    unpacking = zlib.decompressobj(wbits=GZIP)
    try:
        whole = unpacking.decompress(body, BODY_MAX + 1)
    except zlib.error:
        raise Refusal("not_json", "the body is no gzip; nothing was stored") from None
    if len(whole) > BODY_MAX:
        raise _too_large()
    if not unpacking.eof or unpacking.unused_data:
        raise Refusal("not_json", "the body is not one whole gzip; nothing was stored")
    return whole


async def _whole(request: Request) -> bytes:
    """A caller that does not say its length hears the answer when it has sent all: what it still sends to a connection that was closed resets
    that, and the answer with it."""
    body, length = bytearray(), 0
    async for chunk in request.stream():
        length += len(chunk)
        if length <= BODY_MAX:
            body += chunk
        elif length > HEARD_MAX:
            break
    if length > BODY_MAX:
        raise _too_large()
    return bytes(body)


def _too_large() -> Refusal:
    return Refusal("too_large", f"a body has at most {BODY_MAX} bytes; nothing was stored")


def request_key(request: Request) -> str:
    """The Idempotency-Key of a request that needs one."""
    key = optional_key(request)
    if key is None:
        raise Refusal(
            "key_missing", f"send {KEY_HEADER}: a new one for each order or return, the same one for each repeat"
        )
    return key


def optional_key(request: Request) -> str | None:
    """The Idempotency-Key, if one came; one that breaks a rule is refused in any case."""
    keys = request.headers.getlist(KEY_HEADER)
    if not keys:
        return None
    if len(keys) > 1 or not KEY.fullmatch(keys[0]):
        rule = "one header of 1 to 255 visible ASCII characters"
        raise Refusal("key_malformed", rule, [FieldError(field=KEY_HEADER, rule=rule)])
    return keys[0]


def parsed(body: bytes, model: type[Wanted]) -> Wanted:
    """The body as a model, strictly. Of two equal names in one object a parser would take the last in silence."""
    if doubled := doubled_names(body):
        shown = [FieldError(field=shown_name(place), rule=DOUBLED) for place in doubled]
        raise Refusal("invalid", broken(len(doubled)), shown)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
    shown = field_errors(found, whole="body")
    if found[0]["type"] == "json_invalid":
        raise Refusal("not_json", "the body cannot be read; nothing was stored", shown)
    raise Refusal("invalid", broken(len(found)), shown)


def refuse_other_query(request: Request, *known: str, repeatable: str) -> None:
    """Refuses a parameter that is none of these, and one but `repeatable` that is given twice."""
    names = [name for name, _ in request.query_params.multi_items()]
    errors = [
        FieldError(
            field=shown_name(f"query.{name}"), rule=f"no parameter here; there are {', '.join((*known, repeatable))}"
        )
        for name in dict.fromkeys(names)
        if name not in (*known, repeatable)
    ]
    errors += [FieldError(field=f"query.{name}", rule="may be given once") for name in known if names.count(name) > 1]
    if errors:
        raise Refusal("invalid", broken(len(errors)), errors[:ERRORS_SHOWN])


async def while_there(request: Request, waiting: Coroutine[Any, Any, T]) -> T | None:
    """What `waiting` gives, once the body was read; None when the caller has gone before, and then it is cancelled."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = asyncio.create_task(waiting), asyncio.create_task(gone())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    return tasks[0].result() if tasks[0].done() and not tasks[0].cancelled() else None
