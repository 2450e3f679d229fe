"""E: what a broker sets is not trusted: a virtual host whose queues are quorum queues is worked on like any other.

A worker connected 349 times in 65 seconds, since Celery asks for a prefetch count that quorum queues refuse."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest

from tests import services_available as servers
from tests.e2e.commands import Place
from tests.waiting import wait_until

SHOP = """
from pydantic import BaseModel
from saga.core.definition import Saga, readonly

class Order(BaseModel):
    order_id: str

def look(order: Order) -> None:
    pass

place = Saga("place", 1, Order, lambda order: order.order_id, [readonly(look)])
"""


@pytest.fixture
def vhost_url(request: pytest.FixtureRequest, run_name: str, unique: str) -> Iterator[str]:
    """A virtual host that makes queues of one type."""
    server_url = servers.RABBITMQ.find() or servers.RABBITMQ.is_missing("nothing answers on 127.0.0.1:5672")
    name = f"{run_name}_{unique}"
    url = servers.create_vhost(server_url, name, "--default-queue-type", request.param)
    if url is None:
        servers.RABBITMQ.is_missing("virtual hosts cannot be made here")
    yield url
    servers.rabbitmqctl("delete_vhost", name)


def consumers_of(url: str) -> list[str]:
    """Type and count of consumers of the queue of a virtual host."""
    vhost = url.rpartition("/")[2]
    command = ["rabbitmqctl", "-q", "list_queues", "-p", vhost, "name", "type", "consumers"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return next((line.split()[1:] for line in done.stdout.splitlines() if line.startswith("saga\t")), [])


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("vhost_url", "found"),
    [("quorum", None), ("quorum", "classic"), ("classic", "quorum")],
    indirect=["vhost_url"],
)
def test_a_worker_consumes_queues_of_either_kind(vhost_url: str, found: str | None, tmp_path: Path) -> None:
    """Whatever the virtual host makes, and whoever made the queue. By a quorum queue it is refused once, asks for each consumer from
    then on, and says so."""
    (tmp_path / "shop.py").write_text(SHOP)
    if found is not None:
        with kombu.Connection(vhost_url) as connection:
            channel: Any = connection.channel()
            channel.queue_declare("saga", durable=True, auto_delete=False, arguments={"x-queue-type": found})
    kind = found or "quorum"
    place = Place(tmp_path, tmp_path / "home", {"SAGA_BROKER_URL": vhost_url})
    with place.running(["worker", "shop:place"], " ready.", timeout_s=60):
        wait_until(lambda: consumers_of(vhost_url) == [kind, "1"], 30, what="a consumer of the queue")
        started = place.run("start", "shop:place", '{"order_id": "SO-1"}', "--wait", "--timeout", "20")
        assert "completed" in started.out
    [log_file] = tmp_path.glob("worker-*.log")
    log = log_file.read_text()
    assert log.count("Connection to broker lost") == log.count("prefetch_for_each_consumer") == (kind == "quorum")
    assert log.count("queue_taken_as_it_is") == (found is not None)
