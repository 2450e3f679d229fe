"""What one order or one client does costs nobody else: a row of a later release, a caller who leaves, half a body."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from starlette.requests import Request
from starlette.types import Message

from saga.clock import monotonic
from saga.core.projection import Projection, Value
from saga.errors import UsageError
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.store.journal import JournalEntry
from saga.store.memory import MemoryStore
from saga.store.port import (
    RowFilter,
)
from saga.surfaces import serving
from saga.surfaces.following import Bounds, Follower
from saga.surfaces.problems import Refusal
from saga.surfaces.receiving import read_body
from tests.integration.api.serving import Shop, opened, served
from tests.waiting import wait_until


class _Touched(MemoryStore):
    """A store whose rows of some orders, and whose journals of some sagas, are not of this release."""

    def __init__(self) -> None:
        super().__init__()
        self.later: dict[str, dict[str, Value]] = {}
        self.broken: set[str] = set()

    def rows(self, projection: Projection, wanted: RowFilter, limit: int) -> list[dict[str, Value]]:
        """Rows as they are, or as a later release wrote them."""
        return [row | self.later.get(str(row["order_id"]), {}) for row in super().rows(projection, wanted, limit)]

    def tail(self, saga_id: str, after: int) -> list[JournalEntry]:
        """What comes behind an entry, unless it cannot be read, which is no error that anybody expects."""
        if saga_id in self.broken:
            raise KeyError(saga_id)
        return super().tail(saga_id, after)


def follower(shop: Shop) -> Follower:
    assert shop.follower is not None
    return shop.follower


@pytest.mark.parametrize("later", [{"halt_reason": "reason_of_the_next_release"}, {"saga_status": "dreaming"}])
def test_a_row_of_a_later_release_silences_nobody(later: dict[str, Value]) -> None:
    """Who waits for that order is answered by its journal, and who follows another sees its end."""
    store = _Touched()
    with served(store) as shop, ThreadPoolExecutor(2) as pool:
        shop.accepted(order_id="SO-A")
        other = shop.accepted(order_id="SO-B")
        store.later["SO-A"] = later
        waiting = pool.submit(shop.client.get, "/v1/orders/SO-A", headers={"Prefer": "wait=30"})
        reading = pool.submit(shop.client.get, "/v1/orders/SO-B/events")
        wait_until(lambda: follower(shop).stream_count == 1, what="the stream")
        answer = waiting.result(20)
        assert (answer.status_code, answer.json()["status"]) == (200, "processing")
        shop.move(other)
        assert "event: completed" in reading.result(20).text


def test_a_failure_of_one_stream_costs_no_other_its_look() -> None:
    """An error that nobody expects is of that stream; the thread looks on for all others, and for who comes later."""
    store = _Touched()
    with served(store, bounds=Bounds(stream_s=3.0)) as shop, ThreadPoolExecutor(3) as pool:
        sagas = {order_id: shop.accepted(order_id=order_id) for order_id in ("SO-A", "SO-B", "SO-C")}
        store.broken.add(sagas["SO-A"])
        reading = [pool.submit(shop.client.get, f"/v1/orders/{it}/events") for it in ("SO-A", "SO-B")]
        wait_until(lambda: follower(shop).stream_count == 2, what="both streams")
        late = pool.submit(shop.client.get, "/v1/orders/SO-C", headers={"Prefer": "wait=30"})
        wait_until(lambda: follower(shop).waiter_count == 1, what="the waiter")
        shop.move(sagas["SO-B"])
        shop.move(sagas["SO-C"])
        assert "event: completed" in reading[1].result(20).text
        assert late.result(20).json()["status"] == "confirmed"
        assert "event: completed" not in reading[0].result(20).text


def line_to(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((str(parts.hostname), int(parts.port or 80)), 20)


def test_a_caller_who_leaves_gives_his_place_back() -> None:
    """Two places, two callers who hang up: both are free again long before their wait is over, and the next caller gets one."""
    with served(MemoryStore(), bounds=Bounds(waiters=2)) as shop:
        saga_id = shop.accepted()
        request = b"GET /v1/orders/SO-1 HTTP/1.1\r\nHost: here\r\nPrefer: wait=30\r\n\r\n"
        lines = [line_to(str(shop.client.base_url)) for _ in range(2)]
        for line in lines:
            line.sendall(request)
        wait_until(lambda: follower(shop).waiter_count == 2, what="both waiters")
        for line in lines:
            line.close()
        wait_until(lambda: follower(shop).waiter_count == 0, 10, what="their places")
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(shop.client.get, "/v1/orders/SO-1", headers={"Prefer": "wait=30"})
            wait_until(lambda: follower(shop).waiter_count == 1, what="the waiter")
            shop.move(saga_id)
            assert asked.result(20).headers["preference-applied"] == "wait=30"


HALF = b'POST /v1/orders HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\nContent-Length: 900\r\n\r\n{"a":'


@contextmanager
def half_sent(url: str) -> Iterator[socket.socket]:
    """A client that sent half of its body, and then nothing."""
    with line_to(url) as line:
        line.sendall(HALF)
        yield line


def answer_on(line: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and problem of what comes until the server hangs up."""
    text = b""
    while chunk := line.recv(65536):
        text += chunk
    head, _, body = text.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_a_body_that_does_not_come_is_given_up() -> None:
    """408 after the bound, nothing is stored, and the connection is closed."""
    with (
        served(MemoryStore(), bounds=Bounds(body_s=0.3)) as shop,
        half_sent(str(shop.client.base_url)) as line,
    ):
        status, found = answer_on(line)
        assert (status, found["code"]) == (408, "too_slow")
        assert shop.rows() == []


def test_a_client_that_hangs_up_in_its_body_is_no_error() -> None:
    """It is a refusal that nobody reads, and no exception, whose traceback would call somebody."""
    sent: list[Message] = [{"type": "http.request", "body": b'{"a":', "more_body": True}, {"type": "http.disconnect"}]
    came = iter(sent)

    async def receive() -> Message:
        return next(came)

    with opened(MemoryStore()) as shop:
        assert isinstance(shop.client, TestClient)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"900")]
        request = Request({"type": "http", "headers": headers, "app": shop.client.app}, receive)
        with pytest.raises(Refusal, match="the connection ended before the body did"):
            asyncio.run(read_body(request))


def seen_by(url: str) -> None:
    """Return when the server has seen what was sent before."""
    with line_to(url) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 200")


def test_a_client_that_says_no_more_does_not_hold_up_the_stop() -> None:
    """The API stops within its bound, whatever a client has begun."""
    store = MemoryStore()
    starter = Starter(store, environment="test", tenant="shop")
    definitions = Definitions([fulfil_order, return_order])
    with ExitStack() as clients:
        with serving.serving_api(store, definitions, starter, lambda _hints: None, "127.0.0.1", 0, grace_s=1) as url:
            clients.enter_context(half_sent(url))
            seen_by(url)
            began = monotonic()
        assert monotonic() - began < 10
    starter.stop()


def test_an_answer_in_two_writes_is_not_held_back() -> None:
    """The socket that listens has Nagle's delay off, which its connections inherit."""
    with serving.listening_at("127.0.0.1", 0) as listening:
        assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_an_empty_host_is_not_every_address() -> None:
    """`--host "$HOST"` of a script whose variable is empty opens nothing."""
    with pytest.raises(UsageError, match="--host"):
        serving.listening_at("", 0)


def test_a_stream_that_has_not_sent_what_it_got_is_not_looked_for() -> None:
    """A slow reader of a long journal costs no look and no memory until he has read; a hungry one beside him is looked for at
    every tick."""
    looks: Counter[str] = Counter()

    class Noting(MemoryStore):
        def tail(self, saga_id: str, after: int) -> list[JournalEntry]:
            looks[saga_id] += 1
            return super().tail(saga_id, after)

    store = Noting()
    with opened(store) as shop:
        slow, hungry = shop.accepted(order_id="SO-A"), shop.accepted(order_id="SO-B")

        async def follow() -> list[JournalEntry]:
            first, second = follower(shop).stream(slow, 0), follower(shop).stream(hungry, 1)
            assert first is not None
            assert second is not None
            await asyncio.to_thread(wait_until, lambda: looks[hungry] > 5, what="five ticks")
            assert looks[slow] == 1
            found = await first.next(5.0)
            await asyncio.gather(first.next(0.5), second.next(0.5))
            assert looks[slow] > 1
            for stream in (first, second):
                follower(shop).close(stream)
            return found

        assert [entry.seq for entry in asyncio.run(follow())] == [1]
