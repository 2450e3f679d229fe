"""Whatever stands in a journal is shown: each reader meets strange entries, gives no traceback and no 500, and says what it
could not read."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saga.core.definition import Saga
from saga.core.outcomes import Outcome, OutcomeCode
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.runtime.engine import Definitions
from saga.store.journal import Journal, JournalEntry
from saga.store.memory import MemoryStore
from saga.surfaces.audit import audit
from saga.surfaces.changes import Narration
from saga.surfaces.cli import watching
from saga.surfaces.reading import read_row
from saga.surfaces.reading_journal import read_journal
from saga.surfaces.render import journal_page, saga_list
from saga.surfaces.saga_page import saga_page
from saga.surfaces.showing import look_at
from saga.surfaces.standing import standing
from saga.surfaces.status_page import status_page
from tests.integration.api.serving import Shop, opened
from tests.property.definitions import TIMES

NOW = "2026-11-29T10:00:00+00:00"
DEFINITIONS: list[Saga[Any]] = [fulfil_order, return_order]
Spoil = Callable[[list[JournalEntry]], list[JournalEntry]]


class Spoiled(MemoryStore):
    """A store whose journals somebody got at."""

    def __init__(self) -> None:
        super().__init__()
        self.spoil: dict[str, Spoil] = {}

    def load(self, saga_ids: Sequence[str]) -> Mapping[str, Journal]:
        """Journals as they stand there now."""
        found = super().load(saga_ids)
        return {it: Journal(self.spoil.get(it, list)(list(entries)), entries.reached) for it, entries in found.items()}

    def tail(self, saga_id: str, after_seq: int) -> list[JournalEntry]:
        """The same of the end of one."""
        return [it for it in self.load([saga_id]).get(saga_id, Journal()) if it.seq > after_seq]


@contextmanager
def shops() -> Iterator[tuple[Shop, Spoiled, list[str]]]:
    """Orders that completed, were rolled back, and are under way."""
    store = Spoiled()
    with opened(store) as shop:
        done, undone, moving = (shop.accepted(order_id=f"SO-{number}") for number in range(3))
        shop.move(done)
        shop.move(undone, {"capture_payment:a": Outcome(OutcomeCode.REJECTED, "declined")})
        shop.move(moving, until="price_order:a")
        yield shop, store, [done, undone, moving]


@pytest.fixture(scope="module")
def spoilt() -> Iterator[tuple[Shop, Spoiled, list[str]]]:
    """One set for all cases: readers change nothing."""
    with shops() as found:
        yield found


def read_all(shop: Shop, store: Spoiled, saga_id: str, mail_folder: Path) -> dict[str, str]:
    """What each reader says of this saga; none of them may fail."""
    row = store.row(saga_id)
    assert row is not None
    definitions = Definitions(DEFINITIONS)
    said: dict[str, str] = {}
    shown = look_at(store, row, DEFINITIONS, mail_folder)
    json.dumps(shown.to_json(with_attempts=True)).encode()
    said["show"] = saga_page(shown, with_attempts=True)
    journal = read_journal(saga_id, store.load([saga_id])[saga_id])
    said["journal"] = journal_page(journal) + journal.model_dump_json()
    said["status"] = status_page(standing(store, definitions))
    said["list"] = saga_list([read_row(row)])
    narration = Narration(row)
    changes = list(narration.take(store.tail(saga_id, 0)))
    said["watch"] = "\n".join(text for it in changes for text in watching.lines(it, row.entity))
    report = audit(store, definitions, {}, None)
    said["audit"] = "\n".join(it.detail for it in report.violations if it.saga_id == saga_id)
    order = f"/v1/orders/{row.entity}"
    for path in (f"/v1/sagas/{saga_id}", f"/v1/sagas/{saga_id}/journal", order, f"{order}/events?", "/v1/sagas"):
        if path.startswith(f"{order}/events") and not narration.is_ended:
            continue  # it would follow on
        answer = shop.client.get(path.rstrip("?"))
        assert answer.status_code in (200, 204), f"{path}: {answer.text}"
        said[path.replace(saga_id, "").replace(order, "/v1/order")] = answer.text
    for text in said.values():
        text.encode()
    return said


def rewritten(place: int, change: Callable[[Any], Any]) -> Spoil:
    """The entry at `place` with other rows; what JSON cannot hold stands as it is given."""

    def spoil(entries: list[JournalEntry]) -> list[JournalEntry]:
        at = place % len(entries)
        body = change(json.loads(entries[at].body))
        text = body if isinstance(body, str) else json.dumps(body)
        return [*entries[:at], replace(entries[at], body=text), *entries[at + 1 :]]

    return spoil


def field(name: str, value: Any) -> Callable[[Any], Any]:
    return lambda rows: [{**rows[0], name: value}, *rows[1:]]


def appended(**row: Any) -> Callable[[Any], Any]:
    return lambda rows: [*rows, {"at": NOW, **row}]


ACCEPTED: dict[str, Any] = {
    **dict.fromkeys(("saga_id", "definition", "fingerprint", "environment", "tenant", "entity"), "x"),
    "version": 1,
    "run": 1,
    "input": {"data": "{}"},
}
STRANGE: dict[str, Callable[[Any], Any]] = {
    "an empty text": lambda _: "",
    "an empty list": lambda _: [],
    "an object": lambda _: {},
    "no JSON": lambda _: "{" * 10,
    "deep": lambda _: "[" * 100_000,
    "a huge number": lambda _: "9" * 10_000,
    "an unknown kind": field("t", "from_the_future"),
    "a kind that is a list": field("t", ["a"]),
    "a row that is a text": lambda _: ["attempt_ended"],
    "an unknown field": field("colour", "red"),
    "no instant": field("at", None),
    "an instant of another age": field("at", "9999-12-31T23:59:59+00:00"),
    "an instant without a zone": field("at", "2026-11-29T10:00:00"),
    "an instant that is a number": field("at", 5),
    "half of a surrogate pair": appended(t="step_broke", node="a:a", detail="\ud800"),
    "a detail that is a number": appended(t="step_broke", node="a:a", detail=409),
    "a detail that is an object": appended(t="step_broke", node="a:a", detail={"a": 1}),
    "a node that is a number": appended(t="step_broke", node=5, detail=""),
    "a node without a direction": appended(t="step_broke", node="a", detail=""),
    "a node that no step has": appended(t="step_broke", node="nowhere:a", detail="\x1b[2J\u202e"),
    "a missing field": appended(t="attempt_ended", node="a:a"),
    "a plan of no known mode": appended(t="plan_frozen", entries=[{"step": "a", "mode": "perhaps"}]),
    "a plan of unknown steps": appended(t="plan_frozen", entries=[{"step": "nowhere", "mode": "settle"}]),
    "a repeat of an unknown step": appended(t="plan_frozen", entries=[{"step": "nowhere", "mode": "repeat"}]),
    "a second acceptance": appended(t="saga_accepted", **ACCEPTED),
    "an end of nothing": appended(t="saga_resumed"),
    "huge": appended(t="step_broke", node="a:a", detail="x" * 100_000),
}
UNHARMED = frozenset(
    ["huge", "a detail that is a number", "a detail that is an object", "a node that no step has", "an empty list"]
)


@pytest.mark.parametrize("case", STRANGE)
def test_each_reader_shows_what_it_can(case: str, spoilt: tuple[Shop, Spoiled, list[str]], tmp_path: Path) -> None:
    """At the first entry, in the middle and at the end, of an order that ended and one that did not."""
    shop, store, saga_ids = spoilt
    for saga_id, place in zip(saga_ids, (0, 3, -1), strict=True):
        store.spoil = {saga_id: rewritten(place, STRANGE[case])}
        said = read_all(shop, store, saga_id, tmp_path)
        if case not in UNHARMED:
            assert "cannot be read" in said["show"], said["show"]
            assert json.loads(said["/v1/sagas/"])["unreadable"]["seq"] >= 1
            assert said["/v1/order"].count('"unreadable":{')
            assert "UNREADABLE" in said["watch"]


def test_an_entry_of_a_later_release_is_shown_as_far_as_it_is_understood(
    spoilt: tuple[Shop, Spoiled, list[str]], tmp_path: Path
) -> None:
    """It says which release can read it."""
    shop, store, (saga_id, *_) = spoilt

    def later(entries: list[JournalEntry]) -> list[JournalEntry]:
        newest = replace(entries[-1], min_reader_version=99, body='[{"t":"saga_paused"}]')
        return [*entries[:-1], newest]

    store.spoil = {saga_id: later}
    said = read_all(shop, store, saga_id, tmp_path)
    assert "it was written by a newer release" in said["show"]
    assert "it was written by a newer release" in said["/v1/order"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(NOW),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=25 * TIMES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_value_of_any_field_silences_a_reader(
    data: st.DataObject, spoilt: tuple[Shop, Spoiled, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any JSON in any field of any entry."""
    shop, store, saga_ids = spoilt
    store.spoil = {}
    saga_id = data.draw(st.sampled_from(saga_ids))
    bodies = [json.loads(it.body) for it in store.load([saga_id])[saga_id]]
    place = data.draw(st.integers(0, len(bodies) - 1))
    row = data.draw(st.integers(0, len(bodies[place]) - 1))
    name = data.draw(st.sampled_from(sorted(bodies[place][row])) | st.sampled_from(["detail", "effects", "result"]))
    value = data.draw(VALUES)

    def change(rows: Any) -> Any:
        rows[row][name] = value
        return rows

    store.spoil = {saga_id: rewritten(place, change)}
    read_all(shop, store, saga_id, tmp_path_factory.getbasetemp())
