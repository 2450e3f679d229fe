"""How far a call came is told truly: `not_sent` only from inside connect(), the wall deadline against a dripping peer."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests

from saga.clock import monotonic
from saga.core.outcomes import Outcome, OutcomeCode
from saga.runtime.classify import Answer
from saga.runtime.http import Sender, _Wall

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def peer(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does `behave` with every connection; its URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_one, args=(connection,), daemon=True).start()

    def _one(connection: socket.socket) -> None:
        with connection:
            behave(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def request_of(connection: socket.socket) -> bytes:
    return _head_and_body(connection)[1]


def _head_and_body(connection: socket.socket) -> tuple[list[str], bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(
        next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")).split(b":")[1]
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head.decode().split("\r\n"), body


def _send(url: str, wall_s: float = 2.0) -> Answer | Outcome:
    sender = Sender(4)
    try:
        return sender.send("POST", f"{url}/x", '{"a":1}', {}, connect_timeout_s=0.5, wall_s=wall_s)
    finally:
        sender.close()


def test_the_bytes_arrive_as_they_are() -> None:
    """What the journal holds is what the participant reads."""
    seen: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        seen.append(request_of(connection))
        connection.sendall(OK)

    with peer(behave) as url:
        answer = _send(url)
    assert isinstance(answer, Answer)
    assert answer.status == 200
    assert seen == [b'{"a":1}']


def test_calls_to_one_address_are_each_their_own() -> None:
    """What is kept of an address from call to call is the address and its password: never a header or a body, and a
    request is what `requests` makes of it."""
    seen: list[tuple[list[str], bytes]] = []

    def behave(connection: socket.socket) -> None:
        seen.append(_head_and_body(connection))
        connection.sendall(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    sender = Sender(4)
    with peer(behave) as url:
        address = url.replace("http://", "http://me:secret@") + "/\u00fc"
        calls = [
            ("POST", '{"a":1}', {"Idempotency-Key": "k1", "X-One": "1"}),
            ("POST", "{}", {"Idempotency-Key": "k2"}),
        ]
        for method, body, headers in calls:
            sender.send(method, address, body, headers, connect_timeout_s=0.5, wall_s=2.0)
        sender.close()
        for method, body, headers in calls:
            requests.request(method, address, data=body.encode(), headers=headers, timeout=2).close()
    ours, theirs = seen[:2], seen[2:]
    assert [(sorted(head), body) for head, body in ours] == [(sorted(head), body) for head, body in theirs]
    assert ours[0][0][0] == "POST /%C3%BC HTTP/1.1"
    assert any(line.startswith("Authorization: Basic ") for line in ours[1][0])


@pytest.mark.parametrize("value", ["Bearer abc\n", " Bearer abc", "Bearer a\r\nX-Two: 2"])
def test_a_header_that_no_request_can_carry_is_not_sent(value: str) -> None:
    """A credential with a line break, as a file of secrets ends, is refused before anything connects; each time, and the
    next call of the same address is a good one."""
    seen: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        seen.append(request_of(connection))
        connection.sendall(OK)

    sender = Sender(4)
    with peer(behave) as url:
        bad = [
            sender.send("POST", url, "{}", {"Authorization": value}, connect_timeout_s=0.5, wall_s=2.0)
            for _ in range(2)
        ]
        good = sender.send("POST", url, "{}", {"Authorization": "Bearer abc"}, connect_timeout_s=0.5, wall_s=2.0)
    sender.close()
    assert [it.code for it in bad if isinstance(it, Outcome)] == [OutcomeCode.NOT_SENT] * 2
    assert isinstance(good, Answer)
    assert seen == [b"{}"]


def test_who_the_address_names_is_who_asks() -> None:
    """User and password of the address stand above a header of the same purpose, as `requests` has it."""
    seen: list[str] = []

    def behave(connection: socket.socket) -> None:
        seen.extend(_head_and_body(connection)[0])
        connection.sendall(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    sender, headers = Sender(4), {"authorization": "Bearer abc"}
    with peer(behave) as url:
        address = url.replace("http://", "http://me:secret@")
        sender.send("POST", address, "{}", headers, connect_timeout_s=0.5, wall_s=2.0)
        requests.post(address, data=b"{}", headers=headers, timeout=2).close()
        sender.send("POST", url, "{}", headers, connect_timeout_s=0.5, wall_s=2.0)
    sender.close()
    asked = [line.partition(": ")[2] for line in seen if line.lower().startswith("authorization:")]
    assert asked == ["Basic bWU6c2VjcmV0", "Basic bWU6c2VjcmV0", "Bearer abc"]


def test_nobody_listens_is_not_sent() -> None:
    """Refused inside connect()."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    outcome = _send(url)
    assert isinstance(outcome, Outcome)
    assert outcome.code is OutcomeCode.NOT_SENT


def test_a_name_that_does_not_resolve_is_not_sent() -> None:
    """Looking up the name is part of connect()."""
    outcome = _send("http://nowhere.invalid")
    assert isinstance(outcome, Outcome)
    assert outcome.code is OutcomeCode.NOT_SENT


def _close(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def _read_and_close(connection: socket.socket) -> None:
    request_of(connection)


def _half_an_answer(connection: socket.socket) -> None:
    request_of(connection)
    connection.sendall(OK[:-1])


def _rubbish(connection: socket.socket) -> None:
    request_of(connection)
    connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")


@pytest.mark.parametrize("behave", [_close, _read_and_close, _half_an_answer, _rubbish])
def test_everything_after_connect_is_unknown(behave: Callable[[socket.socket], None]) -> None:
    """The peer may have done the work, whatever exception it comes as."""
    with peer(behave) as url:
        outcome = _send(url)
    assert isinstance(outcome, Outcome)
    assert outcome.code is OutcomeCode.UNKNOWN


def test_plain_text_on_a_tls_socket_is_unknown_or_not_sent_by_where_it_broke() -> None:
    """The handshake runs inside connect(), so nothing was sent."""

    def behave(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(OK)

    with peer(behave) as url:
        outcome = _send(url.replace("http:", "https:"))
    assert isinstance(outcome, Outcome)
    assert outcome.code is OutcomeCode.NOT_SENT


@pytest.mark.parametrize("hint", [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_interim_answer_is_not_the_answer(hint: bytes) -> None:
    """The final one follows on the same line. Taken for the answer, each request would be told what the one before it was: the
    next order the authorization of this one."""

    def behave(connection: socket.socket) -> None:
        for _ in range(3):
            body = request_of(connection)
            connection.sendall(hint * 2)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with peer(behave) as url:
        sender = Sender(1)
        for number in range(3):
            body = f'{{"order": {number}}}'
            answer = sender.send("POST", f"{url}/x", body, {}, connect_timeout_s=0.5, wall_s=2.0)
            assert isinstance(answer, Answer)
            assert (answer.status, answer.body, answer.doubt) == (200, body.encode(), "")
        sender.close()


def test_a_line_that_changes_its_protocol_is_not_used_again() -> None:
    """101 to somebody who asked for none: it says nothing about the work, and what follows is no HTTP."""

    def behave(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
        connection.recv(1)

    with peer(behave) as url:
        sender = Sender(1)
        for _ in range(2):
            answer = sender.send("POST", f"{url}/x", "{}", {}, connect_timeout_s=0.5, wall_s=2.0)
            assert isinstance(answer, Answer)
            assert answer.status == 101
        sender.close()


def test_the_time_of_a_call_that_is_over_is_not_that_of_the_next() -> None:
    """A line goes back to its pool before the caller has forgotten it, and the next call has it at once: that call's deadline
    counts on it."""
    wall = _Wall()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wall.watch(monotonic() + 0.3, ours)
        next_call = threading.Thread(target=wall.watch, args=(monotonic() + 60, ours))
        next_call.start()
        next_call.join()
        other, peer_of_other = socket.socketpair()
        with other, peer_of_other:
            wall.watch(monotonic() + 0.5, other)
            peer_of_other.settimeout(10)
            assert peer_of_other.recv(1) == b""  # a line whose time is over, which was watched after ours
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        wall.forget()


@pytest.mark.parametrize("part", ["status line", "head", "body", "last body", "body without a length"])
def test_a_dripping_peer_meets_the_wall_deadline(part: str) -> None:
    """A byte every tenth of a second never meets requests' own time-out; the wall deadline ends it."""
    head, body = OK.split(b"\r\n\r\n")[0] + b"\r\n\r\n", b"{}"
    at_once = {
        "status line": b"",
        "head": b"HTTP/1.1 402 Payment Required\r\nX-Slow: ",
        "body": head.replace(b"Length: 2", b"Length: 2000"),
        "last body": head.replace(b"Length: 2", b"Length: 2000\r\nConnection: close"),
        "body without a length": b"HTTP/1.1 402 Payment Required\r\n\r\n",
    }[part]
    stop = threading.Event()

    def behave(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(at_once)
        for byte in (head if part == "status line" else b" ") * 1000 + body:
            if stop.wait(0.1):
                return
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                return

    with peer(behave) as url:
        began = monotonic()
        outcome = _send(url, wall_s=1.0)
        took_s = monotonic() - began
        stop.set()
    if isinstance(outcome, Answer):  # the head came, and says what it is; that its body is whole it does not say
        assert part == "body without a length"
        assert outcome.doubt
    else:
        assert isinstance(outcome, Outcome)
        assert outcome.code is OutcomeCode.UNKNOWN
    assert 0.9 <= took_s < 2.0


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    """Following it would send the body to an address that nobody configured."""

    def behave(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(b"HTTP/1.1 307 Go\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")

    with peer(behave) as url:
        answer = _send(url)
    assert isinstance(answer, Answer)
    assert answer.status == 307


def test_a_server_error_is_asked_once() -> None:
    """Adapter retries are off: the engine is the only retry brain (RELIABILITY 46)."""
    count = 0

    def behave(connection: socket.socket) -> None:
        nonlocal count
        request_of(connection)
        count += 1
        connection.sendall(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

    with peer(behave) as url:
        answer = _send(url)
    assert isinstance(answer, Answer)
    assert answer.status == 503
    assert count == 1


def test_a_call_whose_time_is_over_before_its_first_byte_sends_nothing() -> None:
    """Others may have taken it over. The connection stands already, so only the look at the clock holds it back."""
    received: list[bytes] = []
    over = threading.Event()

    def behave(connection: socket.socket) -> None:
        received.append(request_of(connection))
        connection.sendall(OK)
        connection.settimeout(10)
        received.append(connection.recv(65536))
        over.set()

    sender = Sender(4)
    with peer(behave) as url:
        first = sender.send("POST", f"{url}/x", "{}", {}, connect_timeout_s=0.5, wall_s=2.0)
        late = sender.send("POST", f"{url}/x", "{}", {}, connect_timeout_s=0.5, wall_s=1e-6)
        sender.close()
        assert over.wait(10)
    assert isinstance(first, Answer)
    assert isinstance(late, Outcome)
    assert late.code is OutcomeCode.NOT_SENT
    assert received == [b"{}", b""]


@pytest.mark.parametrize("url", ["no-scheme", "ftp://127.0.0.1", "http://["])
def test_an_address_that_is_none_is_not_sent(url: str) -> None:
    """A mistyped address must not become an unknown that rolls orders back."""
    outcome = _send(url)
    assert isinstance(outcome, Outcome)
    assert outcome.code is OutcomeCode.NOT_SENT


def test_a_redirect_to_nonsense_is_unknown() -> None:
    """`requests` reads the address even when it must not follow it; the participant may have done the work."""

    def behave(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(b"HTTP/1.1 302 Go\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n")

    with peer(behave) as url:
        outcome = _send(url)
    assert isinstance(outcome, Outcome)
    assert outcome.code is OutcomeCode.UNKNOWN
