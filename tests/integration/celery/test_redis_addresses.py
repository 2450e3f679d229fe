"""F: Redis behind a Sentinel, behind TLS and on a socket of the machine: servers of these tests' own, with passwords.

A Sentinel's address was refused, and redis-py 6 and 7 wrote both passwords into the log when a Sentinel was away."""

import logging
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

from saga.errors import BrokerRefuses, UsageError
from saga.runtime.celery import Publisher, make_app
from saga.runtime.celery.broker import SOCKETS, read_broker
from saga.runtime.celery.greeting import checked_broker, greeted_broker
from saga.runtime.celery.hiding import TALKERS, hidden, hide_secrets_of, secrets_of
from saga.runtime.work import Hint
from saga.settings import read_settings
from tests import services_available as servers
from tests.integration.celery.deployment import deployment
from tests.integration.celery.shop import SALES, shop
from tests.waiting import wait_until

MASTER, OWN = "pw-of/the@master", "pw-of-the-sentinel"
QUOTED = "pw-of%2Fthe%40master"
WRONG = "pw-that-is-wrong"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def has_pong(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@contextmanager
def running(folder: Path, client: redis.Redis, *lines: str, mode: str = "") -> Iterator[None]:
    """A server of these lines of configuration, once `client` has its answer."""
    program = shutil.which("redis-server") or servers.REDIS.is_missing("no redis-server on PATH")
    folder.mkdir()
    (folder / "conf").write_text("\n".join(["bind 127.0.0.1", f"dir {folder}", *lines]) + "\n")
    command = [program, str(folder / "conf"), *([mode] if mode else [])]
    with client, subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            wait_until(lambda: has_pong(client), 20, what="the server of this test")
            yield
        finally:
            server.kill()  # there is nothing to keep


@contextmanager
def sentinel(folder: Path) -> Iterator[str]:
    """Three addresses of Sentinels, of which the first is away; user, password and database stand in one of them."""
    port, watcher, nobody = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        client = redis.Redis("127.0.0.1", port=port, password=MASTER)
        stack.enter_context(running(folder / "master", client, f"port {port}", 'save ""', f'requirepass "{MASTER}"'))
        lines = [f"port {watcher}", f"requirepass {OWN}", f"sentinel monitor m 127.0.0.1 {port} 1"]
        client = redis.Redis("127.0.0.1", port=watcher, password=OWN)
        lines.append(f'sentinel auth-pass m "{MASTER}"')
        stack.enter_context(running(folder / "sentinel", client, *lines, mode="--sentinel"))
        hosts = f"sentinel://:{QUOTED}@127.0.0.1:{nobody};sentinel://127.0.0.1:{watcher}/3"
        yield f"{hosts}?master_name=m&sentinel_password={OWN}"


@contextmanager
def tls(folder: Path) -> Iterator[str]:
    """A server that speaks TLS alone, with a certificate of its own that is checked."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on PATH to make a certificate with")
    port, key, certificate = free_port(), folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    lines = ["port 0", f"tls-port {port}", f"tls-cert-file {certificate}", f"tls-key-file {key}"]
    lines += [f"tls-ca-cert-file {certificate}", "tls-auth-clients no", 'save ""', f'requirepass "{MASTER}"']
    client = redis.Redis("127.0.0.1", port=port, password=MASTER, ssl=True, ssl_ca_certs=str(certificate))
    with running(folder / "server", client, *lines):
        yield f"rediss://:{QUOTED}@127.0.0.1:{port}/0?ssl_cert_reqs=required&ssl_ca_certs={certificate}"


@contextmanager
def unix(folder: Path) -> Iterator[str]:
    """A server on a socket in the file system."""
    path = folder / "redis.sock"
    lines = ["port 0", f"unixsocket {path}", 'save ""', f'requirepass "{MASTER}"']
    with running(folder / "server", redis.Redis(unix_socket_path=str(path), password=MASTER), *lines):
        yield f"redis+socket://:{QUOTED}@{path}"


KINDS = {"sentinel": sentinel, "tls": tls, "socket": unix}


@pytest.mark.parametrize("kind", KINDS)
def test_a_hint_goes_through(
    kind: str, unique: str, postgres_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A saga that only a message can wake ends, and no password is in the log."""
    with KINDS[kind](tmp_path) as url:
        greeted_broker(url, "SAGA_BROKER_URL")
        with deployment(unique, "process", url, postgres_url, tmp_path) as stand:
            stand.thread_worker()
            [saga_id] = stand.start_unseen(1)
            stand.publisher.publish([Hint(saga_id, f"{stand.saga.name}.check", stand.queue(SALES))])
            assert stand.wait_ended([saga_id]) == ["completed"]
    assert "pw-of" not in caplog.text


@pytest.mark.parametrize(
    ("kind", "right"), [("sentinel", QUOTED), ("sentinel", OWN), ("tls", QUOTED), ("socket", QUOTED)]
)
def test_a_wrong_password_is_said_and_not_shown(
    kind: str, right: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By a command that is about to start, and by whoever sends hints after it was changed."""
    with KINDS[kind](tmp_path) as url:
        wrong = url.replace(right, WRONG)
        with pytest.raises(BrokerRefuses, match="SAGA_BROKER_URL: ") as refused:
            greeted_broker(wrong, "SAGA_BROKER_URL")
        publisher = Publisher(make_app(wrong, [shop("x")]))
        publisher.publish([Hint("s", "t", "q")])
        wait_until(lambda: "broker_away" in caplog.text, 20, what="the broker to be told as away")
        publisher.close()
    assert "pw-" not in f"{refused.value} {caplog.text}"


def test_a_sentinel_without_the_name_of_its_master_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to write; the password is not in it."""
    monkeypatch.setenv("SAGA_BROKER_URL", f"sentinel://:{QUOTED}@h1:26379/0;sentinel://h2")
    with pytest.raises(UsageError, match="master_name=NAME") as refused:
        checked_broker(read_settings().broker_url, "SAGA_BROKER_URL")
    assert "pw-" not in str(refused.value)


@pytest.mark.parametrize("tail", ["master_name=m&colour=red", "master_name=m&sentinel_pasword=pw-x"])
def test_what_a_sentinel_is_not_asked_for_is_refused(tail: str) -> None:
    """A slip in the name of a password shows none."""
    with pytest.raises(UsageError, match="what stands behind '\\?' is not understood") as refused:
        checked_broker(f"sentinel://h1:26379/0?{tail}", "SAGA_BROKER_URL")
    assert "pw-" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("sentinel://h1/0?master_name=m;sentinel://h2/0?master_name=n", "master_name"),
        ("sentinel://u:pw-a@h1/0;sentinel://u:pw-b@h2/0?master_name=m", "user and password"),
        (
            "sentinel://h1?sentinel_password=pw-a;sentinel://h2?master_name=m&sentinel_password=pw-b",
            "sentinel_password",
        ),
        ("sentinel://h1/1;sentinel://h2/2?master_name=m", "database"),
        ("sentinel://h1?master_name=m&master_name=n", "master_name"),
    ],
)
def test_sentinels_that_differ_are_refused(url: str, what: str) -> None:
    """Of two answers one would be left out without a word; the message says which, and no value."""
    with pytest.raises(UsageError, match=f"SAGA_BROKER_URL: the Sentinels differ in {what}; say it alike") as refused:
        checked_broker(url, "SAGA_BROKER_URL")
    assert "pw-" not in str(refused.value)
    read_broker("sentinel://u:p@h1/0?master_name=m;sentinel://u:p@h2/0?master_name=m")


def test_every_sentinel_is_asked_for_the_same() -> None:
    """User, password and database are those of the master, wherever they stand; what is said of the Sentinels is not in the address."""
    read = read_broker(
        "sentinel://h1:1;sentinel://u:p%40@[::1]:2/3;sentinel://h3?master_name=m&sentinel_username=s&sentinel_password=q"
    )
    assert read.url == "sentinel://u:p%40@h1:1/3;sentinel://u:p%40@[::1]:2/3;sentinel://u:p%40@h3/3"
    assert read.options["master_name"] == "m"
    assert {**SOCKETS, "username": "s", "password": "q"}.items() <= read.options["sentinel_kwargs"].items()
    assert "p%40" not in repr(read)


@pytest.mark.parametrize("url", [f"sentinel://u:{QUOTED}@h1/0;sentinel://h2?master_name=m&sentinel_password={OWN}"])
def test_what_a_library_says_of_a_failure_has_no_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """As redis-py 6 tells it, in the line and in the traceback, to whichever logger."""
    hide_secrets_of(make_app(url, [shop("x")]))
    told = f"No master found for 'm' : <redis.client.Redis(<...(db=0,username=u,password={MASTER},host=h1)>)> {OWN}"
    talkers = [name for name in TALKERS if name.startswith("celery")]  # kombu hands its own to nobody by default
    for name in talkers:
        error = ConnectionError(told)
        logging.getLogger(name).warning("Cannot connect: %s", error, exc_info=error)
    assert caplog.text.count("password=***,host=h1") == 2 * len(talkers)
    assert "pw-" not in caplog.text
    assert hidden(told, secrets_of(make_app(url, [shop("x")]))).count("***") == 2
    logging.getLogger(talkers[0]).warning("%d retries of %s", OWN, "h1")
    assert f"%d retries of {OWN}" not in caplog.text
    assert "pw-" not in caplog.text
