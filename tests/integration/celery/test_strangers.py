"""What somebody with access to the broker, and the settings of an app that was there before, can do to a worker: nothing but
wake a saga. On a real broker; under the task driver in a prefork pool."""

import json
import signal
from typing import Any

from kombu import Producer

from tests.integration.celery.deployment import Deployment
from tests.integration.celery.shop import SALES
from tests.waiting import wait_until

HEADERS: list[dict[str, Any]] = [
    {"timelimit": ["a", "b"]},
    {"timelimit": [1e-9, 1e-9]},
    {"timelimit": 7},
    {"eta": "soon"},
    {"eta": "9999-12-31T23:59:59+00:00"},
    {"expires": "never"},
    {"expires": "2001-01-01T00:00:00+00:00"},
    {"retries": "many"},
    {"id": ["a"]},
    {"id": None},
    {"shadow": {"a": 1}},
    {"group": [1], "group_index": "x", "root_id": [2], "parent_id": 3},
    {"stamped_headers": "abc", "stamps": ["a"]},
    {"ignore_result": False, "reply_to": "nobody", "origin": 7},
    {"x-death": "often", "lang": ["c"]},
]
NAMELESS: list[tuple[dict[str, Any], object]] = [
    ({"task": ["a"], "id": "a"}, []),
    ({"task": "nobody.knows"}, []),
    ({"task": "nobody.knows", "id": "a"}, []),
    ({}, {"task": ["a"], "id": "a"}),
    ({}, {"task": "nobody.knows"}),
    ({}, 7),
]
EMBED = {"callbacks": [1], "errbacks": "x", "chain": [{"task": "os.system"}], "chord": {"a": 1}}


def pool_of(shop: Deployment) -> str:
    return "prefork" if shop.driver == "task" else "threads"


def send(shop: Deployment, messages: list[tuple[dict[str, Any], object]]) -> None:
    with shop.app.connection_for_write() as connection:
        producer = Producer(connection.channel())
        for headers, body in messages:
            producer.publish(
                json.dumps(body),
                exchange="",
                routing_key=shop.queue(SALES),
                headers=headers,
                content_type="application/json",
                content_encoding="utf-8",
            )


def test_no_header_ends_a_worker_and_the_ids_between_them_are_woken(on_rabbitmq: Deployment) -> None:
    """Each message names one saga that is due tomorrow, among headers and options that end a worker, put it off or kill a
    child of its pool: each saga ends now, in the worker that was there from the beginning. So does one after messages on
    which Celery's own consumer breaks."""
    shop = on_rabbitmq
    child = shop.process_worker(pool=pool_of(shop))
    saga_ids = shop.start_unseen(len(HEADERS) + 1)
    task = f"{shop.saga.name}.check"
    forged = [
        ({"id": "a", **headers, "task": task}, [[[saga_id]], {}, EMBED])
        for headers, saga_id in zip(HEADERS, saga_ids, strict=False)
    ]
    send(shop, [*NAMELESS, *forged])
    send(shop, [({}, {"task": task, "id": "a", "args": [[saga_ids[-1]]], "timelimit": ["a", "b"], "eta": "x"})])
    assert set(shop.wait_ended(saga_ids, 60)) == {"completed"}
    assert child.poll() is None
    assert shop.stderr().count("message_refused") == 4
    child.send_signal(signal.SIGTERM)
    assert child.wait(25) == 0


def test_the_limits_of_an_app_end_no_attempt(on_rabbitmq: Deployment) -> None:
    """Of an app whose tasks may take a tenth of a second, once an hour, and are taken late, a step takes a second, and the saga
    behind it is not put off."""
    shop = on_rabbitmq
    settings = {
        "task_time_limit": 0.2,
        "task_soft_time_limit": 0.1,
        "task_acks_late": True,
        "task_default_rate_limit": "1/h",
        "task_annotations": {"*": {"rate_limit": "1/h", "time_limit": 0.2, "acks_late": True}},
    }
    gate = shop.folder / "gate"
    child = shop.process_worker(pool=pool_of(shop), settings=settings)
    slow, fast = shop.start(gate=str(gate)), shop.start()
    wait_until(lambda: shop.has_ended(fast), 30, what="the saga beside the slow one")
    begun_at = shop.store.now()
    wait_until(lambda: (shop.store.now() - begun_at).total_seconds() > 1, 30, what="ten times the limit")
    gate.touch()
    assert shop.wait_ended([slow], 30) == ["completed"]
    assert len(shop.lines("check")) == 2
    assert child.poll() is None
