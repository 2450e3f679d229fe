"""A TCP proxy that a test can cut or make swallow: to the processes behind it, a server that was stopped, or a network that
forgot their connections and tells nobody."""

import socket
import threading
from dataclasses import dataclass

GREETING_BYTES = 1000


@dataclass(eq=False, slots=True)
class Flow:
    """One connection through the proxy, and what its client sent first."""

    near: socket.socket
    far: socket.socket | None
    """None when it goes nowhere."""
    greeting: bytes = b""
    is_swallowed: bool = False


class Proxy:
    """Forwards connections to `target` until it is cut; `heal` takes new connections again."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open: set[Flow] = set()
        self._lock = threading.Lock()
        self._is_cut = False
        self._swallows_new = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def is_cut(self) -> bool:
        return self._is_cut

    def cut(self) -> None:
        """Break what is connected and refuse what comes."""
        with self._lock:
            self._is_cut = True
            broken, self._open = self._open, set()
        for flow in broken:
            _close(flow.near)
            _close(flow.far)

    def swallow(self, *, containing: bytes = b"", new: bool = False) -> int:
        """Take whatever either side of the connections that stand sends, and forward nothing; nobody is told. Only those whose
        client began with `containing`. With `new` also connections that come are accepted and never answered. How many
        stood."""
        with self._lock:
            self._swallows_new = new
            swallowed = [flow for flow in self._open if containing in flow.greeting]
            for flow in swallowed:
                flow.is_swallowed = True
        return len(swallowed)

    def standing(self, containing: bytes = b"") -> int:
        """How many connections stand and are not swallowed, whose client began with `containing`."""
        with self._lock:
            return sum(not flow.is_swallowed and containing in flow.greeting for flow in self._open)

    def heal(self) -> None:
        """Take new connections again; one that was swallowed stays so."""
        with self._lock:
            self._is_cut = self._swallows_new = False

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                _close(near)
                continue
            flow = Flow(near, None, is_swallowed=self._swallows_new)
            if not flow.is_swallowed:
                try:
                    flow.far = socket.create_connection(self._target, 5)
                    flow.far.settimeout(None)  # 5 s are for connecting; a connection with nothing to say is not broken
                except OSError:
                    _close(near)
                    continue
            with self._lock:
                self._open.add(flow)
            for source, sink in ((flow.near, flow.far), (flow.far, flow.near)):
                if source is not None:
                    threading.Thread(target=_pump, args=(flow, source, sink), daemon=True).start()


def _pump(flow: Flow, source: socket.socket, sink: socket.socket | None) -> None:
    try:
        while data := source.recv(65536):
            if source is flow.near and len(flow.greeting) < GREETING_BYTES:
                flow.greeting += data  # a client of PostgreSQL asks for encryption before it says who it is
            if sink is not None and not flow.is_swallowed:
                sink.sendall(data)
    except OSError:
        pass  # either end is gone; so is the other now
    if not flow.is_swallowed:
        _close(flow.near)
        _close(flow.far)


def _close(end: socket.socket | None) -> None:
    if end is None:
        return
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it was not connected any more
    end.close()
