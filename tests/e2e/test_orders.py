"""Files of orders through the whole product: embedded, and as separate processes over one database."""

import gzip
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.commands import Place, stop
from tests.e2e.orders import HEADER, invoice, json_lines, order
from tests.waiting import wait_until

SERVICES = ("inventory", "tax", "shipping", "payment")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A home of one's own."""
    return Place(tmp_path, tmp_path / "home")


@pytest.fixture
def dev(place: Place) -> Iterator[Place]:
    """A place where `saga dev` runs with the four services."""
    with place.running(["dev"], "ready") as process:
        yield place
        assert stop(process) == 0


def test_a_file_is_submitted_once(dev: Place) -> None:
    """Clean invoices become orders of their number, with stock provisioned; dirty ones are refused with line, field and
    rule, cancellations and adjustments are skipped, each counted; the same command again submits nothing; the audit
    finds the books exact."""
    text = f"{HEADER}\n" + "".join(
        [
            invoice("536365", ("85123A", 6, "2.55"), ("71053", 2, "3.39")),
            invoice("536366", ("22633", 6, "1.85")),
            invoice("536367", ("22633", 1, "0.0")),
            invoice("C536379", ("22633", -1, "27.50")),
            invoice("A563185", ("B", 1, "11062.06")),
            invoice("536368", ("85123A", 1, "2.555")),
        ]
    )
    (dev.directory / "retail.csv.gz").write_bytes(gzip.compress(text.encode()))
    command = ("orders", "submit", "retail.csv.gz", "--provision", "--wait", "--timeout", "60", "-o", "json")
    first, again = dev.run(*command), dev.run(*command)
    value = json.loads(first.out)
    assert first.code == 0, first.err
    assert (value["orders"], value["submitted"], value["completed"], value["rounded"]) == (3, 3, 3, 1)
    assert (value["refused"], value["skipped"]) == (1, {"cancellation": 1, "adjustment": 1})
    assert value["refusals"] == [
        {"reference": "536367", "reason": "line 5: UnitPrice: 0.0 is not above 0", "lines": "5"}
    ]
    second = json.loads(again.out)
    assert (again.code, second["submitted"], second["already"], second["completed"]) == (0, 0, 3, 3), again.err
    assert json.loads(dev.run("show", "536365", "-o", "json").out)["status"] == "completed"
    audit = dev.run("audit", "-o", "json")
    assert (audit.code, json.loads(audit.out)["violations"]) == (0, []), audit.out
    assert "0 violations" in dev.run("audit").out


def test_dev_killed_in_the_middle_leaves_exact_books(place: Place) -> None:
    """kill -9 of `saga dev`, services and all, with orders under way; started again on the same home, every order ends
    and the audit finds the books exact."""
    given = json_lines(
        [order(f"SO-{n}", payment_method="pm_declined" if n % 5 == 0 else "pm_card") for n in range(120)]
    )
    with place.running(["dev"], "ready") as dev:
        assert place.run("orders", "submit", "-", "--provision", given=given).code == 0
        dev.kill()
    counts = json.loads(place.run("status", "-o", "json").out)["counts"]
    assert counts["completed"] + counts["compensated"] < 120, "the kill comes too late to prove anything"
    with place.running(["dev"], "ready") as dev:
        done = place.run("orders", "submit", "-", "--wait", "--timeout", "90", "-o", "json", given=given)
        value = json.loads(done.out)
        assert (value["submitted"], value["completed"], value["compensated"]) == (0, 96, 24), done.err
        audit = place.run("audit")
        assert audit.code == 0, audit.out
        assert stop(dev) == 0


def test_orders_without_stock_or_with_a_bad_card_are_rolled_back(dev: Place) -> None:
    """Without --provision nothing is on stock; a declined card and an order that waits for nobody end compensated, and
    -o jsonl names each refusal on a line of its own."""
    bad = order("SO-3", currency="XXX1")
    given = json_lines([order("SO-1"), bad, order("SO-2", payment_method="pm_declined")])
    done = dev.run("orders", "submit", "-", "--wait", "--timeout", "60", "-o", "jsonl", given=given)
    refusal, summary = (json.loads(line) for line in done.out.splitlines())
    assert done.code == 0, done.err
    assert "currency" in refusal["reason"]
    assert (summary["compensated"], summary["refused"]) == (2, 1)
    page = dev.run("show", "SO-1").out
    assert "COMPENSATED   reserve_inventory rejected: out_of_stock" in page


def test_a_file_without_an_order_is_exit_2(place: Place) -> None:
    """Every line is refused with its reason, nothing is stored."""
    done = place.run("orders", "submit", "-", "-o", "json", given=json_lines([{"order_id": "SO-1"}]) + "{broken\n")
    value = json.loads(done.out)
    assert (done.code, value["refused"], value["submitted"]) == (2, 2, 0), done.err
    assert "customer_id: Field required" in value["refusals"][0]["reason"]
    assert json.loads(place.run("list", "-o", "json").out) == []


def test_provision_without_an_inventory_says_what_to_set(place: Place) -> None:
    """Where nobody told the address, the message names the setting."""
    done = place.run("orders", "submit", "-", "--provision", given=json_lines([order("SO-1")]))
    assert (done.code, "set SAGA_INVENTORY_URL" in done.last_line) == (2, True), done.err


def test_an_id_that_was_taken_by_another_order_is_refused(dev: Place) -> None:
    """The same id with another content is counted as refused; the first order stands."""
    first = dev.run("orders", "submit", "-", "--provision", given=json_lines([order("SO-1")]))
    other = dev.run("orders", "submit", "-", "-o", "json", given=json_lines([order("SO-1", customer_id="C-2")]))
    assert first.code == 0, first.err
    reason = json.loads(other.out)["refusals"][0]["reason"]
    assert (other.code, reason.partition(";")[0]) == (2, "order_id: was submitted before with another content")


@pytest.mark.parametrize("way", ["database", "api"])
def test_a_corrected_order_is_the_next_run(dev: Place, way: str) -> None:
    """An order that was rolled back and comes again with another content under its id, a blank and a sign beyond ASCII in it, is
    started anew, once; the first file again starts nothing, and the tally says what the participant said. One that somebody
    cancelled is not started by a file."""
    (log,) = dev.home.parent.glob("*.log")
    found = re.search(r"^api +(http://[0-9.:]+)", log.read_text(), re.MULTILINE)
    assert found is not None
    url = found[1] if way == "api" else ""
    command = ("orders", "submit", "-", "--provision", "--wait", "--timeout", "60", *(("--api", url) if url else ()))

    def submitted(**changes: Any) -> dict[str, Any]:
        done = dev.run(*command, "-o", "json", given=json_lines([order("Nº 1", **changes)]))
        return json.loads(done.out)  # type: ignore[no-any-return]

    first = submitted(payment_method="pm_declined")
    assert (first["submitted"], first["compensated"]) == (1, 1)
    (why,) = first["not_completed"]
    assert (why["order_id"], why["reason"], bool(why["said"])) == ("Nº 1", "authorize_payment: declined", True)
    lines = [{"sku": "MUG", "quantity": 3, "unit_price": 450}]
    for count in (1, 0):
        value = submitted(lines=lines)
        assert (value["submitted"], value["already"], value["completed"]) == (count, 1 - count, 1)
    again = submitted(payment_method="pm_declined")
    assert (again["submitted"], again["already"], again["compensated"]) == (0, 1, 1)
    other = submitted(lines=lines, customer_id="C-2")
    assert (other["submitted"], other["refused"]) == (0, 1)
    assert len(json.loads(dev.run("list", "-o", "json").out)) == 2
    text = dev.run(*command, given=json_lines([order("Nº 1", payment_method="pm_declined")])).out
    assert f"Nº 1: {why['said'].split()[0]}" in text


@pytest.fixture(params=["SQLite, no broker", "PostgreSQL and RabbitMQ"])
def peers(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The settings that name database and broker."""
    if request.param == "SQLite, no broker":
        return {"SAGA_DATABASE_URL": f"sqlite:///{tmp_path / 'own.db'}"}
    return {
        "SAGA_DATABASE_URL": request.getfixturevalue("empty_postgres_url"),
        "SAGA_BROKER_URL": request.getfixturevalue("amqp_url"),
    }


def test_every_part_as_a_process_of_its_own(place: Place, peers: dict[str, str]) -> None:
    """`db upgrade`, `services`, `api` and two `worker`s meet over a database and addresses: orders go in over the API and
    come out completed; a database that was not upgraded is refused with what to type."""
    parts = Place(place.directory, place.home, {**peers, "SAGA_LOG_LEVEL": "warning"})
    refused = parts.run("list")
    code = 3 if "sqlite" in peers["SAGA_DATABASE_URL"] else 2  # a file that is not there is not made by a look
    assert (refused.code, "saga db upgrade" in refused.last_line) == (code, True), refused.err
    assert json.loads(parts.run("db", "upgrade", "-o", "json").out)["revision"]
    current = json.loads(parts.run("db", "current", "-o", "json").out)
    assert current["revision"] == current["head"]
    with ExitStack() as running:
        services = running.enter_context(parts.running(["services", "--port", "0"], "payment http://"))
        urls = {f"SAGA_{name.upper()}_URL": address(parts, services, name) for name in SERVICES}
        told = Place(parts.directory, parts.home, {**parts.more, **urls})
        api = running.enter_context(told.running(["api", "--port", "0"], "http://"))
        url = address(told, api, "api")
        ready = requests.get(f"{url}/readyz", timeout=10)
        others = {"broker"} if "SAGA_BROKER_URL" in peers else set()
        assert (ready.status_code, {it["name"] for it in ready.json()["checks"]}) == (
            200,
            {"database", "migrations"} | others,
        )
        heard = Place(told.directory, told.home, {**told.more, "SAGA_LOG_LEVEL": "info"})
        workers = [running.enter_context(heard.running(["worker"], "ready.")) for _ in range(2)]
        command = ("orders", "submit", "-", "--provision", "--api", url, "--wait", "--timeout", "60", "-o", "json")
        given = json_lines([order(f"SO-{n}") for n in range(5)])
        done = told.run(*command, given=given)
        assert (done.code, json.loads(done.out)["completed"]) == (0, 5), done.err
        assert requests.get(f"{url}/v1/orders/SO-1", timeout=10).json()["status"] == "confirmed"
        assert told.run("audit").code == 0
        assert [stop(process) for process in (*workers, api, services)] == [0] * 4


def address(place: Place, process: "subprocess.Popen[str]", name: str) -> str:
    """The address that a process printed, by its log."""

    def printed() -> str:
        for log in place.home.parent.glob("*.log"):
            found = re.search(rf"^{name} +(http://[0-9.:]+)", log.read_text(), re.MULTILINE)
            if found:
                return found[1]
        assert process.poll() is None, f"{name} ended"
        return ""

    return wait_until(printed, 20, what=f"the address of {name}")


def test_submitting_goes_on_after_a_kill(dev: Place) -> None:
    """kill -9 of `orders submit` in the middle; typed again, every order is there once."""
    given = json_lines([order(f"SO-{n}") for n in range(120)])
    (dev.directory / "orders.jsonl").write_text(given)
    with dev.running(["orders", "submit", "orders.jsonl", "--provision"], "") as submitting:
        wait_until(lambda: json.loads(dev.run("list", "--limit", "1", "-o", "json").out), 20, what="a first order")
        submitting.kill()
    done = dev.run("orders", "submit", "orders.jsonl", "--provision", "--wait", "--timeout", "100", "-o", "json")
    value = json.loads(done.out)
    assert (done.code, value["submitted"] + value["already"], value["completed"]) == (0, 120, 120), done.err
    assert dev.run("audit").code == 0


def test_a_file_that_ends_in_the_middle_is_counted_as_far_as_it_goes(dev: Place) -> None:
    """A gzip that was cut off: what was read is handed over and counted, the error says where it stopped, exit code 2. The whole
    file then goes on where that one stopped."""
    text = json_lines([order(f"SO-{n}", customer_id=f"C-{n * 7919 % 1000}") for n in range(3000)])
    packed = gzip.compress(text.encode())
    (dev.directory / "cut.gz").write_bytes(packed[: len(packed) // 30])
    cut = dev.run("orders", "submit", "cut.gz", "-o", "json")
    value = json.loads(cut.out)
    assert (cut.code, value["submitted"] > 0, value["submitted"]) == (2, True, value["orders"]), cut.err
    assert "cut.gz: cannot be read after line" in cut.last_line
    assert "handed over" in cut.err
    (dev.directory / "first.jsonl").write_text("".join(text.splitlines(keepends=True)[: value["submitted"] + 1]))
    whole = json.loads(dev.run("orders", "submit", "first.jsonl", "-o", "json").out)
    assert (whole["submitted"], whole["already"]) == (1, value["submitted"])


def test_a_bound_for_waiting_without_waiting_is_a_usage_error(place: Place) -> None:
    """Nothing is handed over; the message says what to add."""
    done = place.run("orders", "submit", "-", "--timeout", "5", given=json_lines([order("SO-1")]))
    assert (done.code, done.last_line) == (
        2,
        "saga: --timeout: says how long --wait or --returns waits; add one of them",
    ), done.err


def test_pieces_of_an_order_come_back_by_hand(dev: Place) -> None:
    """`saga return`: some, then all that is left, then nothing; an order that is not completed is refused with what to do; the
    order list made again from the journal was right, and the books agree."""
    given = json_lines([order("SO-1"), order("SO-2", payment_method="pm_declined")])
    assert dev.run("orders", "submit", "-", "--provision", "--wait", given=given).code == 0
    some = dev.run("return", "SO-1", "--line", "MUG=1", "--reason", "chipped", "--wait", "--timeout", "60")
    assert (some.code, some.out.split("   ")[:3]) == (0, ["R1.SO-1", "completed", "1 of MUG"]), some.err
    rest = dev.run("return", "SO-1", "--key", "RMA-7", "--wait", "--timeout", "60", "-o", "json")
    assert (rest.code, json.loads(rest.out)["lines"]) == (0, [{"sku": "MUG", "quantity": 1}]), rest.err
    again = dev.run("return", "SO-1", "--key", "RMA-7", "-o", "json")
    assert (again.code, json.loads(again.out)["is_replayed"]) == (0, True)
    nothing = dev.run("return", "SO-1")
    assert (nothing.code, "nothing of SO-1 is left" in nothing.last_line) == (2, True), nothing.err
    rolled = dev.run("return", "SO-2")
    assert (rolled.code, "SO-2 is compensated: it is rolled back" in rolled.last_line) == (1, True), rolled.err
    assert dev.run("return", "SO-9").code == 3
    assert dev.run("return", "SO-1", "--line", "MUG").code == 2
    assert json.loads(dev.run("orders", "rebuild", "-o", "json").out)["right"] == 2
    assert dev.run("audit").code == 0
