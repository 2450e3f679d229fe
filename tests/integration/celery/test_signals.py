"""Celery's signals and events: once per attempt, under the node's task name, in the thread that runs the step."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import celery
import pytest
from celery import signals

from tests.integration.celery.deployment import Deployment
from tests.waiting import wait_until

Seen = tuple[str, str, str, str]
NAMES = ("task_prerun", "task_success", "task_failure", "task_postrun")


@pytest.fixture
def seen() -> Iterator[list[Seen]]:
    """(signal, task name, task id, thread) of every task signal in this process."""
    found: list[Seen] = []

    def receiver(signal: Any, sender: Any, task_id: str = "", **_: object) -> None:
        name = next(it for it in NAMES if getattr(signals, it) is signal)
        current = celery.current_task
        assert current.name == sender.name
        found.append((name, sender.name, task_id or str(current.request.id), threading.current_thread().name))

    for name in NAMES:
        getattr(signals, name).connect(receiver)
    yield found
    for name in NAMES:
        getattr(signals, name).disconnect(receiver)


def test_every_attempt_fires_its_signals_once_in_its_thread(embedded: Deployment, seen: list[Seen]) -> None:
    """Four attempts of a saga that is rolled back: four times prerun, then success or failure, then postrun."""
    embedded.thread_worker()
    embedded.wait_ended([embedded.start(declines=True)])
    saga = embedded.saga.name
    wait_until(lambda: Counter(name for name, *_ in seen)["task_postrun"] == 4, what="the last postrun")
    by_task = {
        task: [name for name, known, *_ in seen if known == f"{saga}.{task}"]
        for task in ("check", "reserve", "pay", "reserve.compensation")
    }
    good = ["task_prerun", "task_success", "task_postrun"]
    bad = ["task_prerun", "task_failure", "task_postrun"]
    assert by_task == {"check": good, "reserve": good, "pay": bad, "reserve.compensation": good}
    ran_in = {line[0]: line[3] for line in embedded.lines()}
    for task, step in {"check": "check", "pay": "pay", "reserve.compensation": "release"}.items():
        assert {thread for _, known, _, thread in seen if known == f"{saga}.{task}"} == {ran_in[step]}
    assert len({task_id for _, _, task_id, _ in seen}) == 4


def test_task_events_are_sent_when_they_are_enabled(embedded: Deployment) -> None:
    """A monitor sees each attempt received, started, and succeeded or failed, under its task's name."""
    events: list[dict[str, Any]] = []
    with embedded.app.connection_for_read() as base:
        receiver = embedded.app.events.Receiver(base, {"*": events.append})
        with receiver.consumer_context() as (connection, _, _):
            embedded.thread_worker(events=True)
            embedded.wait_ended([embedded.start(declines=True)])

            def ended() -> bool:
                try:
                    connection.drain_events(timeout=0.1)
                except TimeoutError:
                    pass
                return sum(it["type"] in {"task-succeeded", "task-failed"} for it in events) == 4

            wait_until(ended, what="the events of four attempts")
    kinds = Counter(it["type"] for it in events if it["type"].startswith("task-"))
    assert kinds == {"task-received": 4, "task-started": 4, "task-succeeded": 3, "task-failed": 1}
    names = {it["name"].removeprefix(f"{embedded.saga.name}.") for it in events if it["type"] == "task-received"}
    assert names == {"check", "reserve", "pay", "reserve.compensation"}


def test_without_a_broker_every_attempt_fires_its_signals_too(without_broker: Deployment, seen: list[Seen]) -> None:
    """What listens to the signals (Sentry, Django's fixup) must not be missing in an outage."""
    without_broker.thread_worker()
    without_broker.wait_ended([without_broker.start()], 30)
    assert Counter(signal for signal, *_ in seen) == {"task_prerun": 3, "task_success": 3, "task_postrun": 3}
    ran_in = {line[0]: line[3] for line in without_broker.lines()}
    by_task = {name.rpartition(".")[2]: thread for _, name, _, thread in seen}
    assert by_task == ran_in
