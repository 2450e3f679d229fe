"""Serves the order API from a thread of this process, and stops it within a bound.

Rules of this file
------------------
- A stop lets requests end and waits `GRACE_S` seconds for them at most: a client that sends half a body and then nothing must
  not hold up a deploy. What is cut off then got no answer, and its client repeats it with the same key.
- `/readyz` asks what an order would meet: the database may be written and has this release's tables; it reports the broker.
"""

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from saga.errors import UsageError
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.runtime.work import Hint
from saga.settings import Settings
from saga.store.port import Store
from saga.surfaces.api import ReadyCheck, broker_check, build_api, migrations_check
from saga.surfaces.patience import wait_for
from saga.surfaces.proxies import BehindProxies, networks_of

START_S = 20.0
GRACE_S = 25
"""Whole seconds, less than the 45 s after which a container is killed, and more than the longest `Prefer: wait` is held after a
stop, which is none."""
Publish = Callable[[Sequence[Hint]], None]


def listening_at(host: str, port: int) -> socket.socket:
    """A socket of this machine; port 0 takes a free one. Raises `UsageError` when the port is taken, or the host is none of it."""
    if not host:
        raise UsageError("--host: is empty, which would be every address of this machine; 0.0.0.0 says so")
    none = f"--host {host}: is no address of this machine ({{}}); 127.0.0.1 is one"
    try:
        socket.gethostbyname(host)  # `create_server` says of a name only that it could not be had
        listening = socket.create_server((host, port))
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(none.format(getattr(error, "strerror", error))) from error
    except OSError as error:
        why = os.strerror(error.errno or 0)
        if error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(none.format(why)) from error
        raise UsageError(f"port {port} of {host} cannot be had ({why}); take another with --port") from error
    # asyncio sets this only on sockets that name TCP as their protocol, and without it an answer in two writes takes 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


@contextmanager
def serving_api(
    store: Store,
    definitions: Definitions,
    starter: Starter,
    publish: Publish,
    host: str,
    port: int,
    *,
    backlog_bound: int | None = None,
    ready_checks: Sequence[ReadyCheck] = (),
    trusted_proxies: str | None = None,
    grace_s: int = GRACE_S,
) -> Iterator[str]:
    """The order API in a thread; yields its address. Raises what `listening_at` does. A stop waits `grace_s` seconds at most.

    `trusted_proxies` is `Settings.trusted_proxies`: whose `X-Forwarded-Prefix` is believed.
    """
    listening = listening_at(host, port)
    app = build_api(store, definitions, starter, publish, backlog_bound=backlog_bound, ready_checks=ready_checks)
    config = uvicorn.Config(
        BehindProxies(app, networks_of(trusted_proxies)),
        log_level="warning",
        access_log=False,
        lifespan="off",
        proxy_headers=False,  # uvicorn would believe whoever is on this machine, or in FORWARDED_ALLOW_IPS
        timeout_graceful_shutdown=grace_s,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="saga-api", daemon=True)
    thread.start()
    wait_for(lambda: server.started, START_S, "the API did not start")
    try:
        yield f"http://{host}:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True  # it takes nothing more from here on
        app.state.follower.stop()  # the server waits for its connections, and an event stream ends with its order
        thread.join()
        listening.close()


def ready_checks_of(settings: Settings, is_broker_away: Callable[[], bool] | None = None) -> list[ReadyCheck]:
    """What `/readyz` asks beside the store: the tables of this release, and the broker, where others can hear it."""
    has_tables = not settings.store_url.startswith("memory")
    return [
        *([migrations_check(settings.store_url)] if has_tables else []),
        *([broker_check(is_broker_away)] if is_broker_away is not None else []),
    ]
