"""POST /v1/orders: one order, one saga, one answer, whatever is sent twice, late or together."""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.client import HTTPConnection

import httpx2
import psycopg
import pytest

from saga.core.outcomes import Outcome, OutcomeCode
from saga.fulfilment.fulfil_order import fulfil_order
from saga.runtime.celery.apps import make_app
from saga.runtime.celery.publisher import Publisher
from saga.runtime.engine import fold
from saga.store import schema
from saga.store.opening import open_store
from saga.store.port import Store
from saga.surfaces.api import broker_check, migrations_check
from saga.surfaces.contract import BODY_MAX
from saga.surfaces.receiving import HEARD_MAX
from tests.integration.api.serving import Shop, opened, order_values, problem, served
from tests.waiting import wait_until

DECLINED = {"authorize_payment:a": Outcome(OutcomeCode.REJECTED, "declined")}


def at_once(*calls: Callable[[], httpx2.Response]) -> list[httpx2.Response]:
    """The answers of calls that leave together."""
    gate = threading.Barrier(len(calls))

    def go(call: Callable[[], httpx2.Response]) -> httpx2.Response:
        gate.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(go, calls))


def test_an_accepted_order_is_durable_and_says_where_to_look(shop: Shop) -> None:
    """202 comes with Location and Retry-After, and the saga is stored, due within two seconds, with its hints out."""
    answer = shop.post(order_values(), traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    assert answer.status_code == 202
    assert answer.headers["location"] == "/v1/orders/SO-1"
    assert int(answer.headers["retry-after"]) >= 1
    assert "idempotency-replayed" not in answer.headers
    [row] = shop.rows()
    assert answer.json() == {
        "order_id": "SO-1",
        "saga_id": row.saga_id,
        "run": 1,
        "links": {
            "order": "/v1/orders/SO-1",
            "saga": f"/v1/sagas/{row.saga_id}",
            "journal": f"/v1/sagas/{row.saga_id}/journal",
            "cancel": "/v1/orders/SO-1/cancel",
            "returns": "/v1/orders/SO-1/returns",
        },
    }
    assert row.due_at is not None
    assert row.due_at <= shop.store.now() + timedelta(seconds=2)
    state, _, _ = fold(shop.store.load([row.saga_id])[row.saga_id])
    assert state.traceparent == f"00-{'a' * 32}-{'b' * 16}-01"
    assert {hint.saga_id for hint in shop.published} == {row.saga_id}
    assert {hint.queue for hint in shop.published} == {"tax", "shipping", "payment"}


def test_a_repeat_gets_the_kept_answer(shop: Shop) -> None:
    """The same order under the same key is answered again, to the letter and marked, also after the saga has ended,
    and other white space or another order of fields is the same order."""
    first = shop.post(order_values())
    again = shop.post(order_values())
    reordered = shop.post(dict(reversed(order_values().items())))
    shop.move(first.json()["saga_id"], DECLINED)
    late = shop.post(order_values())
    for repeat in (again, reordered, late):
        assert (repeat.status_code, repeat.text) == (202, first.text)
        assert repeat.headers["idempotency-replayed"] == "true"
        assert repeat.headers["location"] == first.headers["location"]
    assert len(shop.rows()) == 1


def test_another_order_under_a_key_is_refused(shop: Shop) -> None:
    """A key names one request: 422, nothing stored, and the saga that has the key is named."""
    saga_id = shop.post(order_values()).json()["saga_id"]
    found = problem(shop.post(order_values(order_id="SO-2")), 422, "key_reused")
    assert found["saga_id"] == saga_id
    assert len(shop.rows()) == 1


def test_an_order_has_one_live_saga(shop: Shop) -> None:
    """The same order under another key is 409 while its saga runs; after a rollback it is run 2."""
    saga_id = shop.post(order_values()).json()["saga_id"]
    found = problem(shop.post(order_values(), key="key-2"), 409, "duplicate_order")
    assert found["saga_id"] == saga_id
    shop.move(saga_id, DECLINED)
    again = shop.post(order_values(), key="key-3")
    assert (again.status_code, again.json()["run"]) == (202, 2)


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_fifty_identical_posts_at_once_are_one_order(kind: str, request: pytest.FixtureRequest) -> None:
    """A double click fifty times over: one saga, fifty equal answers, all but one marked as replayed."""
    store = open_store(request.getfixturevalue(f"api_{kind}_url"))
    with served(store) as shop:
        answers = at_once(*[lambda: shop.post(order_values())] * 50)
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.text for answer in answers}) == 1
        assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
        assert len(shop.rows()) == 1
    store.close()


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_two_keys_for_one_order_at_once(kind: str, request: pytest.FixtureRequest) -> None:
    """Two starts of one order race: one is accepted, the other is told which saga won. Two API processes."""
    url = request.getfixturevalue(f"api_{kind}_url")
    one, two = open_store(url), open_store(url)
    with served(one) as left, served(two) as right:
        for number in range(10):
            order = order_values(order_id=f"SO-{number}")
            answers = at_once(
                lambda order=order, number=number: left.post(order, key=f"left-{number}"),  # type: ignore[misc]
                lambda order=order, number=number: right.post(order, key=f"right-{number}"),  # type: ignore[misc]
            )
            won, lost = sorted(answers, key=lambda answer: answer.status_code)
            assert won.status_code == 202
            assert problem(lost, 409, "duplicate_order")["saga_id"] == won.json()["saga_id"]
        assert len(left.rows()) == 10
    one.close()
    two.close()


@pytest.fixture
def publisher_to() -> Iterator[Callable[[int], Publisher]]:
    """A publisher whose broker is looked for on that port of this machine."""
    made: list[Publisher] = []

    def make(port: int) -> Publisher:
        made.append(Publisher(make_app(f"amqp://guest:guest@127.0.0.1:{port}//", [fulfil_order])))
        return made[-1]

    yield make
    for publisher in made:
        publisher.close()


def test_a_broker_that_is_down_costs_no_order(store: Store, publisher_to: Callable[[int], Publisher]) -> None:
    """Nobody listens where the broker should be: the orders are accepted, and due by themselves; /readyz tells, and
    stays ready."""
    publisher = publisher_to(1)
    with opened(store, publish=publisher.publish, ready_checks=[broker_check(lambda: publisher.is_away)]) as shop:
        assert shop.post(order_values(order_id="SO-0"), key="k0").status_code == 202
        wait_until(lambda: publisher.is_away, what="the publisher to miss its broker")
        assert [shop.post(order_values(order_id=f"SO-{n}"), key=f"k{n}").status_code for n in (1, 2)] == [202] * 2
        assert [row.due_at is not None for row in shop.rows()] == [True] * 3
        ready = shop.client.get("/readyz")
        assert (ready.status_code, ready.json()["is_ready"]) == (200, True)
        assert {check["name"]: check["is_ok"] for check in ready.json()["checks"]} == {
            "database": True,
            "broker": False,
        }


def test_the_answer_does_not_wait_for_the_broker(small_shop: Shop, publisher_to: Callable[[int], Publisher]) -> None:
    """A broker that accepts the connection and says nothing (a memory alarm) holds up no answer: ten orders are
    accepted before the first connection attempt of the publisher has timed out."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        publisher = publisher_to(silent.getsockname()[1])
        with opened(small_shop.store, publish=publisher.publish) as shop:
            orders = [order_values(order_id=f"SO-{n}") for n in range(10)]
            answers = [shop.post(order, key=f"k{n}") for n, order in enumerate(orders)]
            assert not publisher.is_away
            assert [answer.status_code for answer in answers] == [202] * 10


def test_a_database_that_takes_no_writes_is_not_ready(empty_postgres_url: str) -> None:
    """A standby, or one that an operator closed for writes, answers every question and takes no order."""
    schema.upgrade(empty_postgres_url)
    name = empty_postgres_url.rsplit("/", 1)[1]
    store = open_store(empty_postgres_url)
    with opened(store) as shop, psycopg.connect(empty_postgres_url, autocommit=True) as operator:
        assert shop.client.get("/readyz").status_code == 200
        operator.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        operator.execute(others, (name,))
        problem(shop.post(order_values()), 503, "store_unavailable")
        ready = shop.client.get("/readyz")
        assert (ready.status_code, ready.json()["is_ready"]) == (503, False)
        assert "read-only" in ready.json()["checks"][0]["detail"]
    store.close()


def test_a_database_without_its_tables_is_503(empty_postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A table is renamed under a running API, and then a right is taken away: not ready, orders are 503 with Retry-After and no
    500, and the log says in a line what an operator does."""
    schema.upgrade(empty_postgres_url)
    store = open_store(empty_postgres_url)
    checks = [migrations_check(empty_postgres_url)]
    with opened(store, ready_checks=checks) as shop, psycopg.connect(empty_postgres_url, autocommit=True) as operator:
        assert shop.client.get("/readyz").status_code == 200
        operator.execute("ALTER TABLE saga.orders RENAME TO orders_gone")
        assert shop.client.get("/readyz").status_code == 503
        refused = shop.post(order_values())
        problem(refused, 503, "store_unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        assert [one for one in caplog.records if "saga db upgrade" in one.getMessage()]
        assert [one for one in caplog.records if one.exc_info] == []
        operator.execute("ALTER TABLE saga.orders_gone RENAME TO orders")
        assert shop.post(order_values()).status_code == 202
    store.close()


@pytest.mark.parametrize(("revision", "status"), [("0001", 503), ("of_the_next_release", 200)])
def test_ready_with_the_tables_of_another_release(empty_postgres_url: str, revision: str, status: int) -> None:
    """Those of an earlier one will not do; those of a later one do, because this release runs on while it is brought in."""
    schema.upgrade(empty_postgres_url)
    store = open_store(empty_postgres_url)
    with psycopg.connect(empty_postgres_url, autocommit=True) as operator:
        operator.execute("ALTER TABLE saga.alembic_version ALTER version_num TYPE varchar(64)")
        operator.execute("UPDATE saga.alembic_version SET version_num = %s", (revision,))
    with opened(store, ready_checks=[migrations_check(empty_postgres_url)]) as shop:
        assert shop.client.get("/readyz").status_code == status
    store.close()


def test_a_database_that_is_away_is_503_and_the_repeat_is_safe(empty_postgres_url: str) -> None:
    """While the database takes no connections nothing is accepted and the API says when to come back; afterwards
    the same request with the same key is one order."""
    schema.upgrade(empty_postgres_url)
    name = empty_postgres_url.rsplit("/", 1)[1]
    server_url = f"{empty_postgres_url.rsplit('/', 1)[0]}/postgres"
    store = open_store(empty_postgres_url)
    with opened(store) as shop, psycopg.connect(server_url, autocommit=True) as operator:
        operator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        operator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        away = shop.post(order_values())
        found = problem(away, 503, "store_unavailable")
        assert "same Idempotency-Key" in found["detail"]
        assert int(away.headers["retry-after"]) >= 1
        problem(shop.client.get("/v1/orders/SO-1"), 503, "store_unavailable")
        assert shop.client.get("/healthz").status_code == 200
        ready = shop.client.get("/readyz")
        assert (ready.status_code, ready.json()["is_ready"]) == (503, False)
        operator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        assert shop.post(order_values()).status_code == 202
        assert shop.client.get("/readyz").status_code == 200
        assert len(shop.rows()) == 1
    store.close()


def chunks(size: int) -> Iterable[bytes]:
    """A body without a length: so many chunks of 64 KiB."""
    return (b" " * 65536 for _ in range(size))


def test_a_body_over_the_limit_is_refused_before_it_is_parsed(api_sqlite_url: str) -> None:
    """413 by Content-Length and, for a chunked body, by counting; nothing is stored."""
    store = open_store(api_sqlite_url)
    with served(store) as shop:
        headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
        padded = b" " * BODY_MAX + b"{}"
        problem(shop.client.post("/v1/orders", content=padded, headers=headers), 413, "too_large")
        problem(
            shop.client.post("/v1/orders", content=chunks(BODY_MAX // 65536 + 1), headers=headers), 413, "too_large"
        )
        fits = shop.client.post("/v1/orders", content=chunks(BODY_MAX // 65536), headers=headers)
        problem(fits, 400, "not_json")
        assert shop.rows() == []
    store.close()


def test_a_long_body_in_chunks_hears_that_it_is_too_long(small_shop: Shop) -> None:
    """Whoever does not say the length sends on for a while; the answer was lost with the connection that had been closed before."""
    with served(small_shop.store) as shop:
        address = (shop.client.base_url.host, shop.client.base_url.port or 0)
        for count in (BODY_MAX // 65536 + 1, 2 * BODY_MAX // 65536, HEARD_MAX // 65536):
            line = HTTPConnection(*address, timeout=20)
            headers = {"Idempotency-Key": "k", "Content-Type": "application/json", "Transfer-Encoding": "chunked"}
            line.request("POST", "/v1/orders", chunks(count), headers, encode_chunked=True)
            answer = line.getresponse()
            assert (answer.status, json.loads(answer.read())["code"]) == (413, "too_large"), count
            line.close()


def test_an_announced_size_is_refused_before_the_body_is_sent(small_shop: Shop) -> None:
    """A Content-Length over the limit is answered while not one byte of the body has left the client."""
    head = (
        "POST /v1/orders HTTP/1.1\r\nHost: shop\r\nIdempotency-Key: k\r\n"
        f"Content-Type: application/json\r\nContent-Length: {BODY_MAX + 1}\r\n\r\n"
    )
    with served(small_shop.store) as shop:
        address = (shop.client.base_url.host, shop.client.base_url.port or 0)
        with socket.create_connection(address, timeout=10) as raw:
            raw.sendall(head.encode())
            answer = raw.recv(4096).lower()
            assert answer.startswith(b"http/1.1 413 ")
            assert b"\r\nconnection: close\r\n" in answer  # what is on its way yet is not read as the next request
