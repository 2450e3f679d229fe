"""Where a page of a list begins: an opaque cursor out of the header `Link`, and back.

A page goes by (accepted_at, id), so what arrives meanwhile moves nothing and each thing is listed once. A cursor that no page
handed out is refused.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query

from saga.surfaces.problems import FieldError, Refusal, broken

PAGE_MAX = 200
Cursor = Annotated[str | None, Query(max_length=300, description="from `Link`; opaque")]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]


def next_link(path: str, asked: Mapping[str, object], accepted_at: datetime, last_id: str) -> str:
    """The header `Link` of a page that ends with this row; what was `asked` goes along."""
    text = f"{accepted_at.astimezone(UTC).isoformat()} {last_id}"
    query = {name: value for name, value in asked.items() if value}
    query["cursor"] = urlsafe_b64encode(text.encode()).decode()
    return f'<{path}?{urlencode(query, doseq=True)}>; rel="next"'


def position(cursor: str | None) -> tuple[datetime, str] | None:
    """The row behind which a page begins; None for the first page."""
    if cursor is None:
        return None
    try:
        at, _, last_id = urlsafe_b64decode(cursor.encode()).decode("ascii").partition(" ")
        accepted_at = datetime.fromisoformat(at)
    except ValueError:
        raise _foreign_cursor() from None
    if accepted_at.tzinfo is not UTC or not re.fullmatch(r"[!-~]{1,64}", last_id):
        raise _foreign_cursor()
    return accepted_at, last_id


def _foreign_cursor() -> Refusal:
    return Refusal("invalid", broken(1), [FieldError(field="query.cursor", rule="one from the header Link")])
