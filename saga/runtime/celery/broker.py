"""A broker's address as kombu takes it, and the options that kombu takes beside it.

Rules of this file
------------------
- A Sentinel is asked for a master by its name, and may have a password of its own. kombu wants these beside the address; here they
  stand behind its `?`, so that one setting, or one file with a secret, has all of it. They are taken from the address before kombu
  sees it.
- Every Sentinel has user, password and database of the first one that has them: they are those of the master, which is one.
- Addresses that differ in the master's name, a password or anything else that is said beside them are refused: one of them would be
  left out without a word.
- Every socket has a time-out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

POLL_S = 0.01
"""How often the memory transport looks for messages; its default of a second is 97 messages a second."""
SOCKET_S = 5
SOCKETS = {"socket_timeout": SOCKET_S, "socket_connect_timeout": SOCKET_S, "socket_keepalive": True}
REDIS_OPTIONS = {
    # A message is acknowledged when it arrives, so only what a dead process had prefetched waits for this.
    "visibility_timeout": 300,
    **SOCKETS,
    # From kombu 5.7 on a BRPOP without its answer is noticed after two of them and a second at the latest.
    "health_check_interval": 10,
}
SENTINEL = "sentinel"
MASTER = "master_name"
OF_SENTINEL = {"sentinel_username": "username", "sentinel_password": "password"}
OF_SENTINELS = "sentinel_kwargs"


class SentinelsDiffer(ValueError):
    """Its text names no value."""


@dataclass(frozen=True, slots=True)
class Broker:
    """What kombu is given."""

    url: str = field(repr=False)
    options: dict[str, Any] = field(repr=False)


def read_broker(broker_url: str) -> Broker:
    """The address of one broker or several. Raises `ValueError` for one that cannot be read, `ImportError` for a Sentinel without redis-py."""
    scheme = broker_url.partition(":")[0]
    if scheme == SENTINEL:
        return _read_sentinels([urlsplit(one) for one in broker_url.split(";")])
    if scheme == "memory":
        return Broker(broker_url, {"polling_interval": POLL_S})
    return Broker(broker_url, dict(REDIS_OPTIONS) if scheme.startswith("redis") else {})


def _read_sentinels(addresses: list[SplitResult]) -> Broker:
    _refuse_differences(addresses)
    asked = dict(pair for address in addresses for pair in parse_qsl(address.query, keep_blank_values=True))
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # The next Sentinel is asked at once: redis-py would ask one that is away four times, with seconds between.
    options: dict[str, Any] = {**REDIS_OPTIONS, OF_SENTINELS: {**SOCKETS, "retry": Retry(NoBackoff(), 0)}}
    if MASTER in asked:
        options[MASTER] = asked.pop(MASTER)
    for name, wanted in OF_SENTINEL.items():
        if name in asked:
            options[OF_SENTINELS][wanted] = asked.pop(name)
    login = next((it.netloc.rpartition("@")[0] + "@" for it in addresses if "@" in it.netloc), "")
    path = next((it.path for it in addresses if it.path.strip("/")), "")
    rest = urlencode(asked)  # kombu refuses what it does not know
    hosts = [login + it.netloc.rpartition("@")[2] for it in addresses]
    return Broker(";".join(urlunsplit((SENTINEL, host, path, rest, "")) for host in hosts), options)


def _refuse_differences(addresses: list[SplitResult]) -> None:
    """`SentinelsDiffer` where two say something else of the one master, or of how a Sentinel is asked; no value is named."""
    said: dict[str, set[str]] = {}
    for it in addresses:
        pairs = [("user and password", it.netloc.rpartition("@")[0]), ("database", it.path.strip("/"))]
        asked = [pair for pair in parse_qsl(it.query, keep_blank_values=True) if pair[0] in (MASTER, *OF_SENTINEL)]
        for name, value in [*asked, *(pair for pair in pairs if pair[1])]:
            said.setdefault(name, set()).add(value)
    if different := sorted(name for name, values in said.items() if len(values) > 1):
        raise SentinelsDiffer(
            f"the Sentinels differ in {', '.join(different)}; say it alike in each, or in one of them"
        )


def within(transport: str, options: Mapping[str, Any], bound_s: float) -> dict[str, Any]:
    """Options that bound each wait for a socket; `transport` names the kind of broker, `options` are what it has already."""
    if "redis" not in transport and SENTINEL not in transport:
        return dict.fromkeys(("read_timeout", "write_timeout"), bound_s) if "amqp" in transport else {}
    bounds = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), bound_s)
    if OF_SENTINELS not in options:
        return dict(bounds)
    return {**bounds, OF_SENTINELS: {**options[OF_SENTINELS], **bounds}}
