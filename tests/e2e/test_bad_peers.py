"""Settings that name a peer which is not there, or does not let us in: one line that names the setting, and no password."""

import re
from pathlib import Path

import pytest

from tests.e2e.commands import ROOT, Finished, Place, stop

EXAMPLES = ROOT / "examples"
SHOP = "shop:place_order"
START = ["start", SHOP, '{"order_id": "SO-1", "sku": "mug", "card": "4242"}']
PASSWORD = "s3cret-word"


def told_in_one_line(done: Finished, setting: str) -> str:
    """The one line on stderr, behind the name of the setting."""
    assert (done.out, done.err.count("\n")) == ("", 1), done.err
    assert done.err.startswith(f"saga: {setting}: ")
    assert PASSWORD not in done.err
    return done.err.removeprefix(f"saga: {setting}: ").rstrip("\n")


@pytest.mark.parametrize("command", [["db", "upgrade"], ["list"], ["api", "--port", "0"], ["worker"], START])
def test_a_database_that_does_not_answer(tmp_path: Path, command: list[str]) -> None:
    """Exit code 4, whichever command opens it: the same command may be typed again."""
    url = f"postgresql://shop:{PASSWORD}@127.0.0.1:9/shop"
    done = Place(EXAMPLES, tmp_path / "home", {"SAGA_DATABASE_URL": url}).run(*command)
    said = told_in_one_line(done, "SAGA_DATABASE_URL")
    assert (done.code, said.startswith("postgresql://shop:***@127.0.0.1:9/shop: ")) == (4, True)
    assert "refused" in said


def test_a_database_that_is_not_there(tmp_path: Path, empty_postgres_url: str) -> None:
    """The server answers, and has no database or no user of that name."""
    elsewhere = re.sub(r"/[^/?]*($|\?)", r"/nowhere\1", empty_postgres_url)
    nobody = re.sub(r"//[^/@]*@", f"//nobody:{PASSWORD}@", empty_postgres_url)
    for url, says in ((elsewhere, 'database "nowhere" does not exist'), (nobody, "nobody")):
        done = Place(EXAMPLES, tmp_path / "home", {"SAGA_DATABASE_URL": url}).run("list")
        said = told_in_one_line(done, "SAGA_DATABASE_URL")
        assert (done.code, says in said) == (4, True), said


@pytest.mark.parametrize("command", [["worker"], ["api", "--port", "0"], ["dev"]])
def test_a_broker_that_refuses_our_password(tmp_path: Path, amqp_url: str, command: list[str]) -> None:
    """What stays up does not start: a person has to mend it, and a log line in the night is no help to him."""
    url = re.sub(r"//[^/@]*@", f"//guest:{PASSWORD}@", amqp_url)
    done = Place(EXAMPLES, tmp_path / "home", {"SAGA_BROKER_URL": url}).run(*command)
    said = told_in_one_line(done, "SAGA_BROKER_URL")
    assert done.code == 4
    assert re.match(r"amqp://guest:\*\*@\S+ refuses: ACCESS_REFUSED", said), said


def test_an_order_is_taken_although_the_broker_refuses_us(tmp_path: Path, amqp_url: str) -> None:
    """A hint is lost and nothing else; what is wrong is said with the setting, and without the password."""
    url = re.sub(r"//[^/@]*@", f"//guest:{PASSWORD}@", amqp_url)
    done = Place(EXAMPLES, tmp_path / "home", {"SAGA_BROKER_URL": url}).run(*START)
    assert (done.code, len(done.out.split())) == (0, 1), done.err
    assert "SAGA_BROKER_URL amqp://guest:***@" in done.last_line
    assert "ACCESS_REFUSED" in done.last_line
    assert PASSWORD not in done.err


def test_a_database_of_redis_that_is_none(tmp_path: Path, redis_url: str) -> None:
    """A number that the server does not have."""
    url = redis_url.rpartition("/")[0] + "/999999"
    done = Place(EXAMPLES, tmp_path / "home", {"SAGA_BROKER_URL": url}).run("worker")
    said = told_in_one_line(done, "SAGA_BROKER_URL")
    assert (done.code, said.endswith("/999999 refuses: DB index is out of range")) == (4, True), said


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://127.0.0.1:6379/shop", "a database of Redis is a number, as in redis://host:6379/0"),
        ("sqs://", "sqs:// needs a package that is not installed: "),
        ("kafka://127.0.0.1", "a broker begins with amqp://"),
        (f"amqp://guest:{PASSWORD}@127.0.0.1:port//", "its port is not a number from 0 to 65535"),
    ],
)
@pytest.mark.parametrize("command", [["worker"], START])
def test_a_broker_url_that_means_nothing(tmp_path: Path, url: str, says: str, command: list[str]) -> None:
    """Exit code 2 before anything is stored, also where hints are all that the broker is for."""
    done = Place(EXAMPLES, tmp_path / "home", {"SAGA_BROKER_URL": url}).run(*command)
    assert told_in_one_line(done, "SAGA_BROKER_URL").startswith(says)
    assert done.code == 2


@pytest.mark.parametrize(
    "url", ["amqp://guest:guest@127.0.0.1:9//", "redis://127.0.0.1:9/0", "amqp://nowhere.invalid//"]
)
def test_a_worker_starts_while_the_broker_is_away(tmp_path: Path, url: str) -> None:
    """It runs sagas in either case, so it is no error of the start."""
    place = Place(EXAMPLES, tmp_path / "home", {"SAGA_BROKER_URL": url})
    with place.running(["worker", SHOP], "Trying again") as worker:
        assert place.run("start", SHOP, START[2]).code == 0
        assert stop(worker) == 0


def test_services_that_are_asked_for_faults_and_ledgers(tmp_path: Path) -> None:
    """No such service, no address and a command that contradicts itself are the caller's to mend; a service that does not answer
    may be asked again."""
    nobody = Place(EXAMPLES, tmp_path / "home")
    down = Place(EXAMPLES, tmp_path / "home", {"SAGA_TAX_URL": "http://127.0.0.1:9"})
    for place, command, code, says in (
        (nobody, ["fault", "warehouse"], 2, "no service is called 'warehouse'; there are inventory, tax, shipping"),
        (nobody, ["ledger", "tax"], 2, "no address of tax: run saga dev in the same SAGA_HOME, or set SAGA_TAX_URL"),
        (nobody, ["fault", "tax", "reject"], 2, "no address of tax"),
        (down, ["fault", "tax", "reject", "--clear"], 2, "--clear takes faults away"),
        (down, ["fault", "tax"], 4, "tax does not answer at http://127.0.0.1:9; start it, or mend SAGA_TAX_URL"),
    ):
        done = place.run(*command)
        assert (done.code, says in done.last_line, done.out) == (code, True, ""), done.err
