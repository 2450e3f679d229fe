"""`saga dev` in one terminal, commands in another; and what happens to orders when it is killed."""

import json
import signal
from pathlib import Path

import pytest

from tests.e2e.commands import ROOT, Finished, Place, stop
from tests.waiting import wait_until

EXAMPLES = ROOT / "examples"
SHOP = "shop:place_order"
KILLED_COUNT = 40


def start(place: Place, order_id: str, card: str = "4242", *more: str) -> Finished:
    order = json.dumps({"order_id": order_id, "sku": "mug", "card": card})
    return place.run("start", SHOP, order, *more)


def counts(place: Place) -> dict[str, int]:
    found: dict[str, int] = json.loads(place.run("status", "-o", "json").out)["counts"]
    return found


def test_a_second_terminal_finds_it(tmp_path: Path) -> None:
    """`start` hands over by the database alone; list, show, journal and status read it; a second `dev` is refused."""
    place = Place(EXAMPLES, tmp_path / "home")
    with place.running(["dev", SHOP], "ready") as dev:
        done = start(place, "SO-1", "4242", "--wait", "--timeout", "30", "--key", "once", "-o", "json")
        saga_id = json.loads(done.out)["saga_id"]
        again = json.loads(start(place, "SO-1", "4242", "--key", "once", "-o", "json").out)
        assert (again["saga_id"], again["is_replayed"]) == (saga_id, True)
        taken = start(place, "SO-1", "4242")
        assert (taken.code, f"already has saga {saga_id}" in taken.last_line) == (2, True), taken.err
        lines = [json.loads(line) for line in place.run("list", "-o", "jsonl").out.splitlines()]
        assert [(row["entity"], row["status"]) for row in lines] == [("SO-1", "completed")]
        for reference in ("SO-1", saga_id, saga_id[:13], "SO"):
            assert json.loads(place.run("show", reference, "-o", "json").out)["saga_id"] == saga_id
        kinds = [
            transition["kind"]
            for line in place.run("journal", "SO-1", "-o", "jsonl").out.splitlines()
            for transition in json.loads(line)["transitions"]
        ]
        assert (kinds[0], kinds[-1]) == ("saga_accepted", "saga_completed")
        assert "4242" not in place.run("journal", "SO-1", "-o", "json").out, "payloads stay in the journal"
        assert json.loads(place.run("status", "-o", "json").out)["workers"]
        second = place.run("dev", SHOP)
        assert (second.code, "a stack runs in" in second.last_line) == (2, True), second.err
        assert stop(dev, signal.SIGINT) == 0
    assert not (place.home / "stack.json").exists()


def test_killed_in_the_middle_everything_ends(tmp_path: Path) -> None:
    """kill -9 of `saga dev` with orders under way; started again on the same home, it brings every order to its end,
    and the books show one charge for each."""
    place = Place(EXAMPLES, tmp_path / "home")
    orders = [
        {"order_id": f"SO-{n}", "sku": "mug", "card": "declined" if n % 4 == 0 else "4242"} for n in range(KILLED_COUNT)
    ]
    start_all(place, orders)
    with place.running(["dev", SHOP], "ready") as dev:
        wait_until((place.home / "mocks" / "stock.jsonl").exists, 20, what="the first reservation")
        dev.kill()
    with place.running(["dev", SHOP], "ready") as dev:
        wait_until(lambda: sum(counts(place)[end] for end in ("completed", "compensated")) == KILLED_COUNT, 60)
        assert stop(dev) == 0
    bank = [json.loads(line) for line in (place.home / "mocks" / "bank.jsonl").read_text().splitlines()]
    charged = [row["request"]["order_id"] for row in bank if row["outcome"] == "applied"]
    assert sorted(charged) == sorted(str(order["order_id"]) for order in orders if order["card"] == "4242")
    stock = [json.loads(line)["outcome"] for line in (place.home / "mocks" / "stock.jsonl").read_text().splitlines()]
    assert (stock.count("applied"), stock.count("undone")) == (KILLED_COUNT, KILLED_COUNT // 4)


def start_all(place: Place, orders: list[dict[str, str]]) -> None:
    """Many orders into the same database, by the same way as `saga start`, without a process for each."""
    from saga.runtime.starting import Starter
    from saga.store import schema
    from saga.store.opening import open_store
    from saga.surfaces.finding import find_definitions

    place.home.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{place.home / 'saga.db'}"
    schema.upgrade(url)
    store = open_store(url)
    saga = find_definitions([SHOP], EXAMPLES)[0]
    starter = Starter(store, environment="development", tenant="default")
    try:
        for order in orders:
            starter.start(saga, saga.input.model_validate_json(json.dumps(order)))
    finally:
        starter.stop()
        store.close()


def test_drain_finishes_everything_without_a_broker(tmp_path: Path) -> None:
    """With nobody else running, `saga drain` brings every order to its end and exits; a broker that is away changes
    nothing."""
    place = Place(EXAMPLES, tmp_path / "home", {"SAGA_BROKER_URL": "amqp://127.0.0.1:9//"})
    start_all(place, [{"order_id": f"SO-{n}", "sku": "mug", "card": "4242"} for n in range(20)])
    assert start(place, "SO-20", "declined").code == 0
    done = place.run("drain", SHOP, "-o", "json")
    value = json.loads(done.out)
    assert (done.code, value["completed"], value["compensated"], value["left"]) == (0, 20, 1, 0), done.err


def test_drain_tells_what_it_did_itself(tmp_path: Path) -> None:
    """What had ended before is no merit of this drain; what it leaves stands apart, with its reason. What is in backoff
    is left when the time is up, and only then."""
    place = Place(EXAMPLES, tmp_path / "home")
    start_all(place, [{"order_id": f"SO-{n}", "sku": "mug", "card": "4242"} for n in range(3)])
    assert place.run("drain", SHOP).code == 0
    start_all(place, [{"order_id": "SO-3", "sku": "mug", "card": "declined"}])
    cut = Place(EXAMPLES, place.home, {"SAGA_STOCK_URL": "http://127.0.0.1:9"}).run("drain", SHOP, "--timeout", "1")
    assert (cut.code, "1 sagas have not ended" in cut.last_line) == (1, True), cut.err
    assert "this drain   0 completed   0 compensated   0 halted\nleft         1\n      1  running\n" in cut.out
    assert "wait, the first until " in cut.out
    value = json.loads(place.run("drain", "-d", SHOP, "-o", "json").out)
    assert value["drained"] == {"completed": 0, "compensated": 1, "halted": 0}
    assert (value["left_by_reason"], value["next_due_at"]) == ({}, None)
    assert (value["completed"], value["compensated"]) == (3, 1), "the numbers of the journal stay"


def test_drain_leaves_what_it_has_no_definition_for(tmp_path: Path) -> None:
    """Sagas of a definition that is not loaded are counted apart, and hold nobody up."""
    place = Place(EXAMPLES, tmp_path / "home")
    start_all(place, [{"order_id": "SO-1", "sku": "mug", "card": "4242"}])
    (tmp_path / "other.py").write_text((EXAMPLES / "shop.py").read_text().replace('"place_order"', '"other_order"'))
    other = Place(tmp_path, place.home).run("drain", "other:place_order", "-o", "json")
    value = json.loads(other.out)
    assert (other.code, value["foreign"]) == (0, 1), other.err
    assert value["left_by_reason"] == {"place_order v1 is not loaded here: -d MODULE:SAGA": 1}


@pytest.mark.parametrize("broker", ["memory://", "amqp://127.0.0.1:9//"])
def test_worker_runs_what_it_finds(tmp_path: Path, broker: str) -> None:
    """`saga worker` finds sagas in the database by itself, whatever its broker; SIGTERM ends it with 0. Its participants
    are those of a `saga dev` that was here first, by their address."""
    place = Place(EXAMPLES, tmp_path / "home", {"SAGA_BROKER_URL": broker})
    start_all(place, [{"order_id": "SO-1", "sku": "mug", "card": "4242"}])
    (tmp_path / "pure.py").write_text(PURE)
    pure = Place(tmp_path, place.home, place.more)
    assert pure.run("start", "pure:count", '{"name": "a"}').code == 0
    with pure.running(["worker", "-d", "pure:count", "--threads", "2"], "") as worker:
        wait_until(lambda: counts(place)["completed"] == 1, 30, what="the saga of function steps")
        assert stop(worker) == 0


PURE = """
from pydantic import BaseModel

from saga.core.definition import Saga, readonly


class Name(BaseModel):
    name: str


class Length(BaseModel):
    length: int


def measure(name: Name) -> Length:
    return Length(length=len(name.name))


count = Saga("count", version=1, input=Name, entity=lambda name: name.name, steps=[readonly(measure)])
"""
