"""Bad input of each kind: the exit code that says whose turn it is, one line that names field and rule, no traceback."""

import json
from pathlib import Path

import pytest

from tests.e2e.commands import Place

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SHOP = "shop:place_order"
NO_DATABASE = "postgresql://nobody@127.0.0.1:9/none"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["start", SHOP, '{"order_id": "SO-1"}'], 2, "sku: Field required"),
        (["start", SHOP, '{"order_id": 7, "sku": "mug", "card": "1"}'], 2, "order_id: Input should be a valid string"),
        (["start", SHOP, "{"], 2, "Invalid JSON"),
        (["start", SHOP, "@nowhere.json"], 2, "nowhere.json: no such file"),
        (["start", "shop", "{}"], 2, "write MODULE:NAME"),
        (["start", "shop:nothing", "{}"], 2, "definitions in it: shop:place_order"),
        (["start", "nowhere:x", "{}"], 2, "no module nowhere"),
        (["show", "NOPE"], 3, "there is no journal here"),
        (["journal", "NOPE"], 3, "there is no journal here"),
        (["list", "--status", "happy"], 2, "'happy' is not one of"),
        (["list", "--limit", "0"], 2, "Input should be greater than or equal to 1"),
        (["orders", "submit", "nowhere.csv"], 2, "nowhere.csv: no such file"),
        (["orders", "submit", "shop.py"], 2, "the first line must be the columns of a layout"),
        (["orders", "submit", "-", "--api", "ftp://x"], 2, "begins with http"),
        (["services", "weather"], 2, "no service is called 'weather'"),
        (["worker", "--queues", "nobody"], 2, "--queues 'nobody'"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_bad_input(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    """Each is refused with its code; the last line on stderr says what is wrong; stdout stays empty."""
    done = Place(EXAMPLES, tmp_path / "home").run(*arguments)
    assert (done.code, done.out) == (code, "")
    assert says in done.last_line
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "arguments", [["list"], ["status"], ["db", "upgrade"], ["start", SHOP, "@-"], ["drain"], ["worker"]]
)
def test_a_database_that_is_away_is_exit_4(tmp_path: Path, arguments: list[str]) -> None:
    """Nobody's fault here, and the same command may be typed again."""
    (tmp_path / "-").write_text(json.dumps({"order_id": "SO-1", "sku": "mug", "card": "1"}))
    (tmp_path / "shop.py").write_text((EXAMPLES / "shop.py").read_text())
    done = Place(tmp_path, tmp_path / "home", {"SAGA_DATABASE_URL": NO_DATABASE}).run(*arguments)
    assert done.code == 4, done.err
    assert done.last_line.startswith("saga: ")
    assert "Traceback" not in done.err


def test_an_api_that_is_away_is_exit_4(tmp_path: Path) -> None:
    """`orders submit --api` says who does not answer."""
    order = {
        "order_id": "SO-1",
        "customer_id": "C-1",
        "currency": "GBP",
        "country": "Germany",
        "address": {"name": "A", "street": "B", "city": "C", "postcode": "1"},
        "lines": [{"sku": "mug", "quantity": 1, "unit_price": 100}],
        "payment_method": "pm_card",
    }
    place = Place(tmp_path, tmp_path / "home")
    done = place.run("orders", "submit", "-", "--api", "http://127.0.0.1:9", given=json.dumps(order) + "\n")
    assert done.code == 4, done.err
    assert "no answer from http://127.0.0.1:9: connection refused" in done.last_line


def test_settings_and_project_errors(tmp_path: Path) -> None:
    """A setting names its variable, pyproject.toml its key."""
    threads = Place(tmp_path, tmp_path / "home", {"SAGA_THREADS": "none"}).run("list")
    assert (threads.code, "SAGA_THREADS: " in threads.last_line) == (2, True), threads.err
    (tmp_path / "pyproject.toml").write_text('[tool.saga]\ndefinitions = "shop:place_order"\n')
    project = Place(tmp_path, tmp_path / "home").run("drain")
    assert (project.code, "[tool.saga] definitions must be a list" in project.last_line) == (2, True), project.err


def test_definitions_come_from_the_project(tmp_path: Path) -> None:
    """`[tool.saga] definitions` is what a command without arguments works on."""
    (tmp_path / "shop.py").write_text((EXAMPLES / "shop.py").read_text())
    (tmp_path / "pyproject.toml").write_text('[tool.saga]\ndefinitions = ["shop:place_order"]\n')
    place = Place(tmp_path, tmp_path / "home")
    order = json.dumps({"order_id": "SO-1", "sku": "mug", "card": "4242"})
    assert place.run("start", "shop:place_order", "-", given=order).code == 0
    drained = place.run("drain", "-o", "json")
    assert (drained.code, json.loads(drained.out)["completed"]) == (0, 1), drained.err
    shown = place.run("show", "SO-1", "-o", "json")
    assert [node["kind"] for node in json.loads(shown.out)["nodes"]] == ["compensatable", "pivot"]


def test_a_changed_definition_is_refused(tmp_path: Path) -> None:
    """The same version with another structure is refused with what to write instead."""
    text = (EXAMPLES / "shop.py").read_text()
    order = json.dumps({"order_id": "SO-1", "sku": "mug", "card": "4242"})
    (tmp_path / "shop.py").write_text(text)
    place = Place(tmp_path, tmp_path / "home")
    assert place.run("start", "shop:place_order", order).code == 0
    (tmp_path / "shop.py").write_text(text.replace('name="charge_card"', 'name="take_money"'))
    done = place.run("drain", "shop:place_order")
    assert (done.code, "raise the version to 2" in done.last_line) == (2, True), done.err
