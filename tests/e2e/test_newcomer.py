"""What somebody types on the first day, and what must not happen then: files that appear, tracebacks, silence."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

import saga
from tests.e2e.commands import ROOT, Place, stop
from tests.e2e.orders import json_lines, order
from tests.waiting import wait_until

EXAMPLES = ROOT / "examples"
SHOP = "shop:place_order"
READING = (["list"], ["status"], ["show", "SO-1"], ["journal", "SO-1"], ["audit"])


def logs(place: Place) -> str:
    return "".join(path.read_text() for path in place.home.parent.glob("*.log"))


def test_version(tmp_path: Path) -> None:
    """`--version` prints the package's version, alone."""
    done = Place(tmp_path, tmp_path / "home").run("--version")
    assert (done.code, done.out, done.err) == (0, f"saga {saga.__version__}\n", "")


@pytest.mark.parametrize("arguments", READING)
def test_reading_makes_nothing(tmp_path: Path, arguments: list[str]) -> None:
    """Where there is no journal, a command that reads says so, names what chooses it, and leaves the folder as it was."""
    here = Place(tmp_path, tmp_path / "home").run(*arguments)
    assert (here.code, here.out, "SAGA_HOME or SAGA_DATABASE_URL" in here.last_line) == (3, "", True), here.err
    named = Place(tmp_path, tmp_path / "home", {"SAGA_DATABASE_URL": "sqlite:///own.db"}).run(*arguments)
    assert (named.code, "SAGA_DATABASE_URL names own.db" in named.last_line) == (3, True), named.err
    assert list(tmp_path.iterdir()) == []


def test_the_revision_of_no_database(tmp_path: Path) -> None:
    """`db current` reads too."""
    done = Place(tmp_path, tmp_path / "home").run("db", "current", "-o", "json")
    assert (done.code, json.loads(done.out)["revision"]) == (0, None), done.err
    assert list(tmp_path.iterdir()) == []


def test_a_saga_that_is_not_in_the_journal(tmp_path: Path) -> None:
    """Another answer than that of no journal, and the same exit code; `list -d` takes a definition as it is named
    elsewhere, or by its own name."""
    place = Place(EXAMPLES, tmp_path / "home")
    assert place.run("start", SHOP, '{"order_id": "SO-1", "sku": "mug", "card": "4242"}').code == 0
    for command in ("show", "journal"):
        done = place.run(command, "NOPE")
        assert (done.code, "no saga with id, order or prefix 'NOPE'" in done.last_line) == (3, True), done.err
    found = {name: len(json.loads(place.run("list", "-d", name, "-o", "json").out)) for name in (SHOP, "place_order")}
    assert found == {SHOP: 1, "place_order": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (r'{"order_id": "SO-1", "sku": "a\u0000b", "card": "4242"}', "sku: character 2 is U+0000"),
        (r'{"order_id": "SO-\ud800", "sku": "mug", "card": "4242"}', "order_id: character 4 is U+D800"),
    ],
)
def test_text_that_no_journal_can_hold(tmp_path: Path, text: str, says: str) -> None:
    """Refused with the field, before anything is stored or made."""
    done = Place(EXAMPLES, tmp_path / "home").run("start", SHOP, text)
    assert (done.code, says in done.last_line) == (2, True), done.err
    assert not (tmp_path / "home").exists()


def test_files_that_are_no_files_of_orders(tmp_path: Path) -> None:
    """Each is one line that names the file and what is wrong; nothing is submitted, and no journal is made for it."""
    place = Place(tmp_path, tmp_path / "home")
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    for name, says in (
        ("/dev/null", "is a pipe or a device and no file"),
        ("folder", "is a directory"),
        ("nowhere", "no such file"),
        ("binary", "is no text that can be read: byte 0 is NUL"),
    ):
        done = place.run("orders", "submit", name)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"saga: {name}: {says}")
        assert done.err.count("\n") == 1
    assert not place.home.exists()


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """The system's own word, behind the name of the file. Root reads everything, unless it gives that right away."""
    (tmp_path / "secret").write_text(json_lines([order("SO-1")]))
    (tmp_path / "secret").chmod(0)
    place = Place(tmp_path, tmp_path / "home")
    command = [sys.executable, "-m", "saga", "orders", "submit", "secret"]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root cannot give up its right to read: setpriv is not installed")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    done = subprocess.run(command, cwd=tmp_path, env=place.environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "saga: secret: cannot be read: permission denied\n")


def test_a_file_without_orders(tmp_path: Path) -> None:
    """An empty file is no success: the help says 2 where there was no order in it."""
    (tmp_path / "empty").touch()
    done = Place(tmp_path, tmp_path / "home").run("orders", "submit", "empty")
    assert (done.code, done.last_line) == (2, "saga: empty: holds no order")


def test_a_reason_is_printed_whole(tmp_path: Path) -> None:
    """Long reasons are wrapped and not cut; where the lines of one reason are not all named, it is said where they are."""
    place = Place(tmp_path, tmp_path / "home", {"COLUMNS": "70"})
    given = json_lines([order("SO-1"), order("SO-1", country="France"), *[{"order_id": "SO-2"}] * 5])
    out = place.run("orders", "submit", "-", given=given).out
    assert max(map(len, out.splitlines())) <= 70
    words = " ".join(out.split())
    assert "order_id: line 2 repeats the id SO-1 of line 1, with another content line 2" in words
    assert "lines: Field required; and 1 more line 3, line 4, line 5 and 2 more" in words
    assert "-o json has every line that was refused, with its reason" in words


def test_the_banner_says_that_stock_is_empty(tmp_path: Path) -> None:
    """`dev` with the order definition and an empty inventory names the command that provisions; with stock it does not,
    and a definition without an inventory never does."""
    place = Place(tmp_path, tmp_path / "home")
    says = "saga orders submit FILE --provision"
    with place.running(["dev"], "ready") as dev:
        assert says in logs(place)
        [inventory] = re.findall(r"service +inventory +(\S+)/v1/ledger", logs(place))
        pieces = {"items": [{"sku": "mug", "quantity": 1}]}
        requests.post(f"{inventory}/v1/stock", json=pieces, headers={"Idempotency-Key": "mug"}).raise_for_status()
        assert stop(dev) == 0
    before = logs(place).count(says)
    with place.running(["dev"], "ready") as dev:
        assert stop(dev) == 0
    with Place(EXAMPLES, tmp_path / "other").running(["dev", "-d", SHOP], "ready") as dev:
        assert stop(dev) == 0
    assert logs(place).count(says) == before


def test_audit_names_who_does_not_answer(tmp_path: Path) -> None:
    """A line for each service that is down, with its address, and exit code 4: the same command may be typed again."""
    place = Place(EXAMPLES, tmp_path / "home")
    assert place.run("start", SHOP, '{"order_id": "SO-1", "sku": "mug", "card": "4242"}').code == 0
    down = {"SAGA_TAX_URL": "http://127.0.0.1:9", "SAGA_PAYMENT_URL": "http://127.0.0.1:7/"}
    done = Place(EXAMPLES, place.home, down).run("audit")
    assert (done.code, done.out) == (4, "")
    assert done.err.splitlines() == [
        "saga: tax does not answer at http://127.0.0.1:9 (connection refused); start it, or mend SAGA_TAX_URL",
        "saga: payment does not answer at http://127.0.0.1:7 (connection refused); start it, or mend SAGA_PAYMENT_URL",
    ]


def test_audit_knows_a_definition_that_is_named(tmp_path: Path) -> None:
    """The plan of a saga of one's own is judged with -d, and said to be not judged without."""
    place = Place(EXAMPLES, tmp_path / "home")
    assert place.run("start", SHOP, '{"order_id": "SO-1", "sku": "mug", "card": "declined"}').code == 0
    assert place.run("drain", SHOP).code == 0
    without, named = (
        json.loads(place.run("audit", "--partial", *more, "-o", "json").out) for more in ((), ("-d", SHOP))
    )
    assert "place_order v1 is not known here" in without["notes"][0]
    assert named["notes"] == []
    assert next(it["checked"] for it in named["checks"] if it["name"] == "plan") == 1


@pytest.mark.parametrize("more", [(), ("-d", SHOP)])
def test_audit_without_an_address_is_no_success(tmp_path: Path, more: tuple[str, ...]) -> None:
    """Ledgers that were not read are named with their settings, in one line, and exit code 2, also when there is no order at
    all; --partial says that it is meant so. The report is printed either way."""
    place = Place(EXAMPLES, tmp_path / "home", {"SAGA_DATABASE_URL": f"sqlite:///{tmp_path / 'saga.db'}"})
    assert place.run("db", "upgrade").code == 0
    done, meant = place.run("audit", *more, "-o", "json"), place.run("audit", *more, "--partial", "-o", "json")
    assert (done.code, meant.code, meant.err, done.out) == (2, 0, "", meant.out), done.err
    value = json.loads(done.out)
    assert (value["ok"], value["sagas"], value["without_address"]) == (
        None,
        0,
        ["inventory", "tax", "shipping", "payment"],
    )
    assert done.err == (
        "saga: no address of inventory, tax, shipping, payment, so their ledgers were not read; run  saga dev  in the "
        "same SAGA_HOME, set SAGA_INVENTORY_URL, SAGA_TAX_URL, SAGA_SHIPPING_URL, SAGA_PAYMENT_URL, or say --partial (a saga of your own, audited with -d, has no "
        "such ledgers: it needs --partial too)\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("arguments", "ready"),
    [
        (["services", "--port", "0"], "payment "),
        (["api", "--port", "0"], "api "),
        (["worker"], "ready."),
        (["dev"], "ready"),
    ],
)
def test_a_stop_is_no_failure(tmp_path: Path, arguments: list[str], ready: str, number: signal.Signals) -> None:
    """ctrl-C and SIGTERM end what stays up with exit code 0, and nothing in its output looks like an error."""
    place = Place(tmp_path, tmp_path / "home")
    with place.running(arguments, ready) as process:
        assert stop(process, number) == 0
    assert "Traceback" not in logs(place)


def test_a_stop_while_the_program_is_read(tmp_path: Path) -> None:
    """ctrl-C in the half second in which modules are imported ends as a shell expects, without a traceback."""
    log = tmp_path / "log"
    command = [sys.executable, "-X", "importtime", "-m", "saga", "services", "--port", "0"]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, env=Place(tmp_path, tmp_path / "home").environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: "saga.errors" in log.read_text(), what="the first imports")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text()
