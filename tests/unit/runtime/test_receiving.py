"""Whatever arrives under the name of a step's task: Celery reads a message that we made, with the ids and nothing else."""

import json
import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from celery import Celery
from celery.worker.consumer import Consumer
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu.message import Message
from pydantic import BaseModel

from saga.core.definition import Saga, readonly
from saga.runtime.celery import attach, make_app
from saga.runtime.celery.node_task import NO_LIMIT_S
from saga.runtime.celery.receiving import BODY_MAX, JSON, Readable, ids_of, is_readable

TASK = "watched.look"
IDS = ["0192f000-0000-7000-8000-000000000000", "b-2"]
LEGAL = {
    "argsrepr",
    "correlation_id",
    "delivery_info",
    "eta",
    "expires",
    "group",
    "group_index",
    "hostname",
    "id",
    "ignore_result",
    "kwargsrepr",
    "lang",
    "origin",
    "parent_id",
    "properties",
    "replaced_task_nesting",
    "reply_to",
    "retries",
    "root_id",
    "shadow",
    "stamped_headers",
    "stamps",
    "task",
    "timelimit",
    "args",
    "kwargs",
}
HEADERS = sorted(
    LEGAL
    | {"chord", "callbacks", "errbacks", "taskset", "utc", "meth", "compression_", "x-death", "headers", "loglevel"}
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


class Order(BaseModel):
    order_id: str


def look(_order: Order) -> None: ...


class Worker:
    """As much of a worker as Celery's strategy asks for; what gets to the pool is kept."""

    def __init__(self, driver: Literal["process", "task"]) -> None:
        saga: Saga[Any] = Saga(
            "watched",
            version=1,
            input=Order,
            entity=lambda order: order.order_id,
            steps=[readonly(look, queue="front")],
        )
        self.app: Celery = make_app("memory://", [saga])
        self.attachment = attach(self.app, [saga], store_url="memory://", driver=driver)
        self.app.finalize()
        self.ran: list[dict[str, Any]] = []
        self.woken: list[list[str]] = []
        self.attachment.worker = SimpleNamespace(wake=self.woken.append)  # type: ignore[assignment]
        consumer = SimpleNamespace(
            hostname="here",
            hub=object(),
            connection_errors=(),
            event_dispatcher=None,
            timer=SimpleNamespace(call_at=None),
            apply_eta_task=None,
            disable_rate_limits=True,
            task_buckets={TASK: None},
            on_task_request=lambda request: request.execute_using_pool(self),
            _limit_task=None,
            _limit_post_eta=None,
            pool=self,
            controller=SimpleNamespace(state=SimpleNamespace(revoked=set()), time_limit=None),
        )
        self._take: Callable[..., None] = self.app.tasks[TASK].start_strategy(self.app, consumer)

    def apply_async(self, _body: Any, *, args: Any, **options: Any) -> None:
        self.ran.append({"args": args, **options})

    def take(self, message: Message, body: Any = None) -> bool:
        """Whether it was acknowledged at once."""
        acknowledged: list[bool] = []
        self._take(message, body, lambda *_: acknowledged.append(True), lambda *_: None, [])
        return bool(acknowledged)


@pytest.fixture(params=["process", "task"])
def worker(request: pytest.FixtureRequest) -> Worker:
    return Worker(request.param)


def message(headers: dict[str, Any], content: Any, **more: Any) -> Message:
    usual = {"body": json.dumps(content), "content_type": JSON, "content_encoding": "utf-8"}
    return Message(headers=headers, **{**usual, **more})


def check(worker: Worker) -> None:
    """What may be known of the last message behind the strategy."""
    if worker.attachment.driver == "process":
        assert (worker.ran, worker.woken.pop()) == ([], IDS)
        return
    ran = worker.ran.pop()
    assert (ran["timeout"], ran["soft_timeout"]) == (None, NO_LIMIT_S)
    name, _, headers, body, content_type, _ = ran["args"]
    assert (name, content_type) == (TASK, JSON)
    assert json.loads(body) == [[IDS], {}, dict.fromkeys(["callbacks", "errbacks", "chain", "chord"])]
    assert set(headers) <= LEGAL
    assert headers["properties"] == {"correlation_id": headers["id"], "reply_to": ""}
    empty = ("eta", "expires", "group", "shadow", "parent_id", "stamps", "stamped_headers", "retries")
    assert not any(headers[it] for it in empty)
    assert headers["timelimit"] == [None, None]
    assert headers["delivery_info"]["routing_key"] == "front"


@settings(max_examples=60, deadline=None)
@given(
    headers=st.dictionaries(st.sampled_from(HEADERS), values, max_size=6),
    embed=values,
    properties=st.dictionaries(st.sampled_from(["priority", "reply_to", "correlation_id", "type"]), values),
    delivery=st.dictionaries(st.sampled_from(["exchange", "routing_key", "redelivered", "priority"]), values),
    protocol=st.sampled_from(["2", "1", "mixed"]),
)
@pytest.mark.parametrize("driver", ["process", "task"])
def test_nothing_of_a_sender_but_the_ids_reaches_celery(
    driver: Literal["process", "task"], headers: Any, embed: Any, properties: Any, delivery: Any, protocol: str
) -> None:
    """Ids between any headers, properties and options, in either protocol and a mixture of both, wake these sagas."""
    worker = WORKERS.setdefault(driver, Worker(driver))
    rest = {"properties": properties, "delivery_info": delivery}
    if protocol == "2":
        worker.take(message({**headers, "task": TASK}, [[IDS], {}, embed], **rest))
    else:
        body = {**headers, "task": TASK, "args": [IDS], "kwargs": embed}
        named = {"task": TASK} if protocol == "mixed" else {}
        worker.take(message({**headers, **named}, body, **rest), body if protocol == "1" else None)
    check(worker)


WORKERS: dict[str, Worker] = {}


@settings(max_examples=60, deadline=None)
@given(
    body=values.map(json.dumps) | st.binary(max_size=40) | st.just("[" * BODY_MAX) | st.just("9" * 5000),
    content_type=st.none() | st.text(max_size=9) | st.just(JSON) | st.just("application/x-python-serialize"),
    encoding=st.none() | st.text(max_size=9),
)
@pytest.mark.parametrize("driver", ["process", "task"])
def test_what_is_no_hint_is_forgotten(
    driver: Literal["process", "task"], body: str | bytes, content_type: Any, encoding: Any
) -> None:
    """Any bytes of any type under a step's name are acknowledged and wake nobody; nothing is unpickled on the way."""
    worker = WORKERS.setdefault(driver, Worker(driver))
    kind = {"content_type": content_type, "content_encoding": encoding}
    assert worker.take(message({"task": TASK, "id": "a"}, None, body=body, **kind))
    assert (worker.ran, worker.woken) == ([], [])


def test_a_message_that_is_packed_is_unpacked_before_anybody_is_asked() -> None:
    """By the library, when it makes the message: a kilobyte of them is a megabyte in memory, whatever its name is. Documented,
    since nothing here is called before."""
    packed = message({"task": TASK, "id": "a", "compression": "zlib"}, None, body=zlib.compress(b" " * 1_000_000))
    assert len(packed.body or "") == 1_000_000


def test_a_long_message_is_not_read(worker: Worker) -> None:
    """Its length is looked at first: ids behind 16 kB of blanks are no ids."""
    long = message({"task": TASK, "id": "a"}, [[IDS], {}, {}])
    long.body = " " * BODY_MAX + str(long.body)
    assert worker.take(long)
    assert (worker.ran, worker.woken) == ([], [])


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_body_of_any_kind_of_bytes_is_read(kind: Callable[[bytes], Any]) -> None:
    """What the libraries of the brokers hand over."""
    body = kind(json.dumps([[IDS], {}, {}]).encode())
    assert ids_of(message({"task": TASK}, None, body=body), None) == IDS


def test_a_time_limit_of_two_texts_does_not_reach_the_pool() -> None:
    """In Celery's own message it ends the process of a prefork worker."""
    worker = Worker("task")
    worker.take(message({"task": TASK, "id": "a", "timelimit": ["a", "b"]}, [[IDS], {}, {}]))
    check(worker)


def test_an_id_is_kept_when_it_looks_like_one() -> None:
    """Whoever watches Celery's events finds the message again; any other id is replaced."""
    worker = Worker("task")
    for given_id, is_kept in (("0192-abc", True), ("a" * 65, False), ("\n", False), (["a"], False), (None, False)):
        worker.take(message({"task": TASK, "id": given_id}, [[IDS], {}, {}]))
        assert (worker.ran.pop()["correlation_id"] == given_id) == is_kept


BREAKING: dict[str, tuple[dict[str, Any], Any]] = {
    "a name that is a list": ({"task": ["a"], "id": "a"}, []),
    "an unknown name without id": ({"task": "nobody.knows"}, []),
    "protocol 1: a name that is a list": ({}, {"task": ["a"], "id": "a"}),
    "protocol 1: an unknown name without id": ({}, {"task": "nobody.knows"}),
}


@pytest.mark.parametrize("case", BREAKING)
def test_what_celerys_consumer_breaks_on_is_forgotten(case: str) -> None:
    """Each of these raises in Celery's consumer, which ends the worker before the message was acknowledged; behind our step of
    the consumer it is acknowledged, and Celery's consumer never sees it."""
    headers, body = BREAKING[case]
    acknowledged: list[bool] = []

    class Kept(Message):
        def ack_log_error(self, *_: object, **__: object) -> None:
            acknowledged.append(True)

        def reject_log_error(self, *_: object, **__: object) -> None:
            raise AssertionError("Celery's consumer got it")

    app = make_app("memory://", [])
    pool: Any = SimpleNamespace(num_processes=1, is_green=False)
    controller: Any = SimpleNamespace(use_eventloop=False)
    consumer = Consumer(print, app=app, pool=pool, controller=controller)
    kept = Kept(body=json.dumps(body), headers=headers, content_type=JSON, content_encoding="utf-8")
    with pytest.raises((TypeError, KeyError)):
        consumer.create_task_handler()(kept)
    Readable(consumer)
    consumer.create_task_handler()(kept)
    assert acknowledged == [True]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"task": TASK}, []),
        ({"task": "nobody.knows", "id": "a"}, []),
        ({}, {"task": TASK}),
        ({}, {"task": "nobody.knows", "id": "a"}),
        ({}, {"no": "task"}),
        ({}, 7),
    ],
)
def test_what_celery_can_deal_with_is_left_to_it(headers: dict[str, Any], body: object) -> None:
    """Other tasks of an app, unknown ones with an id, and what is no message at all."""
    assert is_readable(message(headers, body), {TASK})
    assert is_readable(message({}, None, body=b"\x80", content_type="application/x-python-serialize"), {TASK})
