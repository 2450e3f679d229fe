"""Where a page of a list begins: an opaque cursor out of the header `Link`, and back.

A page goes by (accepted_at, id), so what arrives meanwhile moves nothing and each thing is listed once. A cursor that is not
written as a page of the same list writes it is refused; nothing in it is secret, and it holds with other filters too.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query

from saga.surfaces.problems import FieldError, Refusal, broken

PAGE_MAX = 200
ID_MAX = 64
Cursor = Annotated[str | None, Query(max_length=600, description="from `Link`; opaque")]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]


def next_link(path: str, asked: Mapping[str, object], accepted_at: datetime, last_id: str) -> str:
    """The header `Link` of a page that ends with this row; what was `asked` goes along."""
    query = {name: value for name, value in asked.items() if value}
    query["cursor"] = _cursor(path, accepted_at, last_id)
    return f'<{path}?{urlencode(query, doseq=True)}>; rel="next"'


def position(path: str, cursor: str | None) -> tuple[datetime, str] | None:
    """The row behind which a page of this list begins; None for the first page."""
    if cursor is None:
        return None
    try:
        of, at, last_id = urlsafe_b64decode(cursor.encode()).decode().split(" ", 2)
        accepted_at = datetime.fromisoformat(at)
        is_own = (
            of == path
            and last_id.isprintable()
            and 1 <= len(last_id) <= ID_MAX
            and _cursor(path, accepted_at, last_id) == cursor
        )
    except (ValueError, OverflowError):
        raise _foreign_cursor() from None
    if not is_own:
        raise _foreign_cursor()
    return accepted_at, last_id


def _foreign_cursor() -> Refusal:
    return Refusal("invalid", broken(1), [FieldError(field="query.cursor", rule="one from the header Link")])


def _cursor(path: str, accepted_at: datetime, last_id: str) -> str:
    return urlsafe_b64encode(f"{path} {accepted_at.astimezone(UTC).isoformat()} {last_id}".encode()).decode()
