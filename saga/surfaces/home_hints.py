"""Hints between processes of one home that have no broker: `saga dev` hears what another command started.

Rules of this file
------------------
- One datagram is one list of up to 32 saga ids, as in a message of a broker, and it does as little: it has somebody look. Who
  may write into the home may send one; the socket is 0600.
- Nobody waits for the other side. A sender whose datagram finds no room, no socket or nobody drops it; a listener that cannot
  listen says so to the log and hears nothing. Either way the due index has the saga within two seconds.
- The socket of a process that was killed is a file that nobody listens on: the next one puts its own in its place. Only the
  holder of the home's lock listens.
- The name of such a socket has about 100 characters, a home may have more: it is then reached through a descriptor of the
  home, where the system offers that.
"""

import json
import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from saga.log import logger
from saga.runtime.work import IDS_PER_MESSAGE, Hint, ids_in

SOCKET_FILE = "hints.sock"
BYTES_MAX = 8192
PATH_MAX = 100
"""Bytes; Linux takes 107, macOS 103."""


def hint_home(home: Path, hints: Sequence[Hint]) -> None:
    """Tell whoever listens in this home; returns at once."""
    ids = list(dict.fromkeys(hint.saga_id for hint in hints))
    with suppress(OSError), _address(home, SOCKET_FILE) as address, _datagrams() as sending:
        for start in range(0, len(ids), IDS_PER_MESSAGE):
            sending.sendto(json.dumps(ids[start : start + IDS_PER_MESSAGE]).encode(), address)


@contextmanager
def hearing(home: Path, wake: Callable[[Sequence[str]], None]) -> Iterator[None]:
    """Call `wake` with the ids of every hint until the block ends, in a thread of its own that otherwise sleeps."""
    with _datagrams() as listening:
        try:
            _take_place(listening, home)
        except OSError as error:
            logger.info("home_hints_off", home=str(home), error=str(error))
            yield
            return
        ending, end = socket.socketpair()
        with ending, end:
            thread = threading.Thread(target=_listen, args=(listening, ending, wake), name="saga-hears", daemon=True)
            thread.start()
            try:
                yield
            finally:
                (home / SOCKET_FILE).unlink(missing_ok=True)
                end.close()
                thread.join()


def _datagrams() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


def _take_place(listening: socket.socket, home: Path) -> None:
    """Bind beside and rename, so that whoever looks finds the old socket or the new one, never one that others may write to."""
    draft = f"{SOCKET_FILE}.{os.getpid()}"
    (home / draft).unlink(missing_ok=True)
    try:
        with _address(home, draft) as address:
            listening.bind(address)
        (home / draft).chmod(0o600)
        (home / draft).rename(home / SOCKET_FILE)
    finally:
        (home / draft).unlink(missing_ok=True)


@contextmanager
def _address(home: Path, name: str) -> Iterator[str]:
    """What the system calls this socket."""
    path = home / name
    if len(os.fsencode(path)) <= PATH_MAX:
        yield str(path)
        return
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{name}"
    finally:
        os.close(folder)


def _listen(listening: socket.socket, ending: socket.socket, wake: Callable[[Sequence[str]], None]) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        selector.register(ending, selectors.EVENT_READ)
        while ending not in [key.fileobj for key, _ in selector.select()]:
            with suppress(BlockingIOError):
                _hear(listening.recv(BYTES_MAX), wake)


def _hear(datagram: bytes, wake: Callable[[Sequence[str]], None]) -> None:
    try:
        ids = ids_in(json.loads(datagram))
    except (ValueError, RecursionError):
        ids = []
    if ids:
        wake(ids)
    else:
        logger.warning("message_refused", task=SOCKET_FILE, reason="it is not a list of 1 to 32 saga ids")
