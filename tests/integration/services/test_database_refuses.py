"""What a service answers when its own database does not take what it is told: full, read-only, out of disk, away.

A limit on the size of files, set on a running service from outside, is a disk that is full at the commit itself; the rest
refuses before it. The settings are those of one connection, which is the one that the pool hands out next.
"""

import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import pytest
import requests

from saga.core.outcomes import OutcomeCode
from saga.fulfilment.connectors import inventory
from saga.runtime.classify import Answer, classify
from services.skeleton.answers import Answer as Applied
from services.skeleton.app import first_of
from services.skeleton.database import Unavailable
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.integration.services.conftest import Caller

ROOT = Path(__file__).parents[3]
BIG = "x" * 100_000
"""More than fits into the pages that a new database has."""
SQLITE_REFUSALS = [("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 100000", "full")]
SQLITE_REFUSALS += [("PRAGMA query_only = ON", "PRAGMA query_only = OFF", "readonly")]
POSTGRES_REFUSAL = ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off", "read-only")
BOOKS = ("/v1/ledger", "/v1/barrier")
KEY = {"Idempotency-Key": "k1"}
RESERVATION = {"order_id": "SO-1", "lines": [{"sku": "A", "quantity": 3}], "ttl_s": 900}


def outcome_of(answer: requests.Response) -> OutcomeCode:
    """What the engine takes the answer for."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return classify(Answer(answer.status_code, headers, answer.content), inventory, None).code


def test_a_copy_that_was_applied_is_not_told_as_not_applied() -> None:
    """Of a request that came twice one copy is applied and the other meets the full disk: without Retry-After, since the engine
    takes that for "nothing was done" and would leave the effect standing."""
    applied, full = Applied(201, "{}"), Unavailable("full", may_stand=False)
    mixed: list[list[Applied | BaseException]] = [[applied, full], [full, applied]]
    for both in mixed:
        with pytest.raises(Unavailable) as raised:
            first_of(both)
        assert raised.value.may_stand
    assert first_of([applied, applied]) is applied
    with pytest.raises(Unavailable) as raised:
        first_of([full, full])
    assert not raised.value.may_stand


def told(caller: "Caller", statement: str) -> None:
    caller.service.edge.database.read(lambda connection: connection.exec_driver_sql(statement).close())


def refuses_before_the_commit(
    caller: "Caller", caplog: pytest.LogCaptureFixture, refusal: str, lifted: str, reason: str
) -> None:
    assert caller.count("k0").status_code == 201
    told(caller, refusal)
    with caplog.at_level(logging.WARNING):
        refused = [
            caller.count("k1", name=BIG),
            caller.undo("u1", "k1") if reason != "full" else caller.count("k1", name=BIG),
        ]
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (answer.headers["Retry-After"], outcome_of(answer)) == ("5", OutcomeCode.THROTTLED)
    assert len(caplog.records) == len(refused)
    for record in caplog.records:
        assert (record.exc_info, record.getMessage().count("\n")) == (None, 0)
        assert reason in record.getMessage()
    assert [row["key"] for row in caller.rows("/v1/barrier")] == ["k0"]
    told(caller, lifted)
    answer = caller.count("k1", name=BIG)
    assert (answer.status_code, answer.json()["total"]) == (201, 1)
    assert "Idempotency-Replayed" not in answer.headers


@pytest.mark.parametrize(("refusal", "lifted", "reason"), SQLITE_REFUSALS, ids=["full", "read-only"])
def test_a_file_that_takes_no_writes(
    sqlite_caller: "Caller", caplog: pytest.LogCaptureFixture, refusal: str, lifted: str, reason: str
) -> None:
    """503 with Retry-After, one line in the log, no row anywhere; the repeat under the same key does the work once."""
    refuses_before_the_commit(sqlite_caller, caplog, refusal, lifted, reason)


def test_a_server_that_takes_no_writes(empty_postgres_caller: "Caller", caplog: pytest.LogCaptureFixture) -> None:
    """The same of a PostgreSQL that is a standby, or was made read-only because its disk is full."""
    refuses_before_the_commit(empty_postgres_caller, caplog, *POSTGRES_REFUSAL)


def provision(url: str) -> requests.Response:
    """Ten pieces of A."""
    return requests.put(f"{url}/v1/stock/A", json={"quantity": 10}, headers=KEY, timeout=20)


def test_a_server_that_is_away(
    empty_postgres_caller: "Caller", empty_postgres_url: str, postgres_server_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Actions and books are 503 with Retry-After, one line each and no traceback; when it is back the service goes on."""
    name = urlsplit(empty_postgres_url).path.lstrip("/")
    assert empty_postgres_caller.count("k0").status_code == 201
    with psycopg.connect(postgres_server_url, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        refused = [empty_postgres_caller.count("k1")]
        refused += [requests.get(f"{empty_postgres_caller.url}{path}", timeout=20) for path in BOOKS]
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    for answer in refused:
        assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "unavailable", "5")
    said = [record for record in caplog.records if record.name == "services.skeleton.app"]
    assert [(record.exc_info, record.getMessage().count("\n")) for record in said] == [(None, 0)] * 3
    assert empty_postgres_caller.count("k1").status_code == 201


def test_a_late_request_that_the_database_refuses(sqlite_caller: "Caller", caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for its answer: one line in the log, no traceback."""
    sqlite_caller.count("k0")
    told(sqlite_caller, "PRAGMA query_only = ON")
    sqlite_caller.set_faults({"fault": "late", "operation": "POST /v1/counts", "delay_s": 0.0, "times": 1})
    with pytest.raises(requests.ConnectionError):
        sqlite_caller.count("k1")
    wait_until(lambda: bool(caplog.records))
    assert [(record.exc_info, "readonly" in record.getMessage()) for record in caplog.records] == [(None, True)]


@contextmanager
def inventory_apart(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The inventory service in a process of its own, and its URL."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_DATABASE_URL")}
    words = [sys.executable, "-m", "services", "inventory", "--data", str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[1], process
        finally:
            process.send_signal(signal.SIGTERM)


def test_a_disk_that_is_full_at_the_commit(tmp_path: Path) -> None:
    """503 without Retry-After, which the engine takes for unknown, since the transaction may stand; one line on stderr for
    each; reading goes on, and once there is room the repeat under the same key reserves once."""
    with inventory_apart(tmp_path) as (url, process):

        def reserve() -> requests.Response:
            return requests.post(f"{url}/v1/reservations", json=RESERVATION, headers=KEY, timeout=20)

        assert provision(url).status_code == 200
        _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        for answer in (reserve(), reserve()):
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert ("Retry-After" in answer.headers, outcome_of(answer)) == (False, OutcomeCode.UNKNOWN)
        assert requests.get(f"{url}/v1/barrier", timeout=20).json()["rows"] == []
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
        assert [answer.status_code for answer in (reserve(), reserve())] == [201, 201]
        assert requests.get(f"{url}/v1/stock/A", timeout=20).json()["reserved"] == 3
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=20)[1].splitlines()
    assert [line.startswith("the database refuses: sqlite:///") for line in said] == [True, True], said


def test_a_database_that_is_away_at_the_start(tmp_path: Path) -> None:
    """One line that names the service, without the password, and exit code 1."""
    words = ["inventory", "--data", str(tmp_path), "--database-url", "postgresql://me:secret@127.0.0.1:1/none"]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_DATABASE_URL")}
    ended = subprocess.run(
        [sys.executable, "-m", "services", *words],
        check=False,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("inventory: postgresql://me:***@127.0.0.1:1/none: ")
    assert len(ended.stderr.splitlines()) == 1
