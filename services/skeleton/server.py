"""Runs a service on a port: uvicorn in a thread, with a protocol that can close a connection without an answer."""

import asyncio
import importlib
import socket
import threading
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from services.skeleton.answers import CLOSES
from services.skeleton.app import Edge, build_app
from services.skeleton.service import Service

NAMES = ("inventory", "tax", "shipping", "payment")
KEEP_ALIVE_S = 75
"""Longer than a caller keeps an idle connection, so that a call does not meet a connection that is just closing."""
START_MAX_S = 30


class ClosingProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose requests find under `CLOSES` in their state a function that drops the TCP connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, CLOSES: self.close_without_answer}, _loop)

    def close_without_answer(self) -> None:
        # The cycle is told first: one that ends without an answer on an open connection would send a 500.
        self.cycle.disconnected = True
        self.transport.abort()


class _Server(uvicorn.Server):
    """Says when it accepts connections, and takes no signals: it does not own the process."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


class RunningService:
    """A service that answers at `url` until `stop`."""

    def __init__(self, app: FastAPI, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.edge: Edge = app.state.edge
        config = Config(
            app,
            http=ClosingProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=5,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name=f"service-{app.title}", daemon=True
        )
        self._thread.start()
        if not self._server.is_up.wait(START_MAX_S):
            raise RuntimeError(f"{self.url} did not start within {START_MAX_S} s")

    def stop(self) -> None:
        """Finish what is being worked on, close the port, the threads and the database. May be called twice."""
        self._server.should_exit = True
        self._thread.join()
        self.edge.close()


def service_named(name: str) -> Service:
    """One of the four. Raises `ValueError` for another name."""
    if name not in NAMES:
        raise ValueError(f"no service is called {name!r}; there are {', '.join(NAMES)}")
    service = importlib.import_module(f"services.{name}.service").SERVICE
    assert isinstance(service, Service)
    return service


def serve_in_thread(name: str, database_url: str, host: str = "127.0.0.1", port: int = 0) -> RunningService:
    """Start one of the four services; port 0 takes a free one. Raises `OSError` when the port is taken."""
    return serve(service_named(name), database_url, host, port)


def serve(service: Service, database_url: str, host: str = "127.0.0.1", port: int = 0) -> RunningService:
    """Start any service in a thread of this process."""
    listener = _listener(host, port)
    try:
        return RunningService(build_app(service, database_url), listener)
    except BaseException:
        listener.close()
        raise


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named. Without it each answer, written as head and body, waits
    # 40 ms for a delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener
