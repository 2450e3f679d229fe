"""Slips of a first day at the terminal: each is told in a line that names what was typed, and nothing is made of it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from saga.store.opening import open_store
from saga.store.port import WorkerRow
from saga.store.schema import upgrade
from saga.surfaces.contract import BODY_MAX
from tests.e2e.commands import ROOT, Finished, Place
from tests.e2e.orders import json_lines, order
from tests.waiting import wait_until

EXAMPLES = ROOT / "examples"
SHOP = "shop:place_order"
INPUT = '{"order_id": "SO-1", "sku": "mug", "card": "4242"}'


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A journal that is there, empty."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'own.db'}"
    else:
        url = str(request.getfixturevalue("empty_postgres_url"))
    upgrade(url, "development")
    return url


def test_a_killed_worker_is_not_alive(tmp_path: Path, database_url: str) -> None:
    """Its row stays open until another worker closes it, and its lease tells: judged by the database's clock."""
    store = open_store(database_url)
    store.register_worker(WorkerRow("killed", "here", 7, ("a",), lease_ttl_s=0.001))
    store.register_worker(WorkerRow("alive", "here", 8, ("a",), lease_ttl_s=600.0))
    wait_until(lambda: store.workers()[0][1] < store.now(), what="the end of the lease")
    place = Place(tmp_path, tmp_path / "home", {"SAGA_DATABASE_URL": database_url})
    value, page = place.run("status", "-o", "json"), place.run("status")
    store.close()
    found = {row["worker_id"]: row["is_alive"] for row in json.loads(value.out)["workers"]}
    assert found == {"killed": False, "alive": True}
    assert "✗ worker here pid 7, gone since " in page.out
    assert "✓ worker here pid 8, queues a" in page.out


@pytest.mark.parametrize("command", [["list"], ["audit"]])
def test_a_variable_that_is_no_setting_is_named_once(tmp_path: Path, command: list[str]) -> None:
    """With the setting that was meant; the command goes on, and the address of a connector is none of it."""
    slips = {
        "SAGA_LOGLEVEL": "debug",
        "SAGA_STOCK_URL": "http://127.0.0.1:9",
        "SAGA_PAYMENTS_URL": "http://127.0.0.1:9",
    }
    done = Place(tmp_path, tmp_path / "home", slips).run(*command)
    assert [line for line in done.err.splitlines() if "setting" in line] == [
        "saga: SAGA_LOGLEVEL is no setting; did you mean SAGA_LOG_LEVEL?",
        "saga: SAGA_PAYMENTS_URL is no setting; did you mean SAGA_PAYMENT_URL?",
    ], done.err
    assert (done.code, "there is no journal here" in done.last_line) == (3, True)


def test_an_order_api_that_is_none(tmp_path: Path) -> None:
    """A wrong path is no fault of the orders: none is counted as refused, one line says what is wrong."""
    place = Place(tmp_path, tmp_path / "home")
    given = json_lines([order(f"SO-{number}") for number in range(3)])
    with place.running(["dev"], "ready"):
        url = json.loads((place.home / "stack.json").read_text())["urls"]["api"]
        done = place.run("orders", "submit", "-", "--api", f"{url}/v1", given=given)
    assert (done.code, done.out) == (2, ""), done.err
    assert done.err.startswith(f"saga: {url}/v1 is no order API: POST /v1/orders answers 404 there")
    assert done.err.count("\n") == 1


def test_a_json_array_of_orders(tmp_path: Path) -> None:
    """Neither a CSV with a strange header nor an order."""
    (tmp_path / "orders.jsonl").write_text(json.dumps([order("SO-1")], indent=1))
    done = Place(tmp_path, tmp_path / "home").run("orders", "submit", "orders.jsonl")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert done.last_line.startswith("saga: orders.jsonl: is a JSON array; write one JSON object a line")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("@", "saga: @: no file is named; write @FILE"),
        ("@/dev/zero", "saga: /dev/zero: is a pipe or a device and no file"),
        ("@.", "saga: .: is a directory"),
        ("@long", f"saga: long: is longer than an input may be, {BODY_MAX:,} bytes"),
        ("@latin", "saga: latin: byte 1 is not UTF-8"),
        ("-", f"saga: stdin: is longer than an input may be, {BODY_MAX:,} bytes"),
        ("[]", "saga: input of place_order: Input should be an object"),
        ("{", "saga: input of place_order: Invalid JSON"),
        ('{"sku": 1}', "saga: input of place_order: order_id: Field required; sku: Input should be a valid string"),
    ],
)
def test_an_input_that_is_none(tmp_path: Path, data: str, says: str) -> None:
    """Nothing endless is read, nothing is stored, and what is named was typed: the file, or a field of the input."""
    shutil.copy(EXAMPLES / "shop.py", tmp_path)
    (tmp_path / "long").write_text(" " * BODY_MAX + "{")
    (tmp_path / "latin").write_bytes(b'"\xe9"')
    done = Place(tmp_path, tmp_path / "home").run("start", SHOP, data, given=" " * BODY_MAX + "{")
    assert (done.code, done.out) == (2, "")
    assert done.last_line.startswith(says), done.err
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (b"", "has 0 characters; a request key has 1 to 255"),
        (b"x" * 256, "has 256 characters; a request key has 1 to 255"),
        (b"SO-1\xff", "character 5 is not UTF-8"),
        (b"SO\n1", "character 3 is U+000A, a control character"),
    ],
)
def test_a_request_key_that_is_none(tmp_path: Path, key: bytes, says: str) -> None:
    """The option is named, and nothing is stored under a key that no repeat would find again."""
    command = [*map(os.fsencode, (sys.executable, "-m", "saga", "start", SHOP, INPUT, "--key")), key]
    environment = Place(EXAMPLES, tmp_path / "home").environment
    done = subprocess.run(command, cwd=EXAMPLES, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == f"Error: Invalid value for '--key': {says}"
    assert not (tmp_path / "home").exists()


def unprivileged(place: Place, *arguments: str) -> Finished:
    """A command that may not write where its user may not. Root may everywhere, unless it gives that right away."""
    command = [sys.executable, "-m", "saga", *arguments]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root cannot give up its right to write: setpriv is not installed")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    done = subprocess.run(
        command, cwd=place.directory, env=place.environment, capture_output=True, text=True, check=False
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("command", [["dev"], ["db", "upgrade"], ["start", SHOP, INPUT], ["list"], ["db", "current"]])
@pytest.mark.parametrize("is_named", [False, True])
def test_a_folder_that_cannot_be_written(tmp_path: Path, command: list[str], *, is_named: bool) -> None:
    """The folder and the setting that names it, whether or not there is a journal in it; it is no outage of a database."""
    shutil.copy(EXAMPLES / "shop.py", tmp_path)
    folder = tmp_path / "closed"
    url = f"sqlite:///{folder / 'saga.db'}"
    place = Place(tmp_path, tmp_path / "home" if is_named else folder, {"SAGA_DATABASE_URL": url} if is_named else {})
    upgrade(url)
    folder.chmod(0o500)
    done = unprivileged(place, *command)
    folder.chmod(0o700)
    setting = "SAGA_DATABASE_URL" if is_named else "SAGA_HOME"
    assert (done.code, done.out) == (2, "")
    assert done.err == f"saga: {setting}: the folder {folder} cannot be written: permission denied\n"


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    """In a folder that is read only."""
    (tmp_path / "closed").mkdir(mode=0o500)
    home = tmp_path / "closed" / "home"
    done = unprivileged(Place(tmp_path, home), "drain")
    assert (done.code, done.err) == (2, f"saga: SAGA_HOME: the folder {home} cannot be written: permission denied\n")


@pytest.mark.parametrize(("output", "out"), [("table", ""), ("json", "[]\n"), ("jsonl", "")])
def test_a_definition_without_a_saga_is_not_found(tmp_path: Path, output: str, out: str) -> None:
    """A misspelt name is no empty list; other filters that nothing passes are one."""
    place = Place(EXAMPLES, tmp_path / "home")
    assert place.run("start", SHOP, INPUT).code == 0
    done = place.run("list", "-d", "place_ordr", "-o", output)
    assert (done.code, done.out) == (3, out)
    assert done.err == "saga: no saga of a definition place_ordr; there are: place_order\n"
    none_halted = place.run("list", "-d", "place_order", "--status", "halted", "-o", output)
    assert (none_halted.code, none_halted.err) == (0, "")


@pytest.mark.parametrize("command", [["dev"], ["worker"], ["drain"]])
def test_a_mailbox_that_cannot_be_written(tmp_path: Path, command: list[str]) -> None:
    """Said by whoever would put mails there, before an order is paid; a saga of one's own sends none."""
    shutil.copy(EXAMPLES / "shop.py", tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir(mode=0o500)
    for mailbox, says in (
        (tmp_path / "file", f"{tmp_path / 'file'} cannot be a folder: {tmp_path / 'file'} is none"),
        (tmp_path / "file" / "mails", f"{tmp_path / 'file' / 'mails'} cannot be a folder: {tmp_path / 'file'} is none"),
        (tmp_path / "closed", f"the folder {tmp_path / 'closed'} cannot be written: permission denied"),
        (tmp_path / "closed" / "mails", f"the folder {tmp_path / 'closed' / 'mails'} cannot be written: permission"),
    ):
        done = unprivileged(Place(tmp_path, tmp_path / "home", {"SAGA_MAILBOX": str(mailbox)}), *command)
        assert (done.code, done.out) == (2, ""), done.err
        assert done.err.startswith(f"saga: SAGA_MAILBOX: {says}")
    own = Place(tmp_path, tmp_path / "home", {"SAGA_MAILBOX": str(tmp_path / "file")})
    assert own.run("drain", SHOP).code == 0


def test_a_name_that_stands_twice(tmp_path: Path) -> None:
    """A parser takes the last in silence: of a file the order is refused, of `start` the input, both by the field."""
    place = Place(EXAMPLES, tmp_path / "home")
    twice = json.dumps(order("SO-1")).replace('"quantity": 2', '"quantity": 2, "quantity": 20')
    done = place.run("orders", "submit", "-", "-o", "json", given=twice)
    assert (done.code, json.loads(done.out)["submitted"]) == (2, 0), done.err
    assert "lines.0.quantity: stands twice in its object" in done.out
    started = place.run("start", SHOP, INPUT.replace('"sku"', '"card": "declined", "sku"'))
    assert (started.code, started.out) == (2, "")
    assert started.last_line == "saga: input of place_order: card: stands twice in its object; write it once"


def test_an_order_that_goes_over_several_lines(tmp_path: Path) -> None:
    """One line says so; it is not refused once for each of its lines."""
    (tmp_path / "orders.json").write_text(json.dumps(order("SO-1"), indent=2))
    done = Place(tmp_path, tmp_path / "home").run("orders", "submit", "orders.json")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert (
        done.last_line
        == "saga: orders.json: looks like JSON over several lines; write one order a line, as jq -c . does"
    )


def test_a_rule_is_said_in_words(tmp_path: Path) -> None:
    """No regular expression: the field, the rule and an example."""
    place = Place(tmp_path, tmp_path / "home", {"COLUMNS": "200"})
    given = json_lines([order("-1", currency="gbp", email="nobody")])
    done = place.run("orders", "submit", "-", given=given)
    words = " ".join(done.out.split())
    assert "order_id: must not begin with '-', which a command line takes for an option" in words
    assert "for an option; currency: must be a currency of ISO 4217, three capitals, as in GBP; email: must be" in words
    assert "^" not in words
