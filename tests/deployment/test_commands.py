"""Each command of `compose.yaml` runs on this machine, without containers: the same words, other hosts and ports.

Orders go in over the API and come out, one completed with its mail and one rolled back by the group of workers that has the
rollbacks; each health check says when its process is well and when it is gone; SIGTERM ends each within its grace.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from saga.clock import monotonic
from saga.core.states import ENDED
from services.skeleton.server import NAMES
from tests.deployment.composing import ROOT, Service, own, seconds, services
from tests.integration.mail.peers import Inbox, mail_server
from tests.waiting import wait_until

READY_S = 60.0
PROGRAM = [sys.executable, "-m", "saga"]
ORDER = {
    "customer_id": "C-1",
    "currency": "GBP",
    "country": "Germany",
    "address": {"name": "A Person", "street": "1 Way", "city": "Berlin", "postcode": "10115"},
    "lines": [{"sku": "MUG", "quantity": 2, "unit_price": 450}],
    "email": "zoe@example.org",
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert isinstance(port, int)
        return port


@dataclass(frozen=True)
class Machine:
    """What stands here for the hosts and ports of compose.yaml."""

    folder: Path
    ports: dict[str, int]
    elsewhere: dict[str, str]

    def moved(self, text: str, name: str) -> str:
        """A text of the service with the hosts, ports and folders of this machine."""
        for there, here in self.elsewhere.items():
            text = text.replace(there, here)
        for other, port in self.ports.items():
            text = text.replace(f"http://{other}:{8000 if other == 'api' else 8100}", f"http://127.0.0.1:{port}")
        text = text.replace("/data", str(self.folder / name))
        own_port = self.ports.get(name)
        return text if own_port is None else text.replace("8000" if name == "api" else "8100", str(own_port))

    def environment(self, name: str, service: Service) -> dict[str, str]:
        kept = {one: value for one, value in os.environ.items() if not one.startswith("SAGA_")}
        told = {one: self.moved(value, name) for one, value in service["environment"].items()}
        return {**kept, **told, "PYTHONPATH": str(ROOT)}

    def command(self, name: str, service: Service) -> list[str]:
        words = [str(self.ports[name]) if word in {"8000", "8100"} else word for word in service["command"]]
        return [*PROGRAM, *("127.0.0.1" if word == "0.0.0.0" else word for word in words)]

    def is_well(self, name: str, service: Service) -> bool:
        """What the health check says, run as it stands but for the name of the program."""
        kind, program, *words = service["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "python")
        code = self.moved(words[-1], name).replace('["saga",', f"[{', '.join(map(repr, PROGRAM))},")
        done = subprocess.run(
            [sys.executable, *words[:-1], code],
            env=self.environment(name, service),
            cwd=self.folder / name,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.returncode == 0

    @contextmanager
    def running(self, name: str, service: Service) -> Iterator[subprocess.Popen[bytes]]:
        (self.folder / name).mkdir(exist_ok=True)
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                self.command(name, service),
                env=self.environment(name, service),
                cwd=self.folder / name,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")


@pytest.fixture
def inbox() -> Inbox:
    """What the mail server took."""
    return Inbox()


@pytest.fixture
def machine(tmp_path: Path, empty_postgres_url: str, amqp_url: str, inbox: Inbox) -> Iterator[Machine]:
    """This machine's PostgreSQL and RabbitMQ, a mail server, and a free port for whoever listens."""
    ports = {name: free_port() for name in ("api", *NAMES)}
    with mail_server(inbox) as mail_port:
        yield Machine(
            tmp_path,
            ports,
            {
                "postgresql://saga:saga@postgres:5432/saga": empty_postgres_url,
                "amqp://saga:saga@rabbitmq:5672//": amqp_url,
                "smtp://mail:1025": f"smtp://127.0.0.1:{mail_port}",
            },
        )


def ended(url: str, order_id: str, **changes: Any) -> str:
    """Place one order, and wait for its end."""
    body = {**ORDER, "order_id": order_id, **changes}
    placed = requests.post(f"{url}/v1/orders", json=body, headers={"Idempotency-Key": order_id}, timeout=20)
    assert placed.status_code == 202, placed.text
    return end_of(url, placed.json()["saga_id"])


def given_back(url: str, order_id: str) -> str:
    """Give one piece of an order back, and wait for the end of the return."""
    body = {"lines": [{"sku": "MUG", "quantity": 1}], "reason": "broken"}
    taken = requests.post(
        f"{url}/v1/orders/{order_id}/returns", json=body, headers={"Idempotency-Key": f"back-{order_id}"}, timeout=20
    )
    assert taken.status_code == 202, taken.text
    return end_of(url, taken.json()["saga_id"])


def end_of(url: str, saga_id: str) -> str:
    """The status with which a saga ended, once it has."""

    def status() -> str:
        answer = requests.get(f"{url}/v1/sagas/{saga_id}", timeout=20).json()
        return str(answer["status"]) if answer["status"] in ENDED else ""

    return wait_until(status, READY_S, what=f"{saga_id} to end")


def stop(machine: Machine, name: str, service: Service, process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM ends it with 0 within its grace."""
    began = monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(seconds(service["stop_grace_period"]))
    assert code == 0, f"{name} ended with {code} after {monotonic() - began:.1f} s: {machine.log(name)}"


@pytest.mark.timeout(300)
def test_the_deployment_runs(machine: Machine, inbox: Inbox) -> None:
    """Migrations end; services, API and workers come up well and take orders to their ends; all stop when they are told to."""
    parts = own()
    with machine.running("migrate", parts.pop("migrate")) as migrating:
        assert migrating.wait(READY_S) == 0, machine.log("migrate")
    with ExitStack() as running:
        processes = {name: running.enter_context(machine.running(name, it)) for name, it in parts.items()}
        for name, service in parts.items():
            wait_until(lambda n=name, s=service: machine.is_well(n, s), READY_S, what=f"{name} to be well")  # type: ignore[misc]
            assert processes[name].poll() is None, machine.log(name)
        stock = {"items": [{"sku": "MUG", "quantity": 100}]}
        inventory = f"http://127.0.0.1:{machine.ports['inventory']}/v1/stock"
        assert requests.post(inventory, json=stock, headers={"Idempotency-Key": "stock"}, timeout=20).ok
        api = f"http://127.0.0.1:{machine.ports['api']}"
        assert ended(api, "SO-1", payment_method="pm_card") == "completed"
        assert ended(api, "SO-2", payment_method="pm_declined") == "compensated"
        assert given_back(api, "SO-1") == "completed"
        subjects = [mail["Subject"] for mail in inbox.to("zoe@example.org")]
        assert subjects == ["Your order SO-1 is on its way", "Your return R1.SO-1 was refunded"], subjects
        assert _queues_at_work(machine, parts) == {"worker-orders": 6, "worker-rollback": 3}
        for name, service in reversed(parts.items()):
            stop(machine, name, service, processes[name])
    assert [name for name, service in parts.items() if machine.is_well(name, service)] == []


def _queues_at_work(machine: Machine, parts: dict[str, Service]) -> dict[str, int]:
    """How many queues each group of workers says that it has."""
    service = parts["worker-orders"]
    done = subprocess.run(
        [*PROGRAM, "status", "-o", "json"],
        env=machine.environment("worker-orders", service),
        cwd=machine.folder,
        capture_output=True,
        timeout=60,
        check=True,
    )
    groups = [worker["queues"] for worker in json.loads(done.stdout)["workers"]]
    return {
        name: len(group)
        for name in ("worker-orders", "worker-rollback")
        for group in groups
        if ",".join(sorted(group)) == ",".join(sorted(parts[name]["command"][2].split(",")))
    }


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on the path")
def test_redis_keeps_nothing_on_its_disk(tmp_path: Path) -> None:
    """The command of the profile as it stands answers its health check, writes no file, and ends when it is told to."""
    service = services()["redis"]
    kind, client, *words = service["healthcheck"]["test"]
    assert (kind, client) == ("CMD", "redis-cli")
    port = ["-p", str(free_port())]

    def is_well() -> bool:
        said = subprocess.run([client, *port, *words], capture_output=True, text=True, timeout=20, check=False)
        return said.stdout.strip() == "PONG"

    with subprocess.Popen([*service["command"], "--port", port[1]], cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(is_well, READY_S, what="redis to be well")
            process.send_signal(signal.SIGTERM)
            assert process.wait(seconds(service["stop_grace_period"])) == 0
        finally:
            process.kill()
    assert list(tmp_path.iterdir()) == []
