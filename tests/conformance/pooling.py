"""A stand-in for a pooler in transaction mode, as far as a client can tell one: a proxy that greets with a pid of its own.

PgBouncer answers a client's start-up by itself, so the process id in BackendKeyData is not that of the server session
that will run the statements. This proxy forwards everything and changes those four bytes.
"""

import socket
import socketserver
import struct
import threading

from psycopg.conninfo import conninfo_to_dict

GREETED_PID = 0x7FFF_0001
BACKEND_KEY_DATA = b"K"


def connect(conninfo: str) -> socket.socket:
    """A socket to the server that the URL names, by TCP or by its unix socket."""
    parts = conninfo_to_dict(conninfo)
    host, port = str(parts.get("host") or "127.0.0.1"), int(parts.get("port") or 5432)
    if not host.startswith("/"):
        return socket.create_connection((host, port))
    server = socket.socket(socket.AF_UNIX)
    server.connect(f"{host}/.s.PGSQL.{port}")
    return server


def pump(source: socket.socket, target: socket.socket) -> None:
    """Forward until either side closes."""
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
    except OSError:
        pass  # the other direction closed both
    finally:
        for side in (source, target):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # already closed


def greet(server: socket.socket, client: socket.socket) -> None:
    """Forward the server's messages up to BackendKeyData, and that one with another pid."""
    answers = server.makefile("rb")
    while header := answers.read(5):
        kind, length = header[:1], struct.unpack("!I", header[1:])[0]
        body = answers.read(length - 4)
        if kind == BACKEND_KEY_DATA:
            client.sendall(header + struct.pack("!I", GREETED_PID) + body[4:])
            rest = answers.peek()
            client.sendall(answers.read(len(rest)))
            break
        client.sendall(header + body)
    pump(server, client)


class Pooler(socketserver.ThreadingTCPServer):
    """Listens on a free port of 127.0.0.1 and forwards to the server of `conninfo`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo
        super().__init__(("127.0.0.1", 0), Session)


class Session(socketserver.BaseRequestHandler):
    """One client's connection."""

    server: Pooler

    def handle(self) -> None:
        """Forward in both directions until one side closes."""
        with connect(self.server.conninfo) as server:
            threading.Thread(target=pump, args=(self.request, server), daemon=True).start()
            greet(server, self.request)
