"""One HTTP call with `requests`, honest about how far it came.

- `not_sent` is said only when nothing was written: before the last look at the clock, which a connection subclass takes
  between `connect()` and the first byte. Nothing after that is ever `not_sent`, whatever exception it wears: a plain-text
  answer on a TLS socket raises `SSLError` after the participant applied the request.
- A call whose time was over by then (a slow name server, a slow connect) is not sent at all: it may have been taken over.
- `requests`' time-outs are per socket operation, so a participant that drips a byte a second would never time out. The
  wall deadline is kept by `_Wall`, one thread per process that shuts down the socket of a call that is over its time.
- An answer counts when it is whole. `http.client` takes the end of a connection for the end of the head, so a 402 that was cut
  behind its status would be a business "no"; and it takes 102 and 103 for the answer, so the real one would be the answer of
  the next request on that connection. `_WholeHead` refuses the first and reads on behind the second. A body without
  Content-Length ends with its connection, whoever ended that, the wall among them, or with a chunk whose size may be cut: it is
  whole when it is a JSON object, of which no part is one. Else the answer says so (`Answer.doubt`).
- No retries, no redirects, no cookies, no proxies from the environment: the engine is the only retry brain, and a
  redirect is a defect. One session per process; its pool is as large as the step threads are many.
"""

import json
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPResponse, RemoteDisconnected
from io import BufferedReader
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import check_header_validity
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from saga.clock import monotonic
from saga.core.outcomes import Outcome, OutcomeCode
from saga.errors import UsageError
from saga.forked import ForkGuard
from saga.runtime import failpoints
from saga.runtime.classify import Answer, text_of

BODY_LIMIT_BYTES = 4 * 1024 * 1024
_WALL_TICK_S = 0.2
TEMPLATES_MAX = 512
WITHOUT_BODY = (204, 304)
SWITCHING_PROTOCOLS = 101


class _TooLate(OSError):
    """Connected after the call's time was over: nothing was written."""


class _TooLong(Exception):
    """The body is longer than what is read of one."""


class _Trace(threading.local):
    """How far the call of this thread came, and what watches over its time."""

    request_began: bool = False
    deadline: float = 0.0
    wall: "_Wall | None" = None

    def begin(self, deadline: float, wall: "_Wall") -> None:
        self.request_began = False
        self.deadline, self.wall = deadline, wall

    def use(self, connection: HTTPConnection) -> None:
        """The last look at the clock: the next thing is the first byte."""
        if connection.sock is None:
            connection.connect()
        if monotonic() >= self.deadline:
            raise _TooLate
        self.request_began = True
        if self.wall is not None:
            self.wall.watch(self.deadline, connection.sock)


_trace = _Trace()


class _Lines:
    """A file that notes whether its end was read."""

    def __init__(self, file: BufferedReader) -> None:
        self.file, self.is_at_end = file, False

    def readline(self, limit: int = -1) -> bytes:
        line = self.file.readline(limit)
        self.is_at_end = not line.endswith(b"\n") and (limit < 0 or len(line) < limit)
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class _WholeHead(HTTPResponse):
    """The final answer, whose head ended with its blank line."""

    def begin(self) -> None:
        lines = _Lines(self.fp)
        self.fp = lines  # type: ignore[assignment]  # it reads no more than lines until the head is over
        super().begin()
        while 100 <= self.status < 200 and self.status != SWITCHING_PROTOCOLS:
            # http.client itself passes over 100 alone.
            self.headers = None  # type: ignore[assignment]  # as before the first line
            super().begin()
        if lines.is_at_end:
            raise RemoteDisconnected("the connection ended within the head of the answer")
        self.will_close = self.will_close or self.status == SWITCHING_PROTOCOLS  # what follows is no HTTP
        self.fp = lines.file


class _Plain(HTTPConnection):
    response_class = _WholeHead

    def request(self, *args: Any, **kwargs: Any) -> None:
        _trace.use(self)
        super().request(*args, **kwargs)
        failpoints.reach(failpoints.IN_CALL, path=args[1])


class _Secure(HTTPSConnection):
    response_class = _WholeHead

    def request(self, *args: Any, **kwargs: Any) -> None:
        _trace.use(self)
        super().request(*args, **kwargs)
        failpoints.reach(failpoints.IN_CALL, path=args[1])


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}


class _Wall:
    """Ends calls whose wall time is over by shutting their socket down; the reader then sees the connection break.

    It holds the socket and not the connection, which lets go of it at the head of an answer that ends with the connection.
    """

    def __init__(self) -> None:
        self._calls: dict[socket.socket, tuple[float, int]] = {}
        """By line, so that the next call on a line that was given back takes the place of the one before."""
        self._lock = threading.Lock()
        self._wakes = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, deadline: float, line: socket.socket) -> None:
        with self._lock:
            self._calls[line] = (deadline, threading.get_ident())
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="saga-wall", daemon=True)
                self._thread.start()

    def forget(self) -> None:
        """The call of this thread is over."""
        me = threading.get_ident()
        with self._lock:
            for line in [line for line, (_, caller) in self._calls.items() if caller == me]:
                del self._calls[line]

    def _run(self) -> None:
        while not self._wakes.wait(_WALL_TICK_S):
            now = monotonic()
            with self._lock:
                for line, (deadline, _) in self._calls.items():
                    if deadline <= now:
                        with suppress(OSError):  # closed meanwhile: the call is over, which is all that was wanted
                            line.shutdown(socket.SHUT_RDWR)


class Sender:
    """Sends requests for one process. Thread-safe; create it after fork."""

    def __init__(self, pool_size: int = 16) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(_NoCookies())
        adapter = _Adapter(pool_connections=16, pool_maxsize=pool_size, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._wall, self._guard = _Wall(), ForkGuard("sender")
        self._templates: dict[tuple[str, str], requests.PreparedRequest] = {}

    def send(
        self, method: str, url: str, body: str, headers: Mapping[str, str], *, connect_timeout_s: float, wall_s: float
    ) -> Answer | Outcome:
        """The answer, or the outcome when there is none: `not_sent` or `unknown`, or `defect` for one that is too long to read."""
        try:
            self._guard.check()
        except UsageError as error:
            return Outcome(OutcomeCode.NOT_SENT, str(error))
        _trace.begin(monotonic() + wall_s, self._wall)
        try:
            response = self._session.send(
                self._prepared(method, url, body, headers),
                timeout=(min(connect_timeout_s, wall_s), wall_s),
                allow_redirects=False,
                stream=True,
                proxies={},
                verify=True,
                cert=None,
            )
            content = _read(response)
        except _TooLong as error:
            return Outcome(OutcomeCode.DEFECT, str(error))
        except (requests.RequestException, OSError, ValueError) as error:
            return _without_answer(error)
        finally:
            self._wall.forget()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, content, _doubt(response.status_code, headers, content))

    def _prepared(self, method: str, url: str, body: str, headers: Mapping[str, str]) -> requests.PreparedRequest:
        """What `Session.prepare_request` makes. Its reading of the URL costs as much as the engine's part of a call, and
        operations have few URLs: what follows from the URL alone is kept."""
        template = self._templates.get((method, url))
        if template is None:
            if len(self._templates) >= TEMPLATES_MAX:
                self._templates.clear()
            template = self._session.prepare_request(requests.Request(method, url))
            self._templates[method, url] = template
        prepared = template.copy()
        who = template.headers.get("Authorization")  # whom the URL names; `requests` puts that above a header
        for header in headers.items():
            check_header_validity(header)
            prepared.headers[header[0]] = header[1]
        if who is not None:
            prepared.headers["Authorization"] = who
        prepared.prepare_body(body.encode(), None)
        return prepared

    def close(self) -> None:
        self._session.close()


def _read(response: requests.Response) -> bytes:
    content = b""
    for chunk in response.iter_content(65536):
        content += chunk
        if len(content) > BODY_LIMIT_BYTES:
            response.close()
            raise _TooLong(f"HTTP {response.status_code}: a body of more than {BODY_LIMIT_BYTES} bytes")
    return content


def _doubt(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Why the body may be a part of what was sent; empty when it is whole."""
    if headers.get("content-length", "").isdecimal() or status in WITHOUT_BODY:
        return ""
    try:
        is_whole = isinstance(json.loads(text_of(body, headers)), dict)
    except (ValueError, RecursionError):
        is_whole = False
    return "" if is_whole else "a body without Content-Length that is no JSON object; it may be cut"


def _without_answer(error: Exception) -> Outcome:
    shown = f"{type(error).__name__}: {error}"[:300]
    if not _trace.request_began:
        return Outcome(OutcomeCode.NOT_SENT, shown)
    return Outcome(OutcomeCode.UNKNOWN, shown)


class _NoCookies(requests.cookies.cookielib.DefaultCookiePolicy):  # type: ignore[name-defined,misc]
    """A participant's cookies would make two attempts differ."""

    def set_ok(self, cookie: Any, request: Any) -> bool:  # noqa: ARG002  the base class's signature
        return False
