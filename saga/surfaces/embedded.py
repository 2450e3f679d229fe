"""Everything in one process: the one assembly behind `saga dev`, `saga api`, `saga drain` and the tests.

Rules of this file
------------------
- Parts are made in the order of need (schema, store, participants, worker, starter, API) and stopped in reverse, so a
  worker never outlives its participants and the API takes nothing that could not be stored.
- A definition whose fingerprint changed under its version is refused and named; the others run.
- Where the parts answer is written to `<home>/stack.json`, so that a second terminal finds them. The file is a hint: what
  is set in `SAGA_*` goes first. It counts while its writer holds `<home>/stack.lock`, which a kill -9 gives back.
- A step may read its settings from the environment (the mail folder), so a stack of another home makes it the
  environment's; that is done once, in `inhabit`.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import requests

from saga.core.definition import Saga
from saga.errors import FingerprintChanged, UsageError
from saga.fulfilment import connectors
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.log import logger
from saga.private import private
from saga.runtime.engine import Definitions
from saga.runtime.executor import Executor
from saga.runtime.starting import Starter
from saga.runtime.work import Hint, Limits
from saga.runtime.worker import Worker
from saga.scope import Scope
from saga.settings import Settings
from saga.store import schema
from saga.store.connecting import sqlite_path
from saga.store.opening import open_store
from saga.store.port import Store
from saga.surfaces.cores import cores_of, on_core
from saga.surfaces.database_named import database_named
from saga.surfaces.folders import made_home, made_journal_folder, refuse_unwritable_journal
from saga.surfaces.home_hints import hearing
from saga.surfaces.mocks import mocks_for, serve_mock
from saga.surfaces.participants import Ended, watched_services
from saga.surfaces.patience import wait_for
from saga.surfaces.submit import session

PRODUCT = (connectors.inventory, connectors.tax, connectors.shipping, connectors.payment)
START_S = 20.0
HOST = "127.0.0.1"
STACK_FILE, LOCK_FILE = "stack.json", "stack.lock"
LOCK_S = 2.0
HOME_VARIABLE = "SAGA_HOME"

Publish = Callable[[Sequence[Hint]], None]
Wake = Callable[[Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs, and where it answers."""

    settings: Settings
    store: Store
    definitions: Definitions
    starter: Starter
    urls: Mapping[str, str]
    """Participant to address."""
    mocked: frozenset[str]
    api_url: str | None
    publish: Publish
    writers: Callable[[], frozenset[str]]
    """Ids of the worker of this process, as its journal entries name their writer; another one after a lost lease. None
    with a broker: there Celery has the worker."""
    services_ended: Ended
    """How the services of this stack ended by themselves; None while they run, and when it has none of its own."""


def opened_store(settings: Settings, scope: Scope | None = None, *, pool_size: int = 4) -> Store:
    """The store of these settings at the schema of this release, with the sagas of `scope`; without, those of `SAGA_TENANT`.

    The embedded database is upgraded on the way; one that is named by `SAGA_DATABASE_URL` is its operator's. Raises `UsageError` with what to type when the
    schema is another, and for a SQLite file or its folder that cannot be written.
    """
    url, scope = settings.store_url, scope or settings.scope
    if url.startswith("memory"):
        return open_store(url, scope)
    if settings.database_url is None:
        made_journal_folder(settings)
        schema.upgrade(url, scope.environment)
        return open_store(url, scope, pool_size=pool_size)
    refuse_unwritable_journal(settings)
    with database_named(settings):
        revision = schema.current(url)
    if revision != schema.head():
        state = f"is at revision {revision}" if revision else "has no tables of saga"
        raise UsageError(f"the database {state}, this release needs {schema.head()}: type  saga db upgrade")
    with database_named(settings):
        return open_store(url, scope, pool_size=pool_size)


def missing_file(settings: Settings) -> Path | None:
    """The journal's file when these settings mean one that does not exist; opening it would make it."""
    if not settings.store_url.startswith("sqlite"):
        return None
    path = sqlite_path(settings.store_url)
    return None if path.exists() else path


def registered(store: Store, sagas: Sequence[Saga[Any]]) -> tuple[Definitions, list[FingerprintChanged]]:
    """The definitions that may run, and those that are refused. Raises the first refusal when none is left."""
    definitions = Definitions(sagas)
    refused = definitions.register(store)
    if refused and not list(definitions):
        raise refused[0]
    for error in refused:
        logger.error("definition_refused", error=str(error))
    return definitions, refused


def addresses(settings: Settings) -> dict[str, str]:
    """Participant to address: what is set, else what a running stack of this home wrote down. `api` is among them."""
    running = running_stack(settings)
    return {**(running.urls if running else {}), **settings.participant_urls}


@dataclass(frozen=True, slots=True)
class Running:
    """The stack that wrote itself down in a home, and whose process lives."""

    pid: int
    urls: dict[str, str]


def running_stack(settings: Settings) -> Running | None:
    """The stack that runs in this home, if one does."""
    try:
        written = json.loads((settings.home / STACK_FILE).read_text(encoding="utf-8"))
        pid, urls = int(written["pid"]), {str(name): str(url) for name, url in written["urls"].items()}
        is_held = _is_held(settings.home / LOCK_FILE)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # nobody was started here, or it is starting now
    return Running(pid, urls) if is_held else None


def _is_held(path: Path) -> bool:
    """Whether a living process has the lock; that of a killed one is free, and a number of a process may be used again."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def url_of(urls: Mapping[str, str]) -> Callable[[str], str]:
    """How the executor finds a participant; one without an address is `not_sent`, with this text."""

    def find(name: str) -> str:
        if name in urls:
            return urls[name]
        raise UsageError(f"connector {name} has no address: set SAGA_{name.upper()}_URL")

    return find


@contextmanager
def inhabit(settings: Settings) -> Iterator[None]:
    """Make the home and the mail server of these settings those of the environment, because steps read them there."""
    own = {HOME_VARIABLE: str(settings.home), **({} if settings.smtp_url else {"SAGA_SMTP_URL": ""})}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def limits_of(settings: Settings) -> Limits:
    return Limits(slots=max(32, 4 * settings.threads), threads=settings.threads, held=settings.in_flight)


@contextmanager
def embedded(
    settings: Settings,
    sagas: Sequence[Saga[Any]],
    *,
    port: int | None = 0,
    with_broker: bool = True,
    broken: Callable[[], None] = lambda: None,
) -> Iterator[Stack]:
    """Run everything until the block ends. `port` is the API's: 0 takes a free one, None starts no API.

    Without `with_broker` there is a worker and no Celery: the rescuer finds everything. `broken` is called when the worker
    gave up, after which nothing moves here any more.
    Participants that have an address (set, or of a stack that runs in this home) are used where they are; services of ours
    and mocks are started for the others. The services run in one process of their own. With `Settings.own_cores` the threads
    of the engine stay on one core and the services on another, on SQLite and when all `sagas` are the product's own. Raises
    `UsageError`, `StoreUnavailable` or `FingerprintChanged` before anything is left running.
    """
    with ExitStack() as parts:
        if port is not None and (other := running_stack(settings)) is not None:
            raise UsageError(
                f"a stack runs in {settings.home} already (process {other.pid}); stop it, or set SAGA_HOME"
            )
        parts.enter_context(inhabit(settings))
        made_home(settings)
        store = opened_store(settings, settings.worker_scope)
        parts.callback(store.close)
        definitions, _ = registered(store, sagas)
        core, their_core = cores_of(settings) if _is_all_ours(settings, sagas) else (None, None)
        with on_core(their_core):
            urls, mocked, ended = _participants(parts, settings, list(definitions))
        with on_core(core):
            has_broker = with_broker and not settings.store_url.startswith("memory:")
            if has_broker:
                publish, wake = _worker(parts, settings, definitions, urls, broken)
                writers = _nobody
            else:
                publish, wake, writers = _worker_without_broker(parts, settings, store, definitions, urls, broken)
            starter = Starter(store, environment=settings.environment, tenant=settings.tenant)
            parts.callback(starter.stop)
            api_url = None
            if port is not None and any(saga.name == fulfil_order.name for saga in definitions):
                api_url = parts.enter_context(_api(settings, store, definitions, starter, publish, port))
        if port is not None:
            parts.enter_context(_written_down(settings, {**urls, **({"api": api_url} if api_url else {})}))
            with on_core(core):
                parts.enter_context(hearing(settings.home, wake))
        yield Stack(settings, store, definitions, starter, urls, mocked, api_url, publish, writers, ended)


def _api(
    settings: Settings, store: Store, definitions: Definitions, starter: Starter, publish: Publish, port: int
) -> AbstractContextManager[str]:
    from saga.surfaces.serving import ready_checks_of, serving_api

    bound, checks = settings.backlog_bound, ready_checks_of(settings)
    return serving_api(store, definitions, starter, publish, HOST, port, backlog_bound=bound, ready_checks=checks)


def _is_all_ours(settings: Settings, sagas: Sequence[Saga[Any]]) -> bool:
    """Whether nobody else has a say: a step of somebody's may want all cores; beside a database server nothing was gained."""
    return settings.store_url.startswith("sqlite") and all(
        any(saga is one for one in (fulfil_order, return_order)) for saga in sagas
    )


def _participants(
    parts: ExitStack, settings: Settings, sagas: Sequence[Saga[Any]]
) -> tuple[dict[str, str], frozenset[str], Ended]:
    """Addresses of every connector that the definitions call: what is set, a service of ours, else a mock; which are mocks; and
    whether the services ended."""
    urls = addresses(settings)
    urls.pop("api", None)
    mocks = [mock for mock in mocks_for(sagas, PRODUCT, settings.home / "mocks") if mock.connector.name not in urls]
    mocked = frozenset(mock.connector.name for mock in mocks)
    for mock in mocks:
        served = serve_mock(mock)
        parts.callback(served.stop)
        urls[mock.connector.name] = served.url
    called = {
        operation.connector.name
        for saga in sagas
        for step in saga.order
        if (operation := step.operation) is not None and any(operation.connector is one for one in PRODUCT)
    }
    if clash := called & mocked:
        raise UsageError(f"two different connectors are called {', '.join(sorted(clash))}; rename one of them")
    wanted = [one.name for one in PRODUCT if one.name in called and one.name not in urls]
    if not wanted:
        return urls, mocked, lambda: None
    services = parts.enter_context(watched_services(wanted, settings.home / "services"))
    return {**urls, **services.urls}, mocked, services.ended


def _worker(
    parts: ExitStack,
    settings: Settings,
    definitions: Definitions,
    urls: Mapping[str, str],
    broken: Callable[[], None],
) -> tuple[Publish, Wake]:
    """Celery's worker in a thread, which drives the sagas and takes hints; how to hint to it, and how to wake its sagas."""
    from saga.runtime.celery import attach, make_app, worker_in_thread

    app = make_app(settings.broker_url, definitions)
    attachment = attach(
        app,
        definitions,
        store_url=settings.store_url,
        scope=settings.worker_scope,
        url_of=url_of(urls),
        driver="process",
        limits=limits_of(settings),
        broken=broken,
    )
    parts.callback(worker_in_thread(app).stop)
    parts.callback(attachment.end)  # first: the steps in flight and the lease do not wait for a farewell to the broker
    return attachment.publisher.publish, attachment.wake


def _nobody() -> frozenset[str]:
    return frozenset()


def _worker_without_broker(
    parts: ExitStack,
    settings: Settings,
    store: Store,
    definitions: Definitions,
    urls: Mapping[str, str],
    broken: Callable[[], None],
) -> tuple[Publish, Wake, Callable[[], frozenset[str]]]:
    executor = Executor(url_of(urls), store.clock, pool_size=settings.threads)
    parts.callback(executor.close)
    worker = Worker(store, definitions, executor, limits=limits_of(settings), broken=broken)
    worker.start()
    parts.callback(worker.stop, settings.grace_s)

    def hint(hints: Sequence[Hint]) -> None:
        worker.wake(list(dict.fromkeys(hint.saga_id for hint in hints)))

    return hint, worker.wake, lambda: frozenset({worker.worker_id})


def stocked_sku_count(stack: Stack) -> int | None:
    """How many SKUs the inventory of this stack has anything of; None when it is not ours, or does not say."""
    if stack.settings.inventory_url is not None or "inventory" in stack.mocked or "inventory" not in stack.urls:
        return None
    try:
        with session() as asking:
            answer = asking.get(f"{stack.urls['inventory']}/v1/stock", timeout=START_S)
        return sum(bool(item["available"] > 0) for item in answer.json()["items"])
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return None  # a banner is no place to fail; the first order will say it


@contextmanager
def _written_down(settings: Settings, urls: Mapping[str, str]) -> Iterator[None]:
    path = settings.home / STACK_FILE
    with open(settings.home / LOCK_FILE, "wb", opener=private) as lock:
        # Whoever looks at the lock holds it for a moment.
        wait_for(lambda: _takes(lock), LOCK_S, f"another stack is starting in {settings.home}; it did not end")
        _replace(path, json.dumps({"pid": os.getpid(), "urls": urls}, indent=1))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _takes(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".part")
    with open(draft, "w", encoding="utf-8", opener=private) as file:
        file.write(text)
    draft.replace(path)
