"""The broker that is a folder: messages in their order, each taken once, and gone while it is off."""

from pathlib import Path
from queue import Empty
from threading import Thread

import pytest
from kombu import Connection
from kombu.exceptions import OperationalError

from saga.runtime.celery.folder import turn, url_of_folder

COUNT = 300


def _send(folder: Path, *bodies: object, queue: str = "tax") -> None:
    with Connection(url_of_folder(folder)) as connection, connection.SimpleQueue(queue) as sending:
        for body in bodies:
            sending.put(body)


def _take_all(folder: Path, queue: str = "tax") -> list[object]:
    """What lies there, first to last."""
    taken: list[object] = []
    with Connection(url_of_folder(folder)) as connection, connection.SimpleQueue(queue) as taking:
        while True:
            try:
                message = taking.get_nowait()
            except Empty:
                return taken
            message.ack()
            taken.append(message.payload)


def test_messages_come_in_their_order_to_their_queue(tmp_path: Path) -> None:
    """First in, first out, per queue; what was taken is gone, for every connection. The folder may have any name."""
    folder = tmp_path / "a folder, 100% ü #1?"
    _send(folder, 1, {"two": 2}, [3])
    _send(folder, 4, queue="payment")
    assert sorted(path.name for path in folder.iterdir()) == ["payment", "tax"]
    assert _take_all(folder) == [1, {"two": 2}, [3]]
    assert _take_all(folder) == []
    assert _take_all(folder, "payment") == [4]


def test_two_readers_beside_a_writer_take_each_message_once(tmp_path: Path) -> None:
    """Nobody reads half of a message, and of two readers one has it."""
    writer = Thread(target=_send, args=(tmp_path, *range(COUNT)))
    taken: list[object] = []

    def read() -> None:
        while writer.is_alive():
            taken.extend(_take_all(tmp_path))

    writer.start()
    readers = [Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    for thread in (writer, *readers):
        thread.join()
    assert sorted([*taken, *_take_all(tmp_path)], key=str) == sorted(range(COUNT), key=str)


def test_a_broker_that_is_off_is_gone_for_everybody(tmp_path: Path) -> None:
    """Connecting, sending and taking fail as they do against a server that is gone, and the errors are among those that Celery
    connects again after. What lay there is there when it is on again."""
    _send(tmp_path, 1)
    with Connection(url_of_folder(tmp_path)) as connection, connection.SimpleQueue("tax") as open_before:
        turn(tmp_path, on=False)
        for attempt in (lambda: open_before.put(2), open_before.get_nowait):
            with pytest.raises(connection.connection_errors, match="is off"):
                attempt()
        with pytest.raises(OperationalError, match="is off"):
            _send(tmp_path, 3)
        turn(tmp_path, on=True)
        open_before.put(4)
    assert _take_all(tmp_path) == [1, 4]
