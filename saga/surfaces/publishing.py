"""Hints from a process that only starts sagas: to the broker, when it is one that another process can hear, else to the
`saga dev` of the same home."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from saga.addresses import shown_brokers
from saga.core.definition import Saga
from saga.runtime.work import Hint
from saga.settings import Settings
from saga.surfaces.home_hints import hint_home

SETTING = "SAGA_BROKER_URL"


def refuse_bad_broker(settings: Settings) -> None:
    """What a process that stays up does first. Raises `UsageError` for a URL that means nothing and `BrokerRefuses` for a
    broker that does not let us in; one that is away is no reason not to start."""
    if not settings.broker_url.startswith("memory:"):
        from saga.runtime.celery.greeting import greeted_broker

        greeted_broker(settings.broker_url, SETTING)


@dataclass(frozen=True, slots=True)
class Hinting:
    """Sends hints when it is called, and says whether the broker could not be reached when it was last tried; without a broker
    that others can hear there is nothing to say."""

    publish: Callable[[Sequence[Hint]], None]
    flush: Callable[[float], bool] = lambda _patience_s: True
    """As `Publisher.flush`; between processes of one home nothing waits."""
    is_away: Callable[[], bool] | None = None

    def __call__(self, hints: Sequence[Hint]) -> None:
        self.publish(hints)


@contextmanager
def publisher(settings: Settings, sagas: Iterable[Saga[Any]]) -> Iterator[Hinting]:
    """Best effort and never in the way: what is not heard is found by the due index within two seconds. Its end waits
    until the broker has what was sent, two seconds at most. Raises `UsageError` for a URL that means nothing, before anything is
    stored."""
    if settings.broker_url.startswith("memory:"):
        yield Hinting(partial(hint_home, settings.home))
        return
    from saga.runtime.celery.apps import make_app
    from saga.runtime.celery.greeting import checked_broker
    from saga.runtime.celery.publisher import Publisher

    checked_broker(settings.broker_url, SETTING)
    broker = f"{SETTING} {shown_brokers(settings.broker_url)}"  # the log names what to mend
    sending = Publisher(make_app(settings.broker_url, sagas), broker=broker)
    try:
        yield Hinting(sending.publish, sending.flush, lambda: sending.is_away)
    finally:
        sending.close()
