"""What a proxy in front of the API may say of itself: the path under which it publishes it, and nothing else.

Rules of this file
------------------
- Nothing is taken from a header of a proxy unless `SAGA_TRUSTED_PROXIES` has the address that the connection comes from.
- `X-Forwarded-Prefix` is put before the paths that an answer leads to: `Location`, `Link` and every link in a body. A proxy that publishes
  the API at the root of a name sends none, and needs no setting.
- `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `Forwarded` are not read: links are paths, and nobody's address is logged or judged.
  The server does not read them either, whose default is to believe whoever is on this machine.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated

from pydantic import PlainSerializer
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PREFIX_HEADER = "x-forwarded-prefix"
PREFIX = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){1,8}")
Network = IPv4Network | IPv6Network
_prefix: ContextVar[str] = ContextVar("prefix", default="")

Link = Annotated[str, PlainSerializer(lambda path: _prefix.get() + path, return_type=str)]
"""A path of the API, as whoever asked can reach it."""


def networks_of(trusted: str | None) -> list[Network]:
    """The networks of the setting; an address is one of one. Raises `ValueError`."""
    return [ip_network(one.strip()) for one in (trusted or "").split(",") if one.strip()]


class BehindProxies:
    """The API as it is seen from in front of the proxies of these networks."""

    def __init__(self, app: ASGIApp, trusted: Sequence[Network]) -> None:
        self._app, self._trusted = app, trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        prefix = self._prefix_of(scope) if scope["type"] == "http" else ""
        if not prefix:
            await self._app(scope, receive, send)
            return
        token = _prefix.set(prefix)
        try:
            await self._app(scope, receive, _leading(send, prefix))
        finally:
            _prefix.reset(token)

    def _prefix_of(self, scope: Scope) -> str:
        """What a trusted proxy says; nothing where it says two things, or what is no path."""
        if not self._is_trusted(scope.get("client")):
            return ""
        said = Headers(scope=scope).getlist(PREFIX_HEADER)
        prefix = said[0].rstrip("/") if len(said) == 1 else ""
        return prefix if PREFIX.fullmatch(prefix) and ".." not in prefix else ""

    def _is_trusted(self, client: tuple[str, int] | None) -> bool:
        try:
            address = ip_address(client[0]) if client else None
        except ValueError:  # a socket in the file system has no address
            return False
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        return address is not None and any(address in network for network in self._trusted)


def _leading(send: Send, prefix: str) -> Callable[[Message], Awaitable[None]]:
    """Sends an answer whose headers lead to paths below the prefix."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if headers.get("location", "").startswith("/"):
                headers["location"] = prefix + headers["location"]
            if headers.get("link", "").startswith("</"):
                headers["link"] = f"<{prefix}{headers['link'][1:]}"
        await send(message)

    return sending
