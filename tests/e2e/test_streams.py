"""Streams that are closed, full, without a reader or without our signs: one line, an exit code of the table, no traceback."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.commands import ROOT, Finished, Place
from tests.waiting import wait_until

EXAMPLES = ROOT / "examples"
SHOP = "shop:place_order"
LOST = "; what was asked for may be done"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A home with one saga that nobody runs."""
    made = Place(EXAMPLES, tmp_path_factory.mktemp("streams") / "home")
    assert made.run("start", SHOP, '{"order_id": "SO-1", "sku": "mug", "card": "4242"}').code == 0
    return made


def shell(place: Place, line: str) -> Finished:
    """A line of a shell in which `saga` is the command; its exit code is that of the first in a pipe."""
    script = f'set -o pipefail; saga() {{ "{sys.executable}" -m saga "$@"; }}; {line}'
    done = subprocess.run(
        ["bash", "-c", script], cwd=place.directory, env=place.environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("command", ["list -o json", "--help"])
def test_a_reader_that_has_gone_is_no_failure(place: Place, command: str) -> None:
    """`saga list | head` ends with 0 and says nothing: 1 would mean that a saga did not complete."""
    reading, writing = os.pipe()
    os.close(reading)
    arguments = [sys.executable, "-m", "saga", *command.split()]
    done = subprocess.run(
        arguments, cwd=place.directory, env=place.environment, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_reader_that_has_gone_hides_no_verdict(place: Place) -> None:
    """A saga that did not end is 1, whoever reads of it: with pipefail a script sees it."""
    order = '{"order_id": "SO-90", "sku": "mug", "card": "4242"}'
    done = shell(place, f"saga start {SHOP} '{order}' --wait --timeout 0.1 | (exec 0<&-; wait)")
    assert (done.code, "is still running" in done.err) == (1, True), done.err


def test_what_typer_writes_past_us_is_lost_in_the_same_way(place: Place) -> None:
    """It wraps the buffer of a stream that speaks ASCII alone."""
    plain = Place(place.directory, place.home, {"PYTHONIOENCODING": "ascii"})
    done = shell(plain, "saga --help >/dev/full")
    assert (done.code, done.err) == (74, f"saga: stdout cannot be written: no space left on device{LOST}\n")


@pytest.mark.parametrize("command", ["show SO-1", "--help"])
@pytest.mark.parametrize(
    ("where", "why"), [(">/dev/full", "no space left on device"), (">&-", "it is closed")], ids=["full", "closed"]
)
def test_data_that_cannot_be_written(place: Place, command: str, where: str, why: str) -> None:
    """It is told with a code of its own: what the command did is done."""
    done = shell(place, f"saga {command} {where}")
    assert (done.code, done.err) == (74, f"saga: stdout cannot be written: {why}{LOST}\n")


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-"])
def test_remarks_that_cannot_be_written(place: Place, where: str) -> None:
    """They are lost, and nothing else is: data stays data, and the exit code says how it was."""
    done = shell(place, f"saga show NOPE {where}")
    assert (done.code, done.out, done.err) == (3, "", "")


@pytest.mark.parametrize("command", ["orders submit -", f"start {SHOP} -"])
def test_a_closed_stdin(place: Place, command: str) -> None:
    """There is no input, so nothing was done."""
    done = shell(place, f"saga {command} <&-")
    assert (done.code, done.out, done.err) == (2, "", "saga: stdin: is closed\n")


@pytest.mark.parametrize(
    "more", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_screens_without_our_signs(place: Place, more: dict[str, str]) -> None:
    """Every page is there, its signs in letters; JSON says the same as ever."""
    plain = Place(place.directory, place.home, more)
    for command in ("show SO-1", "status", "audit --partial"):
        done = plain.run(*command.split())
        assert (done.code, "Traceback" in done.err) == (0, False), (command, done.err)
        assert done.out.isascii(), command
    assert "!! no worker, and place_order v1 waits: type  saga worker" in plain.run("status").out
    as_json = ("show", "SO-1", "-o", "json")
    assert json.loads(plain.run(*as_json).out)["saga_id"] == json.loads(place.run(*as_json).out)["saga_id"]


@pytest.mark.parametrize("command", ["show", "return", "list -d"])
def test_a_reference_that_is_no_text(place: Place, command: str) -> None:
    """A byte that is no UTF-8 names nothing: not found, as every other name that is not there."""
    done = shell(place, f"saga {command} $'\\xff'")
    assert done.code == 3, done.err
    assert "codec" not in done.err


def test_a_wait_for_nobody_says_so(place: Place) -> None:
    """Nobody works here: after a while a wait says once what to type, and goes on."""
    order = '{"order_id": "SO-2", "sku": "mug", "card": "4242"}'
    says = f"is still running; no worker runs, so nothing moves until one does: type  saga worker {SHOP}  or"
    with place.running(["start", SHOP, order, "--wait"], says) as started:
        assert started.poll() is None


def test_services_that_ended_end_the_stack(tmp_path: Path) -> None:
    """Their process is killed: nothing could ever succeed here again, so the command says so and ends with 1."""
    place = Place(tmp_path, tmp_path / "home")
    with place.running(["dev"], "ready") as dev:
        lists = Path(f"/proc/{dev.pid}/task").glob("*/children")
        (services,) = {int(pid) for path in lists for pid in path.read_text().split()}
        os.kill(services, signal.SIGKILL)
        wait_until(lambda: dev.poll() is not None, 20, what="the end of the command")
        assert dev.returncode == 1
    (log,) = tmp_path.glob("dev-*.log")
    assert "saga: the services of this stack ended (signal 9); start this again\n" in log.read_text()
    assert "Traceback" not in log.read_text()
