"""A worker process: Celery's consumer for hints, the driver and the rescuer behind it."""

from collections.abc import Sequence
from typing import Any

from saga.core.definition import Saga
from saga.settings import Settings
from saga.surfaces.embedded import addresses, limits_of, opened_store, registered, url_of
from saga.surfaces.publishing import refuse_bad_broker


def work(settings: Settings, sagas: Sequence[Saga[Any]], queues: frozenset[str] | None) -> int:
    """Run until SIGTERM or ctrl-C, steps in flight ending first; the exit code.

    Definitions are compared with the stored ones before anything starts. Raises `FingerprintChanged` when none is left,
    `UsageError` or `StoreUnavailable` when the database cannot be worked on, `UsageError` or `BrokerRefuses` for a broker
    that somebody has to mend.
    """
    from saga.runtime.celery import attach, make_app, run_worker

    refuse_bad_broker(settings)
    store = opened_store(settings, pool_size=1)
    try:
        definitions, _ = registered(store, sagas)
    finally:
        store.close()
    app = make_app(settings.broker_url, definitions)
    attach(
        app,
        definitions,
        store_url=settings.store_url,
        scope=settings.worker_scope,
        url_of=url_of(addresses(settings)),
        driver=settings.driver or "process",
        limits=limits_of(settings),
    )
    return run_worker(app, queues=sorted(queues) if queues else None, loglevel=settings.log_level.upper())
