"""`saga dev`, `api`, `worker`, `services`: the processes that stay up.

Each stops at a step boundary on ctrl-C and on SIGTERM; what is left is taken up by the next process.
"""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated

import typer

from saga.errors import StoreUnavailable, UsageError
from saga.fulfilment.fulfil_order import fulfil_order
from saga.runtime.ending import END_S, end_within
from saga.runtime.starting import Starter
from saga.settings import Settings, read_settings
from saga.surfaces.cli.options import (
    FAILED,
    DefinitionsArgument,
    MoreDefinitionsOption,
    Output,
    OutputOption,
    definitions_named,
    put_one,
    say,
    settings_and_log,
)
from saga.surfaces.embedded import HOST, Stack, embedded, opened_store, registered, stocked_sku_count
from saga.surfaces.folders import refuse_unwritable_mailbox
from saga.surfaces.participants import services_command
from saga.surfaces.publishing import publisher, refuse_bad_broker
from saga.surfaces.visible import Page, page

GAVE_UP = "saga: every thread hangs in a step beyond its deadline; its sagas are given back, start this again"
WATCH_S = 0.5
SERVICES = ("inventory", "tax", "shipping", "payment")
PORT_MAX = 65535
PortOption = Annotated[int, typer.Option(min=0, max=PORT_MAX, help="Port of the API; 0 takes a free one.")]


def add_to(app: typer.Typer) -> None:
    for command in (dev, api, worker, services):
        app.command()(command)


@contextmanager
def until_stopped() -> Iterator[threading.Event]:
    """An event that ctrl-C and SIGTERM set; a second signal ends the process at once, and ten seconds after the grace of the
    steps in flight it ends in any case."""
    stopped, asked = threading.Event(), threading.Event()
    before = {}
    end_within(read_settings().grace_s + END_S, asked)

    def stop(number: int, _frame: object) -> None:
        stopped.set()
        asked.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def dev(
    definitions: DefinitionsArgument = None,
    more: MoreDefinitionsOption = None,
    port: PortOption = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run everything in one process, and stay up: journal on SQLite under SAGA_HOME, worker, API, participants.

    The four services run for fulfil_order; a definition of your own gets a mock for each of its connectors. A mock
    rejects when a text in the request contains a code of the connector's `rejected`, and answers with a sample else.

    \b
    Examples
      saga dev
      saga dev shop:place_order        # then, in another terminal: saga start shop:place_order '{...}' --wait
      saga dev --port 8080
    """
    with until_stopped() as stopped:
        sagas = definitions_named(definitions, more)
        settings, gave_up = settings_and_log(), threading.Event()
        refuse_unwritable_mailbox(settings, sagas)
        refuse_bad_broker(settings)
        with embedded(settings, sagas, port=port, broken=giving_up(gave_up, stopped)) as stack:
            stocked = stocked_sku_count(stack)
            put_one(output, _facts(stack, stocked), _introduction(stack, stocked))
            while not stopped.wait(WATCH_S) and why_broken(stack, gave_up) is None:
                pass
            why = why_broken(stack, gave_up)
            say(why or "stopping: steps in flight end first")
    if why is not None:
        raise typer.Exit(FAILED)


def giving_up(gave_up: threading.Event, stopped: threading.Event) -> Callable[[], None]:
    """What the worker of this process calls when nothing can begin here any more: the command ends."""

    def broken() -> None:
        gave_up.set()
        stopped.set()

    return broken


def why_broken(stack: Stack, gave_up: threading.Event) -> str | None:
    """What to say when a stack cannot go on: its worker gave up, or its services ended by themselves; None while it can."""
    if gave_up.is_set():
        return GAVE_UP
    if (code := stack.services_ended()) is None:
        return None
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"saga: the services of this stack ended ({how}); start this again"


def _facts(stack: Stack, stocked: int | None) -> dict[str, object]:
    return {
        "definitions": [f"{saga.name} v{saga.version}" for saga in stack.definitions],
        "api": stack.api_url,
        "participants": dict(stack.urls),
        "mocked": sorted(stack.mocked),
        "stocked_sku_count": stocked,
    }


def _introduction(stack: Stack, stocked: int | None) -> Page:
    lines = [f"journal      {stack.settings.store_url}" if not stack.settings.database_url else "journal      as set"]
    continued = {earlier for saga in stack.definitions for earlier in saga.earlier}
    named = [saga for saga in stack.definitions if saga not in continued]
    lines += [f"definition   {saga.name} v{saga.version}, {len(saga.order)} steps" for saga in named]
    if stack.api_url:
        lines.append(f"api          {stack.api_url}/v1/orders   {stack.api_url}/openapi.json")
    for name, url in sorted(stack.urls.items()):
        kind = "mock" if name in stack.mocked else "service"
        lines.append(f"{kind:<12} {name:<10} {url}/v1/ledger")
    if stocked == 0:
        lines.append("stock        none, so every order is out of stock; put some there for the orders of a file:")
        lines.append("             saga orders submit FILE --provision")
    return page([*lines, "ready; ctrl-C stops"])


def api(
    definitions: DefinitionsArgument = None,
    more: MoreDefinitionsOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = HOST,
    port: PortOption = 8000,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run the HTTP API alone; it accepts while the broker is down.

    Orders and returns (/v1/orders) come with fulfil_order, which is there when no definition is named; sagas of any
    other definition are started, shown and cancelled at /v1/sagas.

    \b
    Examples
      saga api --port 8000
      saga api shop:place_order
      SAGA_DATABASE_URL=postgresql://saga@db/shop SAGA_BROKER_URL=amqp://mq saga api --host 0.0.0.0
    """
    from saga.surfaces.serving import ready_checks_of, serving_api

    with until_stopped() as stopped, ExitStack() as parts:
        settings, sagas = settings_and_log(), definitions_named(definitions, more)
        refuse_bad_broker(settings)
        store = opened_store(settings)
        parts.callback(store.close)
        known, _ = registered(store, sagas)
        starter = Starter(store, environment=settings.environment, tenant=settings.tenant)
        parts.callback(starter.stop)
        publish = parts.enter_context(publisher(settings, sagas))
        checks = ready_checks_of(settings, publish.is_away)
        url = parts.enter_context(
            serving_api(
                store,
                known,
                starter,
                publish,
                host,
                port,
                backlog_bound=settings.backlog_bound,
                ready_checks=checks,
                trusted_proxies=settings.trusted_proxies,
            )
        )
        path = "orders" if any(saga.name == fulfil_order.name for saga in known) else "sagas"
        put_one(output, {"api": url}, f"api          {url}/v1/{path}   {url}/openapi.json")
        stopped.wait()


def worker(
    definitions: DefinitionsArgument = None,
    more: MoreDefinitionsOption = None,
    queues: Annotated[str | None, typer.Option(help="Comma-separated; else every queue of the definitions.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=512, help="Step threads; else SAGA_THREADS.")] = None,
) -> None:
    """Run a worker: a Celery worker whose process drives its sagas, and which finds forgotten ones by itself.

    \b
    Examples
      saga worker
      saga worker shop:place_order --threads 16
      saga worker --queues inventory,inventory.rollback
    """
    from saga.runtime.celery.stopping import stopping
    from saga.surfaces.working import work

    settings, sagas = settings_and_log(), definitions_named(definitions, more)
    if threads is not None:
        settings = settings.model_copy(update={"threads": threads})
    wanted = None
    if queues is not None:
        wanted = frozenset(name.strip() for name in queues.split(",") if name.strip())
        has = {step.queue for saga in sagas for step in saga.order}
        has |= {f"{name}.rollback" for name in has}
        if not wanted or wanted - has:
            raise UsageError(f"--queues {queues!r}: the definitions have {', '.join(sorted(has))}")
    refuse_unwritable_mailbox(settings, sagas, wanted)
    with stopping() as stop:
        code = work(settings, sagas, wanted)
    # Celery calls an end by ctrl-C a failure; here it is the way to end.
    raise typer.Exit(0 if stop.is_warm else code)


def services(
    name: Annotated[
        str | None, typer.Argument(help="inventory, tax, shipping or payment; all of them without it.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = HOST,
    port: Annotated[int, typer.Option(min=0, max=PORT_MAX, help="Port of the one, or of the first of all.")] = 8101,
) -> None:
    """Run one of the four services, or all of them on ports in a row; each with a database of its own.

    Prints their addresses, and the line that sets them in another terminal: no command finds them without it.

    \b
    Examples
      saga services
      saga services payment --port 8104
    """
    if name is not None and name not in SERVICES:
        raise UsageError(f"no service is called {name!r}; there are {', '.join(SERVICES)}")
    last = port if name or not port else port + len(SERVICES) - 1
    if last > PORT_MAX:
        raise UsageError(f"--port {port}: the last of the four would be {last}, above {PORT_MAX}")
    run_services(settings_and_log(), name, host, port)


def run_services(settings: Settings, name: str | None, host: str, port: int) -> None:
    """In a process of their own, which gets the signals that this one gets."""
    folder = settings.home / "services"
    command = services_command(name or "all", "--data", str(folder), "--say-settings", "--end-with-parent")
    command += ["--host", host, "--port" if name else "--base-port", str(port)]
    with until_stopped() as stopped, subprocess.Popen(command, start_new_session=True) as process:
        while process.poll() is None and not stopped.wait(0.1):
            pass
        if process.poll() is None:
            process.terminate()
        code = process.wait()
    # A signal that comes while they are still being imported ends them as every process, and was asked for.
    if code != 0 and not (stopped.is_set() and code == -signal.SIGTERM):
        raise StoreUnavailable(f"services ended with code {code}")
