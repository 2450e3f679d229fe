"""Ids in the paths of the order API and of a service: one segment each, whatever signs they hold.

A server hands on the path decoded, so `/v1/orders/A%2FB` arrives as that of another resource. `WholeSegments` reads the path as it
was sent and leaves `/` and `%` of a segment encoded; the convertor of `{order_id:id}` decodes them when the route is found. So
every path is decoded once, in one place, and `order_path` is its other half.
"""

import re
from urllib.parse import quote, unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.types import ASGIApp, Receive, Scope, Send


class IdConvertor(Convertor[str]):
    """One segment of a path that came through `WholeSegments`."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return unquote(value)

    def to_string(self, value: str) -> str:
        return quote(value, safe="")


register_url_convertor("id", IdConvertor())


class WholeSegments:
    """Keeps a `/` that was sent encoded apart from those between segments."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw: bytes | None = scope.get("raw_path")
        if scope["type"] == "http" and raw is not None:
            sent = raw.partition(b"?")[0].decode("ascii", "replace")
            scope = {**scope, "path": "/".join(map(_segment, sent.split("/")))}
        await self._app(scope, receive, send)


def order_path(order_id: str) -> str:
    """The path of an order, as it stands in links and headers: ASCII."""
    return f"/v1/orders/{quote(order_id, safe='')}"


def with_ids(path: str) -> str:
    """The path of a route, each of its parameters one segment of any signs."""
    return re.sub(r"\{(\w+)\}", r"{\1:id}", path)


def _segment(sent: str) -> str:
    return unquote(sent).replace("%", "%25").replace("/", "%2F")
