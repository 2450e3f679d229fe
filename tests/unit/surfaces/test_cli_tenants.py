"""The commands over one database of two tenants: each sees its own, `--all-tenants` all with a column, another environment none."""

import json
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from saga.core.states import HaltReason, SagaStatus
from saga.errors import SagaError, SagaNotFound, UsageError
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.models import Order
from saga.runtime.starting import Starter
from saga.scope import Scope
from saga.settings import Settings
from saga.store import schema
from saga.store.journal import JournalEntry
from saga.store.opening import open_store
from saga.store.port import Append, SagaColumns, SagaFilter, Store, WorkerRow
from saga.surfaces.cli.commands import app
from saga.surfaces.cli.completing import references
from saga.surfaces.cli.options import NOT_FOUND, USAGE, code_of
from tests.integration.api.serving import order_values
from tests.simulation.sagas import Order as Thing
from tests.simulation.sagas import line

OWN, OTHER = "SO-OWN", "SO-OTHER"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of production, and this process is of it, tenant shop; an order of that tenant, and one of another."""
    made = f"sqlite:///{tmp_path / 'shop.db'}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SAGA_DATABASE_URL", made)
    monkeypatch.setenv("SAGA_ENVIRONMENT", "production")
    monkeypatch.setenv("SAGA_TENANT", "shop")
    schema.upgrade(made, "production")
    store = open_store(made, Scope("production"))
    for tenant, order_id in (("shop", OWN), ("other", OTHER)):
        starter = Starter(store, environment="production", tenant=tenant)
        starter.start(fulfil_order, Order.model_validate_json(json.dumps(order_values(order_id=order_id))))
        starter.stop()
    store.close()
    return made


@pytest.fixture
def everything(url: str) -> Iterator[Store]:
    store = open_store(url, Scope("production"))
    yield store
    store.close()


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def value(*arguments: str) -> Any:
    done = typed(*arguments, "-o", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.usefixtures("url")
def test_a_list_is_of_the_own_tenant() -> None:
    """Of all with a column; in JSON each says whose it is, in either case."""
    assert [(it["entity"], it["environment"], it["tenant"]) for it in value("list")] == [(OWN, "production", "shop")]
    assert {(it["entity"], it["tenant"]) for it in value("list", "--all-tenants")} == {(OWN, "shop"), (OTHER, "other")}
    assert value("list", "--entity", OTHER) == []
    own, every = typed("list").stdout, typed("list", "--all-tenants").stdout
    assert (OTHER in own, "tenant" in own) == (False, False)
    assert every.splitlines()[0].startswith("tenant")
    assert [line.split()[:2] for line in every.splitlines()[1:]] == [["other", OTHER], ["shop", OWN]]


@pytest.mark.parametrize(
    "command",
    [["show"], ["journal"], ["watch", "--timeout", "1"], ["cancel", "--reason", "x"], ["return"]],
    ids=lambda it: it[0],
)
@pytest.mark.parametrize("by", ["order", "saga"])
def test_another_tenants_saga_is_not_found(everything: Store, command: list[str], by: str) -> None:
    """By its order id and by its saga id: exit code 3, and nothing is written."""
    [theirs] = [row for row in everything.live_rows(9) if row.entity == OTHER]
    done = typed(*command, OTHER if by == "order" else theirs.saga_id)
    assert isinstance(done.exception, SagaNotFound), done.output
    assert code_of(done.exception) == NOT_FOUND
    assert len(everything.load([theirs.saga_id])[theirs.saga_id]) == 1


def test_show_and_journal_of_all_say_whose_it_is(everything: Store) -> None:
    """On the page with --all-tenants, in JSON always."""
    [theirs] = [row for row in everything.live_rows(9) if row.entity == OTHER]
    assert (value("show", OWN)["environment"], value("show", OWN)["tenant"]) == ("production", "shop")
    shown = typed("show", OTHER, "--all-tenants").stdout
    assert "tenant other" in shown.splitlines()[0] + shown.splitlines()[1]
    assert "tenant" not in typed("show", OWN).stdout.splitlines()[0]
    assert typed("journal", theirs.saga_id, "--all-tenants").stdout.splitlines()[0] == "tenant other"
    facts = value("journal", OWN)["entries"][0]["transitions"][0]["facts"]
    assert (facts["environment"], facts["tenant"]) == ("production", "shop")


def test_what_show_says_to_type_works_as_it_stands(everything: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a definition that is named by -d, and of another tenant: each command finds the saga and has its definition."""
    starter = Starter(everything, environment="production", tenant="other")
    starter.start(line, Thing(order_id="THEIRS"))
    starter.stop()
    shown = typed("show", "THEIRS", "--all-tenants", "-d", "tests.simulation.sagas:line").stdout
    _, _, advice = shown.partition("see also ")
    commands = [it.strip() for text in advice.splitlines() for it in text.removeprefix("roll back").split(" · ")]
    assert [shlex.split(it.partition("saga ")[2])[0] for it in commands] == [
        "journal",
        "watch",
        "show",
        "show",
        "cancel",
    ]
    for command in commands:
        setting, _, words = command.rpartition("saga ")
        with monkeypatch.context() as at:
            if setting:
                at.setenv(*setting.strip().split("=", 1))
            arguments = shlex.split(words) + (["--timeout", "0"] if words.startswith("watch") else [])
            done = typed(*arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), command
        assert "THEIRS" in done.stdout
        if arguments[0] == "show":
            assert "compensatable" in done.stdout, "only its definition says so"


def test_the_status_is_of_the_own_tenant(everything: Store) -> None:
    """Counts, the oldest, and what halted; of all, each name says whose it is, and what is to be typed finds it."""
    for row in everything.live_rows(9):
        accepted = everything.load([row.saga_id])[row.saga_id][-1]
        entry = JournalEntry(2, everything.now(), "w", "w", None, "[]", accepted.hash)
        columns = SagaColumns(SagaStatus.HALTED, HaltReason.DEFECT, None)
        everything.append([Append(row.saga_id, entry, columns)])
    own = value("status")
    assert (own["environment"], own["tenants"], own["counts"]["halted"]) == ("production", ["shop"], 1)
    assert [(it["entity"], it["tenant"]) for it in own["halted"]] == [(OWN, "shop")]
    assert (own["oldest"]["tenant"], own["halted_groups"][0]["tenants"]) == ("shop", ["shop"])
    every = value("status", "--all-tenants")
    assert (every["tenants"], every["counts"]["halted"]) == (None, 2)
    assert dict(zip(every["halted_groups"][0]["entities"], every["halted_groups"][0]["tenants"], strict=True)) == {
        OWN: "shop",
        OTHER: "other",
    }
    assert OTHER not in typed("status").stdout
    page = typed("status", "--all-tenants").stdout
    assert f"{OWN} (shop)" in page
    assert f"{OTHER} (other)" in page
    assert "--all-tenants" in page.splitlines()[-1]


def test_a_worker_of_another_tenant_is_no_worker(everything: Store) -> None:
    """The monitor is told, the screen says what to type, and so does a start that waits: what it waits for would never move.
    Of all tenants the worker is shown with whose sagas it runs, and the tenant without one is named."""
    everything.register_worker(WorkerRow("theirs", "h", 1, (), 600.0, Scope("production", ("other",))))
    alarm = typed("status", "--check")
    which = f"fulfil_order v{fulfil_order.version}"
    assert (alarm.exit_code, alarm.stdout) == (1, f"ALARM   0 of at least 1 workers, and {which} waits\n")
    page = typed("status").stdout
    assert ("✓ worker" in page, "✗ no worker: type  saga worker  or  saga drain" in page) == (False, True)
    lacks = "no worker runs, so nothing moves until one does: type  saga worker"
    started = typed("start", "tests.simulation.sagas:line", '{"order_id": "N"}', "--wait", "--timeout", "0")
    assert f"is still running; {lacks} tests.simulation.sagas:line  or  saga drain tests.simu" in started.stderr
    every = typed("status", "--all-tenants").stdout
    assert "✓ worker h pid 1, queues all, tenant other\n" in every
    assert "✗ no worker for tenant shop: start one with SAGA_TENANTS=shop\n" in every
    alarm = typed("status", "--check", "--all-tenants")
    assert (alarm.exit_code, alarm.stdout) == (1, "ALARM   no worker for tenant shop\n")
    assert typed("status", "--check", "--all-tenants", "--min-workers", "0").exit_code == 0


def test_a_worker_of_all_tenants_is_a_worker_of_mine(everything: Store) -> None:
    """It is said only where the screen is of one tenant; a row of an older release counts, and is called not known."""
    everything.register_worker(WorkerRow("all", "h", 2, (), 600.0, Scope("production")))
    assert typed("status", "--check").stdout.endswith("workers 1\n")
    assert "✓ worker h pid 2, queues all, every tenant\n" in typed("status").stdout
    every = typed("status", "--all-tenants").stdout
    assert ("✓ worker h pid 2, queues all\n" in every, "✗ no worker" in every) == (True, False)
    everything.register_worker(WorkerRow("older", "h", 3, (), 600.0))
    everything.register_worker(WorkerRow("own", "h", 4, (), 600.0, Scope("production", ("shop",))))
    page = typed("status").stdout
    assert "✓ worker h pid 3, queues all, whose sagas is not known\n" in page
    assert "✓ worker h pid 4, queues all\n" in page
    found = {it["worker_id"]: (it["environment"], it["tenants"]) for it in value("status")["workers"]}
    assert found == {"all": ("production", None), "older": (None, None), "own": ("production", ["shop"])}


def test_what_is_no_order_is_not_returned(everything: Store) -> None:
    """`saga list` shows it, so it is not called unknown: it is said of which definition it is, or which order a saga id means. Of
    another tenant's nothing is said."""
    for tenant, name in (("shop", "LAMP-1"), ("other", "THEIRS")):
        starter = Starter(everything, environment="production", tenant=tenant)
        starter.start(line, Thing(order_id=name))
        starter.stop()
    [own] = [row for row in everything.live_rows(9) if row.entity == OWN]
    says = {name: typed("return", name, "--line", "MUG=1").exception for name in ("LAMP-1", own.saga_id, "THEIRS")}
    assert {code_of(it) for it in says.values() if isinstance(it, SagaNotFound)} == {NOT_FOUND}
    assert (
        str(says["LAMP-1"])
        == f"'LAMP-1' is a saga of {line.name} and no order of this product, so nothing of it can come back"
    )
    assert str(says[own.saga_id]) == f"{own.saga_id!r} is the id of a saga; the order is '{OWN}'"
    assert str(says["THEIRS"]).startswith("no saga with id, order or prefix 'THEIRS'")


@pytest.mark.usefixtures("url")
def test_a_rebuild_is_of_the_own_tenant() -> None:
    """Of all with --all-tenants; completion offers the own orders alone."""
    assert (value("orders", "rebuild")["orders"], value("orders", "rebuild", "--all-tenants")["orders"]) == (1, 2)
    assert references("SO-") == [OWN]


def test_a_restored_backup_is_of_every_tenant(everything: Store) -> None:
    """What had not ended is held whosever it is, and so it is let go, by name and with --all; what stays says whose it is."""

    def held() -> set[str]:
        return {row.entity for row in everything.live_rows(9)} ^ {OWN, OTHER}

    arguments = ("--at", datetime.now(UTC).isoformat(), "--reason", "disk died")
    assert value("db", "restored", *arguments)["held"] == 2
    assert held() == {OWN, OTHER}
    ids = {row.entity: row.saga_id for row in everything.find(SagaFilter(), 9)}
    lacking = ("-d", "tests.simulation.sagas:line")
    left = typed("db", "reconcile", *lacking)
    assert [line.split("   ")[:-1] for line in left.stdout.splitlines()[1:]] == [
        [OTHER, "tenant other", ids[OTHER]],
        [OWN, ids[OWN]],
    ]
    as_json = json.loads(typed("db", "let-go", OWN, OTHER, "--reason", "x", *lacking, "-o", "json").stdout)
    assert [(it["entity"], it["tenant"]) for it in as_json["left"]] == [(OWN, "shop"), (OTHER, "other")]
    assert value("db", "let-go", ids[OTHER], "--no-books", "--reason", "looked")["let_go"] == 1
    assert held() == {OWN}
    assert value("db", "let-go", "--all", "--no-books", "--reason", "looked")["let_go"] == 1
    assert held() == set()


def test_an_order_id_of_two_tenants_is_let_go_by_its_saga_id(everything: Store) -> None:
    """Nobody guesses whose is meant, not the own one either: the refusal names both, and moves nothing."""
    starter = Starter(everything, environment="production", tenant="other")
    starter.start(fulfil_order, Order.model_validate_json(json.dumps(order_values(order_id=OWN))))
    starter.stop()
    arguments = ("--at", datetime.now(UTC).isoformat(), "--reason", "disk died")
    assert value("db", "restored", *arguments)["held"] == 3
    refused = typed("db", "let-go", OWN, "--reason", "looked").exception
    assert isinstance(refused, UsageError)
    for row in everything.find(SagaFilter(entity=OWN), 9):
        assert f"{row.tenant} (saga {row.saga_id})" in str(refused)
        assert row.status is SagaStatus.HALTED
        assert value("db", "let-go", row.saga_id, "--no-books", "--reason", "looked")["let_go"] == 1


ENTRIES = (
    ["list"], ["show", OWN], ["journal", OWN], ["status"], ["status", "--all-tenants"], ["watch", OWN], ["audit", "--partial"],
    ["orders", "rebuild"], ["cancel", OWN, "--reason", "x"], ["return", OWN], ["start", "saga.fulfilment.fulfil_order:fulfil_order", "ORDER"], ["drain"],
    ["dev"], ["api", "--port", "0"], ["worker"], ["db", "upgrade"],
)  # fmt: skip


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize("command", ENTRIES, ids=" ".join)
def test_a_process_of_another_environment_is_refused(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever command opens the database: exit code 2, both names, and what to type."""
    monkeypatch.setenv("SAGA_ENVIRONMENT", "staging")
    given = [json.dumps(order_values(order_id="SO-9")) if it == "ORDER" else it for it in command]
    raised = typed(*given).exception
    assert isinstance(raised, SagaError), raised
    assert isinstance(raised, UsageError), raised
    assert code_of(raised) == USAGE
    said = "the database is of environment production, this process is of staging: set SAGA_ENVIRONMENT=production"
    assert said in str(raised)


@pytest.mark.usefixtures("url")
def test_bind_is_for_whoever_upgraded_without_an_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty database of the wrong environment becomes one of the right one; one with orders on their way does not."""
    monkeypatch.setenv("SAGA_ENVIRONMENT", "staging")
    assert "2 of environment production" in str(typed("db", "bind").exception)
    monkeypatch.setenv("SAGA_DATABASE_URL", f"sqlite:///{tmp_path / 'empty.db'}")
    monkeypatch.setenv("SAGA_ENVIRONMENT", "")
    assert value("db", "upgrade")["environment"] == "development"
    monkeypatch.setenv("SAGA_ENVIRONMENT", "production")
    assert "SAGA_ENVIRONMENT=production saga db bind" in str(typed("db", "upgrade").exception)
    assert value("db", "bind")["environment"] == "production"
    assert value("list") == []


def test_whose_sagas_a_worker_runs() -> None:
    """Those of its tenant; of those that are named; of all."""
    own = Settings(environment="production", tenant="shop")
    assert own.worker_scope == own.scope == Scope("production", ("shop",))
    assert Settings(environment="production", tenants="a,b").worker_scope == Scope("production", ("a", "b"))
    assert Settings(environment="production", tenants="*").worker_scope == Scope("production")
