"""A broker that takes everything and answers nothing costs hints, and never the end of a process that is told to stop; flows to it
that were forgotten are made anew."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from saga.clock import monotonic
from saga.runtime.ending import END_S
from tests.chaos.proxy import Proxy
from tests.e2e.commands import ROOT, Place
from tests.integration.network.conftest import BOUNDS, through
from tests.waiting import wait_until

MARGIN_S = 4.0
"""For a machine with other work; the bound itself is grace and END_S."""
READY = {"worker": " ready.", "api": "/v1/orders", "dev": "ctrl-C stops"}
FORGOTTEN_S = 30.0
"""Until a worker has a new flow to its broker; the bound of docs/guarantees.md."""
LISTENS = {"amqp": b"\x00\x3c\x00\x14", "redis": b"BRPOP"}
"""What a consumer sends: of AMQP class and method of basic.consume."""
DEFAULT_PORTS = {"amqp": 5672, "redis": 6379}


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Iterator[tuple[str, Proxy]]:
    """The broker's address through a proxy, and the proxy."""
    url = make_url(request.getfixturevalue(f"{request.param}_url"))
    proxy = Proxy((url.host or "127.0.0.1", url.port or DEFAULT_PORTS[request.param]))
    yield through(url.render_as_string(hide_password=False), proxy), proxy
    proxy.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("command", "broker"),
    [("worker", "amqp"), ("worker", "redis"), ("dev", "amqp"), ("api", "amqp")],
    indirect=["broker"],
)
def test_a_process_ends_in_its_time_although_the_broker_is_silent(
    tmp_path: Path, command: str, broker: tuple[str, Proxy]
) -> None:
    """Its connections stand and nothing comes back, new ones alike. SIGTERM ends it within the grace and ten seconds."""
    url, proxy = broker
    place = Place(tmp_path, tmp_path / "home", {**BOUNDS, "SAGA_BROKER_URL": url})
    shutil.copy(ROOT / "examples" / "shop.py", tmp_path / "shop.py")
    arguments = [command, *(["shop:place_order"] if command != "api" else ["--port", "0"])]
    with place.running(arguments, READY[command], timeout_s=60) as process:
        if command != "api":
            wait_until(lambda: proxy.swallow(new=True) > 0, 20, what="a connection to the broker")
        proxy.swallow(new=True)
        asked_at = monotonic()
        process.send_signal(signal.SIGTERM)
        code = process.wait(float(BOUNDS["SAGA_GRACE_S"]) + END_S + MARGIN_S)
    assert monotonic() - asked_at < float(BOUNDS["SAGA_GRACE_S"]) + END_S + MARGIN_S
    assert code in {0, 4}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("broker", ["amqp", "redis"], indirect=True)
def test_a_worker_whose_flows_to_the_broker_were_forgotten_listens_over_new_ones(
    tmp_path: Path, broker: tuple[str, Proxy], request: pytest.FixtureRequest
) -> None:
    """Nobody closes the flows that stand and nothing comes back over them, while new ones are well: within 30 s the worker consumes
    over one of those."""
    url, proxy = broker
    listens = LISTENS[request.node.callspec.params["broker"]]
    place = Place(tmp_path, tmp_path / "home", {**BOUNDS, "SAGA_BROKER_URL": url})
    shutil.copy(ROOT / "examples" / "shop.py", tmp_path / "shop.py")
    with place.running(["worker", "shop:place_order"], READY["worker"], timeout_s=60):
        wait_until(lambda: proxy.standing(listens) > 0, 20, what="a consumer")
        assert proxy.swallow() > 0
        assert proxy.standing(listens) == 0
        wait_until(lambda: proxy.standing(listens) > 0, FORGOTTEN_S, what="a consumer over a new flow")
