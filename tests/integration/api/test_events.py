"""GET /v1/orders/{id}/events: every entry that moves an order, once, under its run and number, to the end."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from saga.core.outcomes import Outcome, OutcomeCode
from saga.fulfilment.fulfil_order import fulfil_order
from saga.runtime.engine import Definitions
from saga.store.memory import MemoryStore
from saga.store.opening import open_store
from saga.surfaces.following import Bounds, Follower
from tests.integration.api.serving import PERSONAL, Shop, answered, opened, order_values, problem, served
from tests.simulation.stepping import Process
from tests.waiting import wait_until

DECLINED = {"authorize_payment:a": Outcome(OutcomeCode.REJECTED, "declined")}
KINDS = {"completed", "compensated", "halted", "rollback", "cancel", "resumed", "accepted", "step"}


@dataclass(frozen=True)
class Event:
    """One event as a browser would see it."""

    id: str
    kind: str
    data: dict[str, Any]

    @property
    def seq(self) -> int:
        return int(self.data["seq"])


def read(lines: Iterator[str]) -> Iterator[Event]:
    """The events of a stream, as they come; comments and `retry` are passed over."""
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line:
            if "data" in fields:
                yield Event(fields["id"], fields["event"], json.loads(fields["data"]))
            fields = {}


def asked(shop: Shop, after: str | None = None) -> httpx2.Response:
    """The answer to a reader who begins, or who comes back behind the event of that id."""
    return shop.client.get("/v1/orders/SO-1/events", headers={} if after is None else {"Last-Event-ID": after})


def events(shop: Shop, after: str | None = None) -> list[Event]:
    """The whole stream of an order that has ended."""
    answer = asked(shop, after)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"  # nginx would hold events back until it has a page of them
    return list(read(iter(answer.text.splitlines())))


def test_the_story_of_an_order_that_was_rolled_back(shop: Shop) -> None:
    """Ids are the run and numbers of the journal that rise; kinds are of the stated set; views, cause, plan and steps stand in the event
    of their entry; the last event is the end; nothing of a payload is told."""
    saga_id = shop.accepted()
    shop.move(saga_id, DECLINED)
    found = events(shop)
    assert [event.seq for event in found] == sorted({event.seq for event in found})
    assert found[-1].seq == len(shop.store.load([saga_id])[saga_id])
    assert {event.kind for event in found} <= KINDS
    assert (found[0].id, found[0].kind, found[0].data["status"]) == ("1-1", "accepted", "processing")
    assert (found[-1].kind, found[-1].data["status"], found[-1].data["saga_status"]) == (
        "compensated", "failed", "compensated",
    )  # fmt: skip
    [turned] = [event for event in found if "plan" in event.data]
    assert turned.kind == "rollback"
    assert turned.data["cause"]["detail"] == "declined"
    assert [entry["step"] for entry in turned.data["plan"]] == ["book_shipment", "reserve_inventory"]
    ended = [
        (step["step"], step["direction"], step["outcome"])
        for event in found
        for step in event.data["steps"]
        if step["phase"] in ("done", "failed")
    ]
    assert ("authorize_payment", "a", "rejected") in ended
    assert [name for name, direction, _ in ended if direction == "c"] == ["book_shipment", "reserve_inventory"]
    text = json.dumps([event.data for event in found], ensure_ascii=False)
    assert not any(personal in text for personal in PERSONAL)
    assert all(event.id == f"{event.data['run']}-{event.seq}" for event in found)
    assert all(event.kind == event.data["kind"] for event in found)


def test_a_reader_comes_back_behind_the_last_event_it_saw(shop: Shop) -> None:
    """Wherever it was cut, both halves are the whole; behind the end it is 204; a number beyond the journal, as of a database
    that was put back, begins anew."""
    shop.move(shop.accepted())
    whole = events(shop)
    for cut in (0, 1, len(whole) // 2, len(whole) - 2):
        assert events(shop, whole[cut].id) == whole[cut + 1 :]
    behind = asked(shop, whole[-1].id)
    assert (behind.status_code, behind.content) == (204, b"")
    assert events(shop, "1-900000") == whole


def test_evidence_behind_the_end_brings_nobody_back() -> None:
    """A zombie's answer that comes when its heir has ended the order is kept as evidence, which is no event: who saw the end
    gets 204 as before it, and who saw less gets the rest and the end of the stream, with no silence behind it."""
    with opened(MemoryStore()) as shop:
        saga_id = shop.accepted()
        zombie = Process(shop.store, Definitions([fulfil_order]), "zombie")
        zombie.wake(saga_id)
        zombie.settle()
        late = zombie.calls[0]
        shop.store.close_worker("zombie")
        shop.move(saga_id)
        whole = events(shop)
        assert asked(shop, whole[-1].id).status_code == 204
        zombie.finish(late, answered(late))
        zombie.settle()
        assert shop.kinds(saga_id)[-2:] == ["saga_completed", "evidence_kept"]
        with_evidence = len(shop.store.load([saga_id])[saga_id])
        assert with_evidence > whole[-1].seq
    with opened(shop.store, bounds=Bounds(stream_s=2.0, heartbeat_s=0.1)) as shop:
        for behind in (whole[-1].id, f"1-{with_evidence}"):
            answer = asked(shop, behind)
            assert (answer.status_code, answer.content) == (204, b""), behind
        rest = asked(shop, whole[-2].id).text
        assert list(read(iter(rest.splitlines()))) == whole[-1:]
        assert ": nothing new" not in rest


def test_a_reader_of_an_earlier_run_begins_anew(small_shop: Shop) -> None:
    """An id of a run that was rolled back says nothing about the next one, however long that is: its reader sees all of it,
    from `accepted` on; the same number of the run that is followed is a place in it."""
    small_shop.move(small_shop.accepted(), DECLINED)
    first = events(small_shop)
    small_shop.move(small_shop.post(order_values(), key="second").json()["saga_id"])
    second = events(small_shop)
    assert len(second) > len(first)
    assert second[0].id == "2-1"
    for event in first:
        assert events(small_shop, event.id) == second
    assert events(small_shop, f"2-{first[-1].seq}") == [event for event in second if event.seq > first[-1].seq]


@pytest.mark.parametrize(
    "value", ["", " ", "x", "7", "-1", "1-", "1.5", "1-2-3", "1--2", "1-2x", "٣-٣", "9" * 30, "1-" + "9" * 10]
)
def test_an_id_that_no_event_had_is_422(small_shop: Shop, value: str) -> None:
    """It is refused with the name of the header."""
    small_shop.accepted()
    headers = {b"Last-Event-ID": value.encode()}
    answer = small_shop.client.get("/v1/orders/SO-1/events", headers=headers)
    assert problem(answer, 422, "invalid")["errors"][0]["field"] == "header.Last-Event-ID"
    problem(small_shop.client.get("/v1/orders/none/events"), 404, "not_found")


def streams(shop: Shop) -> int:
    assert isinstance(shop.follower, Follower)
    return shop.follower.stream_count


@pytest.mark.parametrize("kind", ["postgres", "sqlite", "memory"])
def test_events_come_as_they_happen(kind: str, request: pytest.FixtureRequest) -> None:
    """A reader that was there from the start sees, live and in order, what one sees who comes at the end; then the stream is
    over and given back."""
    store = MemoryStore() if kind == "memory" else open_store(request.getfixturevalue(f"api_{kind}_url"))
    with served(store) as shop:
        saga_id = shop.accepted()
        with shop.client.stream("GET", "/v1/orders/SO-1/events") as answer:
            coming = read(answer.iter_lines())
            assert next(coming).kind == "accepted"
            shop.move(saga_id, until="authorize_payment:a")
            seen = [next(coming)]
            assert seen[0].kind == "step"
            shop.move(saga_id, DECLINED)
            seen += list(coming)
        assert seen[-1].kind == "compensated"
        assert seen == events(shop)[1:]
        wait_until(lambda: streams(shop) == 0, what="the stream given back")
    store.close()


def test_a_reader_that_leaves_frees_everything() -> None:
    """Its stream is given back, and the thread that looked ends."""
    with served(MemoryStore()) as shop:
        shop.accepted()
        for _ in range(3):
            with shop.client.stream("GET", "/v1/orders/SO-1/events") as answer:
                coming = read(answer.iter_lines())  # a reader that is thrown away closes the connection
                assert next(coming).kind == "accepted"
                assert streams(shop) == 1
            wait_until(lambda: streams(shop) == 0, what="the stream given back")


def test_there_are_so_many_streams_and_no_more() -> None:
    """Above the bound it is 503 with Retry-After; when one is given back there is room again, and an order that has ended
    needs none of them for long."""
    with served(MemoryStore(), bounds=Bounds(streams=2)) as shop:
        shop.accepted()
        path = "/v1/orders/SO-1/events"
        with shop.client.stream("GET", path) as one, shop.client.stream("GET", path) as two:
            assert {one.status_code, two.status_code} == {200}
            answer = shop.client.get(path)
            problem(answer, 503, "too_many_streams")
            assert int(answer.headers["retry-after"]) >= 1
        wait_until(lambda: streams(shop) == 0, what="the streams given back")
        with shop.client.stream("GET", path) as again:
            assert again.status_code == 200


def test_a_silent_stream_is_kept_alive_and_ends() -> None:
    """While nothing happens a comment comes, and after its time the stream ends; the reader comes back."""
    with opened(MemoryStore(), bounds=Bounds(heartbeat_s=0.05, stream_s=0.3)) as shop:
        shop.accepted()
        text = shop.client.get("/v1/orders/SO-1/events").text
        assert text.startswith("retry: ")
        assert text.count("\n: nothing new\n") >= 3
        assert [event.kind for event in read(iter(text.splitlines()))] == ["accepted"]


def test_a_process_that_stops_ends_its_streams() -> None:
    """A server waits for its connections: a stream must not hold it."""
    with served(MemoryStore()) as shop:
        shop.accepted()
        with shop.client.stream("GET", "/v1/orders/SO-1/events") as answer:
            coming = read(answer.iter_lines())
            next(coming)
            assert isinstance(shop.follower, Follower)
            shop.follower.stop()
            assert list(coming) == []


def test_a_second_run_is_a_story_of_its_own(small_shop: Shop) -> None:
    """The stream is of the latest run."""
    small_shop.move(small_shop.accepted(), DECLINED)
    second = small_shop.post(order_values(), key="second").json()["saga_id"]
    small_shop.move(second)
    assert events(small_shop)[-1].data["status"] == "confirmed"


def test_a_cut_connection_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """A reader that goes away in the middle leaves no traceback in the log."""
    with served(MemoryStore()) as shop:
        shop.accepted()
        with (
            httpx2.Client(base_url=shop.client.base_url, trust_env=False) as client,
            client.stream("GET", "/v1/orders/SO-1/events") as answer,
        ):
            next(answer.iter_lines())
        wait_until(lambda: streams(shop) == 0, what="the stream given back")
    assert "Traceback" not in caplog.text
