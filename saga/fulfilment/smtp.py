"""One mail to one mail server, honest about how far it came (RFC 5321).

Rules of this file
------------------
A server has taken a mail over when it answers 250 to the end of the data, and not before (RFC 5321 section 4.1.1.4). So

| what happened | raised | why |
|---|---|---|
| no name, no connection, no TLS; the line broke before DATA | `NotSent` | nothing of the mail had left |
| 4xx to anything, the end of the data included | `Deferred` | the server says that it has not taken it: greylisting, a full disk |
| 5xx to the recipient or to the data | `Rejected` | this customer cannot be told; the answer's code is the detail |
| 5xx to anything else: greeting, TLS, user and password, sender | `ServerRefuses` | it is about us: a defect, for a person |
| 5xx to the recipient with 5.7.0, 5.7.8, 5.7.25, or 5.7.1 for relaying | `ServerRefuses` | the same: every recipient fares alike |
| no answer after DATA | `Unknown` | it may be on its way; it is sent again under the same Message-ID |

- 5.7.1 is said of a host and of a recipient (IANA, SMTP Enhanced Status Codes). Of the host it is where the text speaks of
  relaying, as Postfix does to a client that has not logged in (554 5.7.1 Relay access denied); any other is the recipient's, as a
  closed group is. A server that gives no enhanced code with its 5xx to the recipient is taken to mean the recipient.
- What a server says is not repeated beyond its codes: its text holds the customer's address.
- Everything ends within `SEND_S`, less than the step's time, whatever the server does: `smtplib` bounds each read alone, and a
  server that drips a byte a second would never be done. A timer shuts the line down, as `saga.runtime.http` does.
- A connection serves one mail: orders are confirmed at the pace of parcels, and a line that lay idle breaks in the middle.
- Nothing is sent in clear when TLS was asked for, and certificates are always checked.
"""

import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Literal, NoReturn, cast
from urllib.parse import unquote, urlsplit

from saga.clock import monotonic
from saga.errors import NotSent, Rejected, SagaError, Throttled, Unknown
from saga.fulfilment.mail_policy import SENT

SEND_S = 20.0
"""What one mail may take. Below the 30 s of a function step, so that an attempt ends before its deadline."""
CONNECT_S = 5.0
FAREWELL_S = 1.0
ENHANCED = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}(?!\d)")
OF_OURS = frozenset({500, 502, 503, 504, 530, 534, 535, 538})
"""Said to a recipient or to data, these are about the client still: a command out of order, or user and password missing."""
ABOUT_US = frozenset({b"5.7.0", b"5.7.8", b"5.7.25"})
"""Enhanced codes that are about the client whoever the recipient is: log in, bad password, no reverse name."""
Security = Literal["smtp", "smtps", "smtp+starttls"]
PORTS: dict[Security, int] = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}


class ServerRefuses(SagaError):
    """The mail server refuses us and not the customer; all mails fare alike until somebody mends the settings."""


class Deferred(Throttled):
    """The server has not taken the mail and says so; `reply` is its code."""

    def __init__(self, reply: str) -> None:
        super().__init__()
        self.args = (reply,)
        self.reply = reply

    def __str__(self) -> str:
        return self.reply


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mails are handed over, as `SAGA_SMTP_URL` says."""

    security: Security
    host: str
    port: int
    user: str = ""
    password: str = ""

    @classmethod
    def of(cls, url: str) -> "MailServer":
        """The server of a URL that `saga.settings` has checked."""
        parts = urlsplit(url)
        security = cast(Security, parts.scheme)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(security, parts.hostname or "", parts.port or PORTS[security], user, password)

    @property
    def place(self) -> str:
        """Where it is, for people: without user and password."""
        return f"{self.security}://{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"MailServer({self.place})"


def send(server: MailServer, message: EmailMessage, recipient: str, *, bound_s: float = SEND_S) -> None:
    """Hand `message` to `server` for `recipient`. It was taken over when this returns; else see the table above.

    May be repeated: a reader tells repeats by the Message-ID. Takes `bound_s` seconds at most, a slow name server aside.
    """
    ends_at = monotonic() + bound_s
    content = message.as_bytes(policy=SENT)
    sender = message["From"].addresses[0].addr_spec
    with _connected(server, ends_at) as session:
        try:
            _introduce(session, server)
            _expect(session.mail(sender), 250, "MAIL")
            _expect(session.rcpt(recipient), 250, "RCPT")
        except OSError as error:  # the errors of smtplib and of TLS are among them
            _explain(error)
        _hand_over(session, content)


def _explain(error: OSError) -> NoReturn:
    """What an error before the data means."""
    match error:
        case smtplib.SMTPResponseException():  # to EHLO, STARTTLS, user and password
            _refuse(error.smtp_code, error.smtp_error, "AUTH")
        case smtplib.SMTPException() if not isinstance(error, smtplib.SMTPServerDisconnected):
            raise ServerRefuses(f"the mail server does not offer what SAGA_SMTP_URL asks for: {error}") from error
        case _:
            raise NotSent(f"mail server: {type(error).__name__} before the mail was sent") from error


def _hand_over(session: smtplib.SMTP, content: bytes) -> None:
    try:
        answer = session.data(content)
    except smtplib.SMTPDataError as error:
        _refuse(error.smtp_code, error.smtp_error, "DATA")
    except OSError as error:
        raise Unknown(f"mail server: {type(error).__name__} after the mail was sent") from error
    _expect(answer, 250, "DATA")
    _say_farewell(session)


def _introduce(session: smtplib.SMTP, server: MailServer) -> None:
    _expect(session.getreply(), 220, "greeting")
    session.ehlo_or_helo_if_needed()
    if server.security == "smtp+starttls":
        session.starttls(context=ssl.create_default_context())
        session.ehlo_or_helo_if_needed()
    if server.user:
        _log_in(session, server)


def _log_in(session: smtplib.SMTP, server: MailServer) -> None:
    """By one mechanism. `smtplib.login` goes on to the next after a refusal, and many servers hang up by then: a wrong
    password would look like a line that broke."""
    offered = session.esmtp_features.get("auth", "").upper().split()
    known: dict[str, Callable[..., str]] = {"PLAIN": session.auth_plain, "LOGIN": session.auth_login}
    if server.security == "smtp":
        known = {"CRAM-MD5": session.auth_cram_md5, **known}  # in clear, rather what does not show the password
    mechanism = next((name for name in known if name in offered), None)
    if mechanism is None:
        raise ServerRefuses(f"the mail server offers none of AUTH {', '.join(known)}, and SAGA_SMTP_URL has a user")
    session.user, session.password = server.user, server.password
    session.auth(mechanism, known[mechanism])


def _expect(answer: tuple[int, bytes], wanted: int, asked: str) -> None:
    code, text = answer
    if code != wanted and not (asked == "RCPT" and code == 251):
        _refuse(code, text, asked)


def _refuse(code: int, text: bytes | str, asked: str) -> NoReturn:
    said = text.encode("ascii", "replace") if isinstance(text, str) else text
    found = ENHANCED.match(said)
    reply = f"smtp {code}" + (f" {found.group().decode('ascii')}" if found else "")
    if 400 <= code <= 499:
        raise Deferred(reply)
    is_ours = code in OF_OURS or (asked == "RCPT" and found is not None and _is_about_us(found.group(), said))
    if 500 <= code <= 599 and asked in {"RCPT", "DATA"} and not is_ours:
        raise Rejected(reply)
    if 500 <= code <= 599:
        raise ServerRefuses(f"the mail server answers {reply} to {asked}; look at SAGA_SMTP_URL and SAGA_MAIL_FROM")
    if asked == "DATA":
        raise Unknown(f"mail server: {reply} is no answer to DATA")
    raise NotSent(f"mail server: {reply} is no answer to {asked}")


def _is_about_us(enhanced: bytes, said: bytes) -> bool:
    return enhanced in ABOUT_US or (enhanced == b"5.7.1" and b"relay" in said.lower())


@contextmanager
def _connected(server: MailServer, ends_at: float) -> Iterator[smtplib.SMTP]:
    """A session on a line that is up and, for smtps, secured; it is shut down at `ends_at`."""
    try:
        line = reached(socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM), ends_at)
    except (OSError, UnicodeError) as error:  # a name that no resolver takes is a UnicodeError
        raise NotSent(f"mail server: {type(error).__name__} while connecting") from error
    with line.dup() as end, line:  # TLS takes the socket over: its twin still ends the connection
        timer = threading.Timer(max(0.0, ends_at - monotonic()), _shut, [end])
        timer.daemon = True
        timer.start()
        session = None
        try:
            line.settimeout(SEND_S)
            session = _Session(_secured(line, server), server.host)
            yield session
        finally:
            timer.cancel()
            if session is not None:
                session.close()


def reached(found: Sequence[tuple[int, int, int, str, Any]], ends_at: float) -> socket.socket:
    """A connection to the first of these addresses (as `getaddrinfo` gives them) that takes one, at most `CONNECT_S` seconds each
    and all of them until `ends_at` on the monotonic clock. `socket.create_connection` gives each the whole time.

    Raises the `OSError` of the last that was tried.
    """
    refusal: OSError = TimeoutError()
    for family, kind, protocol, _, address in found:
        left_s = min(CONNECT_S, ends_at - monotonic())
        if left_s <= 0:
            break
        try:
            return _connected_to(socket.socket(family, kind, protocol), address, left_s)
        except OSError as error:  # of the socket too: a kernel without IPv6 makes none
            refusal = error
    raise refusal


def _connected_to(line: socket.socket, address: Any, bound_s: float) -> socket.socket:
    try:
        line.settimeout(bound_s)
        line.connect(address)
    except OSError:
        line.close()
        raise
    return line


def _secured(line: socket.socket, server: MailServer) -> socket.socket:
    if server.security != "smtps":
        return line
    try:
        return ssl.create_default_context().wrap_socket(line, server_hostname=server.host)
    except OSError as error:
        raise NotSent(f"mail server: {type(error).__name__} while connecting") from error


class _Session(smtplib.SMTP):
    """smtplib's protocol on a line that is up already."""

    def __init__(self, line: socket.socket, host: str) -> None:
        # An address in brackets is always a right name for a client (RFC 5321 section 4.1.3), and asks no name server.
        address = line.getsockname()[0]
        super().__init__(local_hostname=f"[IPv6:{address}]" if ":" in address else f"[{address}]", timeout=SEND_S)
        self._host = host  # what starttls() checks the certificate against
        self.sock = line
        self.file = None


def _shut(line: socket.socket) -> None:
    try:
        line.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed meanwhile: the mail is done, which is all that was wanted


def _say_farewell(session: smtplib.SMTP) -> None:
    """The mail was taken over already, so whatever becomes of this is right."""
    try:
        if session.sock is not None:
            session.sock.settimeout(FAREWELL_S)
        session.docmd("QUIT")
    except OSError:
        return
