"""Hints between processes of one home: heard at once, dropped when nobody listens, harmless whoever sends them."""

import json
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

from saga.runtime.work import Hint
from saga.surfaces.home_hints import SOCKET_FILE, hearing, hint_home

HEARD_S = 10.0
Heard = SimpleQueue[list[str]]


@contextmanager
def listening(home: Path) -> Iterator[Heard]:
    heard: Heard = SimpleQueue()
    with hearing(home, lambda ids: heard.put(list(ids))):
        yield heard


def hints(*ids: str) -> list[Hint]:
    return [Hint(it, "task", "queue") for it in ids]


def test_what_is_hinted_is_heard_each_saga_once(tmp_path: Path) -> None:
    """A saga whose first two steps are ready has two hints and one look."""
    with listening(tmp_path) as heard:
        hint_home(tmp_path, hints("a", "a", "b"))
        assert heard.get(timeout=HEARD_S) == ["a", "b"]


def test_many_are_heard_up_to_32_at_a_time(tmp_path: Path) -> None:
    """As in a message of a broker."""
    with listening(tmp_path) as heard:
        hint_home(tmp_path, hints(*(f"id-{number}" for number in range(40))))
        assert [len(heard.get(timeout=HEARD_S)) for _ in range(2)] == [32, 8]


def test_nobody_waits_where_nobody_listens(tmp_path: Path) -> None:
    """No home, no socket, the socket of a process that was killed, a file in its place: the hint is dropped."""
    hint_home(tmp_path / "none", hints("a"))
    hint_home(tmp_path, hints("a"))
    (tmp_path / SOCKET_FILE).write_text("no socket")
    hint_home(tmp_path, hints("a"))


def test_a_listener_that_is_stuck_holds_nobody_up(tmp_path: Path) -> None:
    """Datagrams that find no room are dropped, however many come."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / SOCKET_FILE))
        for _ in range(1000):
            hint_home(tmp_path, hints("a"))
        deaf.setblocking(False)
        assert json.loads(deaf.recv(8192)) == ["a"]


LEFT = """
import os, sys
from pathlib import Path
from saga.surfaces.home_hints import hearing
with hearing(Path(sys.argv[1]), lambda ids: None):
    os._exit(9)
"""


def test_the_socket_of_a_killed_process_is_replaced(tmp_path: Path) -> None:
    """What it left is a file that nobody listens on; the next one is heard."""
    assert subprocess.run([sys.executable, "-c", LEFT, str(tmp_path)], check=False).returncode == 9
    assert stat.S_ISSOCK((tmp_path / SOCKET_FILE).stat().st_mode)
    hint_home(tmp_path, hints("lost"))
    with listening(tmp_path) as heard:
        hint_home(tmp_path, hints("a"))
        assert heard.get(timeout=HEARD_S) == ["a"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system offers no way to a long name")
def test_a_home_with_a_long_name_is_heard(tmp_path: Path) -> None:
    """The name of a socket has 107 bytes at most, whatever the home is called."""
    home = tmp_path / ("ü" * 60) / ("b" * 120)
    home.mkdir(parents=True)
    with listening(home) as heard:
        hint_home(home, hints("a"))
        assert heard.get(timeout=HEARD_S) == ["a"]
    assert list(home.iterdir()) == []


def test_where_nobody_can_listen_the_due_index_has_it(tmp_path: Path) -> None:
    """A home that is not there, or where the socket's place is taken: everything goes on, and nothing is left there."""
    (tmp_path / SOCKET_FILE).mkdir()
    for home in (tmp_path, tmp_path / "none"):
        with listening(home) as heard:
            hint_home(home, hints("a"))
            assert heard.empty()
    assert [path.name for path in tmp_path.iterdir()] == [SOCKET_FILE]


def test_only_the_owner_of_the_home_may_hint(tmp_path: Path) -> None:
    """0600, whatever the umask of the process is."""
    with listening(tmp_path):
        assert stat.S_IMODE((tmp_path / SOCKET_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "forged",
    [b"", b"no json", b"[]", b"[1]", b'{"a": 1}', b"[" * 8000, b'["' + b"a" * 9000, b'["\'; DROP TABLE saga"]'],
)
def test_a_forged_hint_wakes_nobody(tmp_path: Path, forged: bytes) -> None:
    """It is forgotten, and the next one is heard."""
    with listening(tmp_path) as heard:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.sendto(forged, str(tmp_path / SOCKET_FILE))
        hint_home(tmp_path, hints("a"))
        assert heard.get(timeout=HEARD_S) == ["a"]
        assert heard.empty()
