"""H: `X-Forwarded-*` are off by default, and what is believed of them is one header of proxies that a setting names.

uvicorn believes whoever is on this machine: the redirect of a service led to wherever a caller said."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from saga.errors import UsageError
from saga.fulfilment.fulfil_order import fulfil_order
from saga.runtime.engine import Definitions
from saga.runtime.starting import Starter
from saga.settings import read_settings
from saga.store.memory import MemoryStore
from saga.surfaces.proxies import BehindProxies, networks_of
from saga.surfaces.serving import serving_api
from services.skeleton.server import serve_in_thread
from tests.integration.api.serving import order_values

SAID = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/shop/api",
    "Forwarded": "for=203.0.113.7;host=evil.example;proto=https",
}


@contextmanager
def api(trusted: str | None) -> Iterator[httpx2.Client]:
    """The API with a socket, asked from 127.0.0.1."""
    store = MemoryStore()
    starter = Starter(store, environment="test", tenant="shop")
    definitions = Definitions([fulfil_order])
    with (
        serving_api(store, definitions, starter, lambda _: None, "127.0.0.1", 0, trusted_proxies=trusted) as url,
        httpx2.Client(base_url=url) as client,
    ):
        yield client
    starter.stop()


def seen(client: httpx2.Client, **headers: str) -> list[Any]:
    """Everything in answers that leads somewhere: of an order, of a list of two pages, and of a problem."""
    answers = []
    for number in range(2):
        key = {"Idempotency-Key": f"k-{number}", **headers}
        answers.append(client.post("/v1/orders", json=order_values(order_id=f"SO-{number}"), headers=key))
    page = client.get("/v1/orders?limit=1", headers=headers)
    shown = client.get("/v1/orders/SO-1", headers=headers)
    document = client.get("/openapi.json", headers=headers).json()
    return [
        answers[1].headers["location"],
        answers[1].json()["links"]["order"],
        page.headers["link"].split("?")[0],
        page.json()["items"][0]["links"]["order"],
        shown.json()["links"]["returns"],
        document.get("servers"),
    ]


PLAIN = ["/v1/orders/SO-1", "/v1/orders/SO-1", "</v1/orders", "/v1/orders/SO-1", "/v1/orders/SO-1/returns", None]
BELOW = [
    "/shop/api/v1/orders/SO-1",
    "/shop/api/v1/orders/SO-1",
    "</shop/api/v1/orders",
    "/shop/api/v1/orders/SO-1",
    "/shop/api/v1/orders/SO-1/returns",
    None,
]


@pytest.mark.parametrize("trusted", [None, "10.0.0.0/8,192.0.2.7"], ids=["by default", "of a stranger"])
def test_nothing_is_taken_from_a_stranger(trusted: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default everybody is one, whatever uvicorn's own variable says."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    with api(trusted) as client:
        assert seen(client, **SAID) == PLAIN


@pytest.mark.parametrize("trusted", ["127.0.0.1", "10.0.0.0/8, 127.0.0.0/8", "::1,127.0.0.1/32"])
def test_links_lead_through_a_proxy_that_is_trusted(trusted: str) -> None:
    """Below its path, and to no host of its choice; the next request without the header is answered as ever."""
    with api(trusted) as client:
        assert seen(client, **SAID) == BELOW
        assert client.get("/v1/orders/SO-1").json()["links"]["order"] == PLAIN[0]


@pytest.mark.parametrize(
    "prefix", ["shop", "//evil.example", "/a/../b", "/a b", "/a%2Fb", "https://evil.example", "/", "", "/a\r", "/é"]
)
def test_what_is_no_path_is_left_alone(prefix: str) -> None:
    """Also of a proxy that is trusted: it may hand on what a caller said."""
    wrapped = BehindProxies(lambda *_: None, networks_of("127.0.0.1"))  # type: ignore[arg-type]
    scope = {"type": "http", "client": ("127.0.0.1", 1), "headers": [(b"x-forwarded-prefix", prefix.encode())]}
    assert wrapped._prefix_of(scope) == ""


def test_two_prefixes_are_none() -> None:
    """Nobody can tell which one the proxy has set."""
    with api("127.0.0.1") as client:
        headers = [("X-Forwarded-Prefix", "/a"), ("X-Forwarded-Prefix", "/b"), ("Idempotency-Key", "k")]
        answer = client.post("/v1/orders", json=order_values(), headers=headers)
        assert answer.headers["location"] == "/v1/orders/SO-1"


@pytest.mark.parametrize("proxies", ["*", "proxy", "10.0.0.1/8", "10.0.0.0/99", "10.0.0.1,", "http://10.0.0.1"])
def test_a_proxy_is_an_address_or_a_network(proxies: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the setting and the rule."""
    monkeypatch.setenv("SAGA_TRUSTED_PROXIES", proxies)
    with pytest.raises(UsageError, match=r"SAGA_TRUSTED_PROXIES: addresses or networks .* 10\.0\.0\.0/8"):
        read_settings()


def test_a_service_leads_nobody_elsewhere(sqlite_url: str) -> None:
    """A path with a slash too many was redirected to the host and the scheme that the caller named."""
    service = serve_in_thread("tax", sqlite_url)
    try:
        answer = httpx2.get(f"{service.url}/healthz/", headers={**SAID, "Host": "evil.example"})
    finally:
        service.stop()
    assert (answer.status_code, "location" in answer.headers) == (404, False)
