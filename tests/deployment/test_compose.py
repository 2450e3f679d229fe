"""The deployment of `compose.yaml` keeps its promises on paper: bounded, watched, without rights, and complete."""

import re
import subprocess
import sys

import pytest

from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.runtime.celery.apps import queues_of
from saga.runtime.ending import END_S
from saga.settings import Settings
from services.__main__ import Environment
from services.skeleton.server import NAMES
from tests.deployment.composing import COMPOSE, ROOT, Service, filled, own, seconds, services

SERVICES = services()
ONE_SHOT = {"migrate"}
SECRETS = ("PASSWORD", "PASS", "AUTH", "TOKEN")
MARGIN_S = 5.0
every_service = pytest.mark.parametrize(("name", "service"), SERVICES.items(), ids=list(SERVICES))
every_own = pytest.mark.parametrize(("name", "service"), own().items(), ids=list(own()))


def test_compose_reads_it() -> None:
    """It keeps the schema of the Compose specification."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_variables_are_put_in_as_compose_does() -> None:
    """The default, what is given, an empty value, and a default in a default."""
    assert filled("a-${X:-b}", {}) == "a-b"
    assert filled("a-${X:-b}", {"X": "c"}) == "a-c"
    assert filled("a-${X:-b}", {"X": ""}) == "a-b"
    assert filled("${X:-u:${Y:-p}@h}", {"Y": "q"}) == "u:q@h"
    with pytest.raises(AssertionError, match="Z has no default"):
        filled("${Z}", {})


@every_service
def test_a_service_has_no_right_that_it_does_not_need(name: str, service: Service) -> None:
    """Not root, nothing to write but volumes and memory, no capability, none to be had."""
    assert str(service["user"]).partition(":")[0] not in {"", "0", "root"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert "cap_add" not in service


@every_service
def test_a_service_is_bounded(name: str, service: Service) -> None:
    """Processor, memory and processes: one that runs away takes the others with it otherwise."""
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}


@every_service
def test_a_service_is_watched(name: str, service: Service) -> None:
    """A health check that gives up in bounded time, or it is over when it is done."""
    if name in ONE_SHOT:
        assert service["restart"] == "on-failure"
        assert "healthcheck" not in service
        return
    check = service["healthcheck"]
    assert service["restart"] == "unless-stopped"
    assert check["test"][0] == "CMD"
    assert seconds(check["timeout"]) <= seconds(check["interval"])
    assert seconds(check["start_interval"]) < seconds(check["interval"])


@every_service
def test_a_port_is_this_machine_s_alone(name: str, service: Service) -> None:
    """Nothing here asks who is there."""
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@every_service
def test_an_image_has_a_version(name: str, service: Service) -> None:
    """What runs tomorrow is what runs today."""
    _, _, tag = service["image"].partition(":")
    assert tag
    assert tag != "latest"


@every_own
def test_a_stop_waits_for_the_steps_in_flight(name: str, service: Service) -> None:
    """Docker kills after the grace period: longer than a worker takes to end, whatever does not answer it."""
    assert seconds(service["stop_grace_period"]) >= Settings().grace_s + END_S + MARGIN_S


def test_no_secret_is_written_down() -> None:
    """Each is a variable that .env overrides, wherever it is used; given, the default is nowhere any more."""
    given = {"SAGA_POSTGRES_PASSWORD": "p1", "SAGA_RABBITMQ_PASSWORD": "p2", "SAGA_FLOWER_BASIC_AUTH": "f:p3"}
    told = [
        (variable, str(value))
        for service in services(given).values()
        for variable, value in service.get("environment", {}).items()
    ]
    assert {value for variable, value in told if variable.endswith(SECRETS)} == {"p1", "p2", "f:p3"}
    assert not [pair for pair in told if "saga:saga" in pair[1]]
    assert {value for variable, value in told if variable == "SAGA_DATABASE_URL"} == {
        "postgresql://saga:p1@postgres:5432/saga"
    }
    assert {value for variable, value in told if variable == "SAGA_BROKER_URL"} == {"amqp://saga:p2@rabbitmq:5672//"}


@every_own
def test_what_is_set_is_a_setting(name: str, service: Service) -> None:
    """A misspelt variable would not be read."""
    known = {f"SAGA_{field.upper()}" for field in (*Settings.model_fields, *Environment.model_fields)}
    assert set(service["environment"]) <= known


def test_what_the_page_names_reaches_a_container() -> None:
    """Every variable of the table in docs/deployment.md, set to something else, changes the file that Compose reads."""
    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    table = page.partition("## What is set in `.env`")[2].partition("\n## ")[0]
    named = {
        name
        for row in table.splitlines()
        if row.startswith("|")
        for name in re.findall(r"`(SAGA_\w+)`", row.split("|")[1])
    }
    named |= {f"SAGA_{name}_DATABASE_URL" for name in re.findall(r"`([A-Z]+)`", table)}
    assert len(named) > 12
    plain = services()
    assert [name for name in sorted(named) if services({name: "x-y-z"}) == plain] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_service_can_have_a_database_server(name: str) -> None:
    """The address that `.env` names is the one that the service of the image reads; what is empty is not set."""
    variable, url = f"SAGA_{name.upper()}_DATABASE_URL", f"postgresql://{name}@postgres/{name}"
    found = services({variable: url})[name]["environment"]
    assert {one: value for one, value in found.items() if one.endswith("_DATABASE_URL") and value} == {variable: url}


def test_every_queue_has_a_worker() -> None:
    """The groups of workers have all queues between them, none twice, and rollbacks have a group of their own."""
    commands = {name: service["command"] for name, service in own().items() if service["command"][0] == "worker"}
    queues = {name: command[command.index("--queues") + 1].split(",") for name, command in commands.items()}
    assert sorted(name for group in queues.values() for name in group) == sorted(
        queues_of([fulfil_order, return_order])
    )
    assert all(queue.endswith(".rollback") for queue in queues["worker-rollback"])


def test_every_part_is_there() -> None:
    """Migrations, API, workers and the four services of this image; the profiles add and change nothing."""
    names = {"migrate", "api", "worker-orders", "worker-rollback", *NAMES}
    assert set(own()) == names
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {"redis", "flower"}
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        "redis": ["redis"],
        "flower": ["flower"],
    }


def test_each_service_keeps_its_own_books() -> None:
    """Four volumes: none sees the data of another."""
    volumes = [SERVICES[name]["volumes"] for name in NAMES]
    assert volumes == [[f"{name}:/data"] for name in NAMES]


def test_nothing_starts_before_the_tables_are_there() -> None:
    """API and workers wait for the migrations, and these for the database."""
    for name in ("api", "worker-orders", "worker-rollback"):
        assert SERVICES[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
