"""Hints from a process that only starts sagas: to the broker, when it is one that another process can hear."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from saga.core.definition import Saga
from saga.runtime.work import Hint
from saga.settings import Settings, masked

SETTING = "SAGA_BROKER_URL"


def refuse_bad_broker(settings: Settings) -> None:
    """What a process that stays up does first. Raises `UsageError` for a URL that means nothing and `BrokerRefuses` for a
    broker that does not let us in; one that is away is no reason not to start."""
    if not settings.broker_url.startswith("memory:"):
        from saga.runtime.celery.greeting import greeted_broker

        greeted_broker(settings.broker_url, SETTING)


@contextmanager
def publisher(settings: Settings, sagas: Iterable[Saga[Any]]) -> Iterator[Callable[[Sequence[Hint]], None]]:
    """Best effort and never in the way: what is not heard is found by the due index within two seconds. Raises `UsageError`
    for a URL that means nothing, before anything is stored."""
    if settings.broker_url.startswith("memory:"):
        yield lambda _hints: None
        return
    from saga.runtime.celery.apps import make_app
    from saga.runtime.celery.greeting import checked_broker
    from saga.runtime.celery.publisher import Publisher

    checked_broker(settings.broker_url, SETTING)
    broker = f"{SETTING} {masked(settings.broker_url)}"  # the log names what to mend
    sending = Publisher(make_app(settings.broker_url, sagas), broker=broker)
    try:
        yield sending.publish
    finally:
        sending.close()
