"""How far a mail came is told truly, to a server that nobody here wrote and to one that breaks at every word."""

import copy
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from email.message import EmailMessage
from typing import Any
from urllib.parse import quote

import pytest

from saga.clock import monotonic
from saga.core.states import Direction
from saga.errors import NotSent, Rejected, SagaError, Throttled, Unknown
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.mailbox import confirmation
from saga.fulfilment.models import Order, OrderPrice, Shipment
from saga.fulfilment.smtp import SEND_S, Deferred, MailServer, ServerRefuses, reached, send
from tests.integration.mail.peers import (
    CLOSE,
    DRIP,
    HANG,
    HANG_S,
    PASSWORD,
    USER,
    Answer,
    Inbox,
    knows,
    line_server,
    mail_server,
    nobody,
)

KEY = "a2345678b2345678c2345678d2345678"
MESSAGE_ID = f"<{KEY}@shop.invalid>"
LOGIN = f"{USER}:{quote(PASSWORD, safe='')}@"


def mail(to: str = "zoe@example.org") -> EmailMessage:
    order = Order.model_validate(
        {
            "order_id": "SO-1",
            "customer_id": "C7",
            "currency": "GBP",
            "country": "United Kingdom",
            "address": {"name": "Zoë", "street": "1 High Street", "city": "Leeds", "postcode": "LS1 1AA"},
            "lines": [{"sku": "A", "quantity": 7, "unit_price": 50}],
            "payment_method": "pm_card",
            "email": to,
        }
    )
    price = OrderPrice(goods=350, tax=70, freight=495, total=915, currency="GBP")
    shipment = Shipment(shipment_id="s1", tracking="T-1", carrier="DHL")
    return confirmation(order, price, shipment, KEY, "Zoë's shop <orders@shop.example>")


def told(url: str, to: str = "zoe@example.org", bound_s: float = SEND_S) -> SagaError | None:
    """What sending raises, or None when the mail was taken."""
    try:
        send(MailServer.of(url), mail(to), to, bound_s=bound_s)
    except SagaError as error:
        return error
    return None


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssl.SSLContext]:
    """A certificate for localhost that this process trusts, and the server's context with it."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on PATH to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificate))
        yield context


def test_a_mail_is_delivered_once_with_its_id() -> None:
    """aiosmtpd takes one mail for one recipient, with the Message-ID of the key and a body that reads as it was written."""
    inbox = Inbox()
    with mail_server(inbox) as port:
        assert told(f"smtp://127.0.0.1:{port}") is None
    (taken,) = inbox.mails
    assert (taken["Message-ID"], taken["To"], taken["From"]) == (
        MESSAGE_ID,
        "zoe@example.org",
        "Zoë's shop <orders@shop.example>",
    )
    assert (inbox.envelopes[0].mail_from, inbox.envelopes[0].rcpt_tos) == ("orders@shop.example", ["zoe@example.org"])
    assert not taken.defects
    body = taken.get_body()
    assert body is not None
    assert "£9.15" in body.get_content()


def test_the_mail_is_seven_bits_wide() -> None:
    """A server need not know 8BITMIME: no byte of what is sent is above 127, and a lone dot does not end it."""
    with line_server() as (port, line):
        message = mail()
        message.set_content("£\n.\n.hidden\n", cte="8bit")
        send(MailServer.of(f"smtp://127.0.0.1:{port}"), message, "zoe@example.org")
    assert max(b"".join(line.said)) < 128
    assert sum(content == b".\r\n" for content in line.said) == 1


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [("gone", Rejected, "smtp 550 5.1.1"), ("grey", Throttled, "smtp 451 4.7.1"), ("lost", Unknown, "")],
)
def test_what_the_server_says_is_what_the_step_says(name: str, kind: type[SagaError], says: str) -> None:
    """A mailbox that is not there, greylisting, a lost answer; no message holds the customer's address."""
    inbox = Inbox()
    with mail_server(inbox) as port:
        error = told(f"smtp://127.0.0.1:{port}", f"{name}@example.org")
    assert isinstance(error, kind)
    assert says in str(error)
    assert f"{name}@" not in str(error)
    assert len(inbox.mails) == (name == "lost")


BEFORE = ("greeting", "EHLO", "MAIL", "RCPT")
OURS = ("greeting", "EHLO", "MAIL")
ROWS: list[tuple[str, Answer, type[SagaError]]] = [
    *((asked, CLOSE, NotSent) for asked in BEFORE),
    *((asked, HANG, NotSent) for asked in BEFORE),
    *((asked, DRIP, NotSent) for asked in BEFORE),
    *((asked, b"HTTP/1.1 400 Bad Request", NotSent) for asked in ("greeting", "MAIL", "RCPT")),
    *((asked, b"421 4.3.2 not now", Deferred) for asked in (*BEFORE, "DATA", "end of data")),
    *((asked, b"450 4.2.1 later", Deferred) for asked in ("MAIL", "RCPT", "DATA", "end of data")),
    *((asked, b"554 5.7.1 not you", ServerRefuses) for asked in OURS),
    ("RCPT", b"550 5.1.1 nobody", Rejected),
    ("RCPT", b"530 5.7.0 who are you", ServerRefuses),
    ("RCPT", b"503 5.5.1 not now", ServerRefuses),
    ("RCPT", b"554 5.7.1 <zoe@example.org>: Relay access denied", ServerRefuses),
    ("RCPT", b"550 5.7.25 no reverse name", ServerRefuses),
    ("RCPT", b"554 5.7.1 <zoe@example.org>: Recipient address rejected: Access denied", Rejected),
    ("RCPT", b"550 5.7.133 not in the closed group", Rejected),
    ("RCPT", b"550 relay? nobody knows", Rejected),
    ("DATA", b"554 5.5.1 no valid recipients", Rejected),
    ("end of data", b"550 5.7.1 spam", Rejected),
    *((asked, broken, Unknown) for asked in ("DATA", "end of data") for broken in (CLOSE, HANG, DRIP)),
    ("end of data", b"HTTP/1.1 400 Bad Request", Unknown),
]


@pytest.mark.parametrize(("asked", "answer", "kind"), ROWS, ids=[f"{row[0]}-{row[1]!r:.12}" for row in ROWS])
def test_every_word_of_the_server_has_one_meaning(asked: str, answer: Answer, kind: type[SagaError]) -> None:
    """Each command is answered by a refusal for now, for good, by nonsense, by nothing, by a drip and by a broken line;
    whatever the server does, it is over within the bound."""
    bound_s = 1.0 if kind is NotSent else 3.0 if answer in {HANG, DRIP} else SEND_S
    began = monotonic()
    with line_server(**{asked.replace(" ", "_"): answer, **({"HELO": answer} if asked == "EHLO" else {})}) as (port, _):
        error = told(f"smtp://127.0.0.1:{port}", bound_s=bound_s)
    assert type(error) is kind
    assert monotonic() - began < HANG_S


@pytest.mark.parametrize("farewell", [CLOSE, HANG, b"500 what"])
def test_a_mail_that_was_taken_stays_taken(farewell: Answer) -> None:
    """The answer to the data is the end of it: what becomes of QUIT changes nothing, and is not waited for."""
    began = monotonic()
    with line_server(QUIT=farewell) as (port, _):
        assert told(f"smtp://127.0.0.1:{port}", bound_s=30.0) is None
    assert monotonic() - began < HANG_S


def test_nobody_listens_is_not_sent() -> None:
    """Refused, and a name that does not resolve."""
    with nobody() as port:
        assert type(told(f"smtp://127.0.0.1:{port}")) is NotSent
    assert type(told("smtp://nowhere.invalid")) is NotSent
    assert type(told(f"smtp://{'a' * 80}.invalid")) is NotSent


Found = tuple[int, int, int, str, tuple[str, int]]


def addresses(ports: list[int]) -> list[Found]:
    """What a name server would say of a host with these addresses."""
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port)) for port in ports]


def test_a_server_of_several_addresses_is_tried_at_each() -> None:
    """The first takes no connection, the second does."""
    with nobody() as closed, socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with reached(addresses([closed, port]), monotonic() + 5) as line:
            assert line.getpeername()[1] == port
        without_family = (socket.AF_APPLETALK, *addresses([port])[0][1:])  # as IPv6 is where the kernel has none
        with reached([without_family, *addresses([port])], monotonic() + 5) as line:
            assert line.getpeername()[1] == port
        with pytest.raises(ConnectionRefusedError):
            reached(addresses([closed, closed]), monotonic() + 5)


def test_addresses_that_do_not_answer_share_the_time() -> None:
    """However many there are, they are given up within the time of the mail: each step has a deadline."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent, ExitStack() as waiting:
        for _ in range(4):  # the queue is full then, and the next is not even refused
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(silent.getsockname())
        began = monotonic()
        with pytest.raises(TimeoutError):
            reached(addresses([silent.getsockname()[1]] * 6), began + 1.0)
        assert 0.9 <= monotonic() - began < 3.0


def test_starttls_secures_the_line_before_anything_is_told(certificate: ssl.SSLContext) -> None:
    """The password and the mail go over TLS, to the server that the certificate names."""
    inbox = Inbox()
    options: dict[str, Any] = {"tls_context": certificate, "require_starttls": True, "authenticator": knows}
    with mail_server(inbox, auth_required=True, **options) as port:
        assert told(f"smtp+starttls://{LOGIN}localhost:{port}") is None
    assert inbox.security == [True]


def test_tls_from_the_first_byte(certificate: ssl.SSLContext) -> None:
    """smtps:// greets over TLS."""
    inbox = Inbox()
    with mail_server(inbox, secured_by=certificate) as port:
        assert told(f"smtps://localhost:{port}") is None
    assert inbox.security == [True]


def test_a_server_that_cannot_prove_its_name_gets_nothing(
    certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that nobody trusts ends it inside connecting."""
    monkeypatch.delenv("SSL_CERT_FILE")
    inbox = Inbox()
    with mail_server(inbox, secured_by=certificate) as port:
        assert type(told(f"smtps://localhost:{port}")) is NotSent
    with mail_server(inbox, tls_context=certificate) as port:
        assert type(told(f"smtp+starttls://{LOGIN}localhost:{port}")) is NotSent
    assert inbox.mails == []


@pytest.mark.parametrize("behaviour", [HANG, DRIP])
def test_a_handshake_that_does_not_end_is_not_sent(behaviour: str) -> None:
    """Neither TLS from the first byte nor STARTTLS waits for ever."""
    began = monotonic()
    with line_server(greeting=behaviour) as (port, _):
        assert type(told(f"smtps://127.0.0.1:{port}", bound_s=1.0)) is NotSent
    with line_server(EHLO=b"250-mail.test\r\n250 STARTTLS", STARTTLS=b"220 go\r\n\x16\x03\x03\x40") as (port, _):
        assert type(told(f"smtp+starttls://127.0.0.1:{port}", bound_s=1.0)) is NotSent
    assert monotonic() - began < HANG_S


def test_no_mail_goes_in_clear_where_tls_was_asked_for() -> None:
    """A server that does not offer STARTTLS, or whose offer somebody in between took out, gets neither password nor mail."""
    with line_server() as (port, line):
        error = told(f"smtp+starttls://{LOGIN}127.0.0.1:{port}")
    assert type(error) is ServerRefuses
    assert {said.split()[0] for said in line.said} == {b"ehlo"}


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("password", ["wrong", PASSWORD])
def test_a_wrong_password_is_a_defect(password: str) -> None:
    """535 is about us: nothing is rejected, nothing rolled back, and the message holds neither user nor password."""
    inbox = Inbox()
    options: dict[str, Any] = {"auth_required": True, "auth_require_tls": False, "authenticator": knows}
    with mail_server(inbox, **options) as port:
        error = told(f"smtp://{USER}:{quote(password, safe='')}@127.0.0.1:{port}")
    if password == PASSWORD:
        assert error is None
    else:
        assert type(error) is ServerRefuses
        assert "535" in str(error)
        assert password not in str(error)


def test_a_password_for_a_server_that_asks_for_none_is_a_defect() -> None:
    """Neither an offer of AUTH nor one that we know."""
    for offer in (b"250 mail.test", b"250-mail.test\r\n250 AUTH GSSAPI"):
        with line_server(EHLO=offer) as (port, _):
            assert type(told(f"smtp://{LOGIN}127.0.0.1:{port}")) is ServerRefuses


def test_a_server_that_hangs_up_on_a_wrong_password_has_refused_it() -> None:
    """Its first answer counts: going on to another mechanism would meet a broken line, which looks like a server that is away."""
    with line_server(EHLO=b"250-mail.test\r\n250 AUTH PLAIN LOGIN", AUTH=b"535 5.7.8 no") as (port, _):
        assert type(told(f"smtp://{LOGIN}127.0.0.1:{port}")) is ServerRefuses


def test_a_password_that_cannot_be_checked_now_is_tried_again() -> None:
    """454 to AUTH: the server's own directory is away."""
    with line_server(EHLO=b"250-mail.test\r\n250 AUTH PLAIN", AUTH=b"454 4.7.0 later") as (port, _):
        assert type(told(f"smtp://{LOGIN}127.0.0.1:{port}")) is Deferred


def test_one_mail_takes_less_than_the_step_has() -> None:
    """So an attempt that began in time ends before its deadline, whatever clock the deadline is read from."""
    assert fulfil_order.by_name["confirm_order"].wall_s_in(Direction.ACTION) > SEND_S + 5


def test_what_is_raised_survives_being_taken_apart() -> None:
    """Celery pickles what leaves a task; a copy is made by the same protocol."""
    deferred = copy.copy(Deferred("smtp 451 4.7.1"))
    assert (str(deferred), deferred.retry_after_s) == ("smtp 451 4.7.1", None)


def test_a_password_is_not_shown() -> None:
    """A traceback may hold the server."""
    assert PASSWORD not in repr(MailServer.of(f"smtps://{LOGIN}mail.example:465"))


def test_ports_that_are_not_named_are_the_usual_ones() -> None:
    """25, 465 and 587; user and password are decoded."""
    servers = [MailServer.of(f"{scheme}://{LOGIN}h") for scheme in ("smtp", "smtps", "smtp+starttls")]
    assert [server.port for server in servers] == [25, 465, 587]
    assert (servers[0].user, servers[0].password) == (USER, PASSWORD)
