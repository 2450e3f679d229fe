"""Mail servers for tests: aiosmtpd, which nobody here wrote, and a line that answers to the letter or not at all."""

import asyncio
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

START_S = 10.0
HANG_S = 10.0
"""How long a server that never answers does not; whoever waits for it was not bounded."""
USER, PASSWORD = "shop", "p:w@rd/1"


@dataclass
class Inbox:
    """What a server took, and how it treats a recipient by the part before the @."""

    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    security: list[bool] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802  aiosmtpd asks for this name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _o: list[str]
    ) -> str:
        """`gone` is 550; `grey` is 451 for the first time."""
        name = address.partition("@")[0]
        self.seen[f"RCPT {name}"] += 1
        if name.startswith("gone"):
            return f"550 5.1.1 <{address}>: nobody of that name"
        if name.startswith("grey") and self.seen[f"RCPT {name}"] == 1:
            return f"451 4.7.1 <{address}>: greylisted, come again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802  aiosmtpd asks for this name
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """`lost` is taken, and the line drops before the answer, for the first time."""
        assert isinstance(envelope.content, bytes)
        name = envelope.rcpt_tos[0].partition("@")[0]
        self.seen[f"DATA {name}"] += 1
        message = message_from_bytes(envelope.content, policy=SMTP_POLICY)
        assert isinstance(message, EmailMessage)
        self.mails.append(message)
        self.envelopes.append(envelope)
        assert server.transport is not None
        self.security.append(server.transport.get_extra_info("ssl_object") is not None)
        if name.startswith("lost") and self.seen[f"DATA {name}"] == 1:
            server.transport.close()
        return "250 2.0.0 taken"

    def to(self, address: str) -> list[EmailMessage]:
        return [mail for mail in self.mails if mail["To"] == address]


def knows(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: Any) -> AuthResult:
    """Whether user and password are the ones that the tests set."""
    assert isinstance(given, LoginPassword)
    return AuthResult(handled=False, success=(given.login, given.password) == (USER.encode(), PASSWORD.encode()))


@contextmanager
def mail_server(
    inbox: Inbox, *, port: int = 0, secured_by: ssl.SSLContext | None = None, **options: Any
) -> Iterator[int]:
    """aiosmtpd in a thread; its port. `secured_by`: TLS from the first byte, else `options` decide."""
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    bound: list[int] = []

    def session() -> SMTP:
        return SMTP(inbox, hostname="mail.test", loop=loop, **options)

    async def serve() -> None:
        server = await loop.create_server(session, "127.0.0.1", port, ssl=secured_by)
        bound.append(server.sockets[0].getsockname()[1])
        ready.set()
        await stop.wait()
        server.close()
        lines = asyncio.all_tasks() - {asyncio.current_task()}
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(START_S)
    try:
        yield bound[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(START_S)
        loop.close()


CLOSE, HANG, DRIP = "close", "hang", "drip"
Answer = bytes | str
POLITE: dict[str, Answer] = {
    "greeting": b"220 mail.test",
    "EHLO": b"250 mail.test",
    "MAIL": b"250 2.1.0 OK",
    "RCPT": b"250 2.1.5 OK",
    "DATA": b"354 go on",
    "end of data": b"250 2.0.0 taken",
    "QUIT": b"221 bye",
}


@dataclass
class Line:
    """A server that answers each command by the table; CLOSE drops the line, HANG never answers, DRIP does so for ever."""

    answers: Mapping[str, Answer]
    said: list[bytes] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            if not self._answer(connection, "greeting"):
                return
            for line in lines:
                self.said.append(line)
                verb = (line.split() or [b""])[0].decode("ascii", "replace").upper()
                if not self._answer(connection, verb):
                    return
                if verb == "AUTH":
                    return  # as many servers do: it hangs up after the first refusal
                if verb == "STARTTLS":
                    self.stop.wait(HANG_S)  # it never shakes hands
                    return
                if verb == "DATA" and self.answers[verb] == POLITE["DATA"]:
                    for content in lines:
                        self.said.append(content)
                        if content == b".\r\n":
                            break
                    if not self._answer(connection, "end of data"):
                        return

    def _answer(self, connection: socket.socket, asked: str) -> bool:
        answer = self.answers.get(asked, b"502 5.5.1 no such command")
        if isinstance(answer, bytes):
            connection.sendall(answer + b"\r\n")
        elif answer == HANG:
            self.stop.wait(HANG_S)
        elif answer == DRIP:
            self._drip(connection)
        return isinstance(answer, bytes)

    def _drip(self, connection: socket.socket) -> None:
        connection.sendall(b"250-")
        while not self.stop.wait(0.05):
            try:
                connection.sendall(b"x")
            except OSError:
                return


@contextmanager
def line_server(**answers: Answer) -> Iterator[tuple[int, Line]]:
    """Its port, and what was said to it; what is not named is answered politely."""
    line = Line({**POLITE, **{asked.replace("_", " "): answer for asked, answer in answers.items()}})
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=line.serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], line
    finally:
        line.stop.set()
        listener.close()


@contextmanager
def nobody() -> Iterator[int]:
    """A port on which nobody listens, and which nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
