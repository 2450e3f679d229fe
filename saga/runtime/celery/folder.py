"""A broker that is a folder: for processes of one machine, without a server. The demonstration's worker is a process of its
own, which the memory broker does not reach.

Rules of this file
------------------
- A message is a file in the folder of its queue. It is written beside and renamed, so nobody reads half of one (kombu's own
  `filesystem` transport lets a reader see the empty file, and what it then raises ends Celery's consumer); it is taken by
  removing it, so of two readers one has it.
- Names are uuid7, so the order of names is the order of sending.
- While the file `off` lies in the folder the broker is off: sending, taking and connecting raise `ConnectionError`, as they do
  against a server that is gone. What lies there stays there.
"""

import json
import os
from pathlib import Path
from queue import Empty
from typing import Any
from urllib.parse import quote

from kombu.transport import TRANSPORT_ALIASES, virtual

from saga.ids import uuid7
from saga.private import make_private_folder

SCHEME = "folder"
OFF = "off"
READY, DRAFT = ".msg", ".part"
POLL_S = 0.02


def url_of_folder(folder: Path) -> str:
    """The broker's address, for `make_app`."""
    return f"{SCHEME}://{quote(str(folder.resolve()))}"


def turn(folder: Path, *, on: bool) -> None:
    """Turn the broker of this folder on or off, for every process that uses it."""
    if on:
        (folder / OFF).unlink(missing_ok=True)
    else:
        make_private_folder(folder)
        (folder / OFF).touch()


class Channel(virtual.Channel):
    """Puts messages into the folder and takes them out."""

    _folder: Path | None = None

    @property
    def folder(self) -> Path:
        """The broker's folder. Raises `ConnectionError` while it is off."""
        if self._folder is None:
            client: Any = self.connection.client
            self._folder = Path("/", client.virtual_host)
        if (self._folder / OFF).exists():
            raise ConnectionError(f"the broker in {self._folder} is off")
        return self._folder

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        place = self.folder / queue
        make_private_folder(place)
        draft = place / f"{uuid7()}{DRAFT}"
        draft.write_text(json.dumps(message), encoding="utf-8")
        draft.rename(draft.with_suffix(READY))

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:  # noqa: ARG002  kombu's signature
        for path in self._messages(queue):
            try:
                text = path.read_text(encoding="utf-8")
                path.unlink()
            except FileNotFoundError:
                continue  # somebody else has it
            message: dict[str, Any] = json.loads(text)
            return message
        raise Empty

    def _size(self, queue: str) -> int:
        return len(self._messages(queue))

    def _purge(self, queue: str) -> int:
        paths = self._messages(queue)
        for path in paths:
            path.unlink(missing_ok=True)
        return len(paths)

    def _messages(self, queue: str) -> list[Path]:
        place = self.folder / queue
        try:
            # A queue is looked at fifty times a second, mostly in vain: a Path for each name, or a glob, costs more.
            names = os.listdir(place)  # noqa: PTH208
        except FileNotFoundError:
            return []
        return [place / name for name in sorted(names) if name.endswith(READY)]


class Transport(virtual.Transport):
    """kombu's transport for `folder:///some/folder`."""

    Channel = Channel
    driver_type = driver_name = SCHEME
    can_parse_url = False
    polling_interval = POLL_S
    connection_errors = (*virtual.Transport.connection_errors, ConnectionError)

    def establish_connection(self) -> Any:
        """Raises `ConnectionError` while the broker is off."""
        connection: Any = super().establish_connection()
        for channel in connection.channels:
            _ = channel.folder
        return connection

    def driver_version(self) -> str:
        return ""


TRANSPORT_ALIASES[SCHEME] = f"{__name__}:{Transport.__name__}"
