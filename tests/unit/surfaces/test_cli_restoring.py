"""The commands after a restore, over one database: what is held, what may be said of it, and what each refuses."""

import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from saga.core.states import HaltReason, SagaStatus
from saga.errors import SagaNotFound, UsageError
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Order
from saga.runtime.starting import Starter
from saga.store import schema
from saga.store.connecting import sqlite_path
from saga.store.opening import open_store
from saga.store.port import SagaFilter, SagaRow, WorkerRow
from saga.surfaces.cli.commands import app
from saga.surfaces.cli.options import FAILED
from tests.integration.api.serving import order_values
from tests.restoring import told_long_ago
from tests.simulation.sagas import Order as Thing
from tests.simulation.sagas import line

ORDERS = ("SO-1", "SO-2", "SO-3")
WHY = ("--actor", "zoe", "--reason", "compared by hand")


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with three orders that nobody has begun."""
    made = f"sqlite:///{tmp_path / 'shop.db'}"
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "HOME": str(tmp_path / "home"),
        "DATABASE_URL": made,
        "ENVIRONMENT": "test",
        "TENANT": "shop",
    }.items():
        monkeypatch.setenv(f"SAGA_{name}", value)
    schema.upgrade(made, "test")
    with closing(open_store(made)) as store:
        starter = Starter(store, environment="test", tenant="shop")
        for order_id in ORDERS:
            starter.start(fulfil_order, Order.model_validate_json(json.dumps(order_values(order_id=order_id))))
        starter.stop()
    return made


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, ("db", *words))


def refusal(*words: str) -> str:
    done = typed(*words)
    assert isinstance(done.exception, UsageError), done.output
    return str(done.exception)


def rows(url: str) -> dict[str, SagaRow]:
    with closing(open_store(url)) as store:
        return {row.entity: row for row in store.find(SagaFilter(), 10)}


def held(url: str) -> set[str]:
    return {it for it, row in rows(url).items() if row.halt_reason is HaltReason.RESTORED}


def now() -> str:
    return datetime.now(UTC).isoformat()


def test_held_orders_go_on_by_name_and_then_all(url: str) -> None:
    """The page says how many; the second time nothing is held, and exit code 1 says that."""
    assert "3 held until saga db reconcile" in typed("restored", "--at", now(), *WHY).stdout
    assert held(url) == set(ORDERS)
    too_soon = typed("let-go", "SO-1", *WHY)
    assert (too_soon.exit_code, "may be on its way until" in too_soon.stdout) == (FAILED, True)
    with told_long_ago(url):
        one = typed("let-go", "SO-1", *WHY)
    assert (one.exit_code, one.stdout) == (0, "1 let go; they go on where their journals stand\n")
    assert (held(url), rows(url)["SO-1"].status) == ({"SO-2", "SO-3"}, SagaStatus.RUNNING)
    again = typed("let-go", "SO-1", *WHY)
    assert (again.exit_code, "it is running and not held" in again.stdout) == (FAILED, True)
    with told_long_ago(url):
        assert typed("let-go", "--all", *WHY).exit_code == 0
    assert held(url) == set()


def test_one_saga_that_cannot_be_let_go_holds_up_nobody(url: str) -> None:
    """Of a definition that is not named here, between two orders: it is named with what to type, the others go on and are counted;
    by name and with --all. A name that is mistyped moves nothing."""
    with closing(open_store(url)) as store:
        starter = Starter(store, environment="test", tenant="shop")
        starter.start(line, Thing(order_id="OTHER"))
        starter.start(fulfil_order, Order.model_validate_json(json.dumps(order_values(order_id="SO-4"))))
        starter.stop()
    both = ("-d", "tests.simulation.sagas:line", "-d", "saga.fulfilment.fulfil_order:fulfil_order")
    typed("restored", "--at", now(), *WHY, *both)
    assert held(url) == {*ORDERS, "SO-4", "OTHER"}
    with pytest.raises(SagaNotFound):
        raise typed("let-go", "SO-4", "SO-mistyped", *WHY).exception or AssertionError
    with told_long_ago(url):
        named = typed("let-go", "OTHER", "SO-4", *WHY)
        assert (named.exit_code, held(url)) == (FAILED, {*ORDERS, "OTHER"})
        rest = typed("let-go", "--all", *WHY, "-o", "json")
    assert (rest.exit_code, held(url)) == (FAILED, {"OTHER"})
    said = json.loads(rest.stdout)
    assert (said["let_go"], [it["entity"] for it in said["left"]]) == (3, ["OTHER"])
    assert said["left"][0]["why"] == "the definition line v1 is not at hand; name it with -d MODULE:NAME"


def test_orders_without_any_claim_are_reconciled_without_a_ledger(url: str) -> None:
    """Nothing of them may have been sent twice: each participant of `fulfil_order` serialises keys."""
    typed("restored", "--at", now(), *WHY)
    with told_long_ago(url):
        done = typed("reconcile", "-o", "json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"let_go": 3, "left": []})
    assert held(url) == set()


def test_nothing_is_held_under_a_worker_that_runs(url: str) -> None:
    """What it sends from now on no books would be waited for."""
    with closing(open_store(url)) as store:
        store.register_worker(WorkerRow("w1", "host-1", 1, (), 60.0))
        said = refusal("restored", "--at", now(), *WHY)
        assert said == "worker w1 on host-1 runs: stop every worker first, or wait until its lease has ended"
        assert held(url) == set()
        store.close_worker("w1")
    assert typed("restored", "--at", now(), *WHY).exit_code == 0


def test_bad_words_are_refused_by_name(url: str) -> None:
    """Nothing is held by a command that was refused."""
    assert "write an instant, as in" in refusal("restored", "--at", "yesterday", *WHY)
    assert "write an instant, as in" in refusal("restored", "--at", "0001-01-01T00:00:00+01:00", *WHY)
    assert "is later than now" in refusal("restored", "--at", "2999-01-01T00:00:00Z", *WHY)
    assert "--reason: say why" in refusal("restored", "--at", now(), "--reason", " ")
    assert "--reason: say why" in refusal("let-go", "SO-1", "--reason", " ")
    assert "name the orders to let go, or say --all" in refusal("let-go", *WHY)
    assert "name the orders to let go, or say --all" in refusal("let-go", "SO-1", "--all", *WHY)
    assert "a journal knows this order" in refusal("settle", "SO-1", *WHY)
    assert held(url) == set()


@pytest.mark.parametrize("at", ["2026-11-29", "20261129", "2026-11-29T14", "2026-11-29 14:00:00"])
def test_what_is_said_of_an_instant_can_be_typed(url: str, at: str) -> None:
    """An instant without time or time zone is answered with two that are read: what refuses them is another rule."""
    said = refusal("restored", "--at", at, *WHY)
    assert "of which time zone" in said
    for hint in said.partition("as in ")[2].split(" or "):
        assert re.search("is later than now|the database holds", refusal("restored", "--at", hint, *WHY))


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize(
    "command", [["restored", "--at", "2026-11-29T14:00:00Z"], ["let-go", "SO-1"], ["settle", "SO-1"]]
)
def test_the_help_says_that_a_reason_is_needed(command: list[str]) -> None:
    """Whoever answers for what a journal lacks says why; who leaves it out is told before anything is opened."""
    done = typed(*command)
    assert (done.exit_code, "Missing option '--reason'" in done.output) == (2, True)
    options = typed(command[0], "--help").stdout.partition("Options:")[2]
    assert "[required]" in options.partition("--reason ")[2].partition("  --")[0]


def test_a_slip_lets_nobodys_order_go(url: str) -> None:
    """The beginning of an order id is not enough to answer for an order."""
    typed("restored", "--at", now(), *WHY)
    assert isinstance(typed("let-go", "SO-", *WHY).exception, SagaNotFound)
    assert held(url) == set(ORDERS)


def test_all_answers_for_no_damaged_journal(url: str) -> None:
    """What its journal lacks is found out first; then it is named."""
    typed("restored", "--at", now(), *WHY)
    damaged = rows(url)["SO-1"].saga_id
    with closing(sqlite3.connect(sqlite_path(url))) as database, database:
        database.execute("DELETE FROM journal WHERE saga_id = ? AND seq = 2", (damaged,))
    with told_long_ago(url):
        done = typed("let-go", "--all", *WHY)
    assert (done.exit_code, held(url)) == (FAILED, {"SO-1"})
    assert "find out what was done and name it" in done.stdout
    with told_long_ago(url):
        assert typed("let-go", "SO-1", *WHY).exit_code == 0
