"""`saga api shop:place_order`: the API of a saga of one's own, as its help offers it."""

import socket
from pathlib import Path

import httpx2

from tests.e2e.commands import ROOT, Place


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_it_is_served(tmp_path: Path) -> None:
    """Beside the example of the README: it takes a start, shows it, and takes its cancel."""
    (tmp_path / "shop.py").write_bytes((ROOT / "examples" / "shop.py").read_bytes())
    place, url = Place(tmp_path, tmp_path / "home"), f"http://127.0.0.1:{free_port()}"
    with place.running(["api", "shop:place_order", "--port", url.rpartition(":")[2]], "/v1/sagas"):
        body = {"definition": "place_order", "input": {"order_id": "SO-1", "sku": "mug", "card": "4242"}}
        started = httpx2.post(f"{url}/v1/sagas", json=body, headers={"Idempotency-Key": "k"})
        assert started.status_code == 202, started.text
        listed = httpx2.get(f"{url}/v1/sagas").json()["items"]
        assert [row["saga_id"] for row in listed] == [started.json()["saga_id"]]
        ended = httpx2.post(f"{url}{started.json()['links']['cancel']}", json={"reason": "called"})
        assert (ended.status_code, ended.json()["cancelled"], ended.json()["status"]) == (200, "done", "compensated")
