"""What comes with a request of the order API: body and Idempotency-Key, refused at the door with field and rule.

A body is judged by content type (415) and size (413) before it is parsed, and counted while it is read when it does not say
its length. Text that is no JSON is 400; JSON that breaks a rule of its model is 422, and `errors` names each field and rule.
"""

import re
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from saga.fulfilment.json_text import DOUBLED, doubled_names
from saga.surfaces.contract import BODY_MAX
from saga.surfaces.describing import KEY_HEADER
from saga.surfaces.problems import FieldError, Refusal, broken, field_errors, shown_name

KEY = re.compile(r"[!-~]{1,255}")
Wanted = TypeVar("Wanted", bound=BaseModel)


async def read_body(request: Request) -> bytes:
    """The body, refused as soon as it is known to be too large. Starlette hands a body to a coroutine only."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if content_type != "application/json" or encoding != "identity":
        raise Refusal("not_offered_type", "send Content-Type: application/json, without Content-Encoding")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > BODY_MAX:
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX:
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
